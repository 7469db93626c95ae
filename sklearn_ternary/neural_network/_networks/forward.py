"""Programs for batches of any size, and the outputs that they compute."""

import numpy as np
from scipy.sparse import issparse

from sklearn_ternary._gpu.arrays import is_device_array, namespace
from sklearn_ternary.neural_network._networks.layer import CSRBatch

# Programs that are kept: batches of training, the last of an epoch, validation.
_KEPT_PROGRAMS = 6
# Values of sparse rows that are made dense at a time, where programs do not take such.
_DENSE_VALUES = 2**26


class Recordings:
    """What was recorded for batches of each shape; the newest are kept."""

    def __init__(self):
        self._kept = {}

    def get(self, record, *key):
        """What was recorded for this key, by ``record(*key)`` if there is nothing."""
        found = self._kept.get(key)
        if found is None:
            found = record(*key)
            if len(self._kept) == _KEPT_PROGRAMS:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = found
        return found


class Forward:
    """Outputs for rows, outside training.

    Parameters
    ----------
    new_program : callable
        Returns an empty `Program`.
    record : callable
        Records the steps from an input on a program; returns the output.
    n_features, n_outputs : int
    dtype : dtype, default=float32
    """

    def __init__(self, new_program, record, n_features, n_outputs, dtype=np.float32):
        self._new_program = new_program
        self._record_steps = record
        self._n_features = n_features
        self._n_outputs = n_outputs
        self._dtype = dtype
        program = new_program()
        self._block_rows, self._takes_sparse = program.block_rows, program.takes_sparse
        self._programs = Recordings()
        self._one_row = None  # what is asked for most often

    def __call__(self, X):
        """Outputs for rows of X, in a new array.

        Parameters
        ----------
        X : {ndarray, CuPy array, CSR matrix} of shape (n_samples, n_features)

        Returns
        -------
        Z : {ndarray, CuPy array} of shape (n_samples, n_outputs)
            Where X is.
        """
        n = X.shape[0]
        if n == 1 and isinstance(X, np.ndarray):
            if self._one_row is None:
                self._one_row, _ = self._record(1, None)
            return self._one_row.outputs(X)
        size = self._block_rows
        if not self._takes_sparse and issparse(X):
            size = max(1, min(size, _DENSE_VALUES // max(X.shape[1], 1)))
        if 0 < n <= size:
            return self._block(X, n)
        Z = namespace(X).empty((n, self._n_outputs), dtype=self._dtype)
        for start in range(0, n, size):
            rows = X[start : start + size]
            Z[start : start + size] = self._block(rows, rows.shape[0])
        return Z

    def _block(self, X, n):
        if not self._takes_sparse and issparse(X):
            X = X.toarray()
        if isinstance(X, np.ndarray) or is_device_array(X):
            program, _ = self._programs.get(self._record, n, None)
            return program.outputs(X)
        program, x = self._programs.get(self._record, n, csr_room(X))
        fill_csr(x, X)
        return program.outputs(None)

    def _record(self, n_rows, room):
        program = self._new_program()
        x = new_batch(program, n_rows, self._n_features, room)
        out = self._record_steps(program, x)
        program.set_ends(None if room else x, out)
        return program, x


def csr_room(X):
    """Room for the values of a sparse batch.

    A power of two, so that few programs serve batches of all sizes.
    """
    return 1 << max(X.nnz - 1, 63).bit_length()


def new_batch(program, n_rows, n_features, room):
    """Arrays for a batch; sparse where there is `room` for so many values."""
    if room is None:
        return program.buffer(n_rows, n_features)
    return CSRBatch(
        program.buffer(room),
        program.buffer(room, dtype=np.int32),
        program.buffer(n_rows + 1, dtype=np.int32),
        n_features,
    )


def fill_csr(x, X):
    """Copy sparse rows to where a program reads them."""
    x.data[: X.nnz] = X.data
    x.indices[: X.nnz] = X.indices
    x.indptr[...] = X.indptr
