"""AdaptiveQuantizer: as many levels per column as a number of bits allows."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_ternary import _dispatch
from sklearn_ternary._config import get_config
from sklearn_ternary._gpu.arrays import (
    contiguous,
    is_device_array,
    like,
    namespace,
    on_its_device,
    to_host,
)
from sklearn_ternary._in_kind import HostPickles, in_float16_if, validated
from sklearn_ternary._layouts import DENSEST, get_layout
from sklearn_ternary._sklearn_compat import Interval, StrOptions, _fit_context
from sklearn_ternary.quantization._allocation import (
    LEVELS,
    check_levels,
    choose_levels,
    magnitude_exponent,
)
from sklearn_ternary.quantization._clipping import best_step
from sklearn_ternary.quantization._groups import check_block_size, row_panels
from sklearn_ternary.quantization._scales import SCALES


class AdaptiveQuantizer(
    HostPickles, OneToOneFeatureMixin, TransformerMixin, BaseEstimator
):
    """Round each column to as many levels as a mean number of bits allows.

    Each column (or block of columns) gets 3 or 5 levels, as
    :class:`TernaryQuantizer` rounds, or 15 or 255 levels, as a symmetric
    :class:`AffineQuantizer` of 4 or 8 bits; these take 1.6, 7/3, 4 and 8 bits
    per value, packed. The levels are chosen so that the sum of squared errors is
    small while the mean number of bits stays within `target_bits`: greedily, by
    error saved per bit along the lower convex hulls of bits and error [1]_, and
    what that leaves is filled. The error on the data fitted is never larger than
    that of the same number of levels everywhere where that meets the target.

    Read more in the :ref:`user guide <adaptive_quantization>`.

    Parameters
    ----------
    target_bits : float, default=1.58
        Largest mean number of bits per value of the packed codes. A target up to
        2 % below what the smallest of `levels` takes is met by that everywhere:
        three levels carry log2(3) = 1.585 bits and are packed in 1.6, so the
        default means ternary everywhere.
    granularity : {"feature", "block", "tensor"}, default="feature"
        What has a scale and a number of levels of its own: a column,
        `block_size` consecutive columns, or everything.
    block_size : int, default=None
        Columns of a block, required by ``granularity="block"``; the last block
        may be narrower.
    levels : sequence of int, default=(3, 5, 15, 255)
        Numbers of levels to choose from.
    scale : {"mse", "absmean", "twn", "absmax", "norm"}, default="mse"
        How the scales of three and five levels are found, see
        :class:`TernaryQuantizer`; ``"twn"`` is not defined for five. The scales
        of 15 and 255 levels are always of least squared error between clipping
        and rounding, as ``calibration="mse"`` of :class:`AffineQuantizer`.
    copy : bool, default=True
        With False, `transform` overwrites its input where it can (float32 or
        float64 arrays that are writeable).

    Attributes
    ----------
    allocation_ : ndarray of shape (n_features_in_,), int64
        Number of levels of each column.
    n_levels_ : ndarray of shape (n_groups,), int64
        Number of levels of each column, each block, or everything.
    scale_ : ndarray of shape (n_groups,)
        Largest level of each group; levels are ``scale_ / (n_levels_ // 2)``
        apart.
    bits_per_value_ : float
        Bits per value that storing the data fitted takes, with the scales, and
        the codes of each group packed and padded to whole bytes. More than
        `target_bits` by these two, the less the more samples there are.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during `fit`, if all are strings.

    See Also
    --------
    allocate_precision : The same for named arrays.
    TernaryQuantizer : Three or five levels everywhere.
    AffineQuantizer : 4 or 8 bits everywhere.

    References
    ----------
    .. [1] P. Sinha and A. A. Zoltners, "The Multiple-Choice Knapsack Problem",
       Operations Research 27(3), 1979.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ternary import AdaptiveQuantizer
    >>> X = np.random.default_rng(0).normal(size=(1000, 4)) * [0.1, 0.1, 1, 5]
    >>> quantizer = AdaptiveQuantizer(target_bits=4).fit(X)
    >>> quantizer.allocation_
    array([  5,   3,  15, 255])
    >>> round(quantizer.bits_per_value_, 2)
    4.05
    """

    _parameter_constraints: dict = {
        "target_bits": [Interval(Real, 0, None, closed="neither")],
        "granularity": [StrOptions({"feature", "block", "tensor"})],
        "block_size": [Interval(Integral, 1, None, closed="left"), None],
        "levels": ["array-like"],
        "scale": [StrOptions(set(SCALES))],
        "copy": ["boolean"],
    }

    def __init__(
        self,
        target_bits=1.58,
        *,
        granularity="feature",
        block_size=None,
        levels=LEVELS,
        scale="mse",
        copy=True,
    ):
        self.target_bits = target_bits
        self.granularity = granularity
        self.block_size = block_size
        self.levels = levels
        self.scale = scale
        self.copy = copy

    @on_its_device
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Choose the numbers of levels and find the scales.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : None
            Ignored.

        Returns
        -------
        self : AdaptiveQuantizer

        Raises
        ------
        ValueError
            If `target_bits` is unreachable; the message names the minimum.
        """
        levels = check_levels(self.levels, self.scale)
        check_block_size(self.granularity, self.block_size)
        X = validated(self, X, reset=True)
        n_samples, n_features = X.shape
        sizes = {"feature": 1, "block": min(self.block_size or 1, n_features)}
        self._group_size = sizes.get(self.granularity, n_features)
        scales, thresholds, errors = self._candidates(X, levels)

        starts = np.arange(0, n_features, self._group_size)
        n_values = n_samples * np.diff(np.append(starts, n_features))
        layouts = [get_layout(DENSEST[n]) for n in levels]
        bits = np.array([layout.bits for layout in layouts])
        choice = choose_levels(
            n_values[:, None] * bits, errors, self.target_bits, X.size, levels
        )
        groups = np.arange(len(choice))
        self.scale_ = like(scales[groups, choice], X)
        self._threshold = thresholds[groups, choice]
        n_levels = np.array(levels)[choice]
        self.n_levels_ = like(n_levels, X)
        allocation = np.repeat(n_levels, self._group_size)[:n_features]
        self.allocation_ = like(allocation, X)
        n_bytes = sum(
            layouts[i].row_bytes(int(n)) for i, n in zip(choice, n_values, strict=True)
        )
        self.bits_per_value_ = 8 * (n_bytes + self.scale_.nbytes) / X.size
        return self

    def _candidates(self, X, levels):
        """Scales, thresholds and squared errors, of shape (n_groups, n_candidates).

        The errors are those of X divided by its largest value, about.
        """
        n_samples, n_features = X.shape
        size = self._group_size
        exponent = magnitude_exponent(X)
        memory = get_config()["working_memory"]
        found = []
        # The columns as rows, a panel of whole groups at a time.
        for groups in row_panels(-(-n_features // size), n_samples * size, 40, memory):
            stop = min(groups.stop * size, n_features)
            values = _dispatch.columns(X, groups.start * size, stop).reshape(1, -1)
            found.append(
                [
                    _candidate(values, n_samples * size, n, self.scale, exponent)
                    for n in levels
                ]
            )
        return tuple(
            np.concatenate([np.stack([c[i] for c in panel], axis=1) for panel in found])
            for i in range(3)
        )

    @on_its_device
    def transform(self, X):
        """Quantize.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        X_out : ndarray of shape (n_samples, n_features)
            Levels, of the dtype of the input.
        """
        check_is_fitted(self)
        given, X = X, validated(self, X, reset=False)
        in_place = not self.copy and getattr(X.flags, "writeable", True)
        out = X if in_place else namespace(X).empty(X.shape, dtype=X.dtype)
        group = np.arange(self.n_features_in_) // self._group_size
        scales, allocation = to_host(self.scale_), to_host(self.allocation_)
        memory = get_config()["working_memory"]
        for n_levels in np.unique(allocation).tolist():
            columns = np.flatnonzero(allocation == n_levels)
            scale = like(scales[group[columns]][None], X)
            threshold = like(self._threshold[group[columns]][None], X)
            columns = like(columns, X)
            for rows in row_panels(len(X), len(columns), 3 * X.itemsize, memory):
                part = contiguous(X[rows, columns])
                out[rows, columns] = _rounded(part, scale, threshold, 1, n_levels)
        return in_float16_if(given, out)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32", "float16"]
        return tags


def _candidate(values, group_size, n_levels, scale, exponent):
    """Scale, threshold and squared error of each group of the row `values`."""
    starts = np.arange(0, values.shape[1], group_size)
    if n_levels in (3, 5):
        scales, thresholds = _dispatch.group_scale(values, group_size, scale, n_levels)
    else:
        half = n_levels // 2
        step = like(best_step(values[0], starts, half, half)[None], values)
        scales = step * step.dtype.type(half)
        thresholds = namespace(scales).zeros_like(scales)
    rounded = _rounded(values, scales, thresholds, group_size, n_levels)
    with np.errstate(under="ignore"):
        x = np.ldexp(values[0].astype(np.float64), -exponent)
        y = np.ldexp(rounded[0].astype(np.float64), -exponent)
        errors = _group_sums((x - y) ** 2, group_size)
    return to_host(scales[0]), to_host(thresholds[0]), errors


def _group_sums(values, group_size):
    """Sums of groups, the last of which may be shorter; of the host."""
    if not is_device_array(values):
        return np.add.reduceat(values, np.arange(0, len(values), group_size))
    whole = len(values) // group_size * group_size
    sums = to_host(values[:whole].reshape(-1, group_size).sum(axis=1))
    return (
        np.append(sums, to_host(values[whole:].sum())) if whole < len(values) else sums
    )


def _rounded(X, scale, threshold, group_size, n_levels):
    """X rounded to the levels of its groups; dtype of X."""
    dtype = np.result_type(X.dtype, scale.dtype)
    x, scale = X.astype(dtype, copy=False), scale.astype(dtype, copy=False)
    with np.errstate(under="ignore", over="ignore"):
        if n_levels in (3, 5):
            values = _dispatch.quantize_values(
                x, threshold.astype(dtype, copy=False), scale, group_size, n_levels
            )
        else:
            half = n_levels // 2
            step = scale / dtype.type(half)
            zero = np.zeros_like(step)
            codes = _dispatch.affine_codes(x, step, zero, group_size, -half, half)
            values = _dispatch.affine_values(codes, step, zero, group_size)
        if dtype != X.dtype:
            # A scale of more than float32 holds may be the nearest level.
            limit = np.finfo(X.dtype).max
            values = namespace(values).clip(values, -limit, limit)
        return values.astype(X.dtype, copy=False)
