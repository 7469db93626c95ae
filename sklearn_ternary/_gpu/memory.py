"""How much memory of a device may be used, and less where that was too much.

CuPy's allocators are the user's: nothing here sets limits or replaces them. What
may be taken is a `fraction` of what is free.
"""

import math

from sklearn_ternary._gpu.device import require

# NumPy arrays go to a device in pieces of about so many bytes.
PIECE_BYTES = 128 * 2**20
# Memory for a piece: its arrays, its results and what is needed on the way, twice.
_PER_INPUT_BYTE = 6


def free_bytes(cupy):
    """Bytes that can be allocated: the device's free ones and the pool's."""
    free, _ = cupy.cuda.runtime.memGetInfo()
    return free + cupy.get_default_memory_pool().free_bytes()


def fits(n_bytes, fraction):
    """Whether so many bytes may be taken on the current device."""
    return n_bytes <= fraction * free_bytes(require())


def piece_rows(cupy, n_rows, row_bytes, fraction):
    """Rows of a piece so that two of them and their results fit.

    Raises
    ------
    RuntimeError
        If not even one row fits; the CPU may have more.
    """
    free = free_bytes(cupy)
    budget = fraction * free / _PER_INPUT_BYTE
    if row_bytes > budget:
        raise RuntimeError(
            f"the device's memory does not suffice: {free} bytes are free, of which "
            f"max_device_fraction={fraction} may be taken, for two rows of {row_bytes} "
            "bytes and their results"
        )
    return max(1, min(n_rows, int(min(budget, PIECE_BYTES) // max(row_bytes, 1))))


def halving(cupy, rows, work):
    """Call ``work(rows)``, with half as many rows whenever memory runs out.

    Raises
    ------
    RuntimeError
        If there is not enough for one row; the CPU may have more.
    """
    while True:
        try:
            return work(rows)
        except cupy.cuda.memory.OutOfMemoryError as error:
            # The traceback holds the arrays of the call that failed.
            message = str(error)
            error.__traceback__ = None
        cupy.get_default_memory_pool().free_all_blocks()
        if rows <= 1:
            raise RuntimeError(f"the device's memory does not suffice: {message}")
        rows = math.ceil(rows / 2)


def suffices(function, size, max_utilization):
    """Whether ``function(size)`` works and leaves enough memory free."""
    try:
        function(size)
    except MemoryError as error:
        error.__traceback__ = None
        _free_blocks()
        return False
    if _utilization() <= max_utilization:
        return True
    _free_blocks()
    return False


def _free_blocks():
    try:
        require().get_default_memory_pool().free_all_blocks()
    except RuntimeError:
        return


def _utilization():
    """Part of the current device's memory that is in use; 0 without a device.

    Blocks of the pool count: they are what the last batch needed.
    """
    try:
        cupy = require()
    except RuntimeError:
        return 0.0
    free, total = cupy.cuda.runtime.memGetInfo()
    return (total - free) / total
