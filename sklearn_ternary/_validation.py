"""Checks of arrays that name what is wrong and where."""

import numpy as np

from sklearn_ternary import _dispatch
from sklearn_ternary._gpu.arrays import as_array, from_device, is_device_array

ON_NONFINITE = ("raise", "propagate", "zero")


def fits_float32(dtype):
    """Whether it is float32 of any byte order, float16, or bfloat16 of ml_dtypes."""
    return dtype.itemsize <= {"f": 4, "V": 2}.get(dtype.kind, -1)


def as_float_array(W, name):
    """Return W as a float32 or float64 array; float16 becomes float32.

    Raises
    ------
    TypeError
        For sparse matrices.
    ValueError
        For complex, text and other data that are no real numbers.
    """
    if type(W) is np.ndarray and W.dtype.char in "fd" and W.dtype.isnative:
        return W
    W = from_device(W)
    if hasattr(W, "toarray") and not isinstance(W, np.ndarray):
        raise TypeError(
            f"{name} is a {type(W).__name__}, a dense array is required; "
            f"use {name}.toarray()"
        )
    W = as_array(W)
    if is_device_array(W) and W.dtype in (np.float32, np.float64):
        return W
    if W.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} has dtype {W.dtype}")
    if W.dtype.kind in "SUMm" or W.dtype.names:
        raise ValueError(f"{name} has dtype {W.dtype}, real numbers are required")
    try:
        dtype = np.float32 if fits_float32(W.dtype) else np.float64
        return W.astype(dtype, copy=False)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{name} of dtype {W.dtype} cannot be converted to float: {error}"
        ) from error


def check_finite(X, name):
    """Raise ValueError naming the first NaN or infinity of `X`, if any."""
    position = _dispatch.find_nonfinite(X.reshape(1, -1) if X.ndim != 2 else X)
    if position < 0:
        return
    index = tuple(int(i) for i in np.unravel_index(position, X.shape))
    value = float(X[index])
    kind = "NaN" if np.isnan(value) else "infinity"
    where = (
        f"row {index[0]}, column {index[1]}" if len(index) == 2 else f"index {index}"
    )
    raise ValueError(f"Input {name} contains {kind}: the first is at {where}")


def is_of_fitted_kind(estimator, X):
    """Whether `validate_data` has nothing to say but of values that are not finite.

    It takes a tenth of a millisecond to find out, many times what a prediction of one
    sample takes.

    Parameters
    ----------
    estimator : estimator
        Fitted on samples of float32 or float64.
    X : {ndarray, CSR matrix}

    Returns
    -------
    is_of_kind : bool
        False says nothing.
    """
    return (
        len(X.shape) == 2
        and X.dtype.char in "fd"
        and X.dtype.isnative
        and X.shape[0] > 0
        and X.shape[1] == estimator.n_features_in_ > 0
        and not hasattr(estimator, "feature_names_in_")
    )


def matrix_on_device(estimator, X):
    """What `check_array` does for arrays of the host, for a CuPy array.

    Raises
    ------
    ValueError
        If X is not a matrix of real numbers with rows and columns.
    """
    if X.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {X.ndim}D array instead: X has shape {X.shape}"
        )
    for n, what, axis in zip(X.shape, ("sample", "feature"), (0, 1), strict=True):
        if n == 0:
            raise ValueError(
                f"Found array with 0 {what}(s) (shape={X.shape}) while a minimum of 1 "
                f"is required by {type(estimator).__name__}, along axis {axis}."
            )
    return as_float_array(X, "X")


def validated_on_device(estimator, X, reset):
    """What `validate_data` does for arrays of the host, for a CuPy array.

    Raises
    ------
    ValueError
        If X is not a matrix of real numbers with rows and columns, or has another
        number of features than in `fit`.
    """
    # Not above: packing arrays imports no scikit-learn.
    from sklearn.utils.validation import validate_data

    X = matrix_on_device(estimator, X)
    return validate_data(estimator, X, reset=reset, skip_check_array=True)
