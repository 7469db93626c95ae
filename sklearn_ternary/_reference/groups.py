"""Spread one parameter per group over the values of the group."""

import numpy as np


def n_groups(n_columns, group_size):
    """Number of groups a row of `n_columns` values is cut into."""
    return -(-n_columns // group_size) if n_columns else 0


def batches_of(bounds, n_values):
    """Ranges of groups that hold at most so many values together, or of one group.

    Parameters
    ----------
    bounds : ndarray of shape (n_groups + 1,), int
        Where each group of a flat array starts, and the last ends.
    n_values : int
    """
    first, n_groups = 0, len(bounds) - 1
    while first < n_groups:
        last = np.searchsorted(bounds, bounds[first] + n_values, side="right") - 1
        last = int(max(last, first + 1))
        yield first, last
        first = last


def spread(parameter, n_columns, group_size):
    """Repeat a parameter of shape (R or 1, G) to shape (R or 1, n_columns)."""
    group_size = min(group_size, n_columns or 1)
    return np.repeat(parameter, group_size, axis=1)[:, :n_columns]
