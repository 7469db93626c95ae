"""Networks trained on a device: as on the CPU, and where the data are."""

import gc
import pickle
import sys

import numpy as np
import pytest
from scipy import sparse

from sklearn_ternary import ConstrainedTrainer, config_context
from sklearn_ternary.exceptions import BackendFallbackWarning
from sklearn_ternary.neural_network._networks import forward

RNG = np.random.RandomState(0)
X = RNG.standard_normal((90, 12)).astype(np.float32)
CLASSES = X[:, :3].argmax(axis=1)
NUMBERS = X[:, :2] @ [[1.0, 2.0], [0.5, -1.0]]

WAYS = {
    "plain": {},
    "float": {"quantize_weights": None},
    "options": {
        "quantize_weights": "twn",
        "quantize_activations": None,
        "activation": "squared_relu",
        "trust_region": "layer",
        "ratio_test_every": 2,
        "max_grad_norm": 0.5,
        "linear_skip": True,
        "optimizer": "sgd",
    },
    "gradients": {"quantize_gradients": "ternary", "trust_region": "layer"},
    "moments": {"second_moment": "row", "dropout": 0.2, "trust_region": "global"},
    "clusters": {
        "second_moment": "cluster",
        "n_clusters": 3,
        "ratio_test_every": 3,
        "trust_region": "global",
        "early_stopping": True,
    },
    "radii": {"trust_region": "cluster", "n_clusters": 3, "trust_radius": 0.01},
    "freezing": {"freeze_threshold": 0.01, "freeze_from": 0.0, "max_iter": 8},
}


def trainer(**options):
    given = {"hidden_layer_sizes": (16, 10), "max_iter": 3, "random_state": 0}
    return ConstrainedTrainer(**given | options)


def close(got, expected, tolerance=2e-4):
    """The same but for rounding; roundings to 8 bits make it more, now and then."""
    scale = np.abs(expected).max()
    assert np.mean(np.abs(got - expected) > tolerance * scale) < 0.02


@pytest.mark.parametrize("way", WAYS)
def test_numpy_in_numpy_out(any_cupy, way):
    """The numbers of the CPU up to rounding."""
    expected = trainer(**WAYS[way]).fit(X, CLASSES)
    with config_context(backend="cuda", strict=True):
        model = trainer(**WAYS[way]).fit(X, CLASSES)
        on_device = model.decision_function(X)
        labels = model.predict(X)
    assert type(model.parameters_) is np.ndarray
    assert type(on_device) is type(labels) is np.ndarray
    close(model.parameters_, expected.parameters_)
    close(np.array(model.loss_curve_), np.array(expected.loss_curve_), 1e-3)
    close(on_device, model.decision_function(X))
    np.testing.assert_array_equal(labels, model.classes_[on_device.argmax(axis=1)])
    again = trainer(**WAYS[way])
    with config_context(backend="cuda", strict=True):
        again.fit(X, CLASSES)
    np.testing.assert_array_equal(again.parameters_, model.parameters_)


def test_one_wait_for_a_step(cupy, monkeypatch):
    """Losses and sums come to the host together, nothing else does."""
    waits = []
    original = cupy.ndarray.get
    monkeypatch.setattr(
        cupy.ndarray, "get", lambda *a, **k: waits.append(1) or original(*a, **k)
    )
    with config_context(backend="cuda", strict=True):
        few, many = (
            [trainer(max_iter=n).fit(X, CLASSES), len(waits), waits.clear()]
            for n in (1, 3)
        )
    steps = many[0].training_summary_["n_steps"] - few[0].training_summary_["n_steps"]
    assert steps == 6
    assert many[1] - few[1] == steps


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber"])
def test_cupy_in_cupy_out_of_a_regressor(any_cupy, loss):
    weight = np.linspace(0, 2, len(X))
    model, expected = trainer(loss=loss), trainer(loss=loss)
    expected.fit(X, NUMBERS, sample_weight=weight)
    on_device = any_cupy.asarray(X)
    model.fit(on_device, any_cupy.asarray(NUMBERS), any_cupy.asarray(weight))
    close(model.parameters_.get(), expected.parameters_)
    predicted = model.predict(on_device)
    assert isinstance(predicted, any_cupy.ndarray)
    close(predicted.get(), model.predict(X), 1e-3)
    assert model.score(on_device, any_cupy.asarray(NUMBERS)) == pytest.approx(
        model.score(X, NUMBERS), abs=1e-3
    )


@pytest.mark.parametrize("names", [None, "abc"])
def test_cupy_in_cupy_out_of_a_classifier(any_cupy, names):
    with any_cupy.cuda.Device(any_cupy.cuda.runtime.getDeviceCount() - 1):
        on_device = any_cupy.asarray(X)
    y = any_cupy.asarray(CLASSES) if names is None else np.array(list(names))[CLASSES]
    model = trainer(early_stopping=True).fit(on_device, y)
    for array in (model.parameters_, model.intercepts_[0], model.coefs_[0].packed):
        assert isinstance(array, any_cupy.ndarray)
        assert array.device == on_device.device
    assert model.coefs_[0].get() == model._packed.weights[0]
    for name in ("decision_function", "predict_proba", "predict_log_proba"):
        found = getattr(model, name)(on_device)
        assert found.device == on_device.device
        np.testing.assert_allclose(found.get(), getattr(model, name)(X), atol=1e-4)
    labels = model.predict(on_device)
    assert isinstance(labels, np.ndarray if names else any_cupy.ndarray)
    assert model.score(on_device, y) == model.score(X, y if names else CLASSES)
    again = pickle.loads(pickle.dumps(model))
    assert type(again.parameters_) is type(again.intercepts_[0]) is np.ndarray
    assert type(again.coefs_[0].packed) is np.ndarray
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    # Either goes on with what the other has found.
    again.set_params(warm_start=True, early_stopping=False).fit(on_device, y)
    model.set_params(warm_start=True, early_stopping=False)
    assert type(model.fit(X, CLASSES if names is None else y).parameters_) is np.ndarray


def test_an_augmentation_gets_what_the_user_has(any_cupy):
    """Rows of the kind that were given, wherever the steps are computed."""
    kinds = set()

    def scaled(rows, random_state):
        kinds.add(type(rows))
        return rows * random_state.uniform(0.5, 1.5)

    expected = trainer(augment=scaled).fit(X, CLASSES)
    with config_context(backend="cuda", strict=True):
        model = trainer(augment=scaled).fit(X, CLASSES)
    assert kinds == {np.ndarray}
    close(model.parameters_, expected.parameters_)
    kinds.clear()
    on_device = trainer(augment=scaled).fit(any_cupy.asarray(X), CLASSES)
    assert kinds == {any_cupy.ndarray}
    close(on_device.parameters_.get(), expected.parameters_)
    with pytest.raises(ValueError, match=r"augment.* contains"):
        trainer(augment=lambda rows, _: rows * np.nan).fit(any_cupy.asarray(X), CLASSES)


def test_epochs_of_their_own_and_pickles_between(any_cupy):
    on_device, y = any_cupy.asarray(X), any_cupy.asarray(CLASSES)
    one, other = trainer(), trainer()
    for i in range(3):
        one.partial_fit(on_device, y, classes=[0, 1, 2])
        other.partial_fit(on_device, y, classes=[0, 1, 2])
        if i < 2:
            other = pickle.loads(pickle.dumps(other))
    np.testing.assert_array_equal(one.parameters_.get(), other.parameters_.get())


def test_checkpoints(cupy, tmp_path):
    """Interrupted and resumed, it ends with the same bits."""
    options = {"max_iter": 4, "freeze_threshold": 0.05, "freeze_from": 0.0}
    options["quantize_gradients"] = "ternary"
    whole = trainer(**options)
    folder = {"checkpoint_dir": str(tmp_path), "checkpoint_every": 1}
    parts = trainer(**options, **folder)
    from sklearn_ternary.neural_network._training.run import Run

    step, calls = Run.next_batch, []

    def breaks(self, *args):
        calls.append(1)
        if len(calls) == 8:
            raise KeyError("breaks")
        return step(self, *args)

    with config_context(backend="cuda", strict=True), pytest.MonkeyPatch.context() as m:
        whole.fit(X, CLASSES)
        m.setattr(Run, "next_batch", breaks)
        with pytest.raises(KeyError):
            parts.fit(X, CLASSES)
        m.undo()
        parts.fit(X, CLASSES)
    np.testing.assert_array_equal(parts.parameters_, whole.parameters_)


def test_memory_for_batches_only(cupy, monkeypatch):
    """Data that do not fit stay on the host."""
    fits = "sklearn_ternary.neural_network._training.training_data.fits"
    with config_context(backend="cuda", strict=True):
        model = trainer(max_iter=1).fit(X, CLASSES)
        monkeypatch.setattr(fits, lambda *args: False)
        expected = trainer(max_iter=1).fit(X, CLASSES)
    np.testing.assert_array_equal(model.parameters_, expected.parameters_)


def test_memory_is_freed_at_once(cupy):
    """No circle of references holds it until the collector runs."""
    used = cupy.get_default_memory_pool().used_bytes
    gc.collect()
    before, on_device = used(), cupy.asarray(X)
    gc.disable()
    try:
        model = trainer(max_iter=1).fit(on_device, CLASSES)
        model.predict(on_device)
        assert used() > before + X.nbytes
        del model
        assert used() == before + X.nbytes
    finally:
        gc.enable()


def test_sparse_rows(cupy, monkeypatch):
    """They are made dense a batch at a time: the run of the CPU up to rounding."""
    rows = sparse.csr_array(np.where(np.abs(X) > 1, X, 0))
    expected = trainer(max_iter=2).fit(rows, CLASSES)
    with config_context(backend="cuda", strict=True):
        model = trainer(max_iter=2).fit(rows, CLASSES)
        probabilities = model.predict_proba(rows)
        monkeypatch.setattr(forward, "_DENSE_VALUES", 7 * X.shape[1])
        np.testing.assert_array_equal(model.predict_proba(rows), probabilities)
    assert isinstance(model.parameters_, np.ndarray)
    np.testing.assert_allclose(model.loss_curve_, expected.loss_curve_, rtol=1e-3)
    # A row that was rounded in another batch is the same row.
    dense = model.predict_proba(rows.toarray())
    np.testing.assert_allclose(probabilities, dense, atol=1e-5)


def test_errors(cupy):
    with config_context(backend="cpu"), pytest.raises(TypeError, match="CuPy"):
        trainer().fit(cupy.asarray(X), CLASSES)
    bad = X.copy()
    bad[3, 4] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        trainer().fit(cupy.asarray(bad), CLASSES)
    with pytest.raises(ValueError, match="inconsistent numbers"):
        trainer().fit(cupy.asarray(X), CLASSES[1:])


def test_without_a_device(clean, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with config_context(backend="cuda"), pytest.warns(BackendFallbackWarning):
        model = trainer(max_iter=1).fit(X, CLASSES)
    expected = trainer(max_iter=1).fit(X, CLASSES)
    np.testing.assert_array_equal(model.parameters_, expected.parameters_)
