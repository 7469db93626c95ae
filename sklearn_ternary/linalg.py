"""Arithmetic on packed matrices."""

from sklearn_ternary.quantization._array import TernaryArray
from sklearn_ternary.quantization._products import left_product, right_product
from sklearn_ternary.quantization._transposed import TransposedTernaryArray

__all__ = ["ternary_matmul"]

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
