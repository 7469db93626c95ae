"""TernaryQuantizer: the transformer."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_ternary import _dispatch
from sklearn_ternary._config import get_config
from sklearn_ternary._gpu.arrays import contiguous, like, on_its_device, to_host
from sklearn_ternary._in_kind import HostPickles, in_float16_if, validated
from sklearn_ternary._layouts import DENSEST
from sklearn_ternary._reference.groups import n_groups
from sklearn_ternary._reference.quantize import threshold_of
from sklearn_ternary._reference.sums import ordered_sum
from sklearn_ternary._sklearn_compat import (
    Interval,
    Options,
    StrOptions,
    _fit_context,
    wants_dataframe,
)
from sklearn_ternary.quantization._array import TernaryArray
from sklearn_ternary.quantization._groups import check_block_size, row_panels
from sklearn_ternary.quantization._scales import (
    RUNNING_SCALES,
    SCALES,
    check_scale,
    check_sums,
    column_scale,
    given_scale,
    matrix_scale,
)


def _scale_is_running(estimator):
    """Whether the scale is a statistic that batches can update."""
    if (
        isinstance(estimator.scale, str)
        and estimator.scale in RUNNING_SCALES
        and estimator.granularity != "sample"
    ):
        return True
    raise AttributeError(
        f"partial_fit needs scale in {list(RUNNING_SCALES)} and a granularity other "
        f"than 'sample'; got scale={estimator.scale!r}, "
        f"granularity={estimator.granularity!r}"
    )


class TernaryQuantizer(
    HostPickles, OneToOneFeatureMixin, TransformerMixin, BaseEstimator
):
    """Round data to {-1, 0, 1} times a scale (or to five levels).

    With s the scale of a group of values, a value x becomes the nearest of
    {-s, 0, s}, ties towards 0: ``s * clip(rint(x / s), -1, 1)``.

    Read more in the :ref:`user guide <ternary_quantization>`.

    Parameters
    ----------
    n_levels : {3, 5}, default=3
        3 for {-1, 0, 1} · s, 5 for {-1, -1/2, 0, 1/2, 1} · s.
    scale : {"absmean", "twn", "mse", "absmax", "norm"}, float or array-like, \
            default="absmean"
        How the scale is found:

        - ``"absmean"``: s = mean(abs(x)), as in BitNet b1.58 [1]_.
        - ``"twn"``: values above Δ = 0.7 mean(abs(x)) become ±1, s is the mean
          of their magnitudes [2]_. Three levels only.
        - ``"mse"``: the least squared error, exactly.
        - ``"absmax"``: s = max(abs(x)).
        - ``"norm"``: the codes of ``"mse"``, with the scale that keeps the
          Euclidean norm.
        - a number not below 0, or one such number for each group.
    granularity : {"feature", "tensor", "sample", "block"}, default="feature"
        Which values share a scale: a column, everything, a row, or
        `block_size` consecutive columns. Scales of rows are found anew in each
        `transform`, all others in `fit`.
    block_size : int, default=None
        Columns of a block, required by ``granularity="block"``; the last block
        may be narrower.
    output : {"values", "codes", "packed"}, default="values"
        What `transform` returns: rounded values of the dtype of the input
        (float16 is computed as float32), int8 codes (-1, 0, 1, or -2 … 2 on
        five levels), or a :class:`~sklearn_ternary.TernaryArray`.
    copy : bool, default=True
        With False and ``output="values"``, `transform` overwrites its input
        where it can (float32 or float64 arrays that are writeable).

    Attributes
    ----------
    scale_ : ndarray of shape (n_groups,) or None
        Scales of the columns, of the blocks, or the only one. None with
        ``granularity="sample"``.
    threshold_ : ndarray of shape (n_groups,) or None
        Largest magnitude that becomes 0.
    levels_ : ndarray of shape (n_groups, n_levels) or None
        The values that the groups are rounded to.
    sparsity_ : float
        Fraction of zeros among the codes of the data last fitted.
    entropy_bits_ : float
        Empirical entropy of those codes, in bits per value: no code without
        context packs them in fewer.
    bits_per_value_ : float
        Bits that storing the data last fitted takes, scales included.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during `fit`, if all are strings.
    n_samples_seen_ : int
        Number of samples, over all calls of `partial_fit`.

    See Also
    --------
    ternarize : The same for weights, of any shape.
    AffineQuantizer : 4 and 8 bits.
    AdaptiveQuantizer : Bits chosen per column.

    References
    ----------
    .. [1] S. Ma et al., "The Era of 1-bit LLMs: All Large Language Models are
       in 1.58 Bits", arXiv:2402.17764, 2024.
    .. [2] F. Li, B. Zhang and B. Liu, "Ternary weight networks",
       arXiv:1605.04711, 2016.

    Examples
    --------
    >>> from sklearn_ternary import TernaryQuantizer
    >>> X = [[1.0, -0.2], [-3.0, 0.1], [0.5, 0.9]]
    >>> quantizer = TernaryQuantizer().fit(X)
    >>> quantizer.scale_
    array([1.5, 0.4])
    >>> quantizer.transform(X)
    array([[ 1.5,  0. ],
           [-1.5,  0. ],
           [ 0. ,  0.4]])
    """

    _parameter_constraints: dict = {
        "n_levels": [Options(Integral, {3, 5})],
        "scale": [
            StrOptions(set(SCALES)),
            Interval(Real, 0, None, closed="left"),
            "array-like",
        ],
        "granularity": [StrOptions({"feature", "tensor", "sample", "block"})],
        "block_size": [Interval(Integral, 1, None, closed="left"), None],
        "output": [StrOptions({"values", "codes", "packed"})],
        "copy": ["boolean"],
    }

    def __init__(
        self,
        n_levels=3,
        *,
        scale="absmean",
        granularity="feature",
        block_size=None,
        output="values",
        copy=True,
    ):
        self.n_levels = n_levels
        self.scale = scale
        self.granularity = granularity
        self.block_size = block_size
        self.output = output
        self.copy = copy

    @on_its_device
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Find the scales.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : None
            Ignored.

        Returns
        -------
        self : TernaryQuantizer
        """
        X = self._validated(X, reset=True)
        self._group_size = self._checked_group_size(X.shape[1])
        self._abs_sum = self._abs_max = None
        self.n_samples_seen_ = X.shape[0]
        if self.granularity == "sample":
            self.scale_ = self.threshold_ = self.levels_ = None
        elif isinstance(self.scale, str) and self.scale in RUNNING_SCALES:
            self._update(X)
        else:
            self._set_scale(*map(to_host, self._other_scale(X)), X)
        self._describe(X)
        return self

    @available_if(_scale_is_running)
    @on_its_device
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        """Update the scales with a batch.

        Batches give the scales, to the last bit, that all rows at once would
        give. Available where the scale is a running statistic: `scale` of
        ``"absmean"`` or ``"absmax"``, and not for rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : None
            Ignored.

        Returns
        -------
        self : TernaryQuantizer
        """
        first = not hasattr(self, "n_samples_seen_")
        X = self._validated(X, reset=first)
        if first:
            self._abs_sum = self._abs_max = None
            self.n_samples_seen_ = 0
        self._group_size = self._checked_group_size(X.shape[1])
        self.n_samples_seen_ += X.shape[0]
        self._update(X)
        self._describe(X)
        return self

    def _validated(self, X, reset):
        check_scale(self.scale if isinstance(self.scale, str) else 0, self.n_levels)
        return validated(self, X, reset=reset)

    def _checked_group_size(self, n_features):
        check_block_size(self.granularity, self.block_size)
        return {"feature": 1, "block": self.block_size}.get(
            self.granularity, n_features
        )

    def _update(self, X):
        """Scales from running sums or maxima that X is added to."""
        if self.scale == "absmax":
            if self._abs_max is None:
                self._abs_max = np.zeros(X.shape[1], dtype=X.dtype)
            self._abs_max = self._abs_max.astype(
                np.result_type(self._abs_max.dtype, X.dtype), copy=True
            )
            largest = like(self._abs_max, X)
            _dispatch.column_abs_max(X.astype(largest.dtype, copy=False), largest)
            self._abs_max = to_host(largest)
            largest = np.maximum.reduceat(self._abs_max, self._group_starts())
            scale = largest[None]
        else:
            if self._abs_sum is None:
                self._abs_sum = np.zeros(X.shape[1])
            total = like(self._abs_sum.copy(), X)
            _dispatch.column_abs_sum(X, total)
            total = to_host(total)
            check_sums(total, X)
            self._abs_sum = total
            size = min(self._group_size, total.size)
            whole = total.size // size * size
            sums = ordered_sum(total[:whole].reshape(-1, size))
            if whole < total.size:
                sums = np.append(sums, ordered_sum(total[whole:]))
            sizes = np.diff(self._group_starts(), append=total.size)
            scale = (sums / (self.n_samples_seen_ * sizes)).astype(X.dtype)[None]
        self._set_scale(scale, threshold_of(scale, self.n_levels), X)

    def _group_starts(self):
        return np.arange(0, self.n_features_in_, self._group_size)

    def _other_scale(self, X):
        """Scales that need all the data, of shape (1, n_groups)."""
        groups = n_groups(X.shape[1], self._group_size)
        if not isinstance(self.scale, str):
            return given_scale(self.scale, (1, groups), X, self.n_levels)
        if self.granularity == "feature":
            return column_scale(X, self.scale, self.n_levels)
        parts = [
            matrix_scale(
                contiguous(X[:, start : start + self._group_size]),
                self.scale,
                self.n_levels,
            )
            for start in self._group_starts()
        ]
        scales, thresholds = zip(*parts, strict=True)
        return np.concatenate(scales, axis=1), np.concatenate(thresholds, axis=1)

    def _set_scale(self, scale, threshold, X):
        """Attributes from scales and thresholds of the host, to where X is."""
        half = self.n_levels // 2
        grid = np.arange(-half, half + 1).astype(scale.dtype)
        levels = grid * (scale[0] / scale.dtype.type(half))[:, None]
        self.scale_ = like(scale[0], X)
        self.threshold_ = like(threshold[0], X)
        self.levels_ = like(levels, X)

    def _describe(self, X):
        """Statistics of the codes of X."""
        packed = self._packed(X)
        p = to_host(packed.code_counts()) / packed.size
        self.sparsity_ = float(p[self.n_levels // 2])
        self.entropy_bits_ = float(-np.sum(p[p > 0] * np.log2(p[p > 0])) + 0.0)
        self.bits_per_value_ = packed.bits_per_value

    def _parameters(self, X):
        """Scale and threshold for X, of shape (rows or 1, n_groups)."""
        if self.granularity != "sample":
            fitted = (self.scale_, self.threshold_)
            return tuple(like(a, X).astype(X.dtype)[None] for a in fitted)
        if isinstance(self.scale, str):
            return _dispatch.group_scale(X, self._group_size, self.scale, self.n_levels)
        return given_scale(self.scale, (1, 1), X, self.n_levels)

    def _packed(self, X):
        X = contiguous(X)
        layout = DENSEST[self.n_levels]
        scale, threshold = self._parameters(X)
        packed = _dispatch.quantize_pack(
            X, threshold, self._group_size, self.n_levels, layout
        )
        return TernaryArray._new(packed, scale, X.shape, layout, self._group_size)

    def _values(self, X):
        X = contiguous(X)
        scale, threshold = self._parameters(X)
        return _dispatch.quantize_values(
            X, threshold, scale, self._group_size, self.n_levels
        )

    @on_its_device
    def transform(self, X):
        """Quantize.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        X_out : ndarray or TernaryArray of shape (n_samples, n_features)
            See `output`.
        """
        check_is_fitted(self)
        given, X = X, self._validated(X, reset=False)
        if self.output == "codes":
            X = contiguous(X)
            _, threshold = self._parameters(X)
            return _dispatch.quantize_codes(
                X, threshold, self._group_size, self.n_levels
            )
        if self.output == "packed":
            if wants_dataframe(self):
                raise ValueError(
                    "output='packed' cannot become a data frame; use "
                    "set_output(transform='default')"
                )
            return self._packed(X)
        if self.copy or not getattr(X.flags, "writeable", True):
            return in_float16_if(given, self._values(X))
        memory = get_config()["working_memory"]
        for rows in row_panels(X.shape[0], X.shape[1], X.itemsize, memory):
            X[rows] = self._values(X[rows])
        return in_float16_if(given, X)

    @on_its_device
    def inverse_transform(self, X):
        """Turn what `transform` returns into values.

        Parameters
        ----------
        X : array-like or TernaryArray of shape (n_samples, n_features)
            Values (returned as they are), codes, or a packed array, according
            to `output`.

        Returns
        -------
        X_values : ndarray of shape (n_samples, n_features)
            Rounding is not undone: these are levels.

        Raises
        ------
        ValueError
            For codes that no level has, and for codes of rows
            (``granularity="sample"``), whose scales are not stored with them.
        """
        check_is_fitted(self)
        if isinstance(X, TernaryArray):
            if X.ndim != 2 or X.shape[1] != self.n_features_in_:
                raise ValueError(
                    f"X has shape {X.shape}, but {type(self).__name__} is expecting "
                    f"{self.n_features_in_} features as input"
                )
            return X.toarray()
        given, X = X, self._validated(X, reset=False)
        if self.output != "codes":
            return in_float16_if(given, X)
        if self.granularity == "sample":
            raise ValueError(
                "granularity='sample': the scales of the rows are not in their codes; "
                "use output='values' or output='packed'"
            )
        codes = X.astype(np.int8)
        if (codes != X).any() or (np.abs(X) > self.n_levels // 2).any():
            raise ValueError(
                f"X has values that are no codes of {self.n_levels} levels"
            )
        scale = like(self.scale_, X)[None]
        return _dispatch.code_values(codes, scale, self._group_size, self.n_levels)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        keeps_dtype = self.output == "values"
        tags.transformer_tags.preserves_dtype = (
            ["float64", "float32", "float16"] if keeps_dtype else []
        )
        return tags
