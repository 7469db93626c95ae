"""Measure products with packed matrices beside NumPy's."""

import numpy as np
from threadpoolctl import threadpool_limits

from sklearn_ternary._config import config_context
from sklearn_ternary.cli._bench_cuda import RESIDENT, cuda_product
from sklearn_ternary.cli._bench_turns import available_isas, measure_in_turns
from sklearn_ternary.linalg import ternary_matmul
from sklearn_ternary.quantization import ternarize

NUMPY_PRODUCT = "np.matmul(X, W.T), float32"
ACTIVATIONS = ("int8", "float32")


def run_products_benchmark(shape, n_rows, rounds, isas, threads, device):
    """Measure ``X @ A.T`` for a packed matrix A and rows of X.

    Parameters
    ----------
    shape : tuple of int
        Shape of A.
    n_rows : int
        Rows of X.
    rounds : Rounds
        Number of rounds.
    isas : sequence of str
        Instruction sets of the ``cpu`` backend; ``"numpy"`` is the ``numpy``
        backend.
    threads : sequence of int
        NumPy's product is measured with each.
    device : {"cpu", "cuda"}
        Whether to measure on a device, too, with everything there.

    Returns
    -------
    rows : list of dict
        ``operation``, ``isa``, ``n_threads``, ``shape``, ``n_rows``, ``seconds``
        (None where it cannot run, with the reason in ``note``), ``vs_numpy``: how
        many times faster than NumPy's product of the floats with as many threads,
        ``operations_per_second``, and ``device_bytes``, what it takes of a device's
        memory.
    """
    rng = np.random.default_rng(0)
    W = rng.standard_normal(shape, dtype=np.float32)
    X = rng.standard_normal((n_rows, shape[1]), dtype=np.float32)
    A = ternarize(W, layout="t2").T
    rows, tasks = [], []

    def add(operation, isa, n_threads, function, note=None, device_bytes=None):
        rows.append(
            {
                "operation": operation,
                "isa": isa,
                "n_threads": n_threads,
                "shape": list(shape),
                "n_rows": n_rows,
                "seconds": None,
                "note": note,
                "device_bytes": device_bytes,
            }
        )
        tasks.append(function)

    for n_threads in threads:
        add("numpy", None, n_threads, _limited(lambda: X @ W.T, n_threads))
    for isa in isas:
        # The numpy backend has no threads of its own.
        for n_threads in [1] if isa == "numpy" else threads:
            for activations in ACTIVATIONS:
                if isa in ("numpy", *available_isas()):
                    task, note = _task(X, A, activations, isa, n_threads), None
                else:
                    task, note = None, f"{isa} is not available here"
                add(f"multiply {activations}", isa, n_threads, task, note)
    if device == "cuda":
        for activations in ACTIVATIONS:
            task, n_bytes, note = cuda_product(W, X, activations)
            add(f"multiply {activations}", RESIDENT, 1, task, note, n_bytes)
    measure_in_turns(rows, tasks, rounds)
    base = {r["n_threads"]: r["seconds"] for r in rows if r["isa"] is None}
    operations = 2 * W.size * n_rows
    for row in rows:
        seconds = row["seconds"]
        rival = base.get(row["n_threads"])
        row["vs_numpy"] = rival / seconds if seconds and rival else None
        row["operations_per_second"] = operations / seconds if seconds else None
    return rows


def _limited(function, n_threads):
    def run():
        with threadpool_limits(n_threads):
            function()

    return run


def _task(X, A, activations, isa, n_threads):
    options = {"backend": "numpy", "n_threads": 1}
    if isa != "numpy":
        options = {"backend": "cpu", "isa": isa, "strict": True}
        options["n_threads"] = n_threads

    def run():
        with config_context(**options):
            ternary_matmul(X, A, activations=activations)

    return run
