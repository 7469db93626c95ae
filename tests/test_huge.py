"""More values than a 32-bit integer counts."""

import os

import numpy as np
import pytest

from sklearn_ternary import ternarize

pytestmark = pytest.mark.huge

N = 2**31 + 5


def available_memory():
    with open("/proc/meminfo") as file:
        lines = dict(line.split(":") for line in file)
    return int(lines["MemAvailable"].split()[0]) * 1024


@pytest.mark.skipif(
    not os.path.exists("/proc/meminfo") or available_memory() < 14e9,
    reason="needs 14 GB of free memory",
)
def test_more_than_two_to_the_31_values():
    W = np.zeros(N, dtype=np.float32)
    W[-3:] = [4.0, -4.0, 1.0]
    A = ternarize(W, scale=2.0)
    del W
    assert A.nbytes == -(-N // 5) + 4
    assert A.code_counts().tolist() == [1, N - 2, 1]
    codes = A.codes()
    assert codes[-3:].tolist() == [1, -1, 0]
    assert not codes[:-3].any()
