"""Devices that the kernels are not for: estimators on expressions of CuPy alone."""

import numpy as np
import pytest

from sklearn_ternary import (
    ClusteredKMeans,
    ConstrainedTrainer,
    TernaryQuantizer,
    config_context,
    ternarize,
)
from sklearn_ternary._gpu.expressions import clusters, panels
from sklearn_ternary._gpu.expressions.numbers import narrow, wide

RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 12)).astype(np.float32)
X[::3] += 4


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), 0), ((8, 0), 3)])
def test_capability_decides(cupy, without_kernels, monkeypatch, capability, expected):
    """Launches of kernels, of which there are none before 8.0."""
    without_kernels(cupy)
    monkeypatch.setattr(cupy, "capability", capability)
    before = cupy.n_launches
    A = ternarize(cupy.asarray(X), layout="t2", on_nonfinite="propagate")
    assert cupy.n_launches - before == expected
    assert ternarize(X, layout="t2") == A


def test_every_kind_of_number(cupy):
    """Also those that CuPy takes for 0, and as numbers of double precision round."""
    bits = RNG.integers(0, 2**32, 4000, dtype=np.uint32)
    bits[:200] &= np.uint32(0x807FFFFF)
    bits[200:204] = 0, 0x80000000, 0x7F800000, 0x007FFFFF
    x = bits.view(np.float32)
    x = x[~np.isnan(x)]
    found = wide(cupy.asarray(x))
    np.testing.assert_array_equal(found.get(), x.astype(np.float64))
    np.testing.assert_array_equal(
        narrow(found, x.dtype).view(np.int32).get(), x.view("i4")
    )
    between = x.astype(np.float64) * RNG.uniform(0.5, 2, x.size)
    with np.errstate(over="ignore"):
        expected = between.astype(np.float32)
    found = narrow(cupy.asarray(between), x.dtype)
    np.testing.assert_array_equal(found.view(np.int32).get(), expected.view("i4"))


@pytest.mark.parametrize("granularity", ["feature", "tensor", "block"])
@pytest.mark.parametrize("scale", ["absmean", "twn", "absmax", "mse"])
def test_quantizer(cupy, without_kernels, granularity, scale):
    without_kernels(cupy)
    options = {"granularity": granularity, "scale": scale, "output": "packed"}
    options |= {"block_size": 5} if granularity == "block" else {}
    expected = TernaryQuantizer(**options).fit_transform(X)
    with config_context(strict=True):
        found = TernaryQuantizer(**options).fit_transform(cupy.asarray(X))
        assert isinstance(found.packed, cupy.ndarray)
        assert found == expected
    with config_context(backend="cuda", strict=True):
        assert TernaryQuantizer(**options).fit_transform(X) == expected


@pytest.mark.parametrize(
    ("options", "weighted"),
    [
        ({}, True),
        ({"metric": "cosine"}, False),
        ({"batch_size": 30, "max_iter": 3}, False),
        ({"min_cluster_size": 20}, True),
    ],
)
def test_kmeans(cupy, without_kernels, options, weighted, monkeypatch):
    """The bits of what the kernels find, also where sums have a panel after another."""
    rows = X.copy()
    rows[5:9] = rows[4]
    weight = RNG.random(len(X)).astype(np.float32) if weighted else None
    kmeans = ClusteredKMeans(4, random_state=0, **options)
    found = []
    for older in (False, True):
        if older:
            without_kernels(cupy)
            monkeypatch.setattr(panels, "_PANEL", 300)
        there = cupy.asarray(rows)
        with config_context(strict=True):
            kmeans.fit(there, sample_weight=weight)
            found.append(
                [kmeans.labels_.get(), kmeans.cluster_centers_.get(), kmeans.inertia_]
            )
            assert isinstance(kmeans.transform(there), cupy.ndarray)
    for by_kernels, by_expressions in zip(*found, strict=True):
        np.testing.assert_array_equal(by_kernels, by_expressions)
    kmeans.fit(rows, sample_weight=weight)
    np.testing.assert_array_equal(kmeans.labels_, found[0][0])


def test_few_rows_are_left_open(cupy, without_kernels, monkeypatch):
    """Products of float32 tell most labels; those of equally near centres follow."""
    without_kernels(cupy)
    by_definition, n_open = clusters._by_definition, []

    def counted(cupy, rows, centers):
        n_open.append(len(rows))
        return by_definition(cupy, rows, centers)

    monkeypatch.setattr(clusters, "_by_definition", counted)
    centers = X[:9].copy()
    labels = clusters.nearest_centers(cupy, *map(cupy.asarray, (X, centers)), None)
    assert sum(n_open) <= 2
    expected = ((X[:, None].astype(float) - centers) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(labels.get(), expected)
    centers[5] = centers[2]
    labels = clusters.nearest_centers(cupy, *map(cupy.asarray, (X, centers)), None)
    assert n_open[-1] >= np.sum(expected == 2)
    assert not (labels.get() == 5).any()


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_training(cupy, without_kernels, optimizer):
    """The run of the CPU up to rounding, and the same one twice."""
    y = (X[:, 0] > 1).astype(np.int64)
    trainer = ConstrainedTrainer(
        (9, 7), optimizer=optimizer, max_iter=4, batch_size=30, random_state=0
    )
    expected = trainer.fit(X, y).loss_curve_
    proba = trainer.predict_proba(X)
    without_kernels(cupy)
    found = []
    for _ in range(2):
        with config_context(strict=True):
            trainer.fit(cupy.asarray(X), y)
        np.testing.assert_allclose(trainer.loss_curve_, expected, rtol=1e-3)
        found.append(trainer.predict_proba(cupy.asarray(X)).get())
    np.testing.assert_array_equal(*found)
    np.testing.assert_allclose(found[0], proba, atol=1e-3)
