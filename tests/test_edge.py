"""Awkward values: each estimator gives a documented value or a documented error."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from sklearn_ternary import (
    AdaptiveQuantizer,
    AffineQuantizer,
    TernaryQuantizer,
    ternarize,
)

pytestmark = pytest.mark.edge

QUANTIZERS = {
    "absmean": TernaryQuantizer(),
    "five": TernaryQuantizer(5, scale="mse"),
    "twn": TernaryQuantizer(scale="twn"),
    "norm": TernaryQuantizer(scale="norm"),
    "absmax": TernaryQuantizer(scale="absmax"),
    "tensor": TernaryQuantizer(granularity="tensor"),
    "sample": TernaryQuantizer(granularity="sample"),
    "codes": TernaryQuantizer(output="codes"),
    "affine": AffineQuantizer(),
    "affine4": AffineQuantizer(4, scheme="affine", calibration="mse"),
    "adaptive": AdaptiveQuantizer(),
    "adaptive4": AdaptiveQuantizer(target_bits=4),
}

n, d = 30, 3
RNG = np.random.default_rng(0)
FINITE = {
    "zeros": np.zeros((n, d)),
    "negative zeros": -np.zeros((n, d)),
    "constant": np.full((n, d), 7.5),
    "one row": RNG.normal(size=(1, d)),
    "one column": RNG.normal(size=(n, 1)),
    "one value": np.array([[3.0]]),
    "denormal float32": np.full((n, d), 1e-44, dtype=np.float32),
    "denormal float64": RNG.integers(0, 5, size=(n, d)) * 5e-324,
    "huge float32": RNG.choice([3e38, -3e38], size=(n, d)).astype(np.float32),
    "huge float64": RNG.choice([1e300, -1e300], size=(n, d)),
    "mixed magnitudes": 10.0 ** RNG.integers(-300, 300, size=(n, d)),
    "alternating signs": np.where(np.arange(n * d) % 2, 1.0, -1.0).reshape(n, d),
    "large offset": 1e7 + RNG.normal(size=(n, d)),
    "one outlier": np.where(np.arange(n * d).reshape(n, d) == 40, 1e6, 1e-6),
    "booleans": RNG.integers(0, 2, size=(n, d)).astype(bool),
    "integers": RNG.integers(-5, 6, size=(n, d)),
    "float16": RNG.normal(size=(n, d)).astype(np.float16),
    "byte-swapped": RNG.normal(size=(n, d)).astype(">f4"),
    "objects": RNG.normal(size=(n, d)).astype(object),
    "lists": RNG.normal(size=(n, d)).tolist(),
    "numeric text": np.array([["1.5", "2"], ["3", "-4"]], dtype=object),
}


@pytest.mark.parametrize("data", FINITE, ids=lambda name: name.replace(" ", "-"))
@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.filterwarnings("error")
def test_finite_data_gives_finite_values(name, data):
    X = FINITE[data]
    with np.errstate(all="raise", under="ignore"):
        out = QUANTIZERS[name].fit(X).transform(X)
    out = np.asarray(out)
    assert out.shape == np.shape(X)
    assert np.isfinite(out).all()
    if out.dtype != np.int8:
        if data in ("float16", "byte-swapped"):
            assert out.dtype == X.dtype.newbyteorder("=")
        wide = np.asarray(X, dtype=np.float64)
        assert np.all(np.sign(out) * np.sign(wide) >= 0), "no value changes its sign"
        if "affine" not in name and "adaptive" not in name and data == "constant":
            np.testing.assert_allclose(out, wide)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", [(0, 0), (n - 1, d - 1), (11, 1)])
@pytest.mark.parametrize("name", QUANTIZERS)
def test_nonfinite_values_are_refused(name, bad, position):
    X = RNG.normal(size=(n, d))
    X[position] = bad
    with pytest.raises(ValueError, match=r"NaN|[Ii]nf"):
        QUANTIZERS[name].fit(X)
    quantizer = QUANTIZERS[name].fit(RNG.normal(size=(n, d)))
    with pytest.raises(ValueError, match=r"NaN|[Ii]nf"):
        quantizer.transform(X)


REFUSED = {
    "complex": np.ones((n, d)) * 1j,
    "text": np.array([["a", "b"], ["c", "d"]]),
    "no rows": np.ones((0, d)),
    "no columns": np.ones((n, 0)),
    "one dimension": np.ones(n),
    "three dimensions": np.ones((n, d, 2)),
    "ragged": [[1.0, 2.0], [3.0]],
    "objects": np.array([[object(), 1.0]]),
}


@pytest.mark.parametrize("data", REFUSED, ids=lambda name: name.replace(" ", "-"))
@pytest.mark.parametrize("name", QUANTIZERS)
def test_other_data_is_refused(name, data):
    with pytest.raises((ValueError, TypeError)):
        QUANTIZERS[name].fit(REFUSED[data])


@pytest.mark.parametrize("name", QUANTIZERS)
def test_wrong_number_of_features(name):
    quantizer = QUANTIZERS[name].fit(RNG.normal(size=(n, d)))
    with pytest.raises(ValueError, match="expecting 3 features"):
        quantizer.transform(np.ones((4, d + 1)))


@pytest.mark.parametrize("name", QUANTIZERS)
def test_sparse_data_is_refused(name):
    from scipy import sparse

    with pytest.raises(TypeError, match=r"[Ss]parse"):
        QUANTIZERS[name].fit(sparse.csr_matrix(np.eye(3)))


@pytest.mark.parametrize("threshold", ["exactly", "above", "below"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ties_go_to_the_smaller_magnitude(threshold, dtype):
    s = dtype(0.3)
    x = {
        "exactly": s / 2,
        "above": np.nextafter(s / 2, dtype(1)),
        "below": np.nextafter(s / 2, dtype(0)),
    }[threshold]
    codes = ternarize(np.array([x, -x], dtype=dtype), scale=s).codes()
    np.testing.assert_array_equal(codes, [1, -1] if threshold == "above" else [0, 0])


@pytest.mark.parametrize("name", sorted(set(QUANTIZERS) - {"codes"}))
def test_float16_is_computed_as_float32_and_given_back(name):
    X = RNG.normal(size=(n, d)).astype(np.float16)
    quantizer = clone(QUANTIZERS[name]).fit(X)
    expected = quantizer.transform(X.astype(np.float32))
    assert expected.dtype == np.float32
    for given in (X, X.astype(">f2"), pd.DataFrame(X, columns=list("abc"))):
        out = clone(quantizer).fit_transform(given)
        assert out.dtype == np.float16
        np.testing.assert_array_equal(out, expected.astype(np.float16))
        if hasattr(quantizer, "inverse_transform"):
            again = quantizer.inverse_transform(out)
            assert again.dtype == np.float16
            np.testing.assert_array_equal(again, out)


@pytest.mark.filterwarnings("error")
def test_levels_beyond_float16_are_its_largest():
    X = np.array([[65504, 27000, 0]], dtype=np.float16)  # of norm 70,850
    quantizer = TernaryQuantizer(scale="norm", granularity="tensor").fit(X)
    assert quantizer.scale_.dtype == np.float32 and quantizer.scale_ > 65504
    np.testing.assert_array_equal(quantizer.transform(X), [[65504, 0, 0]])
