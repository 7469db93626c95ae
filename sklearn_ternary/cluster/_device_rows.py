"""Rows to cluster that are on devices, or go there in pieces."""

import numpy as np

from sklearn_ternary import _dispatch
from sklearn_ternary._gpu.arrays import is_device_array, take, to_host
from sklearn_ternary.cluster._device_iterations import DeviceIterations, DeviceSeeding
from sklearn_ternary.cluster._frame import frame_of_centers
from sklearn_ternary.cluster._measured_rows import MeasuredRows


class DeviceRows(MeasuredRows):
    """Rows in blocks of devices, with the labels of `DenseRows`.

    Results are CuPy arrays where the rows were one, else NumPy arrays. Centres and
    labels may be either.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Of CuPy or NumPy, C-contiguous, float32 or float64.
    config : Config
    """

    def __init__(self, X, config):
        self.X = X
        self.config = config
        self.shape = X.shape
        self.dtype = X.dtype
        self.on_host = not is_device_array(X)
        self.pieces = _dispatch.device_pieces(X, config=config)
        self.frame = None

    def set_frame(self, frame):
        """Rows become ``x * scale - shift`` from here on."""
        self.frame = frame
        for block in self.pieces.stay:
            block.set_frame(frame)

    def blocks(self):
        """Slices and the blocks there."""
        for part, block in self.pieces.blocks():
            if not self.pieces.stay:
                block.set_frame(self.frame)
            yield part, block

    def keep_tiles(self):
        """Keep what labels are found with, where there is room."""
        for block in self.pieces.stay:
            block.keep_split()

    def keep_codes(self, share, n_clusters):
        """Products are as fast as those of codes would be."""

    def groups_that_fit(self, n_clusters):
        """No bounds are kept."""
        return 0

    def gathered(self, parts):
        """Results of the blocks as one array."""
        if self.on_host:
            return np.concatenate([to_host(part) for part in parts])
        (only,) = parts
        return only

    def take(self, indices):
        """Some rows, dense, of the host."""
        return to_host(take(self.X, np.asarray(indices)))

    def part(self, indices):
        """Some rows, as rows."""
        part = DeviceRows(take(self.X, indices), self.config)
        part.directions = self.directions
        if self.frame is not None:
            part.set_frame(self.frame)
        return part

    def nearest(self, centers):
        """Labels."""
        self.ready_for(centers)
        return self.gathered([block.nearest(centers) for _, block in self.blocks()])

    def label_distances(self, centers, labels):
        """Squared distances to the centres of the labels."""
        self.ready_for(centers)
        return self.gathered(
            [
                block.label_distances(centers, labels[part])
                for part, block in self.blocks()
            ]
        )

    def distance_parts(self, centers, labels):
        """Slices, and `label_distances` there: all."""
        yield slice(0, self.shape[0]), self.label_distances(centers, labels)

    def squared_distances(self, centers):
        """Squared distances to all centres, (n, k), of the host."""
        self.ready_for(centers)
        parts = [block.distances(centers, squared=True) for _, block in self.blocks()]
        return to_host(self.gathered(parts))

    def distances(self, centers):
        """Distances to all centres; of directions, cosine distances."""
        self.ready_for(centers)
        squared = self.directions
        parts = [block.distances(centers, squared) for _, block in self.blocks()]
        return self.gathered(parts) / 2 if squared else self.gathered(parts)

    def ready_for(self, centers):
        """Have a frame, if need be that of the centres."""
        if self.frame is None:
            self.set_frame(frame_of_centers(to_host(centers)))

    def total_variance(self):
        """Sum of the squared distances to the mean, of measured rows."""
        state = DeviceIterations(self, None, 1)
        state.assign(self.center[None])
        mean = state.pull(np.zeros((1, self.shape[1])))[1][0] / self.shape[0]
        aside = float(((mean - self.center.astype(np.float64)) ** 2).sum())
        return max(0.0, self.about_center - self.shape[0] * aside)

    def start_seeding(self, weight, n_trials):
        """Squared distances before there is a centre."""
        return DeviceSeeding(self, weight)
