"""Steps of the transportation problem."""

import numpy as np

from sklearn_ternary._kernels import _transport
from sklearn_ternary._kernels._cpu_features import ISA_LEVELS


def cheapest(costs, prices, *, n_threads, isa):
    """Where each row goes."""
    n = costs.shape[1]
    found = np.empty((2, n), dtype=np.int32), np.empty((2, n))
    (first, second), (least, elsewhere) = found
    level = ISA_LEVELS[isa.partition("+")[0]]
    _transport.cheapest(
        costs, prices, first, second, least, elsewhere, level, n_threads
    )
    return first, second, least, elsewhere


def follow_paths(
    costs, labels, given, surplus, smallest, largest, tolerance, *, n_threads, isa
):
    """Move rows along shortest paths; one after another, one build for every `isa`."""
    k, n = costs.shape
    lengths = np.empty((k + 1, k + 1))
    _transport.follow_paths(
        *(costs, labels, given, surplus, smallest, largest, tolerance, lengths),
        np.empty((k, k), dtype=np.int32),
        np.empty((2, n), dtype=np.int32),
        np.empty((4, k + 1), dtype=np.int32),
        np.empty(n),
        np.empty((2, k + 1)),
    )
    return lengths
