"""Products on a device: those of int8 activations have the bits of the definition."""

import numpy as np
import pytest

from sklearn_ternary import config_context, ternarize
from sklearn_ternary._gpu import products

RNG = np.random.default_rng(0)

# Shape of the matrix, rows of X, how it is quantized.
CASES = [
    ((7, 100), 1, {}),
    ((130, 300), 3, {"axis": 1}),
    ((33, 513), 130, {"axis": 1, "layout": "t2"}),
    ((140, 260), 9, {"block_size": 100}),
    ((140, 260), 2, {"block_size": 128}),
    ((20, 30), 6, {"axis": 0}),
    ((300, 5), 140, {"axis": 1}),
    ((270, 700), 150, {"axis": 1}),
]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("shape", "n_rows", "options"), CASES)
def test_int8(any_cupy, shape, n_rows, options, transposed, order):
    W = RNG.standard_normal(shape).astype(np.float32)
    A = ternarize(W, **options)
    X = RNG.standard_normal((n_rows, shape[0 if transposed else 1])).astype(np.float32)
    X[0] *= 1e-9
    left = A.T if transposed else A
    with config_context(backend="numpy"):
        expected = left.matmul(X.T, activations="int8")
    with config_context(strict=True):
        B = ternarize(any_cupy.asarray(W), **options)
        on_device = any_cupy.asarray(X)
        for held in (A, B):
            matrix = held.T if transposed else held
            got = matrix.matmul(on_device.T, activations="int8")
            assert isinstance(got, any_cupy.ndarray)
            np.testing.assert_array_equal(got.get(), expected)
    with config_context(backend="cuda", strict=True):
        got = left.matmul(X.T, activations="int8")
    assert isinstance(got, np.ndarray)
    np.testing.assert_array_equal(got, expected)


def test_large_matrices_are_unpacked_in_panels(cupy, monkeypatch):
    monkeypatch.setattr(products, "_PANEL_VALUES", 1000)
    W, X = RNG.standard_normal((50, 90)), RNG.standard_normal((90, 5))
    expected = ternarize(W).matmul(X, activations="int8")
    got = ternarize(cupy.asarray(W)).matmul(cupy.asarray(X), activations="int8")
    np.testing.assert_array_equal(got.get(), expected)


def test_float(any_cupy):
    """Sums in another order: close, and of the dtype."""
    for dtype in (np.float32, np.float64):
        W = RNG.standard_normal((60, 70)).astype(dtype)
        X = RNG.standard_normal((9, 70)).astype(dtype)
        expected = X @ ternarize(W, axis=1).T
        A = ternarize(any_cupy.asarray(W), axis=1)
        got = any_cupy.asarray(X) @ A.T
        assert got.dtype == dtype
        np.testing.assert_allclose(got.get(), expected, rtol=1e-5, atol=1e-5)
        got = A @ any_cupy.asarray(X[0])
        np.testing.assert_allclose(got.get(), expected[0], rtol=1e-5, atol=1e-5)


def test_what_does_not_fit(cupy):
    A, X = ternarize(cupy.asarray(np.eye(4))), np.eye(4)
    for activations in ("float32", "int8"):
        with pytest.raises(TypeError, match="device"):
            A.matmul(X, activations=activations)
    with pytest.raises(ValueError, match="inner"):
        A @ cupy.asarray(np.eye(3))
    bad = cupy.asarray(np.full((4, 1), np.nan))
    with pytest.raises(ValueError, match="NaN"):
        A.matmul(bad, activations="int8")
