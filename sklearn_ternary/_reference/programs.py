"""Programs: operations on fixed arrays, recorded once and run many times.

A network records what a step does on its buffers. Running it is then one call,
which on the ``cpu`` backend returns to Python only for `call`.
"""

import numpy as np

from sklearn_ternary._reference import layers, losses

OPERATIONS = {
    function.__name__: function
    for function in (
        layers.add,
        layers.add_rows,
        layers.column_sum,
        layers.dropout,
        layers.multiply_codes,
        layers.multiply_columns,
        layers.multiply_columns_csr,
        layers.multiply_csr,
        layers.multiply_rows,
        layers.multiply_weights,
        layers.pack_weights,
        layers.relu,
        layers.relu_gradient,
        layers.rms_norm,
        layers.rms_norm_gradient,
        layers.round_rows,
        layers.round_rows_csr,
        layers.scaled_codes,
        layers.squared_relu,
        layers.squared_relu_gradient,
        layers.ternary_weights,
        losses.absolute_loss,
        losses.huber_loss,
        losses.sigmoid_loss,
        losses.softmax_loss,
        losses.squared_loss,
    )
}


class Program:
    """A list of operations on arrays that stay where they are.

    Parameters
    ----------
    dtype : {float32, float64}
        Of the arrays.
    """

    # Rows of an evaluation that are worked on at a time.
    block_rows = 256
    # Whether operations of sparse rows are among those that can be appended.
    takes_sparse = True

    def __init__(self, dtype=np.float32):
        self.dtype = np.dtype(dtype)
        self._steps = []
        self._x = self._out = None

    def buffer(self, *shape, dtype=None):
        """An array of zeros that lives as long as the program."""
        return np.zeros(shape, dtype=self.dtype if dtype is None else dtype)

    def form(self, n_rows, n_columns):
        """An array for `pack_weights` of codes of that shape."""
        return np.zeros((n_rows, n_columns), dtype=np.int8)

    def add(self, operation, *args):
        """Append an operation of `OPERATIONS`."""
        self._steps.append((OPERATIONS[operation], args))

    def call(self, function, *args):
        """Append any function of arrays."""
        self._steps.append((function, args))

    def set_ends(self, x, out):
        """Name the arrays that `outputs` fills and copies; x may be None."""
        self._x, self._out = x, out

    def outputs(self, X):
        """Run all on rows X, if not None; return a copy of the output."""
        if X is not None:
            self._x[...] = X
        self.run()
        return self._out.copy()

    def run(self):
        """Carry out all operations in their order."""
        for function, args in self._steps:
            function(*args)
