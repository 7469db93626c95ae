"""Where the first NaN or infinity is."""

import numpy as np

from sklearn_ternary._cpu.by_dtype import by_dtype
from sklearn_ternary._kernels import _reduce
from sklearn_ternary._kernels._cpu_features import ISA_LEVELS

_FIND_NONFINITE = by_dtype(_reduce.find_nonfinite)


def find_nonfinite(X, *, n_threads, isa):
    """Flat index (C order) of the first value that is not finite, or -1."""
    first = np.empty(max(1, n_threads), dtype=np.int64)
    _FIND_NONFINITE[X.dtype.char](X, first, ISA_LEVELS[isa], n_threads)
    return next((int(i) for i in first if i >= 0), -1)
