"""Estimators whose data may lie on a device, and whose attributes then do, too."""

import functools

import numpy as np

from sklearn_ternary._gpu.arrays import (
    contiguous,
    from_device,
    is_device_array,
    like,
    namespace,
    to_host,
)
from sklearn_ternary._validation import (
    check_finite,
    fits_float32,
    validated_on_device,
)


class HostPickles:
    """A base of estimators: pickles and copies hold NumPy arrays, wherever X was."""

    def __getstate__(self):
        # A file that is read where there is no device.
        state = super().__getstate__()
        return {key: _all_to_host(value) for key, value in state.items()}


def _all_to_host(value):
    if type(value) is list and any(map(is_device_array, value)):
        return [to_host(part) for part in value]
    return to_host(value)


def validated(estimator, X, *, reset, **options):
    """X for `estimator`: finite float32 or float64, where it lies.

    Parameters
    ----------
    estimator : estimator
    X : array-like of shape (n, d)
        Of float32, which float16 and bfloat16 become, or converted to float64.
    reset : bool
        Whether `estimator` learns the number and the names of the features.
    **options : dict
        For `validate_data`, which sees arrays of the host.

    Returns
    -------
    X : ndarray, CuPy array or, where the options allow it, sparse matrix
    """
    X = from_device(X)
    if is_device_array(X):
        X = contiguous(validated_on_device(estimator, X, reset))
    else:
        from sklearn.utils.validation import validate_data

        options = {
            "dtype": "float32" if _is_of(X, fits_float32) else ["float64", "float32"],
            "ensure_all_finite": False,
            **options,
        }
        X = validate_data(estimator, X, reset=reset, **options)
    if not hasattr(X, "nnz"):
        check_finite(X, "X")
    return X


def _is_of(X, is_right):
    """Whether `is_right` says so of the dtype of X, or of all that a table has."""
    dtypes = [X.dtype] if hasattr(X, "dtype") else list(getattr(X, "dtypes", []))
    return bool(dtypes) and all(isinstance(t, np.dtype) and is_right(t) for t in dtypes)


def in_float16_if(X, values):
    """Values that were computed as float32, as float16 if X was of that dtype.

    scikit-learn's scalers give float16 back, too. What float16 does not reach becomes
    its largest number.

    Parameters
    ----------
    X : array-like
        What the user gave.
    values : ndarray or CuPy array

    Returns
    -------
    values : ndarray or CuPy array
    """
    if not _is_of(X, lambda t: t.kind == "f" and t.itemsize == 2):
        return values
    limit = np.finfo(np.float16).max
    values = namespace(values).clip(values, -limit, limit)
    with np.errstate(under="ignore"):
        return values.astype(np.float16)


def through_host(function):
    """Make a function of arrays of the host take those of devices, and return such.

    Arguments are copied to the host. Arrays of numbers that it returns go where the
    first of the arguments that lay on a device was; an estimator that returns itself
    sees to it by `_publish`, if it has that.
    """

    @functools.wraps(function)
    def there_and_back(*args, **options):
        args = [from_device(value) for value in args]
        options = {key: from_device(value) for key, value in options.items()}
        home = next(filter(is_device_array, (*args, *options.values())), None)
        if home is None:
            return function(*args, **options)
        args = map(to_host, args)
        options = {key: to_host(value) for key, value in options.items()}
        result = function(*args, **options)
        if hasattr(result, "_publish"):
            result._publish(home)
        return moved(result, home)

    return there_and_back


def moved(result, home):
    """Arrays of numbers in a result, moved to where `home` is."""
    if isinstance(result, (list, tuple)):
        return type(result)(moved(part, home) for part in result)
    is_array = isinstance(result, np.ndarray) and result.dtype.kind in "biuf"
    return like(result, home) if is_array else result
