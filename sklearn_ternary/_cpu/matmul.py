"""Products with a ternary matrix."""

import math
from functools import partial

import numpy as np

from sklearn_ternary._cpu.aligned_memory import allocate
from sklearn_ternary._cpu.pack import unpack
from sklearn_ternary._cpu.product_levels import int8_level, vector_level
from sklearn_ternary._kernels import _matmul
from sklearn_ternary._layouts import get_layout
from sklearn_ternary._reference.matmul import folded_into, split_scale

FORMATS = tuple(_matmul.FORMATS)
# Matrices of at most so many rows are not interleaved: padding to 16 rows, and what is
# prepared of each activation, would cost more than the products.
_APART_UP_TO = 24
# Codes after which a group may begin; groups shorter than 256 waste space apart.
_UNITS = {"t2": 16, "t5": 80, "r2": 256}
# Bytes of activations that scales are multiplied into, and codes that are unpacked,
# at a time.
_FOLDED_BYTES = 2**20
_CODES_AT_ONCE = 2**20
_FILL = {"t2": 0x55, "t5": 28, "r2": 0x55}  # code 0 everywhere


def quantize_activations(X, *, n_threads, isa):
    """Round each row of X, float32, to 8 bits: ``(q, step)``."""
    q = np.empty(X.shape, dtype=np.int8)
    step = np.empty(X.shape[0], dtype=np.float32)
    _matmul.quantize_activations(X, q, step, vector_level(isa), n_threads)
    return q, step


class PackedMatrix:
    """A ternary matrix laid out for multiplication, see ``src/matmul.h``.

    The parameters of `sklearn_ternary._reference.matmul.PackedMatrix`, and:

    Parameters
    ----------
    format : {"t2", "t5", "r2"} or None, default=None
        How the codes lie: 16 rows interleaved with 2 bits a code, or with 1.6,
        or rows apart. t5 is for 8-bit activations and matrices that do not fit the
        second-level cache, and slower elsewhere. None chooses r2 for few rows and t2
        otherwise.
    n_threads : int
    isa : str
        For unpacking. The products may use others; the layout does not depend
        on it.

    Attributes
    ----------
    shape : tuple of int
        Number of results and number of activations of a product.
    """

    # Products with many matrices in turn find each of them in memory alone: the fewer
    # objects on the way to the codes, the better.
    __slots__ = ("_only", "_parts", "shape")

    def __init__(
        self,
        packed,
        n_values,
        layout,
        scale,
        group_size,
        transposed=False,
        *,
        format=None,
        n_threads,
        isa,
    ):
        get_layout(layout, 3)
        stored = (packed.shape[0], n_values)
        self.shape = stored[::-1] if transposed else stored
        self._parts = [
            _Part(part, self.shape[1], format)
            for part in split_scale(scale, stored, group_size, transposed)
        ]
        # Where it has all results, and its scales are those of the results.
        self._only = None
        if len(self._parts) == 1 and self._parts[0].fold is None and self.shape[0]:
            (self._only,) = self._parts
        fill = self._fill_columns if transposed else self._fill_rows
        fill(packed, n_values, layout, n_threads, isa)

    def _fill_rows(self, packed, n_values, layout, n_threads, isa):
        (part,) = self._parts
        for rows, columns, codes in _panels(
            packed, n_values, layout, 256, 1, n_threads, isa
        ):
            part.matrix().pack(codes, rows, columns, n_threads)

    def _fill_columns(self, packed, n_values, layout, n_threads, isa):
        # Parts begin anywhere in a row: then all of a row is unpacked.
        multiple = 16 if len(self._parts) == 1 else max(n_values, 1)
        for rows, columns, codes in _panels(
            packed, n_values, layout, 80, multiple, n_threads, isa
        ):
            for part in self._parts:
                first = max(part.results.start, columns)
                stop = min(part.results.stop, columns + codes.shape[1])
                part.matrix().pack(
                    codes[:, first - columns : stop - columns].T,
                    first - part.results.start,
                    rows,
                    n_threads,
                )

    @property
    def nbytes(self):
        """Bytes that are held for the products."""
        return sum(part.nbytes for part in self._parts)

    @property
    def format(self):
        """``"t2"``, ``"t5"`` or ``"r2"``."""
        return self._parts[0].format if self._parts else "t2"

    @property
    def needs_float(self):
        """Whether scales have to be multiplied into the activations first."""
        return any(part.fold is not None for part in self._parts)

    def matmul_float(self, X, *, n_threads, isa):
        """Multiply float32 or float64 activations, C-contiguous, of shape (N, ...).

        Returns
        -------
        y : ndarray of shape (N, number of results), of the dtype of X
        """
        return self._assemble(_Part.multiply_float, X, X.dtype, n_threads, isa)

    def matmul_int8(self, X, *, n_threads, isa):
        """Multiply float32 activations, C-contiguous, rounded to 8 bits first.

        Returns
        -------
        y : ndarray of shape (N, number of results), float32
        """
        return self._assemble(_Part.multiply_int8, X, _FLOAT32, n_threads, isa)

    def matmul_quantized(self, q, step, *, n_threads, isa):
        """Multiply activations that are rounded to 8 bits already.

        Parameters
        ----------
        q : ndarray of shape (N, number of activations), int8, C-contiguous
        step : ndarray of shape (N,), float32

        Raises
        ------
        ValueError
            If scales have to be multiplied into the activations first.
        """
        if self.needs_float:
            raise ValueError(
                "the scales of this matrix differ along the activations; give the "
                "activations as float"
            )
        return self._assemble(
            partial(_Part.multiply_quantized, step=step), q, _FLOAT32, n_threads, isa
        )

    def _assemble(self, multiply, X, dtype, n_threads, isa):
        """Results of all parts, each by ``multiply(part, X, out, n_threads, isa)``."""
        n_results, n_columns = self.shape
        y = np.empty((len(X), n_results), dtype=dtype)
        if n_columns == 0:
            y[:] = 0
        elif self._only is not None and len(X):
            multiply(self._only, X, y, n_threads, isa)
        elif y.size:
            whole = len(self._parts) == 1
            for part in self._parts:
                out = y if whole else np.empty((len(X), part.form[0]), dtype=dtype)
                if part.fold is None:
                    multiply(part, X, out, n_threads, isa)
                else:
                    for rows in _batches(X, _FOLDED_BYTES):
                        folded = folded_into(X[rows], part.fold)
                        multiply(part, folded, out[rows], n_threads, isa)
                if not whole:
                    y[:, part.results] = out
        return y


class _Part:
    """Some of the results: codes in the layout of the kernels, and scales."""

    __slots__ = (
        "_float32",
        "_matrices",
        "_scales",
        "fold",
        "form",
        "format",
        "results",
        "weights",
    )

    def __init__(self, part, n_columns, format):
        self.results, self.fold = part.results, part.fold
        n_rows = part.results.stop - part.results.start
        self.format = _choose_format(n_rows, n_columns, part.group_size, format)
        unit = _UNITS[self.format] // 16
        group_blocks = blocks_of(part.group_size, unit)
        full, rest = divmod(n_columns, part.group_size)
        n_blocks = full * group_blocks + blocks_of(rest, unit)
        self.form = (
            n_rows,
            n_columns,
            part.group_size,
            group_blocks,
            n_blocks,
            _matmul.FORMATS[self.format],
        )
        if self.format == "r2":
            n_bytes = n_rows * n_blocks * 4
        else:
            steps = n_blocks if self.format == "t2" else n_blocks // 5 * 4
            n_bytes = -(-n_rows // 16) * steps * 64
        self.weights = allocate(n_bytes)
        self.weights[:] = _FILL[self.format]
        padded = -(-n_rows // _matmul.PANEL) * _matmul.PANEL
        scale = np.zeros((part.scale.shape[1], padded), dtype=part.scale.dtype)
        scale[:, :n_rows] = part.scale.T
        self._scales = {scale.dtype: scale}
        self._matrices = {}
        self._float32 = None  # of them

    @property
    def nbytes(self):
        scales = sum(scale.nbytes for scale in self._scales.values())
        return self.weights.nbytes + scales

    def scale(self, dtype):
        """The scales in `dtype`, (groups, padded rows)."""
        if dtype not in self._scales:
            (scale,) = list(self._scales.values())[:1]
            self._scales[dtype] = scale.astype(dtype)
        return self._scales[dtype]

    def matrix(self, dtype=None):
        """What the kernels take, with scales in `dtype` (any for None)."""
        dtype = dtype or next(iter(self._scales))
        if dtype not in self._matrices:
            scale = self.scale(dtype).reshape(-1).view(np.uint8)
            self._matrices[dtype] = _matmul.Matrix(self.weights, self.form, scale)
        return self._matrices[dtype]

    def multiply_int8(self, X, out, n_threads, isa):
        matrix, n = self._float32, len(X)
        if matrix is None:
            matrix = self._float32 = self.matrix(_FLOAT32)
        levels = vector_level(isa), int8_level(isa, n)
        scratch = np.empty(matrix.int8_scratch(n, levels[1]), np.uint8)
        matrix.multiply_int8(X, scratch, out, *levels, n_threads)

    def multiply_quantized(self, q, out, n_threads, isa, *, step):
        matrix, n = self.matrix(_FLOAT32), len(q)
        levels = vector_level(isa), int8_level(isa, n)
        scratch = np.empty(matrix.int8_scratch(n, levels[1]), np.uint8)
        matrix.multiply_quantized(q, step, scratch, out, *levels, n_threads)

    def multiply_float(self, X, out, n_threads, isa):
        matrix, level = self.matrix(X.dtype), vector_level(isa)
        n_values = matrix.float_scratch(len(X), level, X.itemsize == 8)
        scratch = np.empty(n_values, X.dtype)
        matrix.multiply_float(X, scratch, out, level, n_threads)


_FLOAT32 = np.dtype(np.float32)


def _batches(X, n_bytes):
    """Slices of rows of about so many bytes."""
    n = max(1, n_bytes // X[0].nbytes)
    return [slice(i, i + n) for i in range(0, len(X), n)]


def blocks_of(n_values, unit):
    """Blocks of 16 values that `n_values` need, in whole units of blocks."""
    return -(-n_values // (16 * unit)) * unit


def _choose_format(n_rows, n_columns, group_size, format):
    if format is not None:
        if format not in FORMATS:
            raise ValueError(f"format={format!r} is invalid; choose one of {FORMATS}")
        return format
    one_group = group_size >= n_columns
    return "r2" if n_rows <= _APART_UP_TO and (one_group or group_size >= 256) else "t2"


def _panels(packed, n_values, layout, n_rows, multiple, n_threads, isa):
    """Codes of part of the rows and columns: (first row, first column, codes)."""
    row = get_layout(layout)
    multiple = math.lcm(row.unit_values, multiple)
    size = max(1, _CODES_AT_ONCE // (n_rows * multiple)) * multiple
    for r in range(0, packed.shape[0], n_rows):
        for k in range(0, n_values, size):
            n = min(size, n_values - k)
            start = k // row.unit_values * row.unit_bytes
            part = packed[r : r + n_rows, start : start + row.row_bytes(n)]
            codes = unpack(
                np.ascontiguousarray(part), n, layout, n_threads=n_threads, isa=isa
            )
            yield r, k, codes
