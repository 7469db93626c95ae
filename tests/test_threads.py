"""Results have the same bits whatever the number of threads."""

import numpy as np
import pytest

from sklearn_ternary import (
    AdaptiveQuantizer,
    AffineQuantizer,
    TernaryQuantizer,
    config_context,
    ternarize,
)
from sklearn_ternary import _crossovers as crossovers
from sklearn_ternary._crossovers import Crossover

pytestmark = pytest.mark.threads

N_DATASETS = 20


@pytest.fixture(autouse=True)
def threads_from_the_first_value(monkeypatch):
    always = Crossover(min_size_cpu=0, min_size_threads=0)
    table = {
        (name, np.dtype(dtype).char): always
        for name, dtypes in crossovers.OPERATIONS.items()
        for dtype in dtypes
    }
    monkeypatch.setattr(crossovers, "_loaded", {"table": table})


def dataset(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 400, size=2))
    draw = [rng.standard_normal, rng.standard_cauchy, rng.standard_exponential]
    X = draw[seed % 3](shape) * 10.0 ** rng.integers(-9, 9)
    return X.astype([np.float32, np.float64][seed % 2])


@pytest.mark.parametrize(
    "quantizer",
    [
        TernaryQuantizer(),
        TernaryQuantizer(scale="mse", granularity="tensor"),
        TernaryQuantizer(scale="norm", granularity="sample"),
        TernaryQuantizer(5, scale="absmax", granularity="block", block_size=7),
        AffineQuantizer(scheme="affine"),
        AdaptiveQuantizer(target_bits=3),
    ],
    ids=str,
)
def test_estimators(quantizer):
    for seed in range(N_DATASETS):
        X = dataset(seed)
        with config_context(n_threads=1):
            expected = quantizer.fit(X).transform(X)
        for n_threads in (2, 3, 4, 8, 16, 32):
            with config_context(n_threads=n_threads):
                result = quantizer.fit(X).transform(X)
            message = f"{n_threads} threads, data set {seed}"
            np.testing.assert_array_equal(result, expected, err_msg=message)


@pytest.mark.parametrize("n_threads", [2, 3, 8])
@pytest.mark.parametrize("scale", ["absmean", "twn", "mse", "norm", "absmax"])
def test_large_arrays(scale, n_threads):
    W = np.random.default_rng(0).standard_normal((3, 100_001), dtype=np.float32)
    with config_context(n_threads=1):
        A = ternarize(W, scale=scale)
    with config_context(n_threads=n_threads):
        B = ternarize(W, scale=scale)
        assert A == B
        np.testing.assert_array_equal(A.packed, B.packed)
        np.testing.assert_array_equal(A.toarray(), B.toarray())
