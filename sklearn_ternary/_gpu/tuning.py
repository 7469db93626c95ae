"""Measuring how many blocks of a kernel are best for each multiprocessor."""

import math

import numpy as np

from sklearn_ternary._gpu.grids import (
    CANDIDATES,
    DEFAULT,
    blocks_per_multiprocessor,
    use,
)
from sklearn_ternary._gpu.pack import unpack_values
from sklearn_ternary._gpu.quantize import (
    quantize_codes,
    quantize_pack,
    quantize_values,
)
from sklearn_ternary._gpu.scales import group_scale

# Another number is taken if it saves at least this part of the time.
_GAIN = 0.02
_REPEAT = 5
_COLUMNS = 4096
_ROWS = 16384


def measure(cupy, name, operations):
    """The best of `CANDIDATES`, and the milliseconds of each: geometric means.

    Parameters
    ----------
    cupy : module
    name : str
        Of the current device, which has the best candidate from then on.
    operations : list of callable
        Start kernels on the current stream.
    """
    before = blocks_per_multiprocessor(name)
    logs = dict.fromkeys(CANDIDATES, 0.0)
    try:
        for operation in operations:
            times = {blocks: [] for blocks in CANDIDATES}
            for i in range(_REPEAT + 1):
                # One after another, so that all see the same clock.
                for blocks in CANDIDATES:
                    use(name, blocks)
                    times[blocks].append(_milliseconds(cupy, operation, i == 0))
            for blocks, found in times.items():
                logs[blocks] += math.log(np.median(found[1:])) / len(operations)
    finally:
        use(name, before)
    found = {blocks: math.exp(log) for blocks, log in logs.items()}
    best = min(CANDIDATES, key=found.get)
    if found[best] > found[DEFAULT] * (1 - _GAIN):
        best = DEFAULT
    use(name, best)
    return best, found


def _milliseconds(cupy, operation, warm_up):
    if warm_up:
        operation()
        return None
    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    start.record()
    operation()
    end.record()
    end.synchronize()
    return max(cupy.cuda.get_elapsed_time(start, end), 1e-6)


def typical_operations(cupy):
    """Operations on values that do not fit into the caches, as callables."""
    X = cupy.arange(_ROWS * _COLUMNS, dtype=np.float32).reshape(_ROWS, _COLUMNS)
    X = X % 7 - 3
    scale, threshold = group_scale(X, 64, "absmean", 3)
    packed = quantize_pack(X, threshold, 64, 3, "t5")
    return [
        lambda: group_scale(X, 64, "absmean", 3),
        lambda: quantize_codes(X, threshold, 64, 3),
        lambda: quantize_pack(X, threshold, 64, 3, "t5"),
        lambda: quantize_values(X, threshold, scale, 64, 3),
        lambda: unpack_values(packed, _COLUMNS, "t5", scale, 64),
    ]
