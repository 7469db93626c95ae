"""Fixtures shared by all tests."""

import subprocess
import sys

import pytest


@pytest.fixture
def run_python(tmp_path):
    """Run code in a fresh interpreter, away from the source folder.

    Returns what it prints; the test fails if it fails or takes 120 seconds.
    """

    def run(code, *args, timeout=120, env=None):
        done = subprocess.run(
            [sys.executable, "-c", code, *args],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=env,
        )
        if done.returncode:
            pytest.fail(f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    return run
