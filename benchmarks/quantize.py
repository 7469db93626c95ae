"""Time and memory of quantization."""

import numpy as np

from sklearn_ternary import (
    AffineQuantizer,
    TernaryQuantizer,
    config_context,
    ternarize,
)


def _values(size, dtype):
    return np.random.default_rng(0).standard_normal(size).astype(dtype)


class Ternarize:
    """One scale for all values, packed."""

    param_names = ("size", "dtype", "scale", "n_threads")
    params = (
        [2**10, 2**20, 2**24],
        ["float32", "float64"],
        ["absmean", "twn", "mse", "absmax", "norm"],
        [1, 2],
    )

    def setup(self, size, dtype, scale, n_threads):
        """Make the values."""
        if size == 2**24 and (dtype == "float64" or scale in ("absmax", "norm")):
            raise NotImplementedError  # asv: leave out
        self.x = _values(size, dtype)

    def time_ternarize(self, size, dtype, scale, n_threads):
        """Seconds."""
        with config_context(n_threads=n_threads):
            ternarize(self.x, scale=scale, layout="t2")


class TernarizeGroups:
    """Scales for rows, columns and blocks of a matrix of 1024 by 1024."""

    param_names = ("grouping", "scale")
    params = (
        ["tensor", "row", "column", "block of 32"],
        ["absmean", "mse"],
    )

    def setup(self, grouping, scale):
        """Make the matrix."""
        self.X = _values(2**20, "float32").reshape(1024, 1024)
        self.options = {
            "tensor": {},
            "row": {"axis": 1},
            "column": {"axis": 0},
            "block of 32": {"block_size": 32},
        }[grouping]

    def time_ternarize(self, grouping, scale):
        """Seconds."""
        ternarize(self.X, scale=scale, **self.options)


class Levels:
    """Three and five levels, each in its densest layout."""

    param_names = ("n_levels",)
    params = ([3, 5],)

    def setup(self, n_levels):
        """Make the values."""
        self.x = _values(2**20, "float32")

    def time_ternarize(self, n_levels):
        """Seconds."""
        ternarize(self.x, n_levels=n_levels)


class Transformers:
    """`fit` and `transform` of the estimators on 4096 by 256 values."""

    param_names = ("quantizer",)
    params = (["ternary", "ternary codes", "affine 8 bits", "affine 4 bits mse"],)

    def setup(self, quantizer):
        """Fit."""
        self.X = _values(2**20, "float32").reshape(4096, 256)
        self.quantizer = {
            "ternary": TernaryQuantizer(),
            "ternary codes": TernaryQuantizer(output="codes"),
            "affine 8 bits": AffineQuantizer(8),
            "affine 4 bits mse": AffineQuantizer(4, calibration="mse"),
        }[quantizer].fit(self.X)

    def time_fit(self, quantizer):
        """Seconds."""
        self.quantizer.fit(self.X)

    def time_transform(self, quantizer):
        """Seconds."""
        self.quantizer.transform(self.X)

    def peakmem_fit_transform(self, quantizer):
        """Peak resident memory of the process, its 4 MiB of input included."""
        self.quantizer.fit_transform(self.X)
