"""Products with a stored matrix."""

import numpy as np

from sklearn_ternary._gpu.arrays import contiguous, is_device_array, to_host
from sklearn_ternary._gpu.device import (
    current_info,
    devices_of,
    require,
    runs_kernels,
)
from sklearn_ternary._gpu.kernels import launch
from sklearn_ternary._gpu.memory import halving, piece_rows
from sklearn_ternary._gpu.pack import pack, unpack, unpack_values
from sklearn_ternary._layouts import get_layout
from sklearn_ternary._reference.groups import n_groups
from sklearn_ternary._reference.matmul import PackedMatrix, split_scale

SLAB = 128
# Rows of activations up to which a matrix is read once for each of them.
GEMV_ROWS = 4
# Results of a tile are one or two times as many as its rows; stages of shared memory.
_TILE = 128
_SHARED = {1: 3 * (16384 + 4096), 2: 4 * (16384 + 2 * 4096)}
# Sums of products of codes and int8 stay within int32.
_MOST_COLUMNS = 2**23
_PANEL_VALUES = 2**26
# At most so many blocks lie along the second axis of a grid.
_GRID_ROWS = 65535


def multiply_float(matrix, X, *, device=None):
    """Rows of floats times the stored matrix; sums in the order of cuBLAS."""
    return _with_rows(_multiply_float, matrix, X, device)


def multiply_int8(matrix, X, *, device=None):
    """Rows of float32, rounded to 8 bits, times the stored matrix."""
    return _with_rows(_multiply_int8, matrix, X, device)


def _with_rows(multiply, matrix, X, device):
    """Rows of the host go to the first device, as many at a time as there is room."""
    cupy = require(device)
    if is_device_array(X):
        with X.device:
            return multiply(cupy, matrix, X)
    (number, *_), fraction = devices_of(device)
    n_results = matrix.n_values if matrix.transposed else matrix.packed.shape[0]

    def work(rows):
        y = np.empty((len(X), n_results), X.dtype)
        for first in range(0, len(X), rows):
            part = slice(first, first + rows)
            y[part] = multiply(cupy, matrix, cupy.asarray(X[part])).get()
        return y

    with cupy.cuda.Device(number):
        row_bytes = max(X.shape[1], n_results) * X.itemsize
        return halving(cupy, piece_rows(cupy, len(X), row_bytes, fraction), work)


def _multiply_int8(cupy, matrix, X):
    # The form is kept: a matrix of the host goes to a device once.
    number = cupy.cuda.runtime.getDevice()
    if not runs_kernels(cupy):
        return matrix.form(("cuda, expressed", number), _expressed).matmul_int8(X)
    return matrix.form(("cuda", number), DeviceMatrix).matmul_int8(cupy, X)


def _multiply_float(cupy, matrix, X):
    """Unpack panels of rows, and multiply by them."""
    number = cupy.cuda.runtime.getDevice()
    packed, scale = matrix.form(("cuda, packed", number), _packed_on_device)
    n_rows, n_values = packed.shape[0], matrix.n_values
    width = n_values if matrix.transposed else n_rows
    y = cupy.zeros((X.shape[0], width), X.dtype)
    step = max(1, _PANEL_VALUES // max(n_values, 1))
    for first in range(0, n_rows, step):
        rows = slice(first, min(first + step, n_rows))
        some = scale if scale.shape[0] == 1 else scale[rows]
        parts = packed[rows], n_values, matrix.layout, some, matrix.group_size
        W = unpack_values(*parts).astype(X.dtype, copy=False)
        if matrix.transposed:
            y += X[:, rows] @ W
        else:
            y[:, rows] = X @ W.T
    return y


def _packed_on_device(packed, n_values, layout, scale, group_size, transposed):
    """Bytes and scales, which go to the device once."""
    cupy = require()
    return cupy.asarray(packed), cupy.asarray(scale)


def _expressed(packed, n_values, layout, scale, group_size, transposed):
    """The definition, with bytes and scales on the device."""
    there = _packed_on_device(packed, n_values, layout, scale, group_size, transposed)
    packed, scale = there
    return PackedMatrix(packed, n_values, layout, scale, group_size, transposed)


def _columns(packed, n_values, layout, columns):
    """Codes of some columns of all rows; no others are unpacked but for a few."""
    row = get_layout(layout)
    first = columns.start // row.unit_values
    n = min(n_values, columns.stop) - first * row.unit_values
    part = packed[:, first * row.unit_bytes :][:, : row.row_bytes(n)]
    skipped = columns.start - first * row.unit_values
    return unpack(contiguous(part), n, layout)[:, skipped:]


class DeviceMatrix:
    """A ternary matrix on the current device, made ready for products.

    The parameters are those of `StoredMatrix`.
    """

    def __init__(self, packed, n_values, layout, scale, group_size, transposed):
        cupy = require()
        stored = (packed.shape[0], n_values)
        n_results, n_inner = stored[::-1] if transposed else stored
        if n_inner > _MOST_COLUMNS:
            raise NotImplementedError(f"more than {_MOST_COLUMNS} columns")
        self._n_results = n_results
        packed = cupy.asarray(packed)
        scale = to_host(scale).astype(np.float32)
        parts = split_scale(scale, stored, group_size, transposed)
        self._parts = [
            _Part(cupy, part, packed, n_values, layout, transposed, n_inner)
            for part in parts
        ]

    def matmul_int8(self, cupy, X):
        """Multiply float32 rows of a device, of shape (N, number of columns)."""
        y = cupy.zeros((X.shape[0], self._n_results), np.float32)
        if X.size and y.size:
            for part in self._parts:
                part.multiply(cupy, X, y)
        return y


class _Part:
    """Results that are computed together, with codes padded to slabs."""

    def __init__(self, cupy, part, packed, n_values, layout, transposed, n_inner):
        self.results = part.results
        self.fold = None
        if part.fold is not None:
            self.fold = cupy.asarray(part.fold)
        self.group_size = min(part.group_size, n_inner or 1)
        self.groups = n_groups(n_inner, self.group_size)
        self.slabs = -(-self.group_size // SLAB)
        self.n = part.results.stop - part.results.start
        # One row for each result: shared scales that differ along it were folded.
        scale = np.broadcast_to(part.scale, (self.n, part.scale.shape[1]))
        self.scale = cupy.asarray(np.ascontiguousarray(scale))
        row_bytes = self.groups * self.slabs * SLAB // 4
        self.weights = cupy.empty((self.n, row_bytes), np.uint8)
        step = max(1, _PANEL_VALUES // max(4 * row_bytes, 1))
        for first in range(0, self.n, step):
            last = min(first + step, self.n)
            rows = slice(part.results.start + first, part.results.start + last)
            if transposed:
                codes = _columns(packed, n_values, layout, rows).T
            else:
                codes = unpack(packed[rows], n_values, layout)
            self.weights[first:last] = pack(self._padded(cupy, codes), "t2")

    def _padded(self, cupy, codes):
        n, k = codes.shape
        width = self.slabs * SLAB
        padded = cupy.zeros((n, self.groups, width), np.int8)
        whole = k // self.group_size
        end = whole * self.group_size
        padded[:, :whole, : self.group_size] = codes[:, :end].reshape(
            n, whole, self.group_size
        )
        if end < k:
            padded[:, whole, : k - end] = codes[:, end:]
        return padded.reshape(n, self.groups * width)

    def multiply(self, cupy, X, y):
        if self.fold is not None:
            X = X * self.fold
        n_rows = X.shape[0]
        shape = (n_rows, self.groups)
        q = cupy.empty((*shape, self.slabs * SLAB), np.int8)
        steps, sums = cupy.empty(n_rows, np.float32), cupy.empty(shape, np.int32)
        groups = np.int32(self.groups), np.int32(self.slabs)
        args = (X, np.int64(X.shape[1]), np.int64(self.group_size), *groups)
        args = (*args, q, steps, sums)
        launch(cupy, "matmul", "quantize_rows", n_rows, args, block=128)
        whole = self.n == y.shape[1]
        out = y if whole else cupy.empty((n_rows, self.n), np.float32)
        args = (q, self.weights, steps, sums, self.scale)
        if n_rows <= GEMV_ROWS:
            self._row_by_row(cupy, args, groups, n_rows, out)
        else:
            self._by_tiles(cupy, args, groups, n_rows, out)
        if not whole:
            y[:, self.results] = out

    def _row_by_row(self, cupy, args, groups, n_rows, out):
        q, weights, steps, sums, scale = args
        for first in range(0, n_rows, _GRID_ROWS):
            rows = slice(first, min(first + _GRID_ROWS, n_rows))
            one = (weights, q[rows], steps[rows], sums[rows], scale, np.int32(self.n))
            grid = (-(-self.n // 16), rows.stop - first)
            launch(cupy, "matmul", "gemv", grid, (*one, *groups, out[rows]))

    def _by_tiles(self, cupy, args, groups, n_rows, out):
        q, weights, steps, sums, scale = args
        most = _GRID_ROWS * _TILE
        tiles = -(-self.n // (2 * _TILE)) * -(-n_rows // _TILE)
        # Narrow tiles for small products, so that no multiprocessor is idle.
        wide = self.groups == 1 and tiles >= current_info(cupy).n_multiprocessors
        name = "gemm_grouped" if self.groups > 1 else "gemm_wide" if wide else "gemm"
        width = 2 if wide else 1
        for first in range(0, n_rows, most):
            rows = slice(first, min(first + most, n_rows))
            n = rows.stop - first
            grid = (-(-self.n // (width * _TILE)), -(-n // _TILE))
            sizes = (np.int32(n), np.int32(self.n), *groups)
            one = (q[rows], weights, steps[rows], sums[rows], scale)
            args, shared = (*one, *sizes, out[rows]), _SHARED[width]
            launch(cupy, "matmul", name, grid, args, shared=shared)
