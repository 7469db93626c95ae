"""quantization_report against NumPy."""

import math
from dataclasses import asdict

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_ternary import AffineQuantizer, TernaryQuantizer, ternarize
from sklearn_ternary.metrics import QuantizationReport, quantization_report
from sklearn_ternary.quantization._allocation import quantize_array


def cosine_bound(n_levels):
    """The rate-distortion bound of a Gaussian source at log2(n_levels) bits."""
    return math.sqrt(1 - 2 ** (-2 * math.log2(n_levels)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
@pytest.mark.parametrize("shape", [(1,), (1000,), (30, 41), (2, 3, 4, 5), ()])
def test_against_numpy(shape, dtype):
    rng = np.random.default_rng(0)
    x = (100 * rng.normal(size=shape)).astype(dtype)
    xq = (100 * rng.normal(size=shape)).astype(dtype)
    report = quantization_report(x, xq)
    x, xq = x.astype(np.longdouble).ravel(), xq.astype(np.longdouble).ravel()
    expected = {
        "cosine": np.sum(x * xq) / np.sqrt(np.sum(x**2) * np.sum(xq**2)),
        "norm_ratio": np.sqrt(np.sum(xq**2) / np.sum(x**2)),
        "l1_ratio": np.sum(np.abs(xq)) / np.sum(np.abs(x)),
        "snr_db": 10 * np.log10(np.sum(x**2) / np.sum((x - xq) ** 2)),
        "mse": np.mean((x - xq) ** 2),
    }
    for name, value in asdict(report).items():
        assert type(value) is float
        assert value == pytest.approx(float(expected[name]), rel=1e-12, abs=1e-12)


def test_more_values_than_a_chunk():
    x = np.random.default_rng(0).normal(size=(700, 1000)).astype(np.float32)
    xq = np.round(x)
    report = quantization_report(x, xq)
    wide, rounded = x.astype(float).ravel(), xq.astype(float).ravel()
    assert report.mse == pytest.approx(np.mean((wide - rounded) ** 2), rel=1e-12)
    cosine = wide @ rounded / np.linalg.norm(wide) / np.linalg.norm(rounded)
    assert report.cosine == pytest.approx(cosine, rel=1e-12)


@pytest.mark.edge
def test_zero_vectors():
    zero, one = np.zeros(3), np.array([0.0, -2.0, 0.0])
    inf = math.inf
    assert quantization_report(zero, zero) == QuantizationReport(1, 1, 1, inf, 0)
    assert quantization_report(one, one) == QuantizationReport(1, 1, 1, inf, 0)
    assert quantization_report(one, zero) == QuantizationReport(0, 0, 0, 0, 4 / 3)
    assert quantization_report(zero, one) == QuantizationReport(
        0, inf, inf, -inf, 4 / 3
    )
    opposite = quantization_report(one, -one)
    assert (opposite.cosine, opposite.norm_ratio) == (-1, 1)


@pytest.mark.edge
@pytest.mark.parametrize("power", [-1060, -500, -150, 0, 140, 500, 1020])
def test_huge_and_subnormal_values_are_scaled(power):
    # Few digits, so that scaling by a power of two is exact down to 2^-1070.
    x, xq = np.array([7.0, -3, 1, 5]) / 8, np.array([8.0, -4, 0, 4]) / 8
    expected = quantization_report(x, xq)
    with np.errstate(all="raise"):
        report = quantization_report(np.ldexp(x, power), np.ldexp(xq, power))
    for name in ("cosine", "norm_ratio", "l1_ratio", "snr_db"):
        assert getattr(report, name) == pytest.approx(
            getattr(expected, name), rel=1e-13
        )
    with np.errstate(over="ignore", under="ignore"):
        assert report.mse == pytest.approx(np.ldexp(expected.mse, 2 * power), rel=1e-13)


@pytest.mark.edge
def test_values_of_very_different_size():
    x = np.array([1.7e308, -1.7e308, 1e-300, 5e-324])
    with np.errstate(all="raise"):
        report = quantization_report(x, -x)
        tiny = quantization_report(x, np.array([0, 0, 0, 5e-324]))
    assert (report.cosine, report.norm_ratio, report.mse) == (-1, 1, math.inf)
    assert report.snr_db == pytest.approx(-10 * math.log10(4))
    assert tiny.snr_db == pytest.approx(0)
    assert tiny.norm_ratio == 0


@pytest.mark.properties
@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(
        st.tuples(*[st.floats(-1e6, 1e6, allow_subnormal=False)] * 2),
        min_size=1,
        max_size=30,
    )
)
def test_bounds_and_symmetry(values):
    x, xq = np.array(values).T
    report, swapped = quantization_report(x, xq), quantization_report(xq, x)
    assert -1 <= report.cosine <= 1
    assert report.cosine == pytest.approx(swapped.cosine, abs=1e-14)
    assert report.mse == swapped.mse >= 0
    assert report.norm_ratio >= 0
    assert quantization_report(-x, -xq) == report


@pytest.mark.parametrize("make", [sp.csr_array, sp.coo_array, sp.csc_matrix])
def test_things_with_toarray(make):
    x = np.random.default_rng(0).normal(size=(5, 8))
    packed = ternarize(x)
    report = quantization_report(x, packed)
    assert report == quantization_report(x, packed.toarray())
    assert quantization_report(make(x), make(packed.toarray())) == report
    assert quantization_report(x.tolist(), packed.toarray().tolist()) == report


@pytest.mark.edge
def test_bad_input():
    x = np.ones((3, 4))
    with pytest.raises(ValueError, match=r"x has shape \(3, 4\), but xq has shape"):
        quantization_report(x, x.T)
    with pytest.raises(ValueError, match="no values"):
        quantization_report(np.ones((0, 3)), np.ones((0, 3)))
    with pytest.raises(ValueError, match=r"[Cc]omplex"):
        quantization_report(x, x + 1j)
    with pytest.raises(ValueError, match="real numbers"):
        quantization_report(["a"], ["b"])
    for bad in (np.nan, np.inf):
        y = x.copy()
        y[2, 1] = bad
        with pytest.raises(ValueError, match=r"Input x contains .* row 2, column 1"):
            quantization_report(y, x)
        with pytest.raises(ValueError, match=r"Input xq contains .* row 2, column 1"):
            quantization_report(x, y)


@pytest.mark.parametrize("seed", range(3))
def test_gaussian_cosines_and_the_bound(seed):
    """What our levels reach of what is possible, and never more."""
    X = np.random.default_rng(seed).normal(size=(400, 500))
    assert cosine_bound(3) == pytest.approx(0.943, abs=5e-4)

    def cosine(quantizer):
        return quantization_report(X, quantizer.fit_transform(X)).cosine

    tensor = {"granularity": "tensor"}
    three = cosine(TernaryQuantizer(scale="mse", **tensor))
    five = cosine(TernaryQuantizer(5, scale="mse", **tensor))
    assert 0.899 <= three <= 0.9005 < cosine_bound(3)
    assert 0.957 <= five < cosine_bound(5)
    for scale in ("absmean", "twn", "absmax", "norm"):
        assert cosine(TernaryQuantizer(scale=scale, **tensor)) < three + 1e-12
    for n_bits, n_levels in ((4, 15), (8, 255)):
        reached = cosine(AffineQuantizer(n_bits, calibration="mse", **tensor))
        minmax = cosine(AffineQuantizer(n_bits, **tensor))
        assert five < reached < cosine_bound(n_levels)
        assert minmax < reached


def test_mse_scale_keeps_the_pythagorean_theorem():
    """At the optimum the error is orthogonal to the levels."""
    x = np.random.default_rng(0).normal(size=10_000)
    for n_levels in (3, 5, 15):
        report = quantization_report(x, quantize_array(x, n_levels))
        assert report.norm_ratio == pytest.approx(report.cosine, rel=1e-7)
        noise = 10 ** (-report.snr_db / 10)
        assert report.cosine**2 == pytest.approx(1 - noise, rel=1e-7)


def test_norm_scale_keeps_the_norm():
    x = np.random.default_rng(0).normal(size=1000)
    report = quantization_report(x, ternarize(x, scale="norm"))
    assert report.norm_ratio == pytest.approx(1, rel=1e-12)
