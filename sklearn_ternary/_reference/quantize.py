"""Scales, thresholds and codes.

A value x of a group with scale s has the code nearest to x / s on the levels,
ties towards the smaller magnitude: on three levels that is
``clip(rint(x / s), -1, 1)``. It is decided by comparing with thresholds that
are computed once per group, so that every backend decides alike.
"""

import numpy as np

from sklearn_ternary._reference.groups import n_groups, spread
from sklearn_ternary._reference.pack import code_values, pack
from sklearn_ternary._reference.sums import ordered_sum, scaling_exponent

TWN_RATIO = 0.7


def threshold_of(scale, n_levels):
    """Largest magnitude whose code is 0, for each scale (same dtype).

    That is s / 2 on three levels and s / 4 on five, rounded down. It is
    infinite where the scale is 0, so that everything there has code 0.
    """
    divisor = scale.dtype.type(n_levels - 1)
    with np.errstate(under="ignore", invalid="ignore"):
        t = scale / divisor
        t = np.where(t * divisor > scale, np.nextafter(t, scale.dtype.type(0)), t)
    return np.where(scale == 0, scale.dtype.type(np.inf), t)


def columns(X, start, stop):
    """The columns of X from `start` to `stop` as rows, of shape (stop - start, R)."""
    return np.ascontiguousarray(X[:, start:stop].T)


def group_scale(X, group_size, scale, n_levels):
    """Scale and threshold of every group.

    Parameters
    ----------
    X : ndarray of shape (R, K)
        A group with a NaN or an infinity gets a scale that is NaN or infinite.
    group_size : int
    scale : {"absmean", "twn", "mse", "absmax", "norm"}
    n_levels : {3, 5}
        ``twn`` is defined for 3 only.

    Returns
    -------
    scale, threshold : ndarray of shape (R, G), of the dtype of X
    """
    n_rows, n_columns = X.shape
    shape = (n_rows, n_groups(n_columns, group_size))
    scales = np.zeros(shape, dtype=X.dtype)
    thresholds = np.zeros(shape, dtype=X.dtype)
    for r in range(shape[0]):
        for g in range(shape[1]):
            x = np.abs(X[r, g * group_size : (g + 1) * group_size])
            if not np.isfinite(x).all():
                scales[r, g] = thresholds[r, g] = np.nan
                continue
            e = scaling_exponent(x)
            s, t = _SCALES[scale](np.ldexp(x, -e), n_levels)
            with np.errstate(under="ignore", over="ignore"):
                scales[r, g] = _rounded(np.ldexp(s, e), X.dtype)
            thresholds[r, g] = _ldexp_down(t, e)
    return scales, np.where(scales == 0, X.dtype.type(np.inf), thresholds)


def _ldexp_down(t, e):
    """t * 2**e, rounded down: comparing with it tells what comparing with t did."""
    with np.errstate(under="ignore", over="ignore"):
        scaled = np.ldexp(t, e)
        if np.ldexp(scaled, -e) > t:
            scaled = np.nextafter(scaled, t.dtype.type(0))
    return scaled


def _rounded(x, dtype):
    """x in `dtype`, at most its largest number: best scales can be beyond it."""
    return dtype.type(min(x, np.finfo(dtype).max))


# Each takes the magnitudes of one group and returns its scale and threshold,
# rounded once to the dtype of the group.


def _absmean(x, n_levels):
    s = x.dtype.type(ordered_sum(x) / x.size)
    return s, threshold_of(s, n_levels)


def _absmax(x, n_levels):
    s = x.max()
    return s, threshold_of(s, n_levels)


def _twn(x, n_levels):
    """Ternary weight networks (Li et al., 2016), section 2.2."""
    threshold = x.dtype.type(TWN_RATIO * (ordered_sum(x) / x.size))
    return x.dtype.type(_mean_above(x, threshold)), threshold


def _mse(x, n_levels):
    s = _rounded(_best_scale(x, n_levels), x.dtype)
    return s, threshold_of(s, n_levels)


def _norm(x, n_levels):
    """The codes of ``mse``, and the scale that keeps the Euclidean norm."""
    _, threshold = _mse(x, n_levels)
    codes = quantize_codes(x[None], threshold[None, None], x.size, n_levels)
    squares = np.sum(codes.astype(np.int64) ** 2)
    wide = x.astype(np.float64)
    s = np.sqrt(ordered_sum(wide * wide) / squares) * (n_levels // 2) if squares else 0
    return _rounded(s, x.dtype), threshold


def _mean_above(x, threshold):
    """Mean of the values above the threshold; 0 where there are none."""
    above = x > threshold
    count = np.count_nonzero(above)
    return ordered_sum(np.where(above, x, 0)) / count if count else 0.0


def _best_scale(x, n_levels):
    """The scale of least squared error, for magnitudes `x`.

    With codes c the best step is sum(c x) / sum(c^2), and the error is
    ``sum(x^2) - sum(c x)^2 / sum(c^2)``. As the step falls from infinity each
    code rises by one at steps known beforehand, so sorting those gives all
    the assignments there are. On three levels the best is the maximum over k
    of ``(sum of the k largest)^2 / k``.
    """
    levels = np.arange(1, n_levels // 2 + 1)
    descending = np.sort(x[x > 0])[::-1].astype(np.float64)
    if not descending.size:
        return 0.0
    # Code c - 1 becomes c where the step reaches x / (c - 1/2).
    steps = (descending[:, None] / (levels - 0.5)).ravel()
    order = np.argsort(-steps, kind="stable")
    risen = np.repeat(descending, levels.size)[order]
    weights = np.tile(2.0 * levels - 1, descending.size)[order]
    best = _summit(risen, weights)
    # Summed again over x as it lies, so that the bits can be met.
    total, squares, largest_code = 0.0, 0, 0
    reached = np.bincount(order[: best + 1] % levels.size, minlength=levels.size)
    for code, count in zip(levels, reached, strict=True):
        above = x > (descending[count] if count < descending.size else 0)
        total += ordered_sum(np.where(above, x, 0))
        squares += (2 * code - 1) * np.count_nonzero(above)
        largest_code = code if above.any() else largest_code
    # The largest code is given the scale: where no code is 2, halving the step and
    # doubling the codes changes nothing else.
    return total / squares * largest_code


def _summit(risen, weights):
    """Where ``cumsum(risen)**2 / cumsum(weights)`` is largest.

    Near its summits the score hardly changes, so that rounding would choose among
    neighbours; whether the next value raises it is told from the value instead.
    """
    dots, squares = np.cumsum(risen), np.cumsum(weights)
    more, weight, d = risen[1:], weights[1:], dots[:-1]
    rises = squares[:-1] * (more * (2 * d + more)) > weight * (d * d)
    return np.argmax(np.where(np.append(rises, False), -1, dots * dots / squares))


_SCALES = {
    "absmean": _absmean,
    "twn": _twn,
    "mse": _mse,
    "absmax": _absmax,
    "norm": _norm,
}


def column_abs_sum(X, total):
    """Add the magnitudes of the rows of X to the float64 `total`, row by row.

    The order makes batches add up to the same bits as the whole.
    """
    with np.errstate(over="ignore"):
        for row in X:
            total += np.abs(row).astype(np.float64)


def column_abs_max(X, largest):
    """Raise `largest`, of shape (K,), to the largest magnitude of each column."""
    np.maximum(largest, np.abs(X).max(axis=0, initial=0), out=largest)


def quantize_codes(X, threshold, group_size, n_levels):
    """Codes of X, int8 of shape (R, K)."""
    t = spread(threshold, X.shape[1], group_size)
    magnitude = np.abs(X)
    codes = (magnitude > t).astype(np.int8)
    if n_levels == 5:
        with np.errstate(over="ignore"):
            codes += magnitude > X.dtype.type(3) * t
    return np.where(X < 0, -codes, codes)


def quantize_pack(X, threshold, group_size, n_levels, layout):
    """Codes of X, packed: uint8 of shape (R, layout.row_bytes(K))."""
    return pack(quantize_codes(X, threshold, group_size, n_levels), layout)


def absmean_pack(X, n_levels, layout):
    """Packed codes of X, (R, row_bytes), and the scale of all of it, (1, 1).

    X is not empty.
    """
    scale, threshold = group_scale(X.reshape(1, -1), X.size, "absmean", n_levels)
    return quantize_pack(X, threshold, X.shape[1], n_levels, layout), scale


def quantize_values(X, threshold, scale, group_size, n_levels):
    """X rounded to its levels, of the dtype of X."""
    codes = quantize_codes(X, threshold, group_size, n_levels)
    return code_values(codes, scale, group_size, n_levels)
