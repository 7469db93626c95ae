"""TernaryArray: an immutable array of few-level codes, packed."""

import math
import os

import numpy as np

from sklearn_ternary import _dispatch
from sklearn_ternary._config import get_config
from sklearn_ternary._gpu.arrays import (
    is_device_array,
    namespace,
    on_its_device,
    to_host,
)
from sklearn_ternary._layouts import get_layout
from sklearn_ternary._reference.groups import spread
from sklearn_ternary._reference.products import StoredMatrix
from sklearn_ternary.quantization._array_parts import (
    checked_parts,
    for_files,
    of_files,
)
from sklearn_ternary.quantization._groups import matrix_shape, row_panels
from sklearn_ternary.quantization._indexing import packed_parts, select
from sklearn_ternary.quantization._products import left_product, right_product
from sklearn_ternary.quantization._sparse import to_csr
from sklearn_ternary.quantization._transposed import TransposedTernaryArray


class TernaryArray:
    """Immutable packed array of ternary (or few-level) codes with scales.

    It is stored as a matrix: one row of bytes for each index of the first axis
    (a single row for arrays of fewer than two dimensions), and scales for
    groups of consecutive values of a row. A value is
    ``code * scale / (n_levels // 2)``; on three levels that is
    ``code * scale`` with codes -1, 0 and 1.

    :func:`~sklearn_ternary.ternarize` makes such arrays from float arrays. Like
    a `scipy.sparse` array it never turns dense by itself: call :meth:`toarray`.

    Parameters
    ----------
    packed : ndarray of shape (n_rows, row_bytes), uint8
        The packed codes, read-only from then on. With CuPy arrays for it and
        `scale` the array is on their device, and so is all that comes of it.
    scale : ndarray of shape (n_rows, n_groups) or (1, n_groups)
        float32 or float64, not negative; NaN marks a group without values.
    shape : tuple of int
        Shape of the array; ``n_rows`` is its first entry and the rest are the
        ``n_values`` of a row.
    layout : str
        ``"t2"``, ``"t5"``, ``"tq1_0"``, ``"tq2_0"``, ``"i2_s_x86"`` or
        ``"i2_s_arm"`` (3 levels), ``"q3"`` (5), ``"i4"`` (15) or ``"i8"`` (255).
    group_size : int
        Consecutive values of a row that share a scale;
        ``n_groups = ceil(n_values / group_size)``.

    Raises
    ------
    ValueError
        If the parts do not fit each other or `packed` holds bytes that no codes
        pack to.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ternary import ternarize
    >>> A = ternarize(np.random.default_rng(0).normal(size=(512, 4096)), axis=1)
    >>> A
    <TernaryArray of shape (512, 4096), 3 levels, layout 't5', 1.62 bits per value>
    >>> A[3:5].shape
    (2, 4096)
    """

    __slots__ = ("_group_size", "_layout", "_matrices", "_packed", "_scale", "_shape")
    # NumPy's operators leave `ndarray op TernaryArray` to this class.
    __array_ufunc__ = None

    @on_its_device
    def __init__(self, packed, scale, shape, layout, *, group_size):
        parts = checked_parts(packed, scale, shape, layout, group_size)
        packed, scale, *rest = parts
        self._set(packed.copy(), scale.copy(), *rest)

    @classmethod
    def _new(cls, packed, scale, shape, layout, group_size):
        """Make an array of parts that are known to be right, without copies."""
        self = object.__new__(cls)
        self._set(packed, scale, tuple(shape), layout, group_size)
        return self

    def _set(self, packed, scale, shape, layout, group_size):
        if isinstance(packed, np.ndarray):
            packed.setflags(False)
            scale.setflags(False)
        _put_packed(self, packed)
        _put_scale(self, scale)
        _put_shape(self, shape)
        _put_layout(self, layout)
        _put_group_size(self, group_size)
        _put_matrices(self, {})

    def __setattr__(self, name, value):
        raise AttributeError(f"TernaryArray is immutable, cannot set {name!r}")

    def __delattr__(self, name):
        raise AttributeError(f"TernaryArray is immutable, cannot delete {name!r}")

    # -- what it is --------------------------------------------------------

    @property
    def shape(self):
        """Shape of the array, a tuple of int."""
        return self._shape

    @property
    def ndim(self):
        """Number of dimensions."""
        return len(self._shape)

    @property
    def size(self):
        """Number of values."""
        return math.prod(self._shape)

    @property
    def dtype(self):
        """Data type of the values, that of the scales: float32 or float64."""
        return self._scale.dtype

    @property
    def scale(self):
        """Scales, read-only, of shape (n_rows, n_groups) or (1, n_groups)."""
        return self._scale

    @property
    def packed(self):
        """The packed codes, read-only uint8 of shape (n_rows, row_bytes)."""
        return self._packed

    @property
    def group_size(self):
        """Consecutive values of a row that share a scale."""
        return self._group_size

    @property
    def layout(self):
        """Name of the packed format."""
        return self._layout

    @property
    def n_levels(self):
        """Number of levels a code can take."""
        return get_layout(self._layout).n_levels

    @property
    def nbytes(self):
        """Bytes stored: packed codes and scales."""
        return self._packed.nbytes + self._scale.nbytes

    @property
    def bits_per_value(self):
        """Bits stored per value, scales included; NaN for an empty array."""
        return 8 * self.nbytes / self.size if self.size else math.nan

    @property
    def compression_ratio(self):
        """How much smaller than float32; NaN for an empty array."""
        return 32 / self.bits_per_value

    @property
    def sparsity(self):
        """Fraction of codes that are 0; NaN for an empty array."""
        counts = self.code_counts()
        return float(counts[self.n_levels // 2] / self.size) if self.size else math.nan

    def code_counts(self):
        """How often each code occurs, from the smallest.

        Returns
        -------
        counts : ndarray of shape (n_levels,), int64
        """
        return _dispatch.count_codes(self._packed, self._n_values, self._layout)

    @property
    def _n_values(self):
        return matrix_shape(self._shape)[1]

    def __len__(self):
        if not self._shape:
            raise TypeError("len() of a TernaryArray without dimensions")
        return self._shape[0]

    def __repr__(self):
        bits = f", {self.bits_per_value:.2f} bits per value" if self.size else ""
        return (
            f"<TernaryArray of shape {self._shape}, {self.n_levels} levels, "
            f"layout {self._layout!r}{bits}>"
        )

    # -- back to dense -----------------------------------------------------

    def codes(self):
        """Unpack the codes.

        Returns
        -------
        codes : ndarray of the shape of the array, int8
        """
        codes = _dispatch.unpack(self._packed, self._n_values, self._layout)
        return codes.reshape(self._shape)

    @on_its_device
    def toarray(self, dtype=None):
        """Unpack the values.

        Parameters
        ----------
        dtype : data-type, default=None
            A floating one; None keeps the dtype of the scales.

        Returns
        -------
        values : ndarray of the shape of the array

        Raises
        ------
        ValueError
            If `dtype` is of integers or of what is no number.
        """
        if dtype is not None and np.dtype(dtype).kind not in "fcVO":
            raise ValueError(
                f"dtype={dtype!r} does not hold the values; use a float dtype, or "
                "codes() for integers"
            )
        values = _dispatch.unpack_values(
            self._packed, self._n_values, self._layout, self._scale, self._group_size
        ).reshape(self._shape)
        return values if dtype is None else values.astype(dtype, copy=False)

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("a TernaryArray cannot become an array without a copy")
        if is_device_array(self._packed):
            raise TypeError(
                "this TernaryArray is on a device and does not become a NumPy array by "
                "itself; use get()"
            )
        return self.toarray(dtype)

    def get(self):
        """Copy to the host, if it is on a device.

        Returns
        -------
        A : TernaryArray
            Of NumPy arrays; the array itself if it is that already.
        """
        if not is_device_array(self._packed):
            return self
        parts = self._packed.get(), self._scale.get()
        return self._new(*parts, self._shape, self._layout, self._group_size)

    # -- other forms of the same array -------------------------------------

    @on_its_device
    def to_layout(self, name):
        """Repack in another layout of as many levels.

        Parameters
        ----------
        name : str

        Returns
        -------
        A : TernaryArray
            With the same codes and scales; the array itself if nothing changes.

        Raises
        ------
        ValueError
            If there is no such layout, or it has other levels.
        """
        row = get_layout(name, self.n_levels)
        if name == self._layout:
            return self
        n_rows, n_values = matrix_shape(self._shape)
        xp = namespace(self._packed)
        packed = xp.empty((n_rows, row.row_bytes(n_values)), dtype=np.uint8)
        memory = get_config()["working_memory"]
        for rows in row_panels(n_rows, n_values, 1, memory):
            codes = _dispatch.unpack(self._packed[rows], n_values, self._layout)
            packed[rows] = _dispatch.pack(codes, name)
        return self._new(packed, self._scale, self._shape, name, self._group_size)

    @on_its_device
    def __getitem__(self, key):
        """Select along the first axis: an integer, a slice, a mask or indices."""
        selected = select(
            self._packed, self._scale, self._shape, self._layout, self._group_size, key
        )
        return self._new(*selected) if isinstance(selected, tuple) else selected

    def tocsr(self):
        """Copy a matrix to a sparse one of SciPy, which stores what is not zero.

        It takes 8 to 16 bytes for each of these, many times what the codes take:
        it is for programs that want sparse matrices.

        Returns
        -------
        S : scipy.sparse.csr_array of the shape of the array
            With the values of :meth:`toarray`, in memory of the host.

        Raises
        ------
        ValueError
            If the array has not two dimensions.
        """
        if self.ndim != 2:
            raise ValueError(f"only matrices become sparse, not shape {self._shape}")
        return to_csr(self.get())

    # -- products ----------------------------------------------------------

    @property
    def T(self):  # noqa: N802
        """Transposed view of a matrix."""
        if self.ndim != 2:
            raise ValueError(f"only matrices have a transpose, not shape {self._shape}")
        return TransposedTernaryArray(self)

    def matmul(self, X, activations="float32", out=None):
        """Multiply this matrix by X, without unpacking it.

        Parameters
        ----------
        X : array-like of shape (K,) or (..., K, N)
            K is the number of columns of this matrix, (M, K).
        activations : {"float32", "int8"}, default="float32"
            Take X as floats, or round each of its columns to int8 by its largest
            magnitude and sum exactly, as BitNet b1.58 does.
        out : ndarray, default=None
            Where to write the product.

        Returns
        -------
        product : ndarray of shape (M,) or (..., M, N)

        Raises
        ------
        ValueError
            If the shapes do not fit, or for NaN and infinities with int8.
        """
        return left_product(self, X, activations, out)

    def _stored_matrix(self, transposed):
        """What products are computed with; its forms are kept with the array."""
        if transposed not in self._matrices:
            matrix = StoredMatrix(
                self._packed,
                self._n_values,
                self._layout,
                self._scale,
                self._group_size,
                transposed,
            )
            self._matrices.setdefault(transposed, matrix)
        return self._matrices[transposed]

    def __matmul__(self, X):
        return left_product(self, X)

    def __rmatmul__(self, X):
        return right_product(X, self)

    # -- comparison, copies, files -----------------------------------------

    def __eq__(self, other):
        """Whether shape, codes and scales are the same, whatever the layout."""
        if not isinstance(other, TernaryArray):
            return NotImplemented
        if self._shape != other._shape or self.n_levels != other.n_levels:
            return False
        if is_device_array(self._packed) or is_device_array(other._packed):
            return self.get() == other.get()
        same_bytes = self._layout == other._layout and np.array_equal(
            self._packed, other._packed
        )
        if not same_bytes and not np.array_equal(self.codes(), other.codes()):
            return False
        if self._group_size == other._group_size:
            mine, theirs = np.broadcast_arrays(self._scale, other._scale)
        else:
            mine, theirs = np.broadcast_arrays(
                spread(self._scale, self._n_values, self._group_size),
                spread(other._scale, other._n_values, other._group_size),
            )
        return np.array_equal(mine, theirs, equal_nan=True)

    __hash__ = None

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __getstate__(self):
        return {
            "packed": to_host(self._packed),
            "scale": to_host(self._scale),
            "shape": self._shape,
            "layout": self._layout,
            "group_size": self._group_size,
        }

    def __setstate__(self, state):
        # Checked: skops.io reads files of others, and kernels trust their sizes.
        self._set(*checked_parts(**state))

    def _to_parts(self, entropy_code=False):
        """Tensors and JSON-able description, for files."""
        return for_files(self.__getstate__(), entropy_code)

    @classmethod
    def _from_parts(cls, tensors, info):
        """Invert `_to_parts`; ValueError for anything that does not fit."""
        return cls(**of_files(tensors, info))

    def save(self, path, *, entropy_code=False):
        """Write to a file that :meth:`load` and :func:`sklearn_ternary.load` read.

        The file is a safetensors container without any code in it; it is
        replaced atomically.

        Parameters
        ----------
        path : str or path-like
        entropy_code : bool, default=False
            Store the codes in as few bits as their frequencies allow, rather than in
            those of the layout. Such a file takes longer to write and to read, and
            what is read has the layout of this array again.
        """
        from sklearn_ternary.persistence import save_tensors

        save_tensors(path, {"": self._to_parts(entropy_code)})

    @classmethod
    def load(cls, path):
        """Read an array written by :meth:`save`.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        A : TernaryArray

        Raises
        ------
        ValueError
            If the file is damaged or holds something else.
        """
        from sklearn_ternary.persistence import load_tensors

        parts = load_tensors(path)
        if set(parts) != {""}:
            raise ValueError(f"{os.fsdecode(path)} does not hold a single packed array")
        try:
            return cls._from_parts(*parts[""])
        except ValueError as error:
            raise ValueError(f"{os.fsdecode(path)}: {error}") from None


# The class refuses to be changed: what writes its slots in `_set`.
_put_packed = TernaryArray._packed.__set__
_put_scale = TernaryArray._scale.__set__
_put_shape = TernaryArray._shape.__set__
_put_layout = TernaryArray._layout.__set__
_put_group_size = TernaryArray._group_size.__set__
_put_matrices = TernaryArray._matrices.__set__


def pack_codes(codes, scale, group_size, shape, layout):
    """Pack int8 codes that are known to be within the levels of `layout`."""
    return TernaryArray._new(*packed_parts(codes, scale, group_size, shape, layout))
