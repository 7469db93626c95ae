"""Products with a packed matrix."""

import numpy as np

from sklearn_ternary import config_context, ternarize
from sklearn_ternary.linalg import ternary_matmul

SIZE = 2560


class Multiply:
    """A square matrix, rows of activations, on one thread and on two."""

    param_names = ("n_rows", "activations", "n_threads")
    params = ([1, 64, 512], ["float32", "int8"], [1, 2])

    def setup(self, n_rows, activations, n_threads):
        """Make the matrix, and the form that products use."""
        rng = np.random.default_rng(0)
        self.array = ternarize(rng.standard_normal((SIZE, SIZE), dtype=np.float32))
        self.X = rng.standard_normal((n_rows, SIZE), dtype=np.float32)
        self.time_product(n_rows, activations, n_threads)

    def time_product(self, n_rows, activations, n_threads):
        """X @ A.T, seconds."""
        with config_context(n_threads=n_threads):
            ternary_matmul(self.X, self.array.T, activations=activations)
