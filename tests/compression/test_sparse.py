"""Sparse samples: the same outputs, and no float copy of the weights."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.neural_network import MLPClassifier

from sklearn_ternary.compression import _products, compress
from sklearn_ternary.compression._products import rows_times
from sklearn_ternary.quantization import ternarize

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("layout", ["t2", "t5", "q3"])
@pytest.mark.parametrize("options", [{}, {"axis": 1}, {"block_size": 7}])
@pytest.mark.parametrize("n_inputs", [1, 4, 33, 1000])
@pytest.mark.parametrize("panel", [64, 2**22])
def test_sparse_products(monkeypatch, layout, options, n_inputs, panel):
    monkeypatch.setattr(_products, "_PANEL_BYTES", panel)
    n_levels = 5 if layout == "q3" else 3
    W = RNG.normal(size=(6, n_inputs))
    A = ternarize(W, layout=layout, n_levels=n_levels, **options)
    X = sparse.random_array((9, n_inputs), density=0.2, rng=RNG, format="csr")
    wanted = X.toarray() @ A.toarray().T
    found = [rows_times(X[[i]], A, "float32") for i in range(9)]
    np.testing.assert_allclose(np.vstack(found), wanted, rtol=1e-5, atol=1e-5)
    for form in ("csr", "csc", "coo"):
        found = rows_times(X.asformat(form), A, "float32")
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_sparse_products_of_nothing():
    A = ternarize(RNG.normal(size=(3, 10)), axis=1)
    assert rows_times(sparse.csr_array((4, 10)), A, "float32").tolist() == [[0] * 3] * 4
    assert rows_times(sparse.csr_array((0, 10)), A, "float32").shape == (0, 3)


def test_explicit_zeros_and_duplicates():
    A = ternarize(RNG.normal(size=(3, 10)), axis=1)
    entries = ([0.0, 2.0, 3.0], ([0, 1, 1], [4, 5, 5]))
    X = sparse.coo_array(entries, shape=(2, 10))
    wanted = X.toarray() @ A.toarray().T
    np.testing.assert_allclose(rows_times(X, A, "float32"), wanted, rtol=1e-6)


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csr_matrix])
@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        SGDClassifier(random_state=0),
        Ridge(),
        MLPClassifier((5,), max_iter=500, tol=0.1, random_state=0),
        TruncatedSVD(3),
        PCA(3, svd_solver="arpack"),
    ],
    ids=lambda m: type(m).__name__,
)
def test_sparse_and_dense_samples_give_the_same(model, container):
    dense = np.where(RNG.random((80, 30)) < 0.2, RNG.normal(size=(80, 30)), 0)
    y = RNG.integers(0, 3, 80)
    model.fit(container(dense), y)
    method = "transform" if hasattr(model, "transform") else "predict"
    for small in (compress(model), compress(model, container(dense))):
        found = getattr(small, method)(container(dense))
        assert isinstance(found, np.ndarray)
        np.testing.assert_allclose(
            found, getattr(small, method)(dense), rtol=1e-5, atol=1e-5
        )
    one, other = compress(model, container(dense)), compress(model, dense)
    for a, b in zip(
        one.compression_report_.layers, other.compression_report_.layers, strict=True
    ):
        assert a.r2 == pytest.approx(b.r2, rel=1e-5)


def test_int8_takes_dense_samples_only():
    X = np.eye(6)
    small = compress(Ridge().fit(X, np.arange(6)), activations="int8")
    small.predict(X)
    with pytest.raises(ValueError, match="activations='int8' needs a dense X"):
        small.predict(sparse.csr_array(X))


MEMORY = """
import resource
import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn_ternary import config_context, set_config
from sklearn_ternary.compression import compress

set_config(n_threads=1, backend="cpu")
n_classes, n_features = 16, 2**20
rng = np.random.default_rng(0)
model = LogisticRegression()
model.classes_ = np.arange(n_classes)
model.n_features_in_ = n_features
model.coef_ = rng.standard_normal((n_classes, n_features), dtype=np.float32)
model.intercept_ = np.zeros(n_classes, dtype=np.float32)
small = compress(model)
weights = model.coef_.nbytes  # 64 MiB
del model
X = {samples}
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak starts from here


def memory(field):
    with open("/proc/self/status") as file:
        (line,) = [line for line in file if line.startswith(field)]
    return int(line.split()[1]) * 1024


before = memory("VmRSS")
small.predict_proba(X)
used = memory("VmHWM") - before
assert used < weights / 4 + {extra}, (used / 2**20, weights / 2**20)
"""


@pytest.mark.memory
@pytest.mark.parametrize(
    ("samples", "extra"),
    [
        ("rng.standard_normal((1, n_features), dtype=np.float32)", 2**23),
        ("rng.standard_normal((4, n_features), dtype=np.float32)", 2**25),
        ("sparse.random_array((1, n_features), density=1e-4, rng=rng)", 2**21),
        ("sparse.random_array((200, n_features), density=1e-3, rng=rng)", 2**24),
    ],
    ids=["one dense", "four dense", "one sparse", "many sparse"],
)
def test_predicting_makes_no_float_copy_of_the_weights(run_python, samples, extra):
    pytest.importorskip("sklearn_ternary._kernels._matmul", reason="no kernels")
    run_python(MEMORY.format(samples=samples, extra=extra))
