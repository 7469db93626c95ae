import pickle
import threading

import numpy as np
import pytest

from sklearn_ternary import config_context, ternarize
from sklearn_ternary.linalg import ternary_matmul

OPTIONS = {
    "tensor": {},
    "rows": {"axis": 1},
    "columns": {"axis": 0},
    "blocks": {"block_size": 16},
}


@pytest.fixture(params=OPTIONS)
def A(request):
    W = np.random.default_rng(0).normal(size=(37, 53)).astype(np.float32)
    return ternarize(W, scale="mse", **OPTIONS[request.param])


def close(result, expected, dtype=np.float32):
    scale = np.abs(expected).max(initial=0) + 1e-30
    np.testing.assert_allclose(
        result, expected, rtol=0, atol=100 * np.finfo(dtype).eps * scale
    )


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
@pytest.mark.parametrize("shape", [(53,), (53, 1), (53, 9), (53, 0), (2, 53, 4)])
def test_from_the_right(A, shape, backend):
    X = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    with config_context(backend=backend, strict=True):
        result = A @ X
        assert result.dtype == np.float32
        close(result, A.toarray() @ X)
        np.testing.assert_array_equal(A.matmul(X), result)
        np.testing.assert_array_equal(ternary_matmul(A, X), result)


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
@pytest.mark.parametrize("shape", [(37,), (1, 37), (9, 37), (0, 37), (2, 4, 37)])
def test_from_the_left(A, shape, backend):
    X = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    with config_context(backend=backend, strict=True):
        result = X @ A
        close(result, X @ A.toarray())
        np.testing.assert_array_equal(ternary_matmul(X, A), result)


@pytest.mark.parametrize("shape", [(37,), (37, 5)])
def test_transposes(A, shape):
    X = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    assert A.T.shape == (53, 37)
    assert A.T.T is A
    assert "transpose" in repr(A.T)
    np.testing.assert_array_equal(A.T.toarray(), A.toarray().T)
    np.testing.assert_array_equal(A.T.codes(), A.codes().T)
    close(A.T @ X, A.toarray().T @ X)
    np.testing.assert_array_equal(A.T.matmul(X), ternary_matmul(A.T, X))
    Y = np.random.default_rng(3).normal(size=(4, 53)).astype(np.float32)
    close(Y @ A.T, Y @ A.toarray().T)
    np.testing.assert_array_equal(Y @ A.T, (A @ Y.T).T)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int8, np.int64, bool])
def test_dtypes(A, dtype):
    X = np.random.default_rng(4).integers(0, 2, size=(53, 6)).astype(dtype)
    result = A @ X
    expected = A.toarray() @ X
    assert result.dtype == expected.dtype
    close(result, expected, result.dtype)


def test_double_precision():
    W = np.random.default_rng(5).normal(size=(20, 3000))
    A = ternarize(W, axis=1)
    X = np.random.default_rng(6).normal(size=(3000, 7))
    result = A @ X
    assert result.dtype == np.float64
    close(result, A.toarray() @ X, np.float64)


def test_int8_activations(A):
    X = np.random.default_rng(7).normal(size=(11, 53)).astype(np.float32)
    result = ternary_matmul(X, A.T, activations="int8")
    exact = X @ A.toarray().T
    assert np.abs(result - exact).max() < 0.03 * np.abs(exact).max()
    with config_context(backend="numpy"):
        definition = ternary_matmul(X, A.T, activations="int8")
    np.testing.assert_array_equal(result, definition)
    np.testing.assert_array_equal(A.matmul(X.T, activations="int8"), result.T)


def test_int8_products_by_hand():
    A = ternarize(np.array([[1.0, -1.0, 0.0], [1.0, 1.0, 1.0]], np.float32), scale=1.0)
    X = np.array([[127.0, 1.0, -64.0]], np.float32)
    np.testing.assert_array_equal(
        ternary_matmul(X, A.T, activations="int8"), [[126.0, 64.0]]
    )


def test_layouts_multiply_to_the_same_bits(A):
    X = np.random.default_rng(8).normal(size=(53, 6)).astype(np.float32)
    expected = A @ X, A.matmul(X, activations="int8")
    B = A.to_layout("t2")
    np.testing.assert_array_equal(B @ X, expected[0])
    np.testing.assert_array_equal(B.matmul(X, activations="int8"), expected[1])


@pytest.mark.parametrize("n_levels", [5])
def test_other_levels(n_levels):
    A = ternarize(np.random.default_rng(9).normal(size=(6, 8)), n_levels=n_levels)
    X = np.random.default_rng(10).normal(size=(8, 3))
    close(A @ X, A.toarray() @ X, np.float64)
    with pytest.raises(ValueError, match=r"int8.*three levels"):
        A.matmul(X, activations="int8")


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("form", ["csr_array", "csc_array", "coo_array", "csr_matrix"])
def test_sparse_operands(A, form, transposed):
    from scipy import sparse

    B = A.T if transposed else A
    X = np.random.default_rng(11).normal(size=(9, B.shape[0]))
    X[np.abs(X) < 1] = 0
    S = getattr(sparse, form)(X)
    with config_context(working_memory=1e-3):
        result = ternary_matmul(S, B)
    assert isinstance(result, np.ndarray)
    close(result, X @ B.toarray())
    with pytest.raises(ValueError, match=r"int8.*dense"):
        ternary_matmul(S, B, activations="int8")
    with pytest.raises(ValueError, match="do not fit"):
        ternary_matmul(S[:, 1:], B)
    with pytest.raises(TypeError, match=r"sparse X is multiplied from the left"):
        ternary_matmul(B.T, S.T)


def test_out(A):
    X = np.random.default_rng(12).normal(size=(53, 6)).astype(np.float32)
    out = np.empty((37, 6))
    assert A.matmul(X, out=out) is out
    close(out, A @ X)
    with pytest.raises(ValueError, match=r"shape of the product, \(37, 6\)"):
        A.matmul(X, out=np.empty((6, 37)))
    with pytest.raises(TypeError, match="cannot hold"):
        A.matmul(X, out=np.empty((37, 6), dtype=int))


@pytest.mark.parametrize(
    ("operand", "error", "message"),
    [
        (np.ones(52), ValueError, "do not fit"),
        (np.ones((37, 2)), ValueError, "do not fit"),
        (np.float32(1), ValueError, "do not fit"),
        (np.ones(53) * 1j, TypeError, "complex128"),
        (np.array(["a"] * 53), TypeError, "<U1"),
    ],
)
def test_wrong_operands(A, operand, error, message):
    with pytest.raises(error, match=message):
        A @ operand


def test_wrong_use(A):
    X = np.ones((53, 2), np.float32)
    with pytest.raises(ValueError, match="activations='int4' must be one of"):
        A.matmul(X, activations="int4")
    with pytest.raises(TypeError, match="one packed operand"):
        ternary_matmul(A, A.T)
    with pytest.raises(TypeError, match="one packed operand"):
        ternary_matmul(X, X)
    vector = ternarize(np.ones(3))
    with pytest.raises(ValueError, match="packed matrix"):
        vector @ np.ones(3)
    with pytest.raises(ValueError, match="transpose"):
        _ = vector.T
    for bad in (np.nan, np.inf):
        X[3, 1] = bad
        with pytest.raises(ValueError, match="X contains"):
            A.matmul(X, activations="int8")
        assert not np.isfinite((A @ X)[:, 1]).all()
        assert np.isfinite((A @ X)[:, 0]).all()


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (1, 1)])
def test_empty_matrices(shape):
    A = ternarize(np.ones(shape, np.float32))
    X = np.ones((shape[1], 3), np.float32)
    np.testing.assert_array_equal(A @ X, np.ones(shape) @ X)
    np.testing.assert_array_equal(X.T @ A.T, X.T @ np.ones(shape).T)


def test_products_are_not_pickled(A):
    A @ np.ones((53, 1), np.float32)
    before = len(pickle.dumps(ternarize(A.toarray(), scale=1.0)))
    assert len(pickle.dumps(A)) < before + 37 * 53


@pytest.mark.threads
def test_many_threads_multiply_at_once(A):
    X = np.random.default_rng(13).normal(size=(53, 6)).astype(np.float32)
    expected = A.toarray() @ X
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(A @ X)) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 16
    for result in results:
        close(result, expected)


@pytest.mark.memory
def test_no_float_copy_of_the_weights(run_python):
    run_python(
        """
import resource
import numpy as np
from sklearn_ternary import ternarize, set_config
from sklearn_ternary.linalg import ternary_matmul
set_config(n_threads=1)
W = np.random.default_rng(0).standard_normal((4096, 8192), dtype=np.float32)
A = ternarize(W)
X = np.ones((2, 8192), np.float32)
ternarize(W[:8]) @ np.ones(8192, np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ternary_matmul(X, A.T, activations="int8")
X @ A.T
np.ones((1, 4096), np.float32) @ A
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
# Codes of 2 bits, once for each direction: 8 MiB each; as float32, 128 MiB.
assert grown < 2 * 8 + 16, grown
"""
    )
