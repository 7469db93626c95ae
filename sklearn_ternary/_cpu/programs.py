"""Programs of steps of networks: all of a step in one call of compiled code."""

import numpy as np

from sklearn_ternary._cpu.aligned_memory import allocate, zeros
from sklearn_ternary._cpu.product_levels import int8_level, vector_level
from sklearn_ternary._kernels import _network
from sklearn_ternary._kernels._cpu_features import ISA_LEVELS
from sklearn_ternary._reference.programs import Program as ReferenceProgram

_SCALES = {"absmean": 0, "twn": 1}  # enum stern_scale
_REGRESSIONS = {
    "squared_loss": _network.SQUARED,
    "absolute_loss": _network.ABSOLUTE,
    "huber_loss": _network.HUBER,
}
_LARGEST = 2**31 - 1  # BLAS counts in 32 bits
_TILES_FROM = 2**19  # multiply-adds


class Program(ReferenceProgram):
    """A list of operations on float32 arrays that stay where they are.

    Parameters
    ----------
    dtype : float32
    n_threads : int
    isa : str
    """

    def __init__(self, dtype=np.float32, *, n_threads, isa):
        # Importing SciPy is slow, and other uses of this package do without.
        from scipy.linalg import cython_blas

        super().__init__(dtype)
        self.isa = isa
        self._compiled = _network.Steps(
            cython_blas.__pyx_capi__["sgemm"],
            ISA_LEVELS[isa],
            vector_level(isa),
            n_threads,
        )
        self._is_compiled = False  # all that `outputs` does
        self._parts = []  # (first, end) of compiled steps, or a function to call

    def buffer(self, *shape, dtype=None):
        """An array of zeros that lives as long as the program."""
        return zeros(shape, self.dtype if dtype is None else dtype)

    def form(self, n_rows, n_columns):
        """An array for `pack_weights` of codes of that shape."""
        return allocate(-(-n_rows // 16) * -(-n_columns // 16) * 64)

    def add(self, operation, *args):
        """Append an operation of `sklearn_ternary._reference.programs.OPERATIONS`."""
        first = len(self._compiled)
        for array in args:
            self._check(operation, array)
        _RECORDERS.get(operation, _record_rows)(self, operation, *args)
        if self._parts and isinstance(self._parts[-1][0], int):
            first = self._parts.pop()[0]
        self._parts.append((first, len(self._compiled)))

    def _check(self, operation, array):
        if not isinstance(array, np.ndarray):
            return
        if not array.flags.c_contiguous or not array.flags.aligned:
            raise ValueError(f"{operation}: an array is not contiguous")
        if array.dtype == np.float64 and array.shape != (1,):
            raise ValueError(f"{operation}: an array is float64")
        if max(array.shape, default=0) > _LARGEST or not array.size:
            raise ValueError(f"{operation}: an array has the shape {array.shape}")

    def record(self, operation, arrays, n, d, *more):
        """Append a compiled step."""
        self._compiled.add(_network.NUMBERS[operation], arrays, n, d, *more)

    def call(self, function, *args):
        """Append any function of arrays."""
        self._parts.append((function, args))

    def set_ends(self, x, out):
        """Name the arrays that `outputs` fills and copies; x may be None."""
        super().set_ends(x, out)
        whole = (0, len(self._compiled))
        self._is_compiled = x is not None and self._parts == [whole]
        if self._is_compiled:
            self._compiled.set_ends(x, out)

    def outputs(self, X):
        """Run all on rows X, if not None; return a copy of the output."""
        if self._is_compiled:
            found = self._compiled.outputs(X)
            if found is not None:
                return found
        return super().outputs(X)

    def run(self):
        """Carry out all operations in their order."""
        for first, rest in self._parts:
            if isinstance(first, int):
                self._compiled.run(first, rest)
            else:
                first(*rest)


def _record_rows(program, operation, X, *more):
    program.record(operation, (X, *more), *X.shape)


def _record_ternary_weights(program, operation, latent, kind, codes, scale, flips):
    arrays = latent, codes, scale, flips
    program.record(operation, arrays, *latent.shape, 0, _SCALES[kind])


def _record_multiply_codes(program, operation, q, step, form, scale, out):
    (n, d), m = q.shape, out.shape[1]
    # Preparing the tile unit costs as much as a small product.
    small = n * d * m < _TILES_FROM
    level = vector_level(program.isa) if small else int8_level(program.isa, n)
    tile, sums = _network.int8_scratch(n, d, level)
    scratch = (
        program.buffer(-(-m // 16) * 16),
        allocate(tile),
        program.buffer(sums, dtype=np.int32),
    )
    program.record(operation, (q, step, form, scale, out, *scratch), n, d, m, level)


def _record_multiply_rows(program, operation, A, B, out):
    program.record(operation, (A, B, out), *A.shape, len(B))


def _record_multiply_weights(program, operation, A, B, out):
    program.record(operation, (A, B, out), len(A), *B.shape[::-1])


def _record_multiply_columns(program, operation, A, B, out):
    program.record(operation, (A, B, out), *B.shape, A.shape[1])


def _record_dropout(program, operation, X, key, rate, out):
    threshold, factor = int(rate * 2**32), 1 / (1 - rate)
    program.record(operation, (X, key, out), *X.shape, threshold, 0, factor)


def _record_round_rows_csr(program, operation, data, indices, indptr, rounded):
    codes = np.empty(len(data), dtype=np.int8)
    arrays = data, indices, indptr, rounded, codes
    program.record(operation, arrays, len(indptr) - 1, 0)


def _record_multiply_csr(program, operation, data, indices, indptr, weights, out):
    m, d = weights.shape
    arrays = data, indices, indptr, weights, out, program.buffer(d, m)
    program.record(operation, arrays, len(indptr) - 1, d, m)


def _record_multiply_columns_csr(program, operation, A, data, indices, indptr, out):
    m, d = out.shape
    arrays = A, data, indices, indptr, out, program.buffer(d, m)
    program.record(operation, arrays, len(indptr) - 1, d, m)


def _record_loss(program, operation, Z, targets, weight, dZ, value):
    n = len(Z)
    scratch = program.buffer(n, dtype=np.float64), program.buffer(n)
    program.record(operation, (Z, targets, weight, dZ, value, *scratch), *Z.shape)


def _record_regression(program, operation, Z, targets, *more):
    *delta, weight, dZ, value = more
    n = len(Z)
    scratch = program.buffer(n, dtype=np.float64), program.buffer(n)
    arrays = Z, targets, weight, dZ, value, *scratch
    kind, number = _REGRESSIONS[operation], delta[0] if delta else 0
    program.record("regression_loss", arrays, *Z.shape, 0, kind, number)


_RECORDERS = {
    "absolute_loss": _record_regression,
    "dropout": _record_dropout,
    "huber_loss": _record_regression,
    "multiply_codes": _record_multiply_codes,
    "multiply_columns": _record_multiply_columns,
    "multiply_columns_csr": _record_multiply_columns_csr,
    "multiply_csr": _record_multiply_csr,
    "multiply_rows": _record_multiply_rows,
    "multiply_weights": _record_multiply_weights,
    "round_rows_csr": _record_round_rows_csr,
    "sigmoid_loss": _record_loss,
    "softmax_loss": _record_loss,
    "squared_loss": _record_regression,
    "ternary_weights": _record_ternary_weights,
}
