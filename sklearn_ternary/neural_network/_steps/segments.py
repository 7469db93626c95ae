"""How the flat array of parameters is cut for the optimizer."""

import numpy as np


class Segments:
    """Arrays over the parameter tensors, or their rows, in the order of the flat array.

    Parameters
    ----------
    layout : list of ParameterSlice
        Without gaps.
    by_rows : bool, default=False
        Whether every row is a segment, or every tensor.

    Attributes
    ----------
    bounds : ndarray of shape (n_segments + 1,), int64
        Where segments begin and end.
    layers : ndarray of shape (n_segments,), int64
        The layer of each segment, numbered from 0.
    row_bounds : ndarray of shape (n_rows + 1,), int64
        Where the rows of all tensors begin; a vector is one row.
    tensor_of_rows : ndarray of shape (n_rows,), int64
        Index of the tensor of each row.
    """

    def __init__(self, layout, by_rows=False):
        layout = tuple(layout)
        n_rows = [part.n_rows for part in layout]
        lengths = [part.size // part.n_rows for part in layout]
        self.row_bounds = np.append(0, np.cumsum(np.repeat(lengths, n_rows)))
        self.tensor_of_rows = np.repeat(np.arange(len(layout)), n_rows)
        if by_rows:
            self.bounds = self.row_bounds
            self._parts = [layout[i] for i in self.tensor_of_rows]
        else:
            stops = [part.slice.stop for part in layout]
            self.bounds = np.array([0, *stops], dtype=np.int64)
            self._parts = layout
        names = [part.layer for part in self._parts]
        numbers = {name: k for k, name in enumerate(dict.fromkeys(names))}
        self.layers = np.array([numbers[name] for name in names], dtype=np.int64)

    def __len__(self):
        return len(self._parts)

    @property
    def n_values(self):
        """Length of the flat array."""
        return int(self.bounds[-1])

    def decay(self, weight_decay, dtype):
        """Weight decay of each segment."""
        decayed = [weight_decay * part.decayed for part in self._parts]
        return np.array(decayed, dtype=dtype)
