"""Networks: buffers, layout, batches, flips."""

import numpy as np
import pytest
from scipy import sparse
from threadpoolctl import threadpool_info

from sklearn_ternary.neural_network._networks.activations import ReLU
from sklearn_ternary.neural_network._networks.dropout import Dropout
from sklearn_ternary.neural_network._networks.linear import Linear
from sklearn_ternary.neural_network._networks.losses import SoftmaxLoss, SquaredError
from sklearn_ternary.neural_network._networks.network import Network
from sklearn_ternary.neural_network._networks.rms_norm import RMSNorm
from sklearn_ternary.neural_network._training.blas_threads import one_blas_thread
from sklearn_ternary.quantization import ternarize


def layers(*more):
    return [Linear(20), ReLU(), *more, RMSNorm(), Linear(4)]


def make(*more, seed=0, **options):
    net = Network(layers(*more), 12, SoftmaxLoss(), **options)
    net.initialize(np.random.RandomState(seed))
    return net


@pytest.fixture(scope="module")
def data():
    rng = np.random.RandomState(3)
    X = rng.randn(40, 12).astype(np.float32)
    return X, rng.randint(4, size=40)


def test_layout_covers_the_flat_buffers():
    net = make()
    assert [(row.name, row.kind, row.decayed, row.n_rows) for row in net.layout] == [
        ("0.weight", "weight", True, 20),
        ("0.bias", "bias", False, 1),
        ("2.gain", "gain", False, 1),
        ("3.weight", "weight", True, 4),
        ("3.bias", "bias", False, 1),
    ]
    ends = [row.slice.stop for row in net.layout]
    assert [row.slice.start for row in net.layout] == [0, *ends[:-1]]
    assert ends[-1] == net.parameters.size == net.gradient.size
    first = net.layers[0].values["weight"]
    assert np.shares_memory(first, net.parameters)


def test_weights_are_those_of_ternarize(data):
    net = make()
    net.forward(data[0])
    for layer in net.ternary_layers:
        array = ternarize(layer.values["weight"])
        weight = layer.scale * layer.codes
        np.testing.assert_array_equal(weight, array.toarray())


def test_half_batches_add_up(data):
    X, y = data
    net = make(dtype=np.float64)
    net.use_surrogate()
    whole = net.loss_and_gradient(X, y)
    gradient = net.gradient.copy()
    halves = [net.loss_and_gradient(X[i::2], y[i::2]) / 2 for i in (0, 1)]
    assert sum(halves) == pytest.approx(whole)
    net.loss_and_gradient(X[::2], y[::2])
    first = net.gradient.copy()
    net.loss_and_gradient(X[1::2], y[1::2])
    np.testing.assert_allclose((first + net.gradient) / 2, gradient, atol=1e-12)


def test_weights_of_samples_count_as_repetitions(data):
    X, y = data
    net = make()
    weight = np.arange(len(y)) % 3
    value = net.loss_and_gradient(X, y, weight)
    gradient = net.gradient.copy()
    repeated = np.repeat(np.arange(len(y)), weight)
    assert net.loss_and_gradient(X[repeated], y[repeated]) == pytest.approx(value)
    np.testing.assert_allclose(net.gradient, gradient, rtol=1e-4, atol=1e-6)
    assert net.loss_and_gradient(X, y, np.zeros(len(y))) == 0
    assert not net.gradient.any()


def test_sparse_rows_are_dense_rows(data):
    X, y = data
    X = np.where(np.abs(X) < 1, 0, X)
    net = make()
    value = net.loss_and_gradient(X, y)
    gradient = net.gradient.copy()
    rows = sparse.csr_array(X)
    assert net.loss_and_gradient(rows, y) == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(net.gradient, gradient, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(net.forward(rows), net.forward(X), rtol=1e-4, atol=1e-5)


def test_forward_does_not_depend_on_the_batch():
    net = make()
    X = np.random.RandomState(0).randn(600, 12).astype(np.float32)
    Z = net.forward(X)
    np.testing.assert_array_equal(net.forward(X[:300]), Z[:300])
    one = np.concatenate([net.forward(X[i : i + 1]) for i in range(5)])
    np.testing.assert_array_equal(one, Z[:5])


def test_dropout_draws_anew_and_only_in_training(data):
    X, y = data
    net, plain = make(Dropout(0.5)), make()
    np.testing.assert_array_equal(net.forward(X), plain.forward(X))
    values = [
        net.loss_and_gradient(X, y, random_state=np.random.RandomState(seed))
        for seed in (0, 1, 0)
    ]
    assert values[0] == values[2] != values[1]


def test_flips_are_counted():
    net = make()
    assert net.flips() == 0
    weight = net.layers[0].values["weight"]
    before = net.layers[0].codes.copy()
    weight[:2] *= -1
    net.forward(np.zeros((1, 12), np.float32))
    assert net.flips() == np.count_nonzero(before[:2])
    assert net.flips() == 0


def test_blas_starts_no_threads():
    def counts():
        found = threadpool_info()
        return {pool["num_threads"] for pool in found if pool["user_api"] == "blas"}

    before = counts()
    with one_blas_thread():
        assert counts() == {1}
    assert counts() == before


def test_learns():
    rng = np.random.RandomState(0)
    X = rng.randn(256, 8).astype(np.float32)
    y = np.sin(X[:, :1])
    net = Network([Linear(64), ReLU(), RMSNorm(), Linear(1)], 8, SquaredError())
    net.initialize(rng)
    first = net.loss(X, y)
    for _ in range(300):
        net.loss_and_gradient(X, y)
        net.parameters -= 0.1 * net.gradient
    assert net.loss(X, y) < 0.3 * first
