"""Products on a device: those of int8 activations have the bits of the definition."""

import numpy as np
import pytest

from sklearn_ternary import config_context, ternarize
from sklearn_ternary._gpu import products
from sklearn_ternary.exceptions import BackendFallbackWarning

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


@pytest.mark.parametrize("layout", ["t2", "t5", "tq1_0"])
def test_large_matrices_are_unpacked_in_panels(cupy, monkeypatch, layout):
    sizes = []

    def watched(packed, n_values, layout):
        sizes.append(len(packed) * n_values)
        return unpack(packed, n_values, layout)

    unpack = products.unpack
    monkeypatch.setattr(products, "unpack", watched)
    monkeypatch.setattr(products, "_PANEL_VALUES", 1000)
    W = RNG.standard_normal((50, 1030))
    A, B = ternarize(W, layout=layout), ternarize(cupy.asarray(W), layout=layout)
    for held, there in ((A, B), (A.T, B.T)):
        X = RNG.standard_normal((held.shape[1], 5))
        expected = held.matmul(X, activations="int8")
        got = there.matmul(cupy.asarray(X), activations="int8")
        np.testing.assert_array_equal(got.get(), expected)
    assert max(sizes) <= 50 * 512  # whole units of any layout


@pytest.mark.parametrize("activations", ["int8", "float32"])
def test_less_memory_than_a_product_takes(cupy, monkeypatch, activations):
    """Rows of the host go in pieces; where not even one fits, the CPU helps."""
    A = ternarize(RNG.standard_normal((30, 50)).astype(np.float32), axis=1)
    X = RNG.standard_normal((50, 4000)).astype(np.float32)
    expected = A.matmul(X, activations=activations)
    monkeypatch.setattr(cupy, "memory_limit", X.nbytes // 2)
    with config_context(backend="cuda", strict=True):
        got = A.matmul(X, activations=activations)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    monkeypatch.setattr(cupy, "memory_limit", 3000)
    told = pytest.warns(BackendFallbackWarning, match="memory does not suffice")
    with config_context(backend="cuda"), told:
        A = ternarize(np.eye(50, dtype=np.float32), axis=1)
        got = A.matmul(X, activations=activations)
    np.testing.assert_allclose(got, A.matmul(X, activations=activations))


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
