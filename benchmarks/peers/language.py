"""Language models beside llama.cpp: random weights, the same file in both.

    python benchmarks/peers/language.py --shape small
    python benchmarks/peers/language.py --shape 2b4t --threads 1 2 -o FILE.json
    python benchmarks/peers/language.py --ik ik_llama.cpp/build/bin

Each side runs in a process of its own and they take turns, request by request; the
time of each is the shortest. llama.cpp is what llama-cpp-python builds, called through
its C interface, with its defaults (keys and values as float16) as we have them. Its
architecture is "bitnet", the one of this family that it computes. Sampling is left out
on both sides: a step ends when the logits are there. The limits (multiply-add of
bytes, memory) are measured in the same run.

ik_llama.cpp, the fastest program for processors that we know, takes part where --ik
names the folder of its programs. To build them, in a copy of
https://github.com/ikawrakow/ik_llama.cpp:

    cmake -B build -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON
    cmake --build build --target llama-bench llama-quantize

The same weights go through its llama-quantize to IQ2_BN, with the same Q6_K embedding,
and llama-bench repacks them when it loads them (-rtr 1), a process for each request.
"""

import argparse
import ctypes
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from _machine import describe_machine
from _results import write_results

# Embedding, layers, feed-forward, heads, heads of keys, vocabulary.
SHAPES = {
    "tiny": (512, 4, 1536, 8, 4, 4096),
    "small": (1024, 12, 2816, 16, 4, 32000),
    "2b4t": (2560, 30, 6912, 20, 5, 128256),
}
INSTALL = "llama.cpp: not found; pip install llama-cpp-python builds it"
IK_MISSING = "ik_llama.cpp: not measured; --help says how to build it"
ROPE_BASE = 500000.0


def write_model(path, shape, ternary="TQ2_0"):
    """A file of random ternary matrices, TQ2_0 or F16, and a Q6_K embedding."""
    from sklearn_ternary.persistence import GGUFWriter

    embd, layers, ff, heads, kv_heads, vocab = SHAPES[shape]
    head = embd // heads
    metadata = {
        "general.architecture": "bitnet",
        "general.file_type": 37 if ternary == "TQ2_0" else 1,
        "bitnet.vocab_size": vocab,
        "bitnet.context_length": 4096,
        "bitnet.embedding_length": embd,
        "bitnet.block_count": layers,
        "bitnet.feed_forward_length": ff,
        "bitnet.rope.dimension_count": head,
        "bitnet.attention.head_count": heads,
        "bitnet.attention.head_count_kv": kv_heads,
        "bitnet.attention.layer_norm_rms_epsilon": 1e-5,
        "bitnet.rope.freq_base": ROPE_BASE,
        "tokenizer.ggml.model": "no_vocab",
    }
    tensors = [("token_embd.weight", "Q6_K", (vocab, embd))]
    tensors += [("output_norm.weight", "F32", (embd,))]
    for i in range(layers):
        for name, size in (
            ("attn_norm", embd),
            ("attn_sub_norm", embd),
            ("ffn_norm", embd),
            ("ffn_sub_norm", ff),
        ):
            tensors.append((f"blk.{i}.{name}.weight", "F32", (size,)))
        for name, size in (
            ("attn_q", (embd, embd)),
            ("attn_k", (kv_heads * head, embd)),
            ("attn_v", (kv_heads * head, embd)),
            ("attn_output", (embd, embd)),
            ("ffn_gate", (ff, embd)),
            ("ffn_up", (ff, embd)),
            ("ffn_down", (embd, ff)),
        ):
            tensors.append((f"blk.{i}.{name}.weight", ternary, size))
    rng = np.random.default_rng(0)
    fields = np.array(
        [n % 3 | n // 3 % 3 << 2 | n // 9 % 3 << 4 | n // 27 << 6 for n in range(81)],
        dtype=np.uint8,
    )
    with GGUFWriter(path, tensors, metadata) as writer:
        for name, kind, size in tensors:
            if kind == "F32":
                writer.write(name, np.ones(size, dtype=np.float32))
                continue
            n_blocks = size[0] * size[1] // 256
            if kind == "Q6_K":
                blocks = rng.integers(0, 256, (n_blocks, 210), dtype=np.uint8)
                blocks[:, 192:208] = rng.integers(40, 120, (n_blocks, 16))
                blocks[:, -2:] = np.array([1.5e-5], dtype="<f2").view(np.uint8)
                writer.write_raw(name, blocks.reshape(-1))
                continue
            codes = rng.integers(0, 81, (n_blocks, 64), dtype=np.uint8)
            d = np.array([1.2 / size[1] ** 0.5], dtype="<f2")
            if kind == "F16":
                # Byte 32 h + m of a block has values 128 h + 32 f + m.
                digits = np.stack([codes // 3**f % 3 for f in range(4)], axis=1)
                order = digits.reshape(n_blocks, 4, 2, 32).transpose(0, 2, 1, 3)
                writer.write(name, (order.reshape(size) - np.float16(1)) * d)
                continue
            blocks = np.empty((n_blocks, 66), dtype=np.uint8)
            blocks[:, :64] = fields[codes]
            blocks[:, 64:] = d.view(np.uint8)
            writer.write_raw(name, blocks.reshape(-1))


class Ours:
    """This package, in a process of its own."""

    name = "sklearn-ternary"

    def __init__(self, path, n_vocab, n_ctx, options):
        from sklearn_ternary.language import Model

        self.model = Model.from_gguf(path, **options)
        self.n_ctx = n_ctx
        self.cache = self.model.new_cache(8, n_ctx=n_ctx)
        self.logits = np.empty((8, n_vocab), dtype=np.float32)

    def prompt(self, tokens, n_threads, sequences=0):
        """Clear the sequences, read the tokens, wait for the last logits."""
        from sklearn_ternary import config_context

        for sequence in range(8):
            self.cache.truncate(sequence)
        with config_context(n_threads=n_threads):
            start = perf_counter()
            self.model.forward(tokens, self.cache, sequences)
            return perf_counter() - start

    def generate(self, tokens, n_threads):
        """One token after another."""
        from sklearn_ternary import config_context

        self.prompt(tokens[:1], n_threads)
        with config_context(n_threads=n_threads):
            start = perf_counter()
            for i in range(len(tokens)):
                self.model.forward(tokens[i : i + 1], self.cache, out=self.logits[:1])
            return perf_counter() - start

    def generate_8(self, tokens, n_threads):
        """Eight sequences at a time."""
        from sklearn_ternary import config_context

        eight = np.arange(8)
        self.prompt(tokens[:8], n_threads, eight)
        with config_context(n_threads=n_threads):
            start = perf_counter()
            for i in range(len(tokens)):
                eight_tokens = np.full(8, tokens[i])
                self.model.forward(eight_tokens, self.cache, eight, out=self.logits)
            return perf_counter() - start


class Llama:
    """llama.cpp, in a process of its own."""

    name = "llama.cpp"

    def __init__(self, path, n_vocab, n_ctx, options):
        import llama_cpp as llama

        self.llama, self.n_vocab = llama, n_vocab
        self._quiet = llama.llama_log_callback(lambda level, message, data: None)
        llama.llama_log_set(self._quiet, ctypes.c_void_p(0))
        llama.llama_backend_init()
        self.model = llama.llama_model_load_from_file(
            os.fsencode(path), llama.llama_model_default_params()
        )
        if not self.model:
            raise RuntimeError(f"llama.cpp could not load {path}")
        parameters = llama.llama_context_default_params()
        parameters.n_ctx = n_ctx
        parameters.n_batch = parameters.n_ubatch = 512
        parameters.n_seq_max = 8
        parameters.kv_unified = True
        self.context = llama.llama_init_from_model(self.model, parameters)
        self.batch = llama.llama_batch_init(512, 0, 8)

    def _decode(self, tokens, positions, sequences, last_only):
        n, batch = len(tokens), self.batch
        batch.n_tokens = n
        for i in range(n):
            batch.token[i], batch.pos[i] = int(tokens[i]), int(positions[i])
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, int(sequences[i])
            batch.logits[i] = not last_only or i == n - 1
        if self.llama.llama_decode(self.context, batch):
            raise RuntimeError("llama_decode failed")
        row = self.llama.llama_get_logits_ith(self.context, n - 1)
        return np.ctypeslib.as_array(row, (self.n_vocab,))

    def _clear(self, n_threads):
        llama = self.llama
        llama.llama_memory_clear(llama.llama_get_memory(self.context), False)
        llama.llama_set_n_threads(self.context, n_threads, n_threads)

    def prompt(self, tokens, n_threads):
        """The same."""
        self._clear(n_threads)
        zeros = np.zeros(len(tokens), dtype=int)
        start = perf_counter()
        self._decode(tokens, np.arange(len(tokens)), zeros, True)
        return perf_counter() - start

    def generate(self, tokens, n_threads):
        """The same."""
        self.prompt(tokens[:1], n_threads)
        start = perf_counter()
        for i in range(len(tokens)):
            self._decode(tokens[i : i + 1], [i + 1], [0], True)
        return perf_counter() - start

    def generate_8(self, tokens, n_threads):
        """The same."""
        self._clear(n_threads)
        eight = np.arange(8)
        self._decode(tokens[:8], np.zeros(8, dtype=int), eight, False)
        start = perf_counter()
        for i in range(len(tokens)):
            self._decode(np.full(8, tokens[i]), np.full(8, i + 1), eight, False)
        return perf_counter() - start


def resident_bytes():
    """Memory of this process, mapped files included, as the system counts it."""
    with open("/proc/self/status", encoding="ascii") as lines:
        found = dict(line.split(":", 1) for line in lines)
    return 1024 * int(found["VmRSS"].split()[0])


def child(side, path, shape, n_first, n_threads, options):
    """Read a prompt, then answer requests, a JSON line each, until the input ends."""
    vocab = SHAPES[shape][-1]
    rng = np.random.default_rng(1)
    if side == "llama":
        import llama_cpp  # noqa: F401
    else:
        import sklearn_ternary._cpu.language
        import sklearn_ternary.language._model
        import sklearn_ternary.persistence._gguf_reader  # noqa: F401
    before = resident_bytes()
    start = perf_counter()
    engine = (Llama if side == "llama" else Ours)(path, vocab, 1024, options)
    opened = perf_counter() - start
    engine.prompt(rng.integers(0, vocab, n_first), n_threads)
    first = {
        "opened": opened,
        "first_token": perf_counter() - start,
        "resident": resident_bytes() - before,
    }
    print(json.dumps(first), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        tokens = rng.integers(0, vocab, request["n"])
        seconds = getattr(engine, request["what"])(tokens, request["n_threads"])
        answer = {"seconds": seconds, "resident": resident_bytes() - before}
        print(json.dumps(answer), flush=True)


class Side:
    """A child process."""

    def __init__(self, side, path, shape, n_first, n_threads, options):
        self.side = side
        code = (
            f"import sys; sys.path[:0] = {sys.path!r}; "
            f"sys.path.insert(0, {str(Path(__file__).parent)!r}); import language; "
            f"language.child({side!r}, {str(path)!r}, {shape!r}, {n_first}, "
            f"{n_threads}, {options!r})"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.first = json.loads(self.process.stdout.readline())

    def ask(self, **request):
        """Seconds of a request, and the memory afterwards."""
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


class Ik:
    """ik_llama.cpp, a process for each request."""

    side = "ik"

    def __init__(self, folder, path, shape):
        self.bench = folder / "llama-bench"
        self.model = path.with_suffix(".iq2_bn.gguf")
        if self.model.exists():
            return
        halves = path.with_suffix(".f16.gguf")
        write_model(halves, shape, "F16")
        command = [folder / "llama-quantize", "--token-embedding-type", "q6_K"]
        command += [halves, self.model, "IQ2_BN"]
        subprocess.run(command, check=True, capture_output=True)
        halves.unlink()

    def ask(self, what, n, n_threads):
        """Seconds of a request."""
        sizes = ["-p", n, "-n", 0] if what == "prompt" else ["-p", 0, "-n", n]
        command = [self.bench, "-m", self.model, "-rtr", 1, "-r", 1, "-t", n_threads]
        done = subprocess.run(
            [str(word) for word in [*command, *sizes, "-o", "json"]],
            check=True,
            capture_output=True,
            text=True,
        )
        (row,) = json.loads(done.stdout)
        return {"seconds": row["avg_ns"] / 1e9}


def measure(path, shape, arguments):
    """Rows of results: what, number of tokens, threads, side, tokens per second."""
    sides = ["ours"]
    if importlib.util.find_spec("llama_cpp") is not None:
        sides.append("llama")
    results, loads = [], []
    options = {"layout": arguments.layout}
    children = []
    starts = [(t, n) for t in arguments.threads for n in arguments.first]
    for n_threads, n in starts:
        for side in sides:
            best = None
            for turn in range(arguments.loads):
                process = Side(side, path, shape, n, n_threads, options)
                if best is None or process.first["first_token"] < best["first_token"]:
                    best = process.first
                if turn + 1 == arguments.loads and (n_threads, n) == starts[0]:
                    # A prompt that is not counted: we lay the weights out for it.
                    process.ask(what="prompt", n=64, n_threads=n_threads)
                    children.append(process)
                else:
                    process.close()
            loads.append({"side": side, "n": n, "n_threads": n_threads, **best})
            print(
                f"load {side:<6} {n_threads} thread(s), prompt of {n}: first token "
                f"{best['first_token']:.3f} s (opened {best['opened']:.3f} s), "
                f"{best['resident'] / 2**20:.0f} MiB",
                flush=True,
            )
    ik = [Ik(arguments.ik, path, shape)] if arguments.ik else []
    requests = [("prompt", n) for n in arguments.prompt]
    requests += [("generate", n) for n in arguments.generate]
    requests += [("generate_8", n) for n in arguments.generate if arguments.batched]
    for what, n in requests:
        for n_threads in arguments.threads:
            best = {}
            rounds = arguments.rounds
            if what == "prompt":
                rounds = arguments.prompt_rounds or rounds
            taking_part = children if what == "generate_8" else [*children, *ik]
            for _ in range(rounds):
                for process in taking_part:
                    answer = process.ask(what=what, n=n, n_threads=n_threads)
                    seconds = answer["seconds"]
                    best[process.side] = min(seconds, best.get(process.side, 1e9))
            total = 8 * n if what == "generate_8" else n
            rates = {side: total / seconds for side, seconds in best.items()}
            text = ", ".join(f"{s} {rate:.1f} tok/s" for s, rate in rates.items())
            for side in rates.keys() - {"ours"}:
                text += f", {rates['ours'] / rates[side]:.2f}x {side}"
            print(f"{what} {n}, {n_threads} thread(s): {text}", flush=True)
            results.append({"what": what, "n": n, "n_threads": n_threads, **rates})
    for process in children:
        answer = process.ask(what="generate", n=1, n_threads=1)
        loads.append({"side": process.side, "at_the_end": answer["resident"]})
        process.close()
    return loads, results


def limits(threads):
    """Multiply-adds of bytes a second and bytes a second from memory."""
    from sklearn_ternary._cpu.aligned_memory import allocate
    from sklearn_ternary._cpu.product_levels import vector_level
    from sklearn_ternary._kernels import _matmul
    from sklearn_ternary._kernels._cpu_features import supported_isas

    level = vector_level(supported_isas()[0])
    memory = allocate(2**28)
    memory[:] = 1
    found = {}
    for n in threads:
        best = 1e9
        for _ in range(5):
            start = perf_counter()
            _matmul.read(memory, level, n)
            best = min(best, perf_counter() - start)
        found[f"memory {n}"] = memory.nbytes / best
    best = 1e9
    for _ in range(5):
        start = perf_counter()
        done = _matmul.int8_peak(50_000, level)
        best = min(best, perf_counter() - start)
    found["int8_peak"] = done / best
    return found


def bytes_of_token(shape):
    """Bytes of weights that a generated token reads at 1.6 bits a code, and codes."""
    embd, layers, ff, heads, kv_heads, vocab = SHAPES[shape]
    kv = embd // heads * kv_heads
    codes = layers * (2 * embd * embd + 2 * kv * embd + 3 * embd * ff)
    return codes / 5 + vocab * embd * 53 / 64, codes


def main():
    """Run as a script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--model", help="a file to keep or to use again")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--prompt", type=int, nargs="+", default=[512])
    parser.add_argument(
        "--first", type=int, nargs="+", default=[1, 16], help="tokens of first prompts"
    )
    parser.add_argument("--generate", type=int, nargs="+", default=[32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt-rounds", type=int, help="default: as --rounds")
    parser.add_argument("--loads", type=int, default=2)
    parser.add_argument("--layout", choices=["auto", "t2", "t5"], default="auto")
    parser.add_argument("--batched", action="store_true", help="8 sequences at a time")
    parser.add_argument("--ik", type=Path, help="folder of ik_llama.cpp's programs")
    parser.add_argument("-o", "--output", help="JSON file to write")
    arguments = parser.parse_args()
    machine = describe_machine()
    print(f"{machine['cpu']}, {machine['date']}")
    notes = [] if importlib.util.find_spec("llama_cpp") else [INSTALL]
    notes += [] if arguments.ik else [IK_MISSING]
    print(*notes, sep="\n")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(arguments.model or Path(folder) / "model.gguf")
        if not path.exists():
            write_model(path, arguments.shape)
        loads, results = measure(path, arguments.shape, arguments)
    found = limits(arguments.threads)
    n_bytes, n_codes = bytes_of_token(arguments.shape)
    for row in results:
        if row["what"] == "generate":
            rate = row["ours"] * n_bytes / found[f"memory {row['n_threads']}"]
            row["of_memory"] = rate
        elif row["what"] == "prompt":
            peak = found["int8_peak"] * row["n_threads"]
            row["of_peak"] = row["ours"] * 2 * n_codes / peak
    for row in results:
        print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()})
    print({k: f"{v / 1e9:.1f} G/s" for k, v in found.items()})
    if arguments.output:
        content = {
            "format": "sklearn-ternary peers language 1",
            "machine": machine,
            "notes": notes,
            "shape": arguments.shape,
            "rounds": arguments.rounds,
            "limits": found,
            "loads": loads,
            "results": results,
        }
        write_results(arguments.output, content)


if __name__ == "__main__":
    main()
