"""The transpose of a packed matrix, as a view."""

from sklearn_ternary.quantization._products import left_product, right_product


class TransposedTernaryArray:
    """Transposed view of a two-dimensional :class:`~sklearn_ternary.TernaryArray`.

    It is what the attribute `T` of the array gives. Nothing is copied: a product
    ``X @ A.T`` runs along the rows of `A` as they are packed.
    """

    __slots__ = ("T",)
    __array_ufunc__ = None

    def __init__(self, array):
        self.T = array

    def __reduce__(self):
        return TransposedTernaryArray, (self.T,)

    @property
    def shape(self):
        """Shape of the view, a tuple of int."""
        return self.T.shape[::-1]

    @property
    def ndim(self):
        """Number of dimensions: 2."""
        return 2

    @property
    def dtype(self):
        """Data type of the values."""
        return self.T.dtype

    def __repr__(self):
        return f"<transpose of {self.T!r}>"

    def codes(self):
        """Unpack the codes, int8."""
        return self.T.codes().T

    def toarray(self, dtype=None):
        """Unpack the values."""
        return self.T.toarray(dtype).T

    def __array__(self, dtype=None, copy=None):
        return self.T.__array__(dtype, copy).T

    def matmul(self, X, activations="float32", out=None):
        """Product with X on the right; see the method of the array."""
        return left_product(self.T, X, activations, out, transposed=True)

    def __matmul__(self, X):
        return left_product(self.T, X, transposed=True)

    def __rmatmul__(self, X):
        return right_product(X, self.T, transposed=True)
