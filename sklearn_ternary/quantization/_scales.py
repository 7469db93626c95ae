"""Scales and thresholds of whole arrays, columns and groups of columns."""

import numpy as np

from sklearn_ternary import _dispatch
from sklearn_ternary._config import get_config
from sklearn_ternary._gpu.arrays import like, namespace, to_host
from sklearn_ternary._reference.quantize import threshold_of
from sklearn_ternary.quantization._groups import row_panels

SCALES = ("absmean", "twn", "mse", "absmax", "norm")
RUNNING_SCALES = ("absmean", "absmax")
PANEL = 4  # MiB of columns at a time


def check_scale(scale, n_levels):
    """Raise ValueError for a `scale` that is unknown or not defined here."""
    if isinstance(scale, str):
        if scale not in SCALES:
            raise ValueError(
                f"scale={scale!r} is unknown; choose one of {list(SCALES)}, "
                "a number or an array"
            )
        if scale == "twn" and n_levels != 3:
            raise ValueError(
                f"scale='twn' is defined for n_levels=3, not n_levels={n_levels}"
            )


def given_scale(scale, shape, X, n_levels):
    """Scale and threshold, where X is, from a number or an array that fits `shape`."""
    values = np.asarray(to_host(scale), dtype=X.dtype)
    if values.ndim == 0:
        values = np.full(shape, values)
    elif values.size != np.prod(shape):
        raise ValueError(
            f"scale has shape {values.shape}, which does not give one value to "
            f"each of the {int(np.prod(shape))} groups"
        )
    values = np.ascontiguousarray(values.reshape(shape))
    if not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError(f"scale={scale!r} must be finite and not negative")
    return like(values, X), like(threshold_of(values, n_levels), X)


def matrix_scale(X, scale, n_levels):
    """One scale for the whole of X: scale and threshold of shape (1, 1)."""
    return _dispatch.group_scale(X.reshape(1, -1), max(X.size, 1), scale, n_levels)


def column_scale(X, scale, n_levels):
    """One scale per column of X: scale and threshold of shape (1, K)."""
    if scale == "absmean":
        total = like(np.zeros(X.shape[1]), X)
        _dispatch.column_abs_sum(X, total)
        check_sums(to_host(total), X)
        return mean_scale(total, X.shape[0], X.dtype, n_levels)
    if scale == "absmax":
        largest = like(np.zeros(X.shape[1], dtype=X.dtype), X)
        _dispatch.column_abs_max(X, largest)
        return largest[None], threshold_of(largest[None], n_levels)
    # The columns as rows, a panel at a time.
    # Caches hold most of a panel, and no line of X is read for one of its values only.
    line_of_columns = 16 * X.shape[0] * X.itemsize / 2**20
    memory = min(get_config()["working_memory"], max(PANEL, line_of_columns))
    parts = [
        _dispatch.group_scale(
            _dispatch.columns(X, panel.start, panel.stop),
            max(X.shape[0], 1),
            scale,
            n_levels,
        )
        for panel in row_panels(X.shape[1], X.shape[0], X.itemsize, memory)
    ]
    scales, thresholds = zip(*parts, strict=True)
    xp = namespace(X)
    return xp.concatenate(scales).T.copy(), xp.concatenate(thresholds).T.copy()


def check_sums(total, X):
    """Raise ValueError if `total`, the column sums, overflowed.

    Sums that are infinite because X has infinities are not this error.
    """
    overflow = np.isinf(total)
    if overflow.any() and _dispatch.find_nonfinite(X) < 0:
        raise ValueError(
            f"the magnitudes of column {int(np.argmax(overflow))} add up to more "
            "than float64 can hold; divide X by a constant first"
        )


def mean_scale(total, count, dtype, n_levels):
    """Scales and thresholds, (1, G), from sums of `count` magnitudes each."""
    scale = (total / max(count, 1)).astype(dtype)[None]
    return scale, threshold_of(scale, n_levels)
