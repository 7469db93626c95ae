"""Percentiles of groups of columns."""

import numpy as np

from sklearn_ternary import _dispatch
from sklearn_ternary._config import current_config
from sklearn_ternary._gpu.arrays import device_of, is_device_array
from sklearn_ternary.quantization._groups import row_panels


def group_percentiles(X, group_size, at, *, magnitudes):
    """Percentiles, linearly interpolated, of the values of each group of columns.

    Values of a device are sorted there, and so are those of the host if a device is
    asked for and has room; what lies on both sides of a percentile is interpolated on
    the host, so that the bits are those of `numpy.percentile`.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32 or float64
        Of NumPy or CuPy.
    group_size : int
        Columns of a group; the last may have fewer.
    at : list of float
        Between 0 and 100.
    magnitudes : bool
        Whether to take magnitudes for values.

    Returns
    -------
    percentiles : ndarray of shape (len(at), n_groups)
        Of the host.
    """
    config = current_config()
    X = _dispatch.placed(X, config=config)
    percentiles = _by_sorting if is_device_array(X) else _of_host
    found = []
    n_features, n_samples = X.shape[1], X.shape[0]
    whole = n_features // group_size
    with device_of(X), np.errstate(under="ignore"):
        # The groups of one size, and the shorter one.
        for first, last, size in (
            (0, whole * group_size, group_size),
            (whole * group_size, n_features, n_features - whole * group_size),
        ):
            n_values = n_samples * size
            panels = row_panels(
                (last - first) // max(size, 1),
                n_values,
                4 * X.itemsize,
                config.working_memory,
            )
            for groups in panels:
                start, stop = (first + g * size for g in (groups.start, groups.stop))
                values = _dispatch.columns(X, start, stop).reshape(-1, n_values)
                values = abs(values) if magnitudes else values
                found.append(percentiles(values, at))
    return np.concatenate(found, axis=1)


def _shrink(largest, dtype):
    """What keeps differences of the largest numbers within the range."""
    huge = largest > np.finfo(dtype).max / 4
    return np.where(huge, dtype.type(0.25), dtype.type(1))


def _of_host(values, at):
    """Percentiles of each row."""
    shrink = _shrink(np.abs(values).max(axis=1), values.dtype)
    return np.percentile(values * shrink[:, None], at, axis=1) / shrink


def _by_sorting(values, at):
    """The same for rows of a device."""
    n = values.shape[1]
    places = (n - 1) * np.true_divide(at, values.dtype.type(100))
    before = np.floor(places).astype(int)
    wanted = [0, n - 1, *before, *np.minimum(before + 1, n - 1)]
    wanted = np.asarray(wanted, like=values)
    least, largest, *sides = np.sort(values, axis=1)[:, wanted].get().T
    shrink = _shrink(np.maximum(-least, largest), values.dtype)
    below, above = np.reshape(sides, (2, len(at), -1)) * shrink
    gamma = (places - before)[:, None]
    difference = above - below
    found = below + difference * gamma
    found = np.where(gamma >= 0.5, above - difference * (1 - gamma), found)
    return found / shrink
