"""Spread one parameter per group over the values of the group."""

import numpy as np


def n_groups(n_columns, group_size):
    """Number of groups a row of `n_columns` values is cut into."""
    return -(-n_columns // group_size) if n_columns else 0


def spread(parameter, n_columns, group_size):
    """Repeat a parameter of shape (R or 1, G) to shape (R or 1, n_columns)."""
    group_size = min(group_size, n_columns or 1)
    return np.repeat(parameter, group_size, axis=1)[:, :n_columns]
