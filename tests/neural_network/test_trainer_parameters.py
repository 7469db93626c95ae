"""ConstrainedTrainer: every parameter does what it says."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from small_trainers import X_DIGITS, Y_DIGITS, few_digits, same, trainer

from sklearn_ternary import ConstrainedTrainer
from sklearn_ternary.neural_network._training.run import Run


def test_the_controller_keeps_what_it_found():
    """Multipliers follow the rule up to a step, and stay what they are from there."""
    X, y = few_digits()
    options = {
        "learning_rate": "constant",
        "learning_rate_init": 1e-3,
        "warmup_fraction": 0.0,
        "n_iter_no_change": np.inf,
    }
    plain = trainer(**options, step_controller="schedule").fit(X, y)
    assert same(trainer(**options, controller_until=0.0).fit(X, y), plain)
    whole = trainer(**options, controller_until=1.0).fit(X, y)
    assert same(trainer(**options).fit(X, y), whole)  # fewer than 200 steps
    half = trainer(**options, controller_until=0.5).fit(X, y)
    n = len(half.history_["loss"])
    kept = (n + 1) // 2
    U = np.log(half.history_["learning_rate"] / 1e-3)
    increments = 0.03 * np.tanh(5 * half.history_["alignment"])
    increments[kept:] = 0
    assert np.allclose(U, np.cumsum(increments), rtol=0, atol=1e-5)
    assert (U[kept:] == U[-1]).all()
    ahead = whole.history_["learning_rate"]
    assert np.array_equal(half.history_["learning_rate"][:kept], ahead[:kept])


def with_noise(X, random_state):
    return X + random_state.normal(0, 1, X.shape)


# What each parameter changes against the defaults of `trainer`.
CHANGES = [
    {"activation": "squared_relu"},
    {"quantize_weights": "twn"},
    {"quantize_weights": None},
    {"quantize_activations": None},
    {"quantize_output": False},
    {"normalization": None},
    {"linear_skip": True},
    {"dropout": 0.3},
    {"input_dropout": 0.3},
    {"augment": with_noise},
    {"standardize": "global"},
    {"standardize": None},
    {"optimizer": "sgd"},
    {"optimizer": "sgd", "momentum": 0.5},
    {"quantize_gradients": "ternary"},
    {"quantize_gradients": "ternary", "error_feedback": False},
    {"learning_rate_init": 0.02},
    {"learning_rate": "wsd"},
    {"learning_rate": "constant"},
    {"learning_rate": "invscaling"},
    {"learning_rate": "invscaling", "power_t": 0.2},
    {"warmup_fraction": 0.5},
    {"weight_decay": 0.5},
    {"weight_decay": 0.5, "weight_decay_until": 0.5},
    {"beta_1": 0.5},
    {"beta_2": 0.5},
    {"epsilon": 0.1},
    {"second_moment": "row"},
    {"second_moment": "tensor"},
    {"second_moment": "cluster"},
    {"second_moment": "cluster", "n_clusters": 2},
    {"max_grad_norm": 0.01},
    {"trust_region": "global", "trust_radius": 0.01},
    {"trust_region": "layer"},
    {"trust_region": "layer", "trust_radius": 0.01},
    {"trust_region": "cluster", "trust_radius": 0.01},
    {"trust_region": "cluster", "trust_radius": 0.01, "n_clusters": 3},
    {"trust_region": "global", "trust_radius": 0.01, "ratio_test_every": 1},
    {"step_controller": "schedule"},
    {"step_controller": "auxiliary"},
    {"controller_until": 0.5},
    {"freeze_threshold": 0.0, "freeze_from": 0.0},
    {"freeze_threshold": 0.0, "freeze_from": 0.5},
    {"batch_size": 50},
    {"shuffle": False},
    {"class_weight": {0: 5.0}},
    {"early_stopping": True},
    {"early_stopping": True, "validation_fraction": 0.3},
    {"max_iter": 4},
    {"random_state": 1},
]


def test_every_parameter_does_something():
    X, y = few_digits(256)
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for change in [{}, *CHANGES]:
            model = trainer(**change).fit(X, y)
            assert np.isfinite(model.parameters_).all()
            found[repr(change)] = model.decision_function(X).tobytes()
    names = {}
    for change, outputs in found.items():
        assert outputs not in names, (change, names[outputs])
        names[outputs] = change


# Where parameters are tested that change no network, or that CHANGES cannot hold.
ELSEWHERE = {
    "hidden_layer_sizes": "test_files_pack_and_plain_arrays",
    "loss": "test_kinds_of_targets",
    "n_iter_no_change": "test_stopping",
    "tol": "test_stopping",
    "warm_start": "test_partial_fit_and_warm_start",
    "verbose": "test_verbose_training_says_what_it_does",
    "checkpoint_dir": "test_killed_and_resumed_is_not_interrupted",
    "checkpoint_every": "test_checkpoints_come_as_often_and_stay_as_long_as_asked",
    "keep_last": "test_checkpoints_come_as_often_and_stay_as_long_as_asked",
    "resume": "test_resume_true_needs_a_checkpoint",
}


def test_every_parameter_has_a_test():
    changed = {name for change in CHANGES for name in change}
    assert not changed & set(ELSEWHERE)
    assert changed | set(ELSEWHERE) == set(ConstrainedTrainer().get_params())
    files = Path(__file__).parent.glob("*.py")
    tests = "".join(path.read_text() for path in files)
    assert all(f"def {name}(" in tests for name in ELSEWHERE.values())


def test_step_norms_stay_within_the_radius_over_whole_runs(monkeypatch):
    X, y = few_digits(200)
    seen = []
    move = Run._move

    def measured(self, factors):
        before = self.network.parameters.astype(np.float64)
        move(self, factors)
        d = self.network.parameters - before
        ulp = np.spacing(np.abs(self.network.parameters)).astype(np.float64)
        seen.append((np.linalg.norm(d), np.linalg.norm(ulp)))

    monkeypatch.setattr(Run, "_move", measured)
    for kind in ("global", "layer", "cluster"):
        seen.clear()
        model = trainer(
            trust_region=kind,
            trust_radius=0.02,
            weight_decay=0.3,
            learning_rate_init=0.1,
            max_iter=10,
            ratio_test_every=5,
        ).fit(X, y)
        history = model.history_
        assert (history["step_norm"] <= history["radius"] * (1 + 1e-6)).all()
        assert (history["step_norm"] >= history["radius"] * 0.99).mean() > 0.2
        # Rounding of the parameters to float32 comes on top.
        norms, rounding = np.array(seen).T
        assert (norms <= history["radius"] * (1 + 1e-6) + rounding).all()
        tested = np.isfinite(history["accepted"])
        assert tested.sum() == len(tested) // 5
        share, low, high = model.training_summary_["accept_rate"]
        assert low <= share <= high


@pytest.mark.parametrize("options", [{}, {"optimizer": "sgd", "ratio_test_every": 2}])
def test_one_cluster_is_the_whole_to_the_bit(options):
    X, y = few_digits(200)
    options = {"trust_radius": 0.005, "weight_decay": 0.1, **options}
    whole = trainer(**options, trust_region="global").fit(X, y)
    one = trainer(**options, trust_region="cluster", n_clusters=1).fit(X, y)
    assert same(one, whole)
    for name in ("loss", "radius", "step_norm", "accepted"):
        columns = one.history_[name], whole.history_[name]
        assert np.array_equal(*columns, equal_nan=True), name
    step_norm, radius = whole.history_["step_norm"], whole.history_["radius"]
    assert (step_norm > 0.99 * radius).mean() > 0.2


def test_weights_that_oscillate_are_frozen():
    X, y = few_digits()
    options = {"max_iter": 20, "learning_rate": "constant", "n_iter_no_change": np.inf}
    free = trainer(**options).fit(X, y)
    frozen = trainer(**options, freeze_threshold=0.02, freeze_from=0.5).fit(X, y)
    assert free.training_summary_["n_frozen"] == 0
    assert frozen.training_summary_["n_frozen"] > 0
    assert frozen.history_["flip_rate"][-1] < free.history_["flip_rate"][-1]


@pytest.mark.parametrize(
    ("optimizer", "weights"), [("adamw", "absmean"), ("adamw", None), ("sgd", None)]
)
def test_ternary_gradients_with_error_feedback(optimizer, weights):
    """With it the loss is that of float gradients, and without it is not."""
    X, y = X_DIGITS, Y_DIGITS.copy()
    rng = np.random.default_rng(0)
    changed = rng.random(len(y)) < 0.2  # so that the loss has something to end at
    y[changed] = rng.integers(0, 10, changed.sum())
    options = {"optimizer": optimizer, "quantize_weights": weights, "max_iter": 20}
    ways = {}, {"error_feedback": True}, {"error_feedback": False}
    models = []
    for way in ways:
        given = {**way, "quantize_gradients": "ternary"} if way else {}
        models.append(trainer(**options, **given).fit(X, y))
    plain, fed_back, forgetful = models
    assert fed_back.loss_ < 1.05 * plain.loss_
    assert forgetful.loss_ > 1.03 * plain.loss_
    assert plain.grad_residual_ is forgetful.grad_residual_ is None
    assert fed_back.grad_residual_.shape == fed_back.parameters_.shape
    assert fed_back.grad_residual_.any()
    packed, whole = (m.training_summary_["gradient_bytes"] for m in (fed_back, plain))
    assert whole == 4 * plain.parameters_.size
    assert packed * 14 < whole
    kept = (m.training_summary_["optimizer_bytes"] for m in (fed_back, plain))
    assert next(kept) - next(kept) == fed_back.grad_residual_.nbytes
