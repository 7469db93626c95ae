"""Packing and unpacking."""

import numpy as np

from sklearn_ternary import TernaryArray, _dispatch, config_context
from sklearn_ternary._layouts import LAYOUTS

ROWS, COLUMNS = 1024, 1024


class Pack:
    """A matrix of 1 Mi codes, in every layout."""

    param_names = ("layout", "n_threads")
    params = (list(LAYOUTS), [1, 2])

    def setup(self, layout, n_threads):
        """Make codes and packed bytes."""
        half = LAYOUTS[layout].n_levels // 2
        rng = np.random.default_rng(0)
        self.codes = rng.integers(
            -half, half + 1, (ROWS, COLUMNS), dtype=np.int8, endpoint=False
        )
        self.packed = _dispatch.pack(self.codes, layout)
        scale = np.ones((ROWS, 1), dtype=np.float32)
        self.array = TernaryArray(
            self.packed, scale, (ROWS, COLUMNS), layout, group_size=COLUMNS
        )

    def time_pack(self, layout, n_threads):
        """Codes to bytes, seconds."""
        with config_context(n_threads=n_threads):
            _dispatch.pack(self.codes, layout)

    def time_codes(self, layout, n_threads):
        """Bytes to codes, seconds."""
        with config_context(n_threads=n_threads):
            self.array.codes()

    def time_toarray(self, layout, n_threads):
        """Bytes to float32 values, seconds."""
        with config_context(n_threads=n_threads):
            self.array.toarray()

    def time_code_counts(self, layout, n_threads):
        """Counting codes, seconds."""
        with config_context(n_threads=n_threads):
            self.array.code_counts()

    def time_find_invalid(self, layout, n_threads):
        """Checking bytes, seconds."""
        with config_context(n_threads=n_threads):
            _dispatch.find_invalid(self.packed, layout)
