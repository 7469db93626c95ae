"""AffineQuantizer: 4 and 8 bits."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.metaestimators import available_if
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
from sklearn_ternary._sklearn_compat import (
    Interval,
    Options,
    StrOptions,
    _fit_context,
)
from sklearn_ternary.quantization._clipping import (
    best_step,
    best_zero_point,
    round_step,
)
from sklearn_ternary.quantization._groups import check_block_size, row_panels
from sklearn_ternary.quantization._percentiles import group_percentiles


def _range_is_running(estimator):
    """Whether the range is a statistic that batches can update."""
    if estimator.calibration == "minmax":
        return True
    raise AttributeError(
        f"partial_fit needs calibration='minmax', got {estimator.calibration!r}"
    )


class AffineQuantizer(
    HostPickles, OneToOneFeatureMixin, TransformerMixin, BaseEstimator
):
    """Round data to the levels of 8-bit or 4-bit integers.

    A value x has the code ``q = clip(rint(x / scale) + zero_point, lowest,
    highest)`` and becomes ``(q - zero_point) * scale``. Inside the range of the
    codes it moves by at most half a scale; outside it is clipped. The range
    always contains 0, which stays 0.

    Read more in the :ref:`user guide <affine_quantization>`.

    Parameters
    ----------
    n_bits : {4, 8}, default=8
        Bits of a code.
    scheme : {"symmetric", "affine"}, default="symmetric"
        With b bits:

        - ``"symmetric"``: codes -(2^(b-1) - 1) … 2^(b-1) - 1 for the range
          -t … t; the scale is t / (2^(b-1) - 1) and the zero point 0.
        - ``"affine"``: codes -2^(b-1) … 2^(b-1) - 1 for a range low … high
          with low ≤ 0 ≤ high; the scale is (high - low) / (2^b - 1) and the
          zero point, the code of 0, is -2^(b-1) - low / scale, rounded.
    granularity : {"feature", "tensor", "block"}, default="feature"
        Which values share a scale: a column, everything, or `block_size`
        consecutive columns.
    block_size : int, default=None
        Columns of a block, required by ``granularity="block"``; the last block
        may be narrower.
    calibration : {"minmax", "percentile", "mse"}, default="minmax"
        How the range of a group of values x is found:

        - ``"minmax"``: t = max(abs(x)); low = min(x, 0), high = max(x, 0).
        - ``"percentile"``: t is the percentile of abs(x); high and low are the
          percentiles `percentile` and ``100 - percentile`` of x, extended to
          contain 0. Larger values are clipped.
        - ``"mse"``: the scale of least squared error, clipping included, among
          the scales up to that of ``"minmax"``. It is the exact optimum, found
          by visiting every scale at which a code changes; for groups with more
          than 2^20 such scales the squared error is proven to be within
          0.01 % of the optimum. With ``scheme="affine"`` the zero point
          is searched too: every one with 4 bits; with 8 bits by steps of 16,
          8, 4, 2 and 1, which ends no worse than the neighbours and than the
          zero point of ``"minmax"``.
    percentile : float, default=99.9
        Between 50 and 100; used by ``calibration="percentile"``.
    output : {"values", "codes"}, default="values"
        What `transform` returns: rounded values of the dtype of the input, or
        int8 codes.
    copy : bool, default=True
        With False and ``output="values"``, `transform` overwrites its input
        where it can (float32 or float64 arrays that are writeable).

    Attributes
    ----------
    scale_ : ndarray of shape (n_groups,)
        Distance of two levels, for each column, each block or everything. 0
        where all values were 0: all codes are the zero point there. Subnormal
        scales are rounded up.
    zero_point_ : ndarray of shape (n_groups,), int64
        Codes of 0.
    bits_per_value_ : float
        Bits per value that storing the data fitted takes: rows of codes of
        `n_bits`, each row padded to bytes, with the scales, and zero points of a
        byte each with ``scheme="affine"``.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during `fit`, if all are strings.
    n_samples_seen_ : int
        Number of samples, over all calls of `partial_fit`.

    See Also
    --------
    TernaryQuantizer : Three or five levels.
    AdaptiveQuantizer : Bits chosen per column.

    References
    ----------
    .. [1] B. Jacob et al., "Quantization and Training of Neural Networks for
       Efficient Integer-Arithmetic-Only Inference", CVPR 2018,
       arXiv:1712.05877.

    Examples
    --------
    >>> from sklearn_ternary import AffineQuantizer
    >>> X = [[0.0, -1.0], [5.1, 0.27], [2.04, 1.27]]
    >>> quantizer = AffineQuantizer(scheme="affine", output="codes").fit(X)
    >>> quantizer.transform(X)
    array([[-128, -128],
           [ 127,   14],
           [ -26,  127]], dtype=int8)
    >>> quantizer.zero_point_
    array([-128,  -16])
    """

    _parameter_constraints: dict = {
        "n_bits": [Options(Integral, {4, 8})],
        "scheme": [StrOptions({"symmetric", "affine"})],
        "granularity": [StrOptions({"feature", "tensor", "block"})],
        "block_size": [Interval(Integral, 1, None, closed="left"), None],
        "calibration": [StrOptions({"minmax", "percentile", "mse"})],
        "percentile": [Interval(Real, 50, 100, closed="both")],
        "output": [StrOptions({"values", "codes"})],
        "copy": ["boolean"],
    }

    def __init__(
        self,
        n_bits=8,
        *,
        scheme="symmetric",
        granularity="feature",
        block_size=None,
        calibration="minmax",
        percentile=99.9,
        output="values",
        copy=True,
    ):
        self.n_bits = n_bits
        self.scheme = scheme
        self.granularity = granularity
        self.block_size = block_size
        self.calibration = calibration
        self.percentile = percentile
        self.output = output
        self.copy = copy

    @on_its_device
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Find the scales and zero points.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : None
            Ignored.

        Returns
        -------
        self : AffineQuantizer
        """
        check_block_size(self.granularity, self.block_size)
        X = validated(self, X, reset=True)
        self.n_samples_seen_ = X.shape[0]
        self._low, self._high = _ends(X)
        if self.calibration == "minmax":
            self._set_range(*self._minmax())
        elif self.calibration == "percentile":
            self._set_range(*self._percentiles(X))
        else:
            self._set_least_squares(X)
        self._describe(X)
        return self

    @available_if(_range_is_running)
    @on_its_device
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        """Update the scales and zero points with a batch.

        Batches give, to the last bit, what all rows at once would give.
        Available with ``calibration="minmax"``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : None
            Ignored.

        Returns
        -------
        self : AffineQuantizer
        """
        check_block_size(self.granularity, self.block_size)
        first = not hasattr(self, "n_samples_seen_")
        X = validated(self, X, reset=first)
        low, high = _ends(X)
        if first:
            self._low, self._high, self.n_samples_seen_ = low, high, 0
        self._low = np.minimum(self._low, low)
        self._high = np.maximum(self._high, high)
        self.n_samples_seen_ += X.shape[0]
        self._set_range(*self._minmax())
        self._describe(X)
        return self

    @property
    def _group_size(self):
        """Columns that share a scale."""
        sizes = {"feature": 1, "block": self.block_size}
        return sizes.get(self.granularity, self.n_features_in_)

    @property
    def _limits(self):
        """The lowest and the highest code."""
        highest = 2 ** (self.n_bits - 1) - 1
        return (-highest if self.scheme == "symmetric" else -highest - 1), highest

    def _group_starts(self):
        return np.arange(0, self.n_features_in_, self._group_size)

    def _minmax(self):
        starts = self._group_starts()
        return (
            np.minimum.reduceat(self._low, starts),
            np.maximum.reduceat(self._high, starts),
        )

    def _percentiles(self, X):
        """Lower and upper end of the range of each group."""
        symmetric = self.scheme == "symmetric"
        at = (
            [self.percentile] if symmetric else [100 - self.percentile, self.percentile]
        )
        found = group_percentiles(X, self._group_size, at, magnitudes=symmetric)
        return -found[-1] if symmetric else found[0], found[-1]

    @np.errstate(under="ignore")
    def _set_range(self, low, high):
        """Scales and zero points from the ends of the ranges."""
        dtype = self._low.dtype
        low = np.minimum(low.astype(np.float64), 0)
        high = np.maximum(high.astype(np.float64), 0)
        lowest, highest = self._limits
        # Divided by a power of two, so that nothing overflows or underflows.
        exponent = np.frexp(np.maximum(-low, high))[1]
        low, high = np.ldexp(low, -exponent), np.ldexp(high, -exponent)
        if self.scheme == "symmetric":
            step = np.maximum(-low, high) / highest
        else:
            step = (high - low) / (highest - lowest)
        self.scale_ = round_step(step, exponent, dtype)
        self.zero_point_ = np.zeros(step.shape, dtype=np.int64)
        if self.scheme == "affine":
            some = step > 0
            step = np.ldexp(self.scale_.astype(np.float64), -exponent)
            zero = np.rint(lowest - low[some] / step[some])
            self.zero_point_[some] = np.clip(zero, lowest, highest)

    def _set_least_squares(self, X):
        self._set_range(*self._minmax())
        size = self._group_size
        memory = get_config()["working_memory"]
        lowest, highest = self._limits
        # The columns as rows, a panel of whole groups at a time.
        for groups in row_panels(
            len(self.scale_), X.shape[0] * size, 4 * X.itemsize, memory
        ):
            stop = min(groups.stop * size, X.shape[1])
            values = _dispatch.columns(X, groups.start * size, stop).ravel()
            starts = np.arange(0, len(values), X.shape[0] * size)
            if self.scheme == "symmetric":
                step = best_step(values, starts, highest, highest)
            else:
                step, self.zero_point_[groups] = best_zero_point(
                    values, starts, lowest, highest, self.zero_point_[groups]
                )
            self.scale_[groups] = step

    def _describe(self, X):
        """Statistics; what `fit` found on the host goes to where X is."""
        n_values = self.n_samples_seen_ * self.n_features_in_
        row_bytes = -(-self.n_features_in_ * self.n_bits // 8)
        zero_bytes = self.zero_point_.size if self.scheme == "affine" else 0
        n_bytes = self.n_samples_seen_ * row_bytes + self.scale_.nbytes + zero_bytes
        self.bits_per_value_ = 8 * n_bytes / n_values
        self.scale_ = like(self.scale_, X)
        self.zero_point_ = like(self.zero_point_, X)

    def _parameters(self, X, dtype):
        """Scales and zero points where X is."""
        scale, zero_point = like(self.scale_, X), like(self.zero_point_, X)
        scale = scale.astype(np.result_type(dtype, scale.dtype), copy=False)
        return scale[None], zero_point.astype(scale.dtype)[None]

    def _codes(self, X):
        scale, zero_point = self._parameters(X, X.dtype)
        X = contiguous(X.astype(scale.dtype, copy=False))
        with np.errstate(under="ignore"):
            return _dispatch.affine_codes(
                X, scale, zero_point, self._group_size, *self._limits
            )

    def _values(self, codes, dtype):
        scale, zero_point = self._parameters(codes, dtype)
        largest = np.finfo(dtype).max
        with np.errstate(over="ignore", under="ignore"):
            values = _dispatch.affine_values(codes, scale, zero_point, self._group_size)
            # To ask whether it is needed would wait for a device.
            if is_device_array(scale) or scale.max() > largest / 256:
                # The last level can lie half a scale beyond what is finite.
                namespace(values).clip(values, -largest, largest, out=values)
            return values.astype(dtype, copy=False)

    @on_its_device
    def transform(self, X):
        """Quantize.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        X_out : ndarray of shape (n_samples, n_features)
            See `output`.
        """
        check_is_fitted(self)
        given, X = X, validated(self, X, reset=False)
        if self.output == "codes":
            return self._codes(X)
        in_place = not self.copy and getattr(X.flags, "writeable", True)
        out = X if in_place else namespace(X).empty(X.shape, dtype=X.dtype)
        memory = get_config()["working_memory"]
        for rows in row_panels(X.shape[0], X.shape[1], 2 * X.itemsize, memory):
            out[rows] = self._values(self._codes(X[rows]), X.dtype)
        return in_float16_if(given, out)

    @on_its_device
    def inverse_transform(self, X):
        """Turn what `transform` returns into values.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Values (returned as they are) or codes, according to `output`.

        Returns
        -------
        X_values : ndarray of shape (n_samples, n_features)
            Rounding is not undone: these are levels.

        Raises
        ------
        ValueError
            For codes that no level has.
        """
        check_is_fitted(self)
        given, X = X, validated(self, X, reset=False)
        if self.output != "codes":
            return in_float16_if(given, X)
        lowest, highest = self._limits
        wrong = (np.rint(X) != X) | (lowest > X) | (highest < X)
        if wrong.any():
            row, column = np.argwhere(to_host(wrong))[0]
            value = float(X[row, column])
            raise ValueError(
                f"X has {value} at row {row}, column {column}, which is no "
                f"code: those are the integers from {lowest} to {highest}"
            )
        return self._values(X.astype(np.int8), self.scale_.dtype)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        keeps_dtype = self.output == "values"
        tags.transformer_tags.preserves_dtype = (
            ["float64", "float32", "float16"] if keeps_dtype else []
        )
        return tags


def _ends(X):
    """Least and largest value of each column, of the host."""
    return to_host(X.min(axis=0)), to_host(X.max(axis=0))
