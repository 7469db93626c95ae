"""X · Aᵀ for the data that scikit-learn's models take."""

import numpy as np
from scipy import sparse

from sklearn_ternary import _dispatch
from sklearn_ternary._gpu.arrays import as_array
from sklearn_ternary._layouts import get_layout
from sklearn_ternary._reference.groups import spread
from sklearn_ternary.linalg import ternary_matmul
from sklearn_ternary.quantization._array import TernaryArray

# Unpacked weights that exist at a time while a sparse X is multiplied.
_PANEL_BYTES = 4 * 2**20


def rows_times(X, A, activations, dtype=np.float32):
    """Multiply samples by packed weights.

    Parameters
    ----------
    X : ndarray, CuPy array or sparse of shape (n_samples, n_inputs)
    A : TernaryArray of shape (n_outputs, n_inputs)
    activations : {"float32", "int8"}
    dtype : dtype, default=float32
        What dense floats are summed in, float32 at least. For few outputs float64 is
        quicker than a copy in float32.

    Returns
    -------
    product : ndarray of shape (n_samples, n_outputs), of `dtype` or float32
        Where X is.
    """
    if not sparse.issparse(X):
        if activations == "float32" and _is_plain(X, A) and X.dtype == dtype:
            # What ternary_matmul looks at takes as long as one sample.
            return _dispatch.multiply_float(A._stored_matrix(transposed=False), X)
        X = as_array(X, dtype=np.result_type(dtype, np.float32))
        return ternary_matmul(X, A.T, activations=activations)
    if activations != "float32":
        raise ValueError(
            f"activations={activations!r} needs a dense X; sparse X has 'float32' only"
        )
    return _sparse_times(X.tocsr(), A)


def _is_plain(X, A):
    """Whether the product is the backends' alone: see `ternary_matmul`."""
    return (
        type(A) is TernaryArray  # not its transpose
        and type(X) is type(A.packed) is np.ndarray
        and A.n_levels == 3
        and X.dtype in (np.float32, np.float64)
        and X.dtype.itemsize >= A.dtype.itemsize
    )


def _sparse_times(X, A):
    """Unpacks the columns of A that X has entries in, a panel at a time."""
    data = X.data.astype(np.float32, copy=False)
    width = max(_PANEL_BYTES // (4 * max(A.shape[0], 1)), 1)
    if X.shape[0] == 1 and data.size <= width:
        # One sample at a time is common, and overhead is most of its time.
        return data[None] @ _columns(A, X.indices)
    columns, places = np.unique(X.indices, return_inverse=True)
    X = sparse.csr_array((data, places, X.indptr), shape=(X.shape[0], columns.size))
    result = np.zeros((X.shape[0], A.shape[0]), dtype=np.float32)
    for start in range(0, columns.size, width):
        stop = min(start + width, columns.size)
        panel = X if stop - start == columns.size else X[:, start:stop]
        result += panel @ _columns(A, columns[start:stop])
    return result


def _columns(A, columns):
    """Selected columns of A, unpacked, as the rows of a float32 array."""
    layout = get_layout(A.layout)
    n_rows, n_units = A.shape[0], columns.size
    units = A.packed.reshape(n_rows, -1, layout.unit_bytes)
    units = np.ascontiguousarray(units[:, columns // layout.unit_values])
    codes = _dispatch.unpack(
        units.reshape(n_rows, -1), n_units * layout.unit_values, A.layout
    ).reshape(n_rows, n_units, layout.unit_values)
    codes = codes[:, np.arange(n_units), columns % layout.unit_values]
    scale = A.scale / (A.n_levels // 2)
    if scale.shape[1] > 1:
        scale = spread(scale, A.shape[1], A.group_size)[:, columns]
    return np.ascontiguousarray((codes * scale).T, dtype=np.float32)
