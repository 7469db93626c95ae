"""ConstrainedTrainer: packed, saved and loaded."""

import numpy as np
import pytest
from small_trainers import few_digits, trainer

from sklearn_ternary import ConstrainedTrainer, load, save
from sklearn_ternary.neural_network._networks.network import Network
from sklearn_ternary.neural_network._networks.perceptron import build_network
from sklearn_ternary.neural_network._training.targets import ClassTargets
from sklearn_ternary.persistence import load_tensors, save_tensors


def test_packed_predictions_are_those_of_the_network_in_training():
    X, y = few_digits()
    for options in (
        {"hidden_layer_sizes": (20, 12)},
        {"quantize_weights": "twn", "activation": "squared_relu"},
        {"linear_skip": True, "quantize_output": False},
        {"quantize_activations": None, "normalization": None},
        {"quantize_weights": None},
    ):
        model = trainer(**options).fit(X, y)
        targets = ClassTargets.of(y)
        network = build_network(64, 10, targets.loss(), model.get_params())
        assert isinstance(network, Network)
        network.parameters[...] = model.parameters_
        Z = network.forward(model._standardization.apply(X))
        assert np.allclose(model.decision_function(X), Z, rtol=1e-4, atol=1e-4)
        if "hidden_layer_sizes" in options:
            assert np.array_equal(model.decision_function(X), Z)


SAVED = [
    {"hidden_layer_sizes": (9, 7)},
    {"quantize_output": False, "linear_skip": True, "normalization": None},
    {"quantize_weights": None, "loss": "huber", "class_weight": None},
    {"loss": "squared_error", "standardize": None, "n_iter_no_change": np.inf},
    {"quantize_gradients": "ternary"},
]


@pytest.mark.parametrize("options", SAVED, ids=range(len(SAVED)))
def test_files_pack_and_plain_arrays(options, tmp_path):
    X, y = few_digits(100)
    if options.get("loss"):
        y = np.stack([y, X[:, 20]], axis=1)
    elif "linear_skip" in options:
        y = np.array(["a", "b", "c"])[y % 3]
    model = trainer(**options).fit(X, y)
    path = tmp_path / "model.safetensors"
    save(model, path)
    for other in (load(path), ConstrainedTrainer.load(path), model.pack()):
        assert np.array_equal(other.predict(X), model.predict(X))
        assert other.parameters_ is other.grad_residual_ is None
        assert other.summary() == model.summary()
        with pytest.raises(ValueError, match="packed"):
            other.partial_fit(X, y)
    state = model.to_numpy_state()
    assert all(isinstance(value, np.ndarray) for value in state.values())
    # What the arrays say, in plain NumPy.
    values = Z = np.clip((X - state["input_mean"]) / state["input_scale"], -10, 10)
    values = values.astype(np.float32)
    for i in range(len(model.coefs_)):
        if f"gain{i}" in state:
            rms = np.sqrt((values**2).mean(axis=1, keepdims=True) + 1e-6)
            values = values / rms * state[f"gain{i}"]
        if f"codes{i}" in state:
            step = np.maximum(np.abs(values).max(axis=1, keepdims=True), 1e-5) / 127
            product = np.rint(values / step) @ state[f"codes{i}"].T.astype(float)
            product = product * step * state[f"scale{i}"]
        else:
            product = values @ state[f"weight{i}"].T
        values = product + state[f"bias{i}"]
        if i < len(model.coefs_) - 1:
            values = np.maximum(values, 0)
    values = values + Z @ state["skip"].T if "skip" in state else values
    assert np.allclose(values, model._outputs(X), rtol=0.02, atol=0.05)


def test_damaged_files_are_refused(tmp_path):
    X, y = few_digits(60)
    path = tmp_path / "model.safetensors"
    trainer().fit(X, y).save(path)
    parts = load_tensors(path)
    for name in parts:
        broken = dict(parts)
        del broken[name]
        save_tensors(path, broken)
        with pytest.raises(ValueError, match="model"):
            ConstrainedTrainer.load(path)
    tensors, info = parts[""]
    for change in (
        {"n_features": 63},
        {"n_features": -1},
        {"params": {"no_such": 1}},
        {"params": {**info["params"], "loss": "nothing"}},
        {"params": {**info["params"], "hidden_layer_sizes": [25]}},
        {"summary": 3},
        {"multilabel": None},
        {"classes": ["b", "a"]},
        {"extra": 0},
    ):
        save_tensors(path, {**parts, "": (tensors, {**info, **change})})
        with pytest.raises(ValueError, match="model"):
            ConstrainedTrainer.load(path)
    bad = {**tensors, "scale": tensors["scale"] * np.nan}
    save_tensors(path, {**parts, "": (bad, info)})
    with pytest.raises(ValueError, match="finite"):
        ConstrainedTrainer.load(path)
