"""Products of packed matrices, with the shapes and errors of `numpy.matmul`."""

import math

import numpy as np

from sklearn_ternary import _dispatch
from sklearn_ternary._config import get_config
from sklearn_ternary._gpu.arrays import (
    as_array,
    is_device_array,
    like,
    on_its_device,
)
from sklearn_ternary._validation import check_finite
from sklearn_ternary.quantization._groups import row_panels

ACTIVATIONS = ("float32", "int8")


@on_its_device
def left_product(A, X, activations="float32", out=None, *, transposed=False):
    """A · X, or Aᵀ · X, for X of shape (K,) or (..., K, N)."""
    if _is_sparse(X):
        raise TypeError(
            "matmul: a sparse X is multiplied from the left alone; X.T @ A.T is the "
            "transpose of A @ X"
        )
    X = _operand(A, X, activations)
    n_out, n_inner = A.shape[::-1] if transposed else A.shape
    if X.ndim == 0 or X.shape[-2 if X.ndim > 1 else 0] != n_inner:
        raise _mismatch((n_out, n_inner), X.shape)
    if X.ndim == 1:
        return _into(out, _rows_times(A, X[None], activations, not transposed)[0])
    rows = X.swapaxes(-1, -2)
    Y = _rows_times(A, _two_dimensional(rows), activations, not transposed)
    return _into(out, Y.reshape(*rows.shape[:-1], n_out).swapaxes(-1, -2))


@on_its_device
def right_product(X, A, activations="float32", out=None, *, transposed=False):
    """X · A, or X · Aᵀ, for X of shape (M,) or (..., N, M), dense or sparse."""
    n_inner, n_out = A.shape[::-1] if transposed else A.shape
    if _is_sparse(X):
        return _into(out, _sparse_product(X, A, activations, n_inner, transposed))
    X = _operand(A, X, activations)
    if X.ndim == 0 or X.shape[-1] != n_inner:
        raise _mismatch(X.shape, (n_inner, n_out))
    Y = _rows_times(A, _two_dimensional(X), activations, transposed)
    return _into(out, Y.reshape(*X.shape[:-1], n_out))


def _operand(A, X, activations):
    if activations not in ACTIVATIONS:
        raise ValueError(
            f"activations={activations!r} must be one of {list(ACTIVATIONS)}"
        )
    if A.ndim != 2:
        raise ValueError(f"matmul needs a packed matrix, not one of shape {A.shape}")
    if type(X) is not np.ndarray:
        X = as_array(X)
    if is_device_array(A.packed) and not is_device_array(X):
        raise TypeError(
            "matmul: the packed array is on a device and X is not; move X there, or "
            "use the array's get()"
        )
    if X.dtype.kind not in "fiub":
        raise TypeError(f"matmul: operands of dtype {X.dtype} are not supported")
    return X


def _two_dimensional(X):
    return X.reshape(math.prod(X.shape[:-1]), X.shape[-1])


def _mismatch(left, right):
    return ValueError(
        f"matmul: the shapes {left} and {right} do not fit each other: the inner "
        "dimensions differ"
    )


def _into(out, result):
    if out is None:
        return result
    if getattr(out, "shape", None) != result.shape:
        raise ValueError(
            f"out={out!r} is not an array of the shape of the product, {result.shape}"
        )
    if not np.can_cast(result.dtype, out.dtype, "same_kind"):
        raise TypeError(f"out of dtype {out.dtype} cannot hold {result.dtype}")
    out[...] = result
    return out


def _is_sparse(X):
    return hasattr(X, "tocsr") and hasattr(X, "nnz")


def _sparse_product(X, A, activations, n_inner, transposed):
    """Unpacks a panel of A at a time."""
    if activations != "float32":
        raise ValueError(
            f"activations={activations!r} needs a dense X; sparse X has 'float32' only"
        )
    if X.ndim != 2 or X.shape[1] != n_inner:
        raise _mismatch(X.shape, A.shape[::-1] if transposed else A.shape)
    memory = get_config()["working_memory"]
    panels = row_panels(*A.shape, A.dtype.itemsize, memory)
    if transposed:
        X = X.tocsr()
        parts = [np.asarray(X @ A[rows].toarray().T) for rows in panels]
        return np.hstack(parts) if parts else np.zeros((X.shape[0], 0), A.dtype)
    X = X.tocsc()
    result = np.zeros((X.shape[0], A.shape[1]), dtype=np.result_type(X, A.dtype))
    for rows in panels:
        result += X[:, rows] @ A[rows].toarray()
    return result


def _rows_times(A, X, activations, along_rows):
    """Rows X, (N, K) or (N, M), times Aᵀ (`along_rows`) or A; (N, M) or (N, K)."""
    int8 = activations == "int8"
    dtype = np.float32 if int8 else np.result_type(X.dtype, A.dtype)
    X = X.astype(dtype, copy=False)
    if A.n_levels != 3:
        if int8:
            raise ValueError(
                f"activations={activations!r} needs three levels, this array has "
                f"{A.n_levels}"
            )
        W = like(A.toarray(dtype), X)
        return X @ W.T if along_rows else X @ W
    matrix = A._stored_matrix(transposed=not along_rows)
    if not int8:
        return _dispatch.multiply_float(matrix, X)
    Y = _dispatch.multiply_int8(matrix, X)
    # A row with NaN or infinity gives nothing but NaN, and that is found sooner.
    if not Y.shape[1] or _has_nan(Y[:, 0]):
        check_finite(X, "X")
    return Y


def _has_nan(values):
    # One row at a time is common, and overhead is most of its time.
    return math.isnan(values[0]) if len(values) == 1 else np.isnan(values).any()
