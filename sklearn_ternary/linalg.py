"""Arithmetic on packed matrices."""

from numbers import Integral

import numpy as np

from sklearn_ternary.quantization._array import TernaryArray
from sklearn_ternary.quantization._norms import norm
from sklearn_ternary.quantization._products import left_product, right_product
from sklearn_ternary.quantization._transposed import TransposedTernaryArray

__all__ = ["ternary_matmul", "ternary_norm"]

_PACKED = (TernaryArray, TransposedTernaryArray)


def ternary_matmul(a, b, *, activations="float32", out=None):
    """Multiply a packed matrix by a dense or sparse one, without unpacking it.

    Parameters
    ----------
    a, b : TernaryArray, its transpose, or array-like
        Exactly one is packed; the other is an array of numbers with the shapes
        that :func:`numpy.matmul` takes, or (as `a`) a sparse matrix.
    activations : {"float32", "int8"}, default="float32"
        What the other operand is multiplied as: floats as they are, or each row
        (of `a`, or of the transpose of `b`) rounded to int8 by its largest
        magnitude and the sums formed exactly, as BitNet b1.58 does.
    out : ndarray, default=None
        Where to write the product.

    Returns
    -------
    product : ndarray

    Raises
    ------
    TypeError
        If not exactly one operand is packed.
    ValueError
        If the shapes do not fit, or for NaN and infinities with int8.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ternary import ternarize
    >>> from sklearn_ternary.linalg import ternary_matmul
    >>> A = ternarize(np.array([[2.0, -2.0, 0.0], [0.0, 2.0, 2.0]]), scale=2.0)
    >>> ternary_matmul(np.array([[1.0, 2.0, 3.0]]), A.T)
    array([[-2., 10.]])
    """
    if isinstance(a, _PACKED) == isinstance(b, _PACKED):
        raise TypeError(
            "ternary_matmul needs one packed operand, got "
            f"{type(a).__name__} and {type(b).__name__}"
        )
    if isinstance(a, _PACKED):
        transposed = isinstance(a, TransposedTernaryArray)
        array = a.T if transposed else a
        return left_product(array, b, activations, out, transposed=transposed)
    transposed = isinstance(b, TransposedTernaryArray)
    array = b.T if transposed else b
    return right_product(a, array, activations, out, transposed=transposed)


def ternary_norm(a, ord=None, axis=None):
    """Norm of a packed array, without unpacking it.

    What codes add up to is counted exactly, in whole numbers, for the values that
    share a scale; scales are multiplied in float64. Norms of columns unpack codes, as
    many rows at a time as ``working_memory`` holds.

    Parameters
    ----------
    a : TernaryArray or its transpose
        Of any number of levels.
    ord : {None, "fro", 1, 2, inf}, default=None
        As for :func:`numpy.linalg.norm`. None is the root of the sum of the squares
        of all values, for matrices called ``"fro"``. Of vectors, 1 is the sum of the
        magnitudes, 2 the same as None, and inf the largest magnitude; of matrices, 1
        and inf are the largest sum of the magnitudes of a column and of a row. The
        spectral norm (2) of a matrix takes singular values: ``a.toarray()`` has them.
    axis : int, default=None
        Norms of the vectors along this axis of a matrix; None is one norm of all.

    Returns
    -------
    norm : float, or ndarray of float64
        An array with `axis`, where `a` is.

    Raises
    ------
    TypeError
        If `a` is not packed.
    ValueError
        If `ord` or `axis` is not one for the dimensions of `a`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ternary import ternarize
    >>> from sklearn_ternary.linalg import ternary_norm
    >>> A = ternarize(np.array([[2.0, -2.0, 0.0], [0.0, 2.0, 2.0]]), scale=2.0)
    >>> ternary_norm(A), ternary_norm(A, np.inf)
    (4.0, 4.0)
    >>> ternary_norm(A, 1, axis=0)
    array([2., 4., 2.])
    """
    if not isinstance(a, _PACKED):
        raise TypeError(
            f"ternary_norm needs a TernaryArray, got {type(a).__name__}; "
            "numpy.linalg.norm is for arrays"
        )
    if isinstance(a, TransposedTernaryArray):
        if isinstance(axis, Integral) and -2 <= axis < 2:
            axis = 1 - axis % 2
        elif axis is None:
            ord = {1: np.inf, np.inf: 1}.get(ord, ord)
        a = a.T
    return norm(a, ord, axis)
