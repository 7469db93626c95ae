"""What ``bench --device cuda`` measures: on the device, and from host to host."""

from sklearn_ternary import cuda
from sklearn_ternary._config import config_context
from sklearn_ternary.linalg import ternary_matmul
from sklearn_ternary.quantization import ternarize

RESIDENT = "cuda"
WITH_COPIES = "cuda, copies"
_NAMES = ("quantize absmean", "unpack")
MOST = 0.8  # of a device's memory that is filled


def cuda_tasks(x):
    """Yield operation, label, function and note for float32 values of the host.

    The function waits for the device. Without one it is None, and the note says why.
    """
    info = cuda.device_info()
    if not info["available"]:
        for label in (RESIDENT, WITH_COPIES):
            for name in _NAMES:
                yield name, label, None, info["reason"]
        return
    import cupy

    on_device = cupy.asarray(x)
    for label, values in ((RESIDENT, on_device), (WITH_COPIES, x)):
        with config_context(backend="cuda", strict=True):
            A = ternarize(values, layout="t2")
        functions = (_quantize(values), A.toarray)
        for name, function in zip(_NAMES, functions, strict=True):
            yield name, label, _waiting(cupy, function), None


def cuda_product(W, X, activations):
    """A product with packed weights on the device, for arrays of the host.

    Returns
    -------
    function : callable or None
        Computes it and waits for the device. None where it cannot run.
    n_bytes : int or None
        What the weights, the rows, the product and its work take of the device.
    note : str or None
        Why it cannot run.
    """
    info = cuda.device_info()
    if not info["available"]:
        return None, None, info["reason"]
    import cupy

    memory = cuda.memory_info()
    n_rows = len(X)
    if X.nbytes + n_rows * len(W) * X.itemsize > MOST * memory["total"]:
        return None, None, f"{n_rows} rows take more than {MOST:.0%} of the memory"
    cuda.free_all_blocks()
    before = _taken()
    A, rows = ternarize(cupy.asarray(W), layout="t2").T, cupy.asarray(X)
    cuda.free_all_blocks()  # what was taken to pack
    function = _waiting(cupy, lambda: ternary_matmul(rows, A, activations=activations))
    function()
    return function, _taken() - before, None


def _taken():
    memory = cuda.memory_info()
    return memory["used"] + memory["pooled"]


def _quantize(values):
    return lambda: ternarize(values, layout="t2")


def _waiting(cupy, function):
    def run():
        with config_context(backend="cuda", strict=True):
            function()
        cupy.cuda.get_current_stream().synchronize()

    return run
