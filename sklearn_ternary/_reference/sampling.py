"""Which tokens of a vocabulary can come next: the definition."""

import numpy as np


def keep(values, ids, threshold, n_equal):
    """Move what is kept to the front, in order.

    Parameters
    ----------
    values : ndarray of shape (n,), float64
        Changed in place, as `ids` are.
    ids : ndarray of shape (n,), int64
    threshold : float
        What is above it is kept.
    n_equal : int
        So many of those that equal it are, the first ones.

    Returns
    -------
    n_kept : int
    """
    kept = values > threshold
    kept[np.flatnonzero(values == threshold)[:n_equal]] = True
    n = np.count_nonzero(kept)
    values[:n] = values[kept]
    ids[:n] = ids[kept]
    return n
