"""ternarize: float arrays to packed ternary arrays."""

import math

import numpy as np

from sklearn_ternary import _dispatch
from sklearn_ternary._gpu.arrays import is_device_array, namespace, on_its_device
from sklearn_ternary._layouts import DENSEST, get_layout
from sklearn_ternary._reference.groups import n_groups
from sklearn_ternary._validation import (
    ON_NONFINITE,
    as_float_array,
    check_finite,
)
from sklearn_ternary.quantization._array import TernaryArray
from sklearn_ternary.quantization._groups import as_matrix, grouping
from sklearn_ternary.quantization._scales import (
    check_scale,
    column_scale,
    given_scale,
    matrix_scale,
)


@on_its_device
def ternarize(
    W,
    *,
    scale="absmean",
    axis=None,
    block_size=None,
    n_levels=3,
    layout=None,
    on_nonfinite="raise",
):
    """Quantize an array to {-1, 0, 1} times a scale, and pack it.

    Parameters
    ----------
    W : array-like of any shape
        float32 and float64 are used as they are, float16 becomes float32 (and
        ``toarray(dtype="float16")`` gives it back), integers become float64. An
        array on a CUDA device (of CuPy, or with DLPack or
        ``__cuda_array_interface__``) stays there, and so does the result.
    scale : {"absmean", "twn", "mse", "absmax", "norm"}, float or array, \
            default="absmean"
        How large the levels are. With s the scale of a group of values x:

        - ``"absmean"``: s = mean(abs(x)), as in BitNet b1.58 [1]_.
        - ``"twn"``: values above Δ = 0.7 mean(abs(x)) become ±1 and s is
          the mean of their magnitudes, as in ternary weight networks [2]_.
          Three levels only.
        - ``"mse"``: the least squared error, exactly.
        - ``"absmax"``: s = max(abs(x)).
        - ``"norm"``: the codes of ``"mse"`` with the scale that keeps the
          Euclidean norm of x.
        - a number not below 0, or one such number for each group.
    axis : None, int or tuple of int, default=None
        The axis or axes along which values share a scale, as in
        :func:`numpy.mean`: None for one scale, 0 for one per column, -1 (or all
        axes but the first) for one per row.
    block_size : int, default=None
        Share scales among so many consecutive values of each row (the rest of
        `W` after its first axis, in C order); the last block may be shorter.
    n_levels : {3, 5}, default=3
        3 for {-1, 0, 1} · s, 5 for {-1, -1/2, 0, 1/2, 1} · s.
    layout : str, default=None
        How codes are packed: ``"t5"`` (1.6 bits) or ``"t2"`` (2 bits) for three
        levels, ``"q3"`` (7/3 bits) for five; None takes the densest. The layouts
        of other programs are in the :ref:`table <packed_layouts>`.
    on_nonfinite : {"raise", "propagate", "zero"}, default="raise"
        What NaN and infinities do: raise, make the scale of their group NaN, or
        count as 0.

    Returns
    -------
    A : TernaryArray
        Of the shape of `W`; its scales have the dtype of `W`.

    Raises
    ------
    ValueError
        For NaN and infinities (naming the first), unknown options, and data
        that are no real numbers.

    References
    ----------
    .. [1] S. Ma et al., "The Era of 1-bit LLMs: All Large Language Models are
       in 1.58 Bits", arXiv:2402.17764, 2024.
    .. [2] F. Li, B. Zhang and B. Liu, "Ternary weight networks",
       arXiv:1605.04711, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ternary import ternarize
    >>> A = ternarize(np.array([[0.9, -0.1, -1.2], [0.0, 0.4, 2.0]]))
    >>> A.codes()
    array([[ 1,  0, -1],
           [ 0,  1,  1]], dtype=int8)
    """
    if n_levels not in (3, 5):
        raise ValueError(f"n_levels={n_levels!r} must be 3 or 5")
    if on_nonfinite not in ON_NONFINITE:
        raise ValueError(
            f"on_nonfinite={on_nonfinite!r} must be one of {list(ON_NONFINITE)}"
        )
    check_scale(scale, n_levels)
    layout = get_layout(layout or DENSEST[n_levels], n_levels).name
    W = as_float_array(W, "W")
    group_size, per_row = grouping(W.shape, axis, block_size)
    X = as_matrix(W)
    bad = None
    # To look for them first would wait for a device.
    if on_nonfinite != "raise" and (
        is_device_array(X) or _dispatch.find_nonfinite(X) >= 0
    ):
        bad = ~np.isfinite(X)
        X = namespace(X).where(bad, X.dtype.type(0), X)
    is_one_group = not per_row and 1 < group_size == X.shape[1] and X.size
    if is_one_group and isinstance(scale, str) and scale == "absmean":
        packed, scales = _dispatch.absmean_pack(X, n_levels, layout)
    else:
        scales, thresholds = _scales(X, group_size, per_row, scale, n_levels)
        packed = _dispatch.quantize_pack(X, thresholds, group_size, n_levels, layout)
    if on_nonfinite == "raise" and not _proves_finite(scale, scales):
        check_finite(W, "W")
    if on_nonfinite == "propagate" and bad is not None:
        nonfinite = _any_in_group(bad, group_size, per_row)
        scales = namespace(X).where(nonfinite, X.dtype.type(np.nan), scales)
    return TernaryArray._new(packed, scales, W.shape, layout, group_size)


def _proves_finite(scale, scales):
    """Whether finite scales can only come from finite values (a sum tells)."""
    if not isinstance(scale, str) or scale == "absmax":
        return False
    if scales.size == 1:
        return math.isfinite(scales.item())
    return bool(np.isfinite(scales).all())


def _any_in_group(mask, group_size, per_row):
    if is_device_array(mask):
        # CuPy has no reduceat: whole groups, and the rest.
        whole = mask.shape[1] // group_size * group_size
        groups = mask[:, :whole].reshape(len(mask), -1, group_size).any(axis=2)
        parts = [groups, mask[:, whole:].any(axis=1, keepdims=True)]
        if whole == mask.shape[1]:
            parts.pop()
        found = namespace(mask).concatenate(parts, axis=1)
    else:
        starts = np.arange(0, mask.shape[1], group_size)
        found = np.logical_or.reduceat(mask, starts, axis=1)
    return found if per_row else found.any(axis=0, keepdims=True)


def _scales(X, group_size, per_row, scale, n_levels):
    n_rows, n_columns = X.shape
    shape = (n_rows if per_row else 1, n_groups(n_columns, group_size))
    if not isinstance(scale, str):
        return given_scale(scale, shape, X, n_levels)
    if not X.size:
        return given_scale(0, shape, X, n_levels)
    if per_row:
        return _dispatch.group_scale(X, group_size, scale, n_levels)
    if group_size == 1:
        return column_scale(X, scale, n_levels)
    return matrix_scale(X, scale, n_levels)
