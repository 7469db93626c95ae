"""Labels and distances of sparse rows: CSR matrices of the host.

Products of float32 find labels, of rows that are made dense a panel at a time. Rows for
which rounding leaves several open, and distances, are done as their definition says,
one entry of all rows after another.
"""

import numpy as np

from sklearn_ternary._gpu.device import devices_of, require
from sklearn_ternary._gpu.expressions.clusters import may_be_nearest
from sklearn_ternary._gpu.memory import halving
from sklearn_ternary._reference.lloyd import squared_norms

# Values of a panel: of dense rows, scores, or entries.
_PANEL = 2**26


def nearest_centers_csr(data, indices, indptr, centers, *, device=None):
    """Label of each row, by the scores x · c - |c|² / 2 in float64."""
    csr, shape = (data, indices, indptr), centers.shape
    norms = squared_norms(centers)
    n_entries = int(np.diff(indptr).max(initial=0))

    def find(cupy, rows):
        labels = np.empty(len(indptr) - 1, dtype=np.int32)
        single = cupy.asarray(centers).astype(np.float32).T
        half = cupy.asarray(norms).astype(np.float32) / 2
        exact = _Exactly(cupy, centers, norms)
        for part in _parts(len(labels), rows):
            x = _dense(cupy, csr, part, shape[1])
            scores, squares = half - x @ single, (x * x).sum(axis=1)
            found, is_open = may_be_nearest(cupy, scores, squares / 2, half, n_entries)
            labels[part] = found.get()
            still_open = part.start + np.flatnonzero(is_open.get())
            for entries in _in_panels(cupy, csr, still_open, shape[0]):
                labels[entries.rows] = exact.labels(entries)
        return labels

    return _in_memory(find, len(indptr) - 1, max(shape), device)


def label_distances_csr(data, indices, indptr, centers, labels, *, device=None):
    """Squared distance of each row to the centre of its label, float64."""
    csr = data, indices, indptr

    def find(cupy, rows):
        distances, exact = np.empty(len(labels)), _Exactly(cupy, centers)
        for part in _parts(len(labels), rows):
            every = np.arange(part.start, part.stop)
            for entries in _in_panels(cupy, csr, every, 1):
                distances[entries.rows] = exact.distances(entries, labels)
        return distances

    return _in_memory(find, len(labels), 1, device)


def _in_memory(find, n_rows, per_row, device):
    """``find(cupy, rows)`` on the first device, with fewer rows if memory runs out."""
    cupy = require(device)
    first, *_ = devices_of(device).numbers
    with cupy.cuda.Device(first), np.errstate(over="ignore", invalid="ignore"):
        rows = max(1, min(n_rows, _PANEL // per_row))
        return halving(cupy, rows, lambda rows: find(cupy, rows))


def _parts(n_rows, step):
    return [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]


def _dense(cupy, csr, part, n_columns):
    """Rows on the device, float32."""
    data, indices, indptr = csr
    bounds = indptr[part.start : part.stop + 1]
    entries = slice(bounds[0], bounds[-1])
    rows = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    x = cupy.zeros((len(bounds) - 1, n_columns), np.float32)
    if rows.size:
        values = data[entries].astype(np.float32, copy=False)
        there = map(cupy.asarray, (rows, indices[entries], values))
        row, column, value = there
        x[row, column] = value
    return x


def _in_panels(cupy, csr, rows, per_row):
    """`_Entries` of some rows, by number, that fill a panel at most."""
    lengths = csr[2][rows + 1] - csr[2][rows]
    rows = rows[np.argsort(-lengths, kind="stable")]
    width = max(per_row, int(lengths.max(initial=1)))
    for part in _parts(len(rows), max(1, _PANEL // width)):
        yield _Entries(cupy, csr, rows[part])


class _Entries:
    """Entries of rows, the longest first, that are gone through side by side.

    Yields the number of rows that have one more entry, their values and columns.
    """

    def __init__(self, cupy, csr, rows):
        data, indices, indptr = csr
        self.rows = rows
        lengths = indptr[rows + 1] - indptr[rows]
        nth = np.arange(lengths[0])
        self._n_rows = np.searchsorted(-lengths, -nth, side="left").tolist()
        is_entry = nth < lengths[:, None]
        places = np.where(is_entry, indptr[rows][:, None] + nth, 0)
        # Entry after entry, each of all rows.
        self._values = cupy.asarray(data[places.T].astype(np.float64))
        self._columns = cupy.asarray(indices[places.T])

    def __iter__(self):
        for i, n in enumerate(self._n_rows):
            yield n, self._values[i, :n], self._columns[i, :n]


class _Exactly:
    """The definitions, for entries of rows.

    Parameters
    ----------
    cupy : module
    centers : ndarray of shape (k, d)
        Of the host.
    norms : ndarray of shape (k,), default=None
        Their squared norms.
    """

    def __init__(self, cupy, centers, norms=None):
        self._cupy = cupy
        self._norms = squared_norms(centers) if norms is None else norms
        # The centres of a column are a row.
        self._columns = cupy.asarray(np.ascontiguousarray(centers.T, dtype=np.float64))

    def labels(self, entries):
        """Labels of the rows, of the host."""
        shape = len(entries.rows), len(self._norms)
        scores = self._cupy.empty(shape, np.float64)
        scores[...] = self._cupy.asarray(-0.5 * self._norms)
        for n, values, columns in entries:
            scores[:n] += values[:, None] * self._columns[columns]
        return scores.argmax(axis=1).get()

    def distances(self, entries, labels):
        """Squared distances of the rows to the centres of their labels."""
        labels = labels[entries.rows]
        found = self._cupy.asarray(self._norms[labels])
        labels = self._cupy.asarray(labels)
        for n, values, columns in entries:
            c = self._columns[columns, labels[:n]]
            found[:n] += values * (values - 2 * c)
        return self._cupy.maximum(found, 0).get()
