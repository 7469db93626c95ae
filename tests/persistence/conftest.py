"""What tests of files share."""

import os
import types

import numpy as np
import pytest

from sklearn_ternary.persistence import (
    write_container,
)


class Shim(types.SimpleNamespace):
    """`os`, with the calls that reach the disk passed through `hook`."""

    CALLS = ("open", "write", "pwrite", "fsync", "replace", "unlink", "ftruncate")

    def __init__(self, hook):
        names = {n: getattr(os, n) for n in dir(os) if not n.startswith("_")}
        super().__init__(**names)
        for name in self.CALLS:
            setattr(self, name, self._wrap(name, hook))

    @staticmethod
    def _wrap(name, hook):
        real = getattr(os, name)
        return lambda *args, **kwargs: hook(name, real, *args, **kwargs)


@pytest.fixture
def shim():
    """Make a shim of `os` with a hook."""
    return Shim


@pytest.fixture
def small_file(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {
        "weight.packed": rng.integers(0, 243, (40, 20), dtype=np.uint8),
        "weight.scale": rng.random((40, 1), dtype=np.float32),
        "bias": rng.normal(size=100),
    }
    path = tmp_path / "small"
    write_container(path, tensors, {"shape": [40, 100], "layout": "t5"})
    return path
