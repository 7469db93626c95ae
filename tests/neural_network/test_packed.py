"""Predictions by packed weights: threads, pickles, backends, sparse rows."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import sparse

from sklearn_ternary import ConstrainedTrainer, config_context
from sklearn_ternary.neural_network._networks.packed import (
    PackedNetwork,
    named_parameters,
)
from sklearn_ternary.neural_network._networks.perceptron import build_network


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((300, 20)).astype(np.float32)
    y = (X[:, 0] + X[:, 1] ** 2 > 1).astype(int) + (X[:, 2] > 1)
    model = ConstrainedTrainer((32, 16), max_iter=3, linear_skip=True, random_state=0)
    return model.fit(X, y), X


def test_threads_predict_at_once(fitted):
    model, X = fitted
    blocks = [X[i : i + n] for n in (1, 7, 60) for i in range(0, 240, 60)] * 5
    expected = [model.decision_function(block) for block in blocks]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(model.decision_function, blocks))
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_pickles_predict_the_same(fitted):
    model, X = fitted
    Z = model.decision_function(X)
    other = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(other.decision_function(X), Z)


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
def test_backends_predict_the_same(fitted, backend):
    model, X = fitted
    Z = model.decision_function(X)
    with config_context(backend=backend):
        np.testing.assert_allclose(model.decision_function(X), Z, atol=1e-5)


def test_sparse_rows_predict_as_dense_ones(fitted):
    model, X = fitted
    X = np.where(np.abs(X) < 1, 0, X)
    np.testing.assert_array_equal(
        model.decision_function(sparse.csr_array(X)), model.decision_function(X)
    )


@pytest.mark.parametrize("linear_skip", [False, True])
@pytest.mark.parametrize("normalization", ["rms", None])
@pytest.mark.parametrize("weights", ["absmean", "twn", None])
@pytest.mark.parametrize("activations", ["int8", None])
def test_packed_networks_predict_what_the_trained_ones_do(
    weights, activations, normalization, linear_skip, isa
):
    options = ConstrainedTrainer().get_params() | {
        "hidden_layer_sizes": (20, 9),
        "quantize_weights": weights,
        "quantize_activations": activations,
        "normalization": normalization,
        "linear_skip": linear_skip,
        "activation": "squared_relu" if linear_skip else "relu",
    }
    rng = np.random.RandomState(0)
    X = rng.standard_normal((700, 12)).astype(np.float32)
    with config_context(isa=isa):
        trained = build_network(12, 4, None, options)
        trained.initialize(rng)
        trained.parameters += np.float32(0.01)
        packed = PackedNetwork.of(named_parameters(trained, 3), options)
        Z = packed.forward(X)
        limit = 0 if weights and activations and not linear_skip else 1e-5
        np.testing.assert_allclose(Z, trained.forward(X), rtol=0, atol=limit)
        for x in (X[3:4], X[3:4].astype(np.float64), np.asfortranarray(X)[3:4]):
            np.testing.assert_array_equal(packed.forward(x), Z[3:4])


def test_rows_that_need_no_checks_predict_as_others(fitted):
    """Plain arrays are not sent through all of scikit-learn's checks."""
    model, X = fitted
    for dtype in (np.float32, np.float64):
        rows = X[:9].astype(dtype)
        Z = model.decision_function(rows)
        for others in (rows.tolist(), np.asfortranarray(rows), rows.astype(">f8")):
            np.testing.assert_array_equal(model.decision_function(others), Z)
        rows[3, 4] = np.nan
        with pytest.raises(ValueError, match="NaN"):
            model.predict(rows)
    with pytest.raises(ValueError, match="expecting 20 features"):
        model.predict(X[:, 1:])
    with pytest.raises(ValueError, match="minimum of 1"):
        model.predict(X[:0])
