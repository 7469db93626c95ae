"""memory_report against sums over known arrays."""

import json
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ternary import ConstrainedTrainer, compress, config_context, ternarize
from sklearn_ternary.metrics import memory_report


@pytest.fixture
def W():
    return np.random.default_rng(0).normal(size=(64, 515)).astype(np.float32)


def test_packed_array(W):
    A = ternarize(W, axis=1)
    report = memory_report(A)
    assert (report.codes, report.scales) == (64 * 103, 64 * 4)
    assert report.total == A.nbytes
    assert report.float32 == W.nbytes


@pytest.mark.parametrize("n_rows", [64, 20_000])  # the larger is in huge pages
def test_what_products_keep_is_counted(n_rows):
    W = np.random.default_rng(0).normal(size=(n_rows, 515)).astype(np.float32)
    A = ternarize(W, axis=1)
    with config_context(backend="cpu"):
        A.matmul(np.ones(515, np.float32), activations="int8")
    report = memory_report(A)
    assert n_rows * 515 // 5 <= report.products < n_rows * 515 + 2**22
    assert report.total == A.nbytes + report.products


def test_shared_memory_counts_once(W):
    A, data = ternarize(W), np.zeros(1000)
    model = {"A": A, "again": A, "views": [data[:10], data[5:]], "tuple": (data,)}
    assert memory_report(model).total == A.nbytes + 8000
    assert memory_report([data[:10], data[10:20]]).arrays == 8000


def test_collections_and_sparse():
    S = sp.random_array((50, 40), density=0.1, format="csr", rng=0)
    objects = np.array([np.zeros(3), None], dtype=object)
    bytes_of_csr = S.data.nbytes + S.indices.nbytes + S.indptr.nbytes
    assert memory_report({"S": S}).arrays == bytes_of_csr
    assert memory_report(objects).arrays == objects.nbytes + 24
    endless = [np.zeros(1)]
    endless.append(endless)
    assert memory_report(endless).total == 8


def test_estimators():
    X, y = load_digits(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=50)).fit(X, y)
    scaler, linear = model[0], model[1]
    arrays = [scaler.mean_, scaler.var_, scaler.scale_]
    arrays += [linear.coef_, linear.intercept_, linear.classes_, linear.n_iter_]
    assert memory_report(model).total == sum(a.nbytes for a in arrays)
    small = memory_report(compress(model, X))
    assert small.codes == 10 * 13
    assert small.float32 == linear.coef_.size * 4


def test_state_of_the_optimizer():
    X, y = load_digits(return_X_y=True)
    fitted = ConstrainedTrainer((16,), max_iter=1, random_state=0).fit(X, y)
    assert memory_report(fitted).optimizer == 0
    going = ConstrainedTrainer((16,), random_state=0)
    going.partial_fit(X, y, classes=np.unique(y))
    # Two moments of each parameter, and the direction of the last step.
    assert memory_report(going).optimizer >= 8 * going.parameters_.size


def test_mapped_files_are_no_memory(tmp_path):
    np.save(tmp_path / "X.npy", np.zeros((100, 10)))
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    report = memory_report([X, X[3:7]])
    assert (report.mapped, report.total) == (8000, 0)


def test_prints_and_becomes_json(W):
    report = memory_report(ternarize(W))
    assert json.loads(json.dumps(report.to_dict()))["total"] == report.total
    assert f"{report.total:,} bytes" in str(report)
    assert "optimizer" not in str(report)


def test_peak_memory_grows_with_what_is_used():
    code = (
        "import numpy as np; from sklearn_ternary.metrics import peak_memory\n"
        "before = peak_memory(); x = np.ones(50_000_000)\n"
        "print(peak_memory() - before)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert 390_000_000 < int(out.stdout) < 600_000_000
