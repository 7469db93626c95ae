"""Memory for weights: on lines of the cache, from huge pages."""

import contextlib
import math
import mmap

import numpy as np

_HUGE_PAGE = 2**21


def allocate(n_bytes):
    """Uint8 array, on a line of the cache, from huge pages that it fills by half."""
    whole = -(-n_bytes // _HUGE_PAGE) * _HUGE_PAGE
    if whole - n_bytes > _HUGE_PAGE // 2:
        whole -= _HUGE_PAGE
    if whole and hasattr(mmap, "MADV_HUGEPAGE"):
        size = max(whole, n_bytes) + _HUGE_PAGE
        try:
            memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            # Not an OSError: another backend would take as much.
            raise MemoryError(f"no memory for {size} bytes ({error})") from None
        start = -np.frombuffer(memory, dtype=np.uint8).ctypes.data % _HUGE_PAGE
        with contextlib.suppress(OSError):  # a kernel may be built without huge pages
            memory.madvise(mmap.MADV_HUGEPAGE, start, whole)
        return np.frombuffer(memory, np.uint8, n_bytes, start)
    memory = np.empty(n_bytes + 128, dtype=np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + max(n_bytes, 64)]


def zeros(shape, dtype):
    """Array of zeros in such memory."""
    dtype = np.dtype(dtype)
    n_bytes = math.prod(shape) * dtype.itemsize
    memory = allocate(n_bytes)[:n_bytes]
    memory[...] = 0
    return memory.view(dtype).reshape(shape)
