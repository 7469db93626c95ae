"""Children of a process that has used several threads do not hang.

GNU libgomp waits for ever in a child that was forked after a parallel region.
Each case is a process of its own, so that a hang ends with it.
"""

import importlib.util
import os
import signal
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.fork,
    pytest.mark.skipif(
        importlib.util.find_spec("sklearn_ternary._kernels._openmp") is None,
        reason="the compiled kernels are not built",
    ),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
]

TIME_LIMIT = 300  # seconds for a case: what hangs, hangs longer
N_TRIALS = 25

SCRIPT = '''
import hashlib
import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from sklearn_ternary import _dispatch
from sklearn_ternary._config import config_context

N_TRIALS = int(sys.argv[2])


def quantize(trial=0):
    """Quantize a fixed array with two threads where possible; a digest."""
    X = np.random.default_rng(0).standard_normal((64, 8192)).astype(np.float32)
    with config_context(backend="cpu", n_threads=2, strict=True, collect_metrics=True):
        scale, threshold = _dispatch.group_scale(X, 128, "absmean", 3)
        packed = _dispatch.quantize_pack(X, threshold, 128, 3, "t5")
        values = _dispatch.unpack_values(packed, X.shape[1], "t5", scale, 128)
    return hashlib.sha256(packed.tobytes() + values.tobytes()).hexdigest()


def n_threads():
    with config_context(backend="cpu", n_threads=2):
        return _dispatch.choose("quantize_pack", 64 * 8192, np.float32).n_threads


def fork_once(expected):
    """Whether a child forked here gets `expected`; a hung one is killed."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        try:
            os._exit(0 if quantize() == expected else 1)
        finally:
            os._exit(2)
    return os.waitpid(pid, 0)[1] == 0


def with_fork(expected):
    return [fork_once(expected) for _ in range(N_TRIALS)]


def with_fork_while_others_compute(expected):
    stop = threading.Event()

    def compute():
        while not stop.is_set():
            quantize()

    threads = [threading.Thread(target=compute) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        return with_fork(expected)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def with_fork_of_fork(expected):
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        ok = quantize() == expected and fork_once(expected)
        os._exit(0 if ok else 1)
    return [os.waitpid(pid, 0)[1] == 0] * N_TRIALS


def with_pool(expected, method, **options):
    context = multiprocessing.get_context(method)
    with context.Pool(2, **options) as pool:
        return [d == expected for d in pool.map(quantize, range(N_TRIALS), chunksize=1)]


def with_executor(expected):
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        return [d == expected for d in pool.map(quantize, range(N_TRIALS))]


def with_joblib(expected, backend):
    from joblib import Parallel, delayed

    digests = Parallel(n_jobs=2, backend=backend)(
        delayed(quantize)(trial) for trial in range(N_TRIALS)
    )
    return [d == expected for d in digests]


CASES = {
    "fork": with_fork,
    "fork-while-others-compute": with_fork_while_others_compute,
    "fork-of-fork": with_fork_of_fork,
    "pool-fork": lambda e: with_pool(e, "fork", maxtasksperchild=1),
    "pool-forkserver": lambda e: with_pool(e, "forkserver"),
    "pool-spawn": lambda e: with_pool(e, "spawn"),
    "executor": with_executor,
    "loky": lambda e: with_joblib(e, "loky"),
    "threading": lambda e: with_joblib(e, "threading"),
}

if __name__ == "__main__":
    expected = quantize()
    results = CASES[sys.argv[1]](expected)
    # The parent still has its threads, and its results.
    assert quantize() == expected
    print(n_threads(), sum(results), len(results))
'''

CASES = [
    "fork",
    "fork-while-others-compute",
    "fork-of-fork",
    "pool-fork",
    "pool-forkserver",
    "pool-spawn",
    "executor",
    "loky",
    "threading",
]


@pytest.mark.parametrize("case", CASES)
def test_children_compute_the_same(case, tmp_path):
    from sklearn_ternary._kernels._openmp import openmp_enabled

    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    process = subprocess.Popen(
        [sys.executable, str(script), case, str(N_TRIALS)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # the children of the case too
        process.communicate()
        pytest.fail(f"{case} took more than {TIME_LIMIT} s")
    assert process.returncode == 0, errors
    n_threads, n_equal, n_trials = map(int, output.split())
    assert (n_equal, n_trials) == (N_TRIALS, N_TRIALS)
    # Otherwise the parent had no parallel region, and nothing was tested.
    assert n_threads == (2 if openmp_enabled() else 1)
