"""Measure quantizing, packing and unpacking beside NumPy, memcpy and gguf-py."""

import numpy as np

from sklearn_ternary import _dispatch
from sklearn_ternary._config import config_context
from sklearn_ternary.cli._bench_cuda import cuda_tasks
from sklearn_ternary.cli._bench_turns import (
    Configured,
    available_isas,
    measure_in_turns,
)
from sklearn_ternary.quantization import ternarize

NUMPY_EXPRESSION = "np.clip(np.rint(x/np.abs(x).mean()), -1, 1).astype(np.int8)"
MEMCPY = "np.copyto(y, x)"
GGUF = "gguf.quants.quantize(x, TQ2_0)"


def run_quantize_benchmark(size, rounds, isas, threads, peers=True, device="cpu"):
    """Measure the operations on `size` float32 values from a normal distribution.

    Parameters
    ----------
    size : int
        Number of values; whole multiples of 256 suit every peer.
    rounds : Rounds
        Number of rounds.
    isas : sequence of str
        Instruction sets of the ``cpu`` backend; ``"numpy"`` is the ``numpy``
        backend.
    threads : sequence of int
    peers : bool, default=True
        Whether gguf-py is measured, if it is installed.
    device : {"cpu", "cuda"}, default="cpu"
        With ``"cuda"`` a CUDA device is measured, too: on values that lie there,
        and with the copies from and to the host.

    Returns
    -------
    rows : list of dict
        ``operation``, ``isa``, ``n_threads``, ``size``, ``seconds`` (None where
        it cannot run, with the reason in ``note``), ``expression`` (of a
        baseline), and ``vs_numpy`` and ``vs_memcpy``: how many times faster than
        the NumPy expression, and how many times as long as copying the input.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal(size, dtype=np.float32)
    rows, tasks = [], []

    def add(operation, isa, n_threads, function, expression=None, note=None):
        rows.append(
            {
                "operation": operation,
                "isa": isa,
                "n_threads": n_threads,
                "size": size,
                "seconds": None,
                "expression": expression,
                "note": note,
            }
        )
        tasks.append(function)

    copy = np.empty_like(x)
    add("memcpy", None, 1, lambda: np.copyto(copy, x), MEMCPY)
    add("numpy", None, 1, lambda: _numpy_expression(x), NUMPY_EXPRESSION)
    if peers:
        function, note = _gguf_task(x)
        add("gguf-py", None, 1, function, GGUF, note)
    for isa in isas:
        # The numpy backend has no threads.
        for n_threads in [1] if isa == "numpy" else threads:
            for operation, function in _tasks(x, isa, n_threads):
                note = None if function else f"{isa} is not available here"
                add(operation, isa, n_threads, function, None, note)
    for operation, label, function, note in cuda_tasks(x) if device == "cuda" else ():
        add(operation, label, 1, function, None, note)
    measure_in_turns(rows, tasks, rounds)
    base = {row["operation"]: row["seconds"] for row in rows[:2]}
    for row in rows:
        seconds = row["seconds"]
        row["vs_numpy"] = base["numpy"] / seconds if seconds else None
        row["vs_memcpy"] = seconds / base["memcpy"] if seconds else None
    return rows


def _numpy_expression(x):
    return np.clip(np.rint(x / np.abs(x).mean()), -1, 1).astype(np.int8)


def _gguf_task(x):
    try:
        import gguf
    except ImportError:
        return None, "gguf is not installed"
    if x.size % 256:
        return None, "gguf-py needs a multiple of 256 values"
    kind = gguf.GGMLQuantizationType.TQ2_0
    return lambda: gguf.quants.quantize(x, kind), None


def _tasks(x, isa, n_threads):
    """Operations by name; None where the instruction set is not available."""
    names = ("quantize absmean", "quantize mse", "pack", "unpack")
    if isa == "numpy":
        options = {"backend": "numpy"}
    elif isa in available_isas():
        options = {"backend": "cpu", "isa": isa, "strict": True}
    else:
        return [(name, None) for name in names]
    options["n_threads"] = n_threads
    with config_context(**options):
        A = ternarize(x, layout="t2")
        codes = A.codes().reshape(1, -1)

    functions = (
        lambda: ternarize(x, scale="absmean", layout="t2"),
        lambda: ternarize(x, scale="mse", layout="t2"),
        lambda: _dispatch.pack(codes, "t2"),
        A.toarray,
    )
    return [
        (name, Configured(function, options))
        for name, function in zip(names, functions, strict=True)
    ]
