"""Rows that are never all in memory."""

import numpy as np

from sklearn_ternary._reference.lloyd import POTENTIAL_ROWS
from sklearn_ternary.cluster._chunks import aligned_blocks
from sklearn_ternary.cluster._cluster_sums import move_part
from sklearn_ternary.cluster._dense_rows import part_of
from sklearn_ternary.cluster._frame import frame_of_centers
from sklearn_ternary.cluster._measured_rows import MeasuredRows

# Bytes for each value of a block: what it was, what becomes of it, and temporary
# arrays of double precision.
_BYTES = 32


def rows_per_block(n_features, working_memory):
    """Rows of a block, a multiple of 1024, for so many MiB."""
    fit = int(working_memory * 2**20) // (_BYTES * n_features)
    return max(1, fit // POTENTIAL_ROWS) * POTENTIAL_ROWS


class BlockedRows(MeasuredRows):
    """Rows that are read block by block in each step, with the results of `DenseRows`.

    Parameters
    ----------
    chunks : Parts or Stream
    shape : tuple
    dtype : dtype
    prepare : callable
        What becomes of a block: C-contiguous and of `dtype`.
    config : Config
    """

    def __init__(self, chunks, shape, dtype, prepare, config):
        self.chunks = chunks
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.prepare = prepare
        self.config = config
        self.frame = None

    def blocks(self):
        """Slices and the `DenseRows` there, in order."""
        n, d = self.shape
        size = rows_per_block(d, self.config.working_memory)
        stop = 0
        for start, block in aligned_blocks(self.chunks, size, d, self.dtype):
            stop = start + len(block)
            if stop > n:
                break
            yield slice(start, stop), part_of(self, self.prepare(block))
        if stop != n:
            more = "more" if stop > n else "fewer"
            raise ValueError(
                f"X gave {n} rows and then {more}; its chunks must be the same in "
                "every pass"
            )

    def take(self, indices):
        """Some rows, dense."""
        indices = np.asarray(indices)
        return self.prepare(self.chunks.take(indices, self.shape[1]))

    def part(self, indices):
        """Some rows, as rows in memory."""
        return part_of(self, self.take(indices))

    def nearest(self, centers):
        """Labels."""
        labels = np.empty(self.shape[0], dtype=np.int32)
        frame = frame_of_centers(centers) if self.frame is None else self.frame
        for part, rows in self.blocks():
            rows.frame = frame
            labels[part] = rows.nearest(centers)
        return labels

    def label_distances(self, centers, labels):
        """Squared distances to the centres of the labels."""
        distances = np.empty(self.shape[0])
        for part, found in self.distance_parts(centers, labels):
            distances[part] = found
        return distances

    def distance_parts(self, centers, labels):
        """Slices, and `label_distances` there."""
        for part, rows in self.blocks():
            yield part, rows.label_distances(centers, labels[part])

    def move(self, weight, old_labels, labels, sums, totals, counts):
        """Move rows between clusters."""
        for part, block in self.blocks():
            move_part(
                block,
                part,
                self.shape[0],
                weight,
                old_labels,
                labels,
                (sums, totals, counts),
            )

    def potentials(self, indices, closest, weight, minima=None):
        """Potentials with each of these rows as a further centre: partial sums.

        With `minima`, (len(indices), n), what `closest` would be with each of them.
        """
        candidates = self.take(indices)
        found = []
        for part, rows in self.blocks():
            lower = None
            if minima is not None:
                lower = np.empty((len(indices), len(rows.X)), dtype=self.dtype)
            found.append(
                rows.potentials_of(
                    candidates,
                    closest[part],
                    None if weight is None else weight[part],
                    lower,
                )
            )
            if minima is not None:
                minima[:, part] = lower
        return np.concatenate(found)
