"""What is printed where no terminal is."""

import os

import pytest


@pytest.mark.parametrize(
    "args",
    [
        ["quantize", "model.npz", "-o", "q.safetensors", "--force"],
        ["inspect", "model.npz"],
        ["doctor"],
        [
            "bench",
            "--sizes",
            "4096",
            "--shapes",
            "64x64",
            "--iterations",
            "1",
            "--isa",
            "numpy,generic",
        ],
        ["demo", "--epochs", "1"],
    ],
    ids=lambda args: args[0],
)
def test_in_a_pipe_there_are_80_columns_and_no_colours(shell, model, args):
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    done = shell(*args, env=environment)
    assert done.returncode == (0 if args[0] != "doctor" else done.returncode)
    text = done.stdout.decode()
    assert "\x1b" not in text + done.stderr.decode()
    assert text.count("\n") > 3
    assert max(len(line) for line in text.splitlines()) <= 80
