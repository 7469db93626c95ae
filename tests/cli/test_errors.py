"""Wrong use, full disks, interrupts: exit codes, and what is said."""

import errno
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from sklearn_ternary import (
    save,
    ternarize,
)
from sklearn_ternary.cli import _streaming
from sklearn_ternary.persistence import _atomic

ERRORS = {
    "no file": (["quantize", "no.npy", "-o", "q.safetensors"], "No such file"),
    "no folder": (["quantize", "w.npy", "-o", "no/q.safetensors"], "No such file"),
    "folder in": (["inspect", "."], "Is a directory"),
    "folder out": (["dequantize", "q.safetensors", "-o", "dir.npz"], "Is a directory"),
    "not an array": (["inspect", "text.txt"], "not known here"),
    "pickle": (["inspect", "a.pickle"], "is a pickle"),
    "empty": (["quantize", "empty", "-o", "b.safetensors"], "an empty file"),
    "wrong ending": (["dequantize", "q.safetensors", "-o", "b.txt"], "supported are"),
    "ending of quantize": (["quantize", "w.npy", "-o", "b.npz"], ".safetensors"),
    "packed twice": (["quantize", "q.safetensors", "-o", "b.safetensors"], "already"),
    "not packed": (["dequantize", "w.npy", "-o", "b.npy"], "not a packed file"),
    "only integers": (["quantize", "i.npy", "-o", "b.safetensors"], "no tensor"),
    "no match": (
        ["quantize", "w.npy", "-o", "b.safetensors", "--include", "x"],
        "no tensor",
    ),
    "block size alone": (
        ["quantize", "w.npy", "-o", "b.safetensors", "--block-size", "3"],
        "--granularity block",
    ),
    "layout and levels": (
        ["quantize", "w.npy", "-o", "b.safetensors", "--layout", "t2", "--levels", "5"],
        "does not store 5 levels",
    ),
    "twn of 5": (
        ["quantize", "w.npy", "-o", "b.safetensors", "--scale", "twn", "--levels", "5"],
        "3 levels only",
    ),
    "bits and levels": (
        ["quantize", "w.npy", "-o", "b.safetensors", "--target-bits", "2",
         "--levels", "5"],
        "--levels",
    ),
    "bits and layout": (
        ["quantize", "w.npy", "-o", "b.safetensors", "--target-bits", "2",
         "--layout", "t2"],
        "--layout",
    ),
    "bits and NaN": (
        ["quantize", "w.npy", "-o", "b.safetensors", "--target-bits", "2",
         "--on-nonfinite", "propagate"],
        "finite",
    ),
    "bits NaN": (
        ["quantize", "w.npy", "-o", "b.safetensors", "--target-bits", "nan"],
        "target_bits",
    ),
    "unknown scale": (
        ["quantize", "w.npy", "-o", "b.safetensors", "--scale", "max"],
        "absmean",
    ),
    "no output": (["quantize", "w.npy"], "Missing option"),
    "no input": (["inspect"], "Missing argument"),
    "unknown command": (["pack"], "No such command"),
    "unknown option": (["doctor", "--cure"], "No such option"),
    "bench size": (["bench", "--sizes", "0"], "'0' is not"),
    "bench sizes": (["bench", "--sizes", "8,x"], "'x' is not"),
    "bench what": (["bench", "--what", "pack"], "'pack' is not"),
    "bench shape": (["bench", "--shapes", "8"], "'8' is not"),
    "bench rows": (["bench", "--rows", "0"], "'0' is not"),
    "bench isa": (["bench", "--isa", "mmx"], "'mmx' is not"),
    "bench threads": (["bench", "--threads", "1,-1"], "'-1' is not"),
    "bench iterations": (["bench", "--iterations", "0"], "iterations"),
    "epochs": (["demo", "--epochs", "0"], "epochs"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_wrong_use_is_2_and_says_why(invoke, folder, case):
    np.save("w.npy", np.eye(3))
    np.save("i.npy", np.arange(9).reshape(3, 3))
    save(ternarize(np.eye(3)), "q.safetensors")
    (folder / "text.txt").write_text("hello")
    (folder / "a.pickle").write_bytes(b"\x80\x04\x95")
    (folder / "empty").write_text("")
    (folder / "dir.npz").mkdir()
    before = sorted(os.listdir(folder))
    args, message = ERRORS[case]
    result = invoke(*args, code=2)
    assert message in result.output
    assert "Traceback" not in result.output
    assert sorted(os.listdir(folder)) == before


def test_no_permission_is_2(invoke, folder):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    np.save("w.npy", np.eye(3))
    os.chmod("w.npy", 0)
    assert "Permission" in invoke("inspect", "w.npy", code=2).output


def test_a_full_disk_is_1(invoke, folder, monkeypatch):
    np.save("w.npy", np.eye(3))

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_atomic.os, "pwrite", full)
    result = invoke("quantize", "w.npy", "-o", "q.safetensors", code=1)
    assert "No space left" in result.output
    assert os.listdir(folder) == ["w.npy"]


def test_running_out_of_memory_is_1(invoke, folder, monkeypatch):
    np.save("w.npy", np.eye(3))

    def fail(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(_streaming, "ternarize", fail)
    result = invoke("quantize", "w.npy", "-o", "q.safetensors", code=1)
    assert "not enough memory" in result.output


def test_ctrl_c_is_130_and_leaves_nothing(invoke, folder, monkeypatch):
    np.save("w.npy", np.eye(3))

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(_streaming, "ternarize", interrupt)
    result = invoke("quantize", "w.npy", "-o", "q.safetensors", code=130)
    assert "interrupted" in result.output
    assert os.listdir(folder) == ["w.npy"]


def test_a_real_ctrl_c(folder):
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "sklearn_ternary", "quantize", "-", "-o", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    # It reads stdin once it has started; more than a pipe holds shows that.
    process.stdin.write(bytes(1 << 20))
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.decode().strip() == "Error: interrupted"


def test_a_closed_pipe_ends_quietly(folder):
    np.savez("m.npz", **{f"tensor {i}": np.eye(2) for i in range(3000)})
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sklearn_ternary", "inspect", "m.npz"],
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


def test_a_wrong_environment_is_2(shell, folder):
    np.save("w.npy", np.eye(3))
    environment = os.environ | {"SKLEARN_TERNARY_BACKEND": "abacus"}
    done = shell("quantize", "w.npy", "-o", "q.safetensors", env=environment)
    assert done.returncode == 2
    assert b"SKLEARN_TERNARY_BACKEND='abacus'" in done.stderr
    assert b"Traceback" not in done.stderr
