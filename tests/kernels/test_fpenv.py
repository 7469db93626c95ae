"""The floating-point environment of a process stays as it was.

A shared library linked with -ffast-math sets the processor to flush denormal
numbers to zero, for every package in the process.
"""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.fpenv

ROOT = Path(__file__).parents[2]

SCRIPT = """
import importlib
import pkgutil
import threading

import numpy as np


def denormals():
    # 5e-41 and 5e-310 are denormal; flushed they are, or become, 0.
    x = np.full(64, 5e-41, dtype=np.float32)
    y = np.full(64, 5e-310)
    return bool(np.all(x * np.float32(0.5) > 0) and np.all(y * 0.5 > 0)
                and np.all(np.float32(1.2e-38) - np.float32(1.19e-38) > 0))


def in_a_new_thread():
    answers = []
    thread = threading.Thread(target=lambda: answers.append(denormals()))
    thread.start()
    thread.join()
    return answers[0]


before = denormals() and in_a_new_thread()
import sklearn_ternary

for module in pkgutil.walk_packages(sklearn_ternary.__path__, "sklearn_ternary."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
imported = denormals() and in_a_new_thread()

from sklearn_ternary import _dispatch
from sklearn_ternary._config import config_context

X = np.full((64, 8192), 5e-41, dtype=np.float32)
with config_context(backend=BACKEND, n_threads=2, strict=True):
    scale, threshold = _dispatch.group_scale(X, 8192, "absmean", 3)
    values = _dispatch.quantize_values(X, threshold, scale, 8192, 3)
used = denormals() and in_a_new_thread()
kept = bool((values == X).all())
print(before, imported, used, kept)
"""


def backends():
    yield "numpy"
    if importlib.util.find_spec("sklearn_ternary._kernels._openmp"):
        yield "cpu"


@pytest.mark.parametrize("backend", list(backends()))
def test_denormals_survive_import_and_use(backend):
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT.replace("BACKEND", repr(backend))],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    names = ("before", "imported", "used", "kept")
    answers = dict(zip(names, done.stdout.split(), strict=True))
    assert answers == dict.fromkeys(names, "True")


FORBIDDEN = re.compile(
    r"fast-math|-Ofast|-march=native|-mtune=native|-mcpu=native|funsafe-math"
    r"|ffinite-math|fassociative-math|freciprocal-math|_MM_SET_FLUSH_ZERO|_mm_setcsr"
    r"|_MM_SET_DENORMALS_ZERO"
)


def build_files():
    names = ("meson.build", "meson.options", "pyproject.toml")
    folder = ROOT / "sklearn_ternary"
    for path in [ROOT / name for name in names] + sorted(folder.rglob("*")):
        if path.name in names or path.suffix in (".pyx", ".pxd", ".pxi", ".c", ".h"):
            yield path
    yield from sorted(p for p in (ROOT / ".ci").glob("*") if p.is_file())


def without_comments(text):
    """Lines that do something: a comment may say what is not used, and why."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return re.sub(r"//.*|(?m:^\s*#\s.*)", "", text)


def test_no_flag_that_changes_arithmetic():
    paths = list(build_files())
    assert {"meson.build", "pyproject.toml"} <= {path.name for path in paths}
    found = {
        str(path.relative_to(ROOT)): FORBIDDEN.findall(
            without_comments(path.read_text())
        )
        for path in paths
    }
    assert {path: flags for path, flags in found.items() if flags} == {}


@pytest.mark.parametrize(
    "line, found",
    [
        ("add_project_arguments('-ffast-math', language: 'c')", True),
        ("  c_args: ['-O3', '-march=native'],", True),
        ('__attribute__((optimize("fast-math")))', True),
        ('#pragma GCC optimize("Ofast") // -Ofast', False),
        ("# never -ffast-math", False),
        ("/* without\n -Ofast */", False),
    ],
)
def test_flags_are_found(line, found):
    assert bool(FORBIDDEN.search(without_comments(line))) is found
