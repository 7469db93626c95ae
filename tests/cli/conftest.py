"""Fixtures shared by the tests of the command line."""

import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from sklearn_ternary.cli import main


@pytest.fixture(scope="session")
def invoke():
    """Call the command line in this process; it must end with the exit code."""

    def invoke(*args, code=0):
        result = CliRunner().invoke(main, [str(a) for a in args])
        if result.exit_code != code:
            raise AssertionError(f"{result.exit_code}: {result.output}") from (
                result.exception
            )
        return result

    return invoke


@pytest.fixture(scope="session")
def shell():
    """Call the command line in a process of its own."""

    def shell(*args, **options):
        return subprocess.run(
            [sys.executable, "-P", "-m", "sklearn_ternary", *map(str, args)],
            capture_output=True,
            timeout=120,
            **options,
        )

    return shell


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder the test is in, which is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(folder):
    """Arrays of a model, stored as model.npz and model.safetensors."""
    rng = np.random.default_rng(0)
    arrays = {
        "layers.0.weight": rng.normal(size=(40, 100)).astype(np.float32),
        "layers.0.bias": rng.normal(size=40).astype(np.float32),
        "layers.1.weight": 9 * rng.normal(size=(10, 40)),
        "conv": rng.normal(size=(6, 3, 2, 2)).astype(np.float16),
        "steps": np.arange(12).reshape(3, 4),
        "empty": np.empty((0, 4), np.float32),
        "long": rng.normal(size=70_000).astype(np.float32),
    }
    np.savez(folder / "model.npz", **arrays)
    save_file(arrays, folder / "model.safetensors")
    return arrays
