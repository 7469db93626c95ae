"""How the flat array of parameters is cut for the optimizer."""

import numpy as np


class Segments:
    """Arrays over the parameter tensors, in the order of the flat array.

    Parameters
    ----------
    layout : list of ParameterSlice
        Without gaps.

    Attributes
    ----------
    layout : tuple of ParameterSlice
    bounds : ndarray of shape (n_segments + 1,), int64
        Where tensors begin and end.
    layers : list of list of int
        Indices of the tensors of each layer.
    row_bounds : ndarray of shape (n_rows + 1,), int64
        Where the rows of all tensors begin; a vector is one row.
    n_rows : list of int
        Rows of each tensor.
    """

    def __init__(self, layout):
        self.layout = tuple(layout)
        stops = [part.slice.stop for part in self.layout]
        self.bounds = np.array([0, *stops], dtype=np.int64)
        layers = {}
        for i, part in enumerate(self.layout):
            layers.setdefault(part.layer, []).append(i)
        self.layers = list(layers.values())
        lengths = [
            np.full(part.n_rows, part.size // part.n_rows) for part in self.layout
        ]
        self.row_bounds = np.append(0, np.cumsum(np.concatenate(lengths)))
        self.n_rows = [part.n_rows for part in self.layout]

    def __len__(self):
        return len(self.layout)

    @property
    def n_values(self):
        """Length of the flat array."""
        return int(self.bounds[-1])

    def of_rows(self, values):
        """The value of its tensor for each row."""
        return np.repeat(values, self.n_rows)

    def decay(self, weight_decay, dtype):
        """Weight decay of each tensor."""
        decayed = [weight_decay * part.decayed for part in self.layout]
        return np.array(decayed, dtype=dtype)
