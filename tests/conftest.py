"""Fixtures shared by all tests."""

import collections
import pathlib
import signal
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
            [sys.executable, "-P", "-c", code, *args],
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


@pytest.fixture(params=["generic", "avx2", "avx512"], ids="isa_{}".format)
def isa(request):
    """Each instruction-set level; those this machine lacks show as skipped."""
    features = pytest.importorskip(
        "sklearn_ternary._kernels._cpu_features", reason="the kernels are not built"
    )
    if request.param not in features.supported_isas():
        pytest.skip(f"no {request.param} kernels on this machine")
    return request.param


@pytest.fixture(params=[1, 2, 3, 8], ids="n_threads_{}".format)
def n_threads(request):
    """Numbers of threads: one, a divisor, an odd one, more than small work has."""
    openmp = pytest.importorskip(
        "sklearn_ternary._kernels._openmp", reason="the kernels are not built"
    )
    if request.param > 1 and not openmp.openmp_enabled():
        pytest.skip("the kernels are built without OpenMP")
    return request.param


def pytest_configure():
    """Interrupts arrive, though a shell may have started the tests without them."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter):
    """Counts by area: the folder of a test, or its file where it is in none."""
    counts = collections.defaultdict(collections.Counter)
    for outcome in ("passed", "failed", "error", "skipped", "xfailed"):
        for report in terminalreporter.stats.get(outcome, ()):
            area = pathlib.PurePosixPath(report.nodeid.split("::")[0])
            name = area.parts[1] if len(area.parts) > 2 else area.stem
            counts[name][outcome] += 1
    if len(counts) > 1:
        terminalreporter.section("by area")
        for name, outcomes in sorted(counts.items()):
            numbers = ", ".join(f"{n} {outcome}" for outcome, n in outcomes.items())
            terminalreporter.line(f"{name}: {numbers}")
