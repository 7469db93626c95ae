"""Products with packed matrices beside NumPy's BLAS, ggml and torch.

    python benchmarks/peers/matmul.py
    python benchmarks/peers/matmul.py --threads 1 2 -o benchmarks/results/matmul.json

All contestants run in one process and take turns, round after round; the time of
each is the shortest. Every side includes the quantization of its own activations.
ggml is the one that llama-cpp-python builds: its ``ggml_mul_mat`` on weights in plain
memory, 8-bit activations inside. "memory" rotates through 256 MiB of matrices,
"cache" uses one again and again, after a turn that is not measured where turns are
short. The limits (multiply-add, memory) are measured in the same run, before the
products and after them; the file has the fractions of the higher ones.
"""

import argparse
import ctypes
import importlib.util
import sys
from pathlib import Path
from time import perf_counter, sleep

import numpy as np
from threadpoolctl import threadpool_limits

from sklearn_ternary._cpu.aligned_memory import allocate
from sklearn_ternary._cpu.matmul import PackedMatrix
from sklearn_ternary._cpu.product_levels import int8_level, vector_level
from sklearn_ternary._kernels import _matmul
from sklearn_ternary._kernels._cpu_features import supported_isas
from sklearn_ternary._reference.pack import pack

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from _machine import describe_machine
from _results import write_results

ROTATED_BYTES = 2**28
# Until the threads of a contestant no longer wait busily for more work.
IDLE_SECONDS = 0.04
LONGER_IDLE_SECONDS = {"torch": 0.25}
GGML_TYPES = {"Q4_K": 12, "TQ1_0": 34, "TQ2_0": 35}  # enum ggml_type
INSTALL_GGML = "ggml: not found; pip install llama-cpp-python builds it"
INSTALL_TORCH = "torch: not found; pip install torch"
EXPRESSIONS = {
    "numpy": "X @ W.T, float32 (W @ x for one row)",
    "torch": "torch.nn.functional.linear(X, W), float32",
    "ggml": "ggml_mul_mat(W, X), X float32, W quantized",
    "int8 t2": "PackedMatrix(format='t2').matmul_int8(X), 2 bits a code",
    "int8 t5": "PackedMatrix(format='t5').matmul_int8(X), 1.6 bits a code",
    "float t2": "PackedMatrix(format='t2').matmul_float(X), X float32",
}


class Contestant:
    """A way to multiply: `run` makes `n_products` products of `n_bytes` of weights."""

    def __init__(self, name, run, n_products, n_bytes, isa=None):
        self.name, self.run, self.isa = name, run, isa
        self.n_products, self.n_bytes = n_products, n_bytes
        self.seconds = np.inf


def _copies(n_bytes, where):
    return max(2, -(-ROTATED_BYTES // n_bytes)) if where == "memory" else 1


def _rotate(functions, repeats):
    def run():
        for _ in range(repeats):
            for function in functions:
                function()

    return run, len(functions) * repeats


def ours(codes, X, where, n_threads, isa, kind, format, repeats):
    """Our product, `kind` of activations, in a compute format."""
    packed, K = pack(codes, "t2"), codes.shape[1]
    scale = np.ones((1, 1), dtype=np.float32)
    options = {"n_threads": n_threads, "isa": isa}

    def make():
        return PackedMatrix(packed, K, "t2", scale, K, format=format, **options)

    first = make()
    matrices = [first] + [make() for _ in range(_copies(first.nbytes, where) - 1)]
    name = "matmul_int8" if kind == "int8" else "matmul_float"
    methods = [getattr(matrix, name) for matrix in matrices]
    run, n = _rotate([lambda f=f: f(X, **options) for f in methods], repeats)
    return Contestant(f"{kind} {format}", run, n, first.nbytes, isa)


def numpy_peer(codes, X, where, repeats):
    """BLAS on float32 weights."""
    W = codes.astype(np.float32)
    copies = [W] + [W.copy() for _ in range(_copies(W.nbytes, where) - 1)]
    if len(X) == 1:
        functions = [lambda W=W: W @ X[0] for W in copies]
    else:
        functions = [lambda W=W: X @ W.T for W in copies]
    run, n = _rotate(functions, repeats)
    return Contestant("numpy", run, n, W.nbytes)


def torch_peer(codes, X, where, n_threads, repeats):
    """The same by torch, or None."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    torch.set_num_threads(n_threads)
    W, x = torch.from_numpy(codes.astype(np.float32)), torch.from_numpy(X)
    copies = [W] + [W.clone() for _ in range(_copies(codes.nbytes * 4, where) - 1)]
    linear = torch.nn.functional.linear
    run, n = _rotate([lambda W=W: linear(x, W) for W in copies], repeats)
    return Contestant("torch", run, n, codes.nbytes * 4)


class _InitParams(ctypes.Structure):
    _fields_ = (
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    )


class Ggml:
    """As much of ggml as a product needs, from the libraries of llama-cpp-python."""

    def __init__(self, folder):
        size, pointer, integer = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int
        long = ctypes.c_int64
        signatures = {
            "ggml_cpu_init": (None, []),
            "ggml_init": (pointer, [_InitParams]),
            "ggml_free": (None, [pointer]),
            "ggml_new_tensor_2d": (pointer, [pointer, integer, long, long]),
            "ggml_get_data": (pointer, [pointer]),
            "ggml_nbytes": (size, [pointer]),
            "ggml_mul_mat": (pointer, [pointer, pointer, pointer]),
            "ggml_new_graph_custom": (pointer, [pointer, size, ctypes.c_bool]),
            "ggml_build_forward_expand": (None, [pointer, pointer]),
            "ggml_graph_compute_with_ctx": (integer, [pointer, pointer, integer]),
            "ggml_quantize_chunk": (
                size,
                [integer, pointer, pointer, long, long, long, pointer],
            ),
        }
        libraries = [
            ctypes.CDLL(str(folder / f"lib{name}.so"), mode=ctypes.RTLD_GLOBAL)
            for name in ("ggml-base", "ggml-cpu")
        ]
        for name, (result, arguments) in signatures.items():
            function = next(
                getattr(lib, name) for lib in libraries if hasattr(lib, name)
            )
            function.restype, function.argtypes = result, arguments
            setattr(self, name.removeprefix("ggml_"), function)
        self.cpu_init()

    def contestant(self, codes, X, where, n_threads, kind, repeats, rounds):
        """A graph of products with copies of the weights, checked against NumPy."""
        M, K = codes.shape
        W = codes.astype(np.float32)
        bits = {"Q4_K": 4.5, "TQ1_0": 1.6875, "TQ2_0": 2.0625}[kind]
        n_bytes = int(M * K * bits / 8)
        copies = _copies(n_bytes, where)
        n_products = copies * repeats
        # Every call takes the work space of the quantized activations anew.
        memory = copies * n_bytes + n_products * X.shape[0] * M * 4
        memory += (2 * rounds + 2) * (X.nbytes + 2**20) + 2**26
        context = self.init(_InitParams(memory, None, False))
        x = self.new_tensor_2d(context, 0, K, X.shape[0])
        ctypes.memmove(self.get_data(x), X.ctypes.data, X.nbytes)
        weights = [
            self.new_tensor_2d(context, GGML_TYPES[kind], K, M) for _ in range(copies)
        ]
        source = W.ctypes.data
        first = self.get_data(weights[0])
        self.quantize_chunk(GGML_TYPES[kind], source, first, 0, M, K, None)
        for w in weights[1:]:
            ctypes.memmove(self.get_data(w), first, self.nbytes(weights[0]))
        graph = self.new_graph_custom(context, 2 * n_products + 64, False)
        for _ in range(repeats):
            for w in weights:
                result = self.mul_mat(context, w, x)
                self.build_forward_expand(graph, result)

        def run():
            if self.graph_compute_with_ctx(context, graph, n_threads):
                raise RuntimeError("ggml_graph_compute_with_ctx failed")

        run()
        y = np.ctypeslib.as_array(
            ctypes.cast(self.get_data(result), ctypes.POINTER(ctypes.c_float)),
            (X.shape[0], M),
        )
        exact = X @ W.T
        error = np.linalg.norm(y - exact) / np.linalg.norm(exact)
        if not error < 0.1:
            raise RuntimeError(f"ggml {kind} is off by {error:.2g}: not measured")
        contestant = Contestant(f"ggml {kind}", run, n_products, n_bytes)
        contestant.close = lambda: self.free(context)
        return contestant


def load_ggml():
    """The libraries, or None."""
    spec = importlib.util.find_spec("llama_cpp")
    folder = Path(spec.origin).parent / "lib" if spec else None
    if folder is None or not (folder / "libggml-cpu.so").exists():
        return None
    return Ggml(folder)


def limits(isas, threads):
    """Multiply-adds per second of each level, bytes per second from memory."""
    found = {}
    for isa in isas:
        vectors, tiles = int8_level(isa, 1), int8_level(isa, 512)
        for name, peak, level in (
            ("float_peak", _matmul.float_peak, vector_level(isa)),
            ("int8_peak", _matmul.int8_peak, vectors),
            ("int8_tile_peak", _matmul.int8_peak, tiles),
        ):
            done, seconds = _best(lambda peak=peak, level=level: peak(50_000, level))
            found[f"{name} {isa}"] = done / seconds
    memory = allocate(ROTATED_BYTES)
    memory[:] = 1
    level = vector_level(isas[0])
    for n in threads:
        _, seconds = _best(lambda n=n: _matmul.read(memory, level, n), 5)
        found[f"memory {n}"] = ROTATED_BYTES / seconds
    return found


def _best(function, rounds=10):
    best = np.inf
    for _ in range(rounds):
        start = perf_counter()
        result = function()
        best = min(best, perf_counter() - start)
    return result, best


def contest(shape, n, where, n_threads, isas, ggml, rounds, seconds):
    """Measure all contestants on one product; rows of results."""
    rng = np.random.default_rng(0)
    M, K = shape
    codes = rng.integers(-1, 2, shape).astype(np.int8)
    X = rng.standard_normal((n, K), dtype=np.float32)
    # Small products are repeated within a turn, so that turns take milliseconds.
    repeats = 1 if where == "memory" else max(1, int(2e9 / (M * K * n * 8)))
    contestants = [numpy_peer(codes, X, where, repeats)]
    contestants.append(torch_peer(codes, X, where, n_threads, repeats))
    for isa in isas:
        for kind, format in (("int8", "t2"), ("int8", "t5"), ("float", "t2")):
            contestants.append(
                ours(codes, X, where, n_threads, isa, kind, format, repeats)
            )
    for kind in GGML_TYPES if ggml else ():
        contestants.append(
            ggml.contestant(codes, X, where, n_threads, kind, repeats, rounds)
        )
    contestants = [c for c in contestants if c is not None]
    start = perf_counter()
    with threadpool_limits(n_threads):
        for turn in range(rounds):
            for c in contestants:
                if repeats > 1:
                    c.run()  # Caches are filled, and threads awake.
                before = perf_counter()
                c.run()
                c.seconds = min(c.seconds, (perf_counter() - before) / c.n_products)
                if n_threads > 1:
                    sleep(LONGER_IDLE_SECONDS.get(c.name, IDLE_SECONDS))
            if turn >= 2 and perf_counter() - start > seconds:
                break
    for c in contestants:
        getattr(c, "close", lambda: None)()
    baselines = {c.name: c.seconds for c in contestants if c.isa is None}
    return [
        {
            "shape": [M, K],
            "n": n,
            "where": where,
            "n_threads": n_threads,
            "name": c.name,
            "isa": c.isa,
            "seconds": c.seconds,
            "operations_per_second": 2 * M * K * n / c.seconds,
            "weight_bytes_per_second": c.n_bytes / c.seconds,
            "speedup": {}
            if c.isa is None
            else {name: base / c.seconds for name, base in baselines.items()},
        }
        for c in contestants
    ]


def add_fractions(rows, found):
    """Put the fractions of the measured limits into the rows of ours."""
    for row in rows:
        if row["isa"] is None:
            continue
        isa, rate = row["isa"], row["operations_per_second"] / row["n_threads"]
        kind = "float_peak" if row["name"].startswith("float") else "int8_peak"
        if found[f"{kind} {isa}"]:
            row["of_peak"] = rate / found[f"{kind} {isa}"]
        if kind == "int8_peak" and int8_level(isa, row["n"]) == _matmul.AMX:
            row["of_tile_peak"] = rate / found[f"int8_tile_peak {isa}"]
        if row["where"] == "memory":
            rate = found[f"memory {row['n_threads']}"]
            row["of_memory"] = row["weight_bytes_per_second"] / rate


def line(row):
    """One row for people."""
    text = (
        f"{row['name']:<11} {row['isa'] or '':<8} {row['seconds'] * 1e6:>10.1f} us "
        f"{row['operations_per_second'] / 1e9:>7.1f} GOP/s "
        f"{row['weight_bytes_per_second'] / 1e9:>6.1f} GB/s"
    )
    if "of_peak" in row:
        text += f" {row['of_peak']:>5.0%} of peak"
    if "of_tile_peak" in row:
        text += f" ({row['of_tile_peak']:.0%} of the tile unit's)"
    if "of_memory" in row:
        text += f" {row['of_memory']:>5.0%} of memory"
    ratios = ", ".join(f"{v:.2f}x {name}" for name, v in row["speedup"].items())
    return f"{text}  {ratios}".rstrip()


def main():
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", help="JSON file to write")
    parser.add_argument("--shapes", nargs="+", default=["2560x2560", "6912x2560"])
    parser.add_argument("--n", type=int, nargs="+", default=[1, 4, 12, 64, 512])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--isa", nargs="+", help="levels, default all but generic")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument(
        "--seconds", type=float, default=5, help="about how long a product is measured"
    )
    arguments = parser.parse_args()
    isas = arguments.isa or [isa for isa in supported_isas() if isa != "generic"]
    ggml = load_ggml()
    notes = [] if ggml else [INSTALL_GGML]
    if importlib.util.find_spec("torch") is None:
        notes.append(INSTALL_TORCH)
    machine = describe_machine()
    print(f"{machine['cpu']}, {machine['date']}", *notes, sep="\n")
    found = limits(isas, arguments.threads)
    for name, value in found.items():
        print(f"{name:<20} {value / 1e9:8.1f} G/s")
    results = []
    for n_threads in arguments.threads:
        for text in arguments.shapes:
            shape = tuple(int(v) for v in text.split("x"))
            cases = [(n, "cache") for n in arguments.n]
            cases += [(1, "memory")] if 1 in arguments.n else []
            for n, where in cases:
                rows = contest(
                    shape,
                    n,
                    where,
                    n_threads,
                    isas,
                    ggml,
                    arguments.rounds,
                    arguments.seconds,
                )
                add_fractions(rows, found)
                rows_of = "1 row" if n == 1 else f"{n} rows"
                print(f"\n{text}, {rows_of}, {where}, {n_threads} thread(s)")
                print("\n".join(line(row) for row in rows), flush=True)
                results += rows
    again = limits(isas, arguments.threads)
    found = {name: max(value, again[name]) for name, value in found.items()}
    add_fractions(results, found)
    print("\n" + "\n".join(f"{k:<10} {v}" for k, v in EXPRESSIONS.items()))
    if arguments.output:
        content = {
            "format": "sklearn-ternary peers matmul 1",
            "machine": machine,
            "notes": notes,
            "limits": found,
            "expressions": EXPRESSIONS,
            "results": results,
        }
        write_results(arguments.output, content)


if __name__ == "__main__":
    main()
