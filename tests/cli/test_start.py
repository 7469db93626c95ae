"""The command line: help, versions, and how fast it starts."""

import numpy as np
import pytest

from sklearn_ternary import (
    __version__,
)
from sklearn_ternary.cli import main

COMMANDS = [
    "demo",
    "train",
    "predict",
    "quantize",
    "dequantize",
    "cluster",
    "generate",
    "convert",
    "requantize",
    "inspect",
    "doctor",
    "bench",
    "bench-lm",
    "profile",
]


def test_help_lists_every_command(invoke):
    output = invoke("--help").output
    for name in COMMANDS:
        assert f"\n  {name} " in output
    assert set(main.list_commands(None)) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_fits(invoke, name):
    output = invoke(name, "--help").output
    assert "Usage:" in output
    assert all(len(line) <= 88 for line in output.splitlines())
    assert invoke(name, "-h").output == output


def test_version(invoke):
    assert __version__ in invoke("--version").output


@pytest.mark.parametrize(
    "args",
    [["--help"], ["inspect", "a.npy"], ["quantize", "a.npy", "-o", "b.safetensors"],
     ["doctor"], ["--version"]],
    ids=lambda args: args[0],
)  # fmt: skip
def test_starts_without_scikit_learn(run_python, folder, args):
    np.save("a.npy", np.eye(8))
    code = """
import os, sys
os.chdir(sys.argv[1])
from sklearn_ternary.cli import main
try:
    main(sys.argv[2:])
except SystemExit as end:
    assert end.code in (0, 1), end.code
light = sys.argv[2].startswith("--")
heavy = {"sklearn", "scipy", "pandas", "matplotlib", "cupy", "gguf"}
if light:
    heavy |= {"numpy"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    run_python(code, str(folder), *args)
