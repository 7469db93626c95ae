"""ConstrainedTrainer: what it learns, its parameters, and how it recovers."""

import pickle
import re
import signal
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.callback import ScoringMonitor
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
    make_multilabel_classification,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from sklearn_ternary import (
    ConstrainedTrainer,
    TernaryArray,
    config_context,
    load,
    save,
)
from sklearn_ternary._kernels._cpu_features import supported_isas
from sklearn_ternary.neural_network import controller_regret
from sklearn_ternary.neural_network._networks.network import Network
from sklearn_ternary.neural_network._networks.perceptron import build_network
from sklearn_ternary.neural_network._training.checkpoints import Checkpoints
from sklearn_ternary.neural_network._training.run import Run
from sklearn_ternary.neural_network._training.stopping import Stopping
from sklearn_ternary.neural_network._training.targets import ClassTargets
from sklearn_ternary.persistence import load_checkpoint, load_tensors, save_tensors
from sklearn_ternary.plotting import TrainingDisplay

X_DIGITS, Y_DIGITS = load_digits(return_X_y=True)


def few_digits(n=400):
    return X_DIGITS[:n], Y_DIGITS[:n]


def trainer(**options):
    defaults = {"hidden_layer_sizes": (24,), "max_iter": 3, "random_state": 0}
    return ConstrainedTrainer(**{**defaults, **options})


def same(one, two):
    """Whether two fitted trainers have the same parameters to the bit."""
    return np.array_equal(one.parameters_, two.parameters_)


def test_digits():
    parts = train_test_split(X_DIGITS, Y_DIGITS, random_state=0, stratify=Y_DIGITS)
    X_train, X_test, y_train, y_test = parts
    model = trainer(hidden_layer_sizes=(64, 64), max_iter=15).fit(X_train, y_train)
    assert model.score(X_test, y_test) > 0.96
    assert all(isinstance(W, TernaryArray) for W in model.coefs_)
    assert model.training_summary_["packed_bytes"] * 8 < model.parameters_.nbytes
    assert model.n_iter_ == 15
    assert model.t_ == 15 * len(X_train)
    assert "accepted" in model.summary()
    lengths = {len(column) for column in model.history_.values()}
    assert lengths == {model.training_summary_["n_steps"]}


@pytest.mark.parametrize("lr", [5e-4, 2e-4])
def test_a_far_too_small_learning_rate_is_made_up_for(lr):
    parts = train_test_split(X_DIGITS, Y_DIGITS, random_state=0, stratify=Y_DIGITS)
    X_train, X_test, y_train, y_test = parts
    model = trainer(
        hidden_layer_sizes=(64, 64), max_iter=15, learning_rate_init=lr
    ).fit(X_train, y_train)
    plain = clone(model).set_params(step_controller="schedule").fit(X_train, y_train)
    assert model.score(X_test, y_test) > 0.96
    assert model.score(X_test, y_test) > plain.score(X_test, y_test)


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


def test_training_goes_on_from_a_low_loss():
    """Noise of a small loss is no divergence."""
    options = {"max_iter": 10, "batch_size": 8, "warm_start": True}
    model = trainer(**options).fit(X_DIGITS, Y_DIGITS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_params(max_iter=5).fit(X_DIGITS, Y_DIGITS)
    assert model.training_summary_["n_rollbacks"] == 0
    assert model.loss_ < 0.05


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


def convex_problems():
    """Ten sets of samples whose classes no hyperplane divides."""
    for load_data, columns in (
        (load_iris, [1]),
        (load_wine, [1, 2]),
        (load_breast_cancer, [1, 8]),
    ):
        X, y = load_data(return_X_y=True)
        yield X[:, columns], y
    X, y = load_diabetes(return_X_y=True)
    yield X, y > np.median(y)
    rng = np.random.default_rng(0)
    for d, n_classes in ((5, 2), (5, 2), (1, 2), (20, 2), (4, 3), (8, 5)):
        X = rng.normal(size=(300, d)) @ rng.normal(size=(d, d))
        Z = X @ rng.normal(size=(d, n_classes)) / d + rng.gumbel(size=(300, n_classes))
        yield X, Z.argmax(axis=1)


def test_convex_problems_reach_the_loss_of_logistic_regression():
    """Without hidden layers and in float, this is logistic regression."""
    for k, (X, y) in enumerate(convex_problems()):
        X = StandardScaler().fit_transform(X)
        with threadpool_limits(1):  # products too small for threads
            peer = LogisticRegression(C=np.inf, max_iter=1000).fit(X, y)
        model = ConstrainedTrainer(
            (),
            quantize_weights=None,
            learning_rate_init=0.2,
            max_iter=120,
            random_state=k,
        ).fit(X, y)
        best = log_loss(y, peer.predict_proba(X))
        assert log_loss(y, model.predict_proba(X)) <= 1.01 * best, k
    assert k == 9


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quantize_weights": None, "optimizer": "sgd"},
        {"trust_region": "cluster", "trust_radius": 0.01, "ratio_test_every": 3},
    ],
)
def test_backends_have_the_same_history(options):
    X, y = few_digits()
    histories = []
    for config in (
        {"backend": "numpy"},
        *({"backend": "cpu", "isa": isa} for isa in supported_isas()),
    ):
        with config_context(**config):
            histories.append(trainer(**options).fit(X, y).history_)
    timed = {"seconds", "samples_per_second"}
    for history in histories[1:]:
        for name in set(history) - timed:
            expected = histories[0][name]
            assert np.allclose(
                history[name], expected, rtol=1e-6, atol=1e-6, equal_nan=True
            ), name


def test_kinds_of_targets():
    X, y = few_digits(200)
    binary = trainer().fit(X, np.where(y > 4, "yes", "no"))
    assert list(binary.classes_) == ["no", "yes"]
    assert binary.decision_function(X).shape == (200,)
    assert np.allclose(binary.predict_proba(X).sum(axis=1), 1)
    assert binary.out_activation_ == "logistic"
    X_labels, labels = make_multilabel_classification(200, random_state=0)
    multilabel = trainer(max_iter=20).fit(X_labels, labels)
    assert multilabel.predict(X_labels).shape == labels.shape
    assert (multilabel.predict(X_labels) == labels).mean() > 0.8
    for loss in ("squared_error", "absolute_error", "huber"):
        regressor = trainer(loss=loss, max_iter=30)
        assert is_regressor(regressor)
        assert not is_classifier(regressor)
        assert not hasattr(regressor, "predict_proba")
        two = np.stack([X[:, 20], 1e3 * X[:, 30] + 5], axis=1)
        assert regressor.fit(X, two).score(X, two) > 0.8
        assert regressor.predict(X).shape == (200, 2)
        assert regressor.fit(X, two[:, 0]).predict(X).shape == (200,)


def test_sparse_data():
    X, y = few_digits()
    model = trainer(standardize=None).fit(sparse.csr_array(X), y)
    dense = trainer(standardize=None).fit(X, y)
    assert np.array_equal(model.predict(sparse.csr_array(X)), model.predict(X))
    assert abs(model.score(X, y) - dense.score(X, y)) < 0.05
    scaled = trainer(input_dropout=0.05).fit(sparse.csr_array(X), y)
    assert scaled.score(sparse.csr_array(X), y) > 0.8


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
    assert all(callable(globals()[name]) for name in ELSEWHERE.values())


def test_stopping():
    X, y = few_digits(200)
    options = {"learning_rate": "constant", "max_iter": 40}
    stopped = trainer(**options, n_iter_no_change=2, tol=0.5).fit(X, y)
    assert stopped.n_iter_ < 10
    later = trainer(**options, n_iter_no_change=5, tol=0.5).fit(X, y)
    assert later.n_iter_ == stopped.n_iter_ + 3
    finer = trainer(**options, n_iter_no_change=2, tol=0.01).fit(X, y)
    assert finer.n_iter_ > stopped.n_iter_ + 3
    with pytest.warns(ConvergenceWarning):
        full = trainer(**options, tol=0.0, n_iter_no_change=39).fit(X, y)
    assert full.n_iter_ == 40
    scored = trainer(max_iter=60, early_stopping=True, n_iter_no_change=3).fit(X, y)
    assert scored.n_iter_ < 60
    assert scored.best_loss_ is None
    assert len(scored.validation_scores_) == scored.n_iter_
    assert scored.best_validation_score_ == max(scored.validation_scores_)
    # A schedule that has an end is carried out.
    assert trainer(max_iter=9, n_iter_no_change=1, tol=9).fit(X, y).n_iter_ == 9


@pytest.mark.parametrize("scored", [False, True])
def test_stopping_is_that_of_scikit_learn(scored):
    """Which epochs improve, what is best, and when patience ends."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        curve = rng.uniform(0, 1, 30).round(2) + np.linspace(0.5, 0, 30)
        patience, tol = int(rng.integers(1, 5)), float(rng.choice([0, 0.01, 0.1]))
        peer = MLPClassifier(n_iter_no_change=patience, tol=tol)
        peer.loss_curve_, peer.validation_scores_ = [], []
        peer.best_loss_, peer.best_validation_score_ = np.inf, -np.inf
        peer._no_improvement_count, peer.coefs_, peer.intercepts_ = 0, [], []
        own = Stopping(tol, patience, scored)
        for value in curve.tolist():
            peer.loss_curve_.append(value)
            peer._score = lambda *args, value=value, **kwargs: value
            peer._update_no_improvement_count(scored, None, None, None)
            stops = own.observe(value, value, np.zeros(1))
            assert stops == (peer._no_improvement_count > patience)
            best = peer.best_validation_score_ if scored else peer.best_loss_
            assert own.best == best


def test_adaptive_rate_is_divided_by_five_where_the_loss_stays():
    X, y = few_digits(200)
    options = {
        "step_controller": "schedule",
        "warmup_fraction": 0.0,
        "learning_rate_init": 1e-3,
        "n_iter_no_change": 2,
        "max_iter": 40,
    }
    # Nothing improves by so much but the first epoch: after it, every third is due.
    model = trainer(**options, learning_rate="adaptive", tol=1e3).fit(X, y)
    n_steps = len(model.history_["loss"]) // model.n_iter_
    rates = model.history_["learning_rate"][::n_steps]
    # 1e-3 / 5^5 is below 1e-6, where training ends.
    expected = [1e-3] * 4 + list(np.repeat(1e-3 * 5.0 ** -np.arange(1, 6), 3))
    assert model.n_iter_ == len(expected)
    assert np.allclose(rates, expected, rtol=1e-12)
    plain = trainer(**options, learning_rate="constant", tol=1e3).fit(X, y)
    assert plain.n_iter_ == 4


def test_verbose_training_says_what_it_does(capsys):
    X, y = few_digits(100)
    trainer(max_iter=2).fit(X, y)
    assert capsys.readouterr().out == ""
    model = trainer(max_iter=9, early_stopping=True, n_iter_no_change=1, tol=9)
    model.set_params(verbose=True).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    found = zip(model.loss_curve_, model.validation_scores_, strict=True)
    expected = []
    for i, (loss, score) in enumerate(found, start=1):
        expected += [
            f"Iteration {i}, loss = {loss:.8f}",
            f"Validation score: {score:f}",
        ]
    assert lines[:-1] == expected
    assert lines[-1].startswith("Validation score did not improve more than tol=9.0")
    model.set_params(early_stopping=False).partial_fit(X, y)
    assert capsys.readouterr().out == f"Iteration 1, loss = {model.loss_:.8f}\n"


def test_checkpoints_come_as_often_and_stay_as_long_as_asked(tmp_path):
    X, y = few_digits(200)
    model = trainer(max_iter=4, batch_size=20, checkpoint_every=7, keep_last=3)
    model.set_params(checkpoint_dir=tmp_path).fit(X, y)  # 40 steps
    paths = sorted(tmp_path.iterdir())
    assert [load_checkpoint(path).step for path in paths] == [28, 35, 40]


def test_what_a_fitted_trainer_has():
    """Every public attribute, column and figure that the documentation names."""
    X, y = few_digits(200)
    model = trainer(max_iter=2, trust_region="global", ratio_test_every=3).fit(X, y)
    text = ConstrainedTrainer.__doc__
    attributes = text[text.index("    Attributes\n") : text.index("    See Also")]
    names = re.findall(r"^    ([a-z_, ]+_) : ", attributes, re.MULTILINE)
    names = {name for line in names for name in line.split(", ")}
    names |= set(re.findall(r"^    ([a-z_]+_) : ", attributes, re.MULTILINE))
    names -= {"feature_names_in_"}  # the samples have none
    public = {name for name in vars(model) if name[-1] == "_" and name[0] != "_"}
    assert names == public
    for holder in ("history_", "training_summary_"):
        value = getattr(model, holder)
        part = attributes[attributes.index(f"    {holder} : ") :]
        part = re.split(r"\n    (?! )", part)[0]
        assert set(re.findall(r"``([a-z_]+)``", part)) == set(value)
    summary = model.training_summary_
    assert summary["n_iter"] == model.n_iter_ == 2
    assert summary["n_steps"] == len(model.history_["loss"]) == 14
    assert summary["n_samples_seen"] == model.t_ == 400
    assert summary["n_parameters"] == model.parameters_.size
    assert summary["n_ternary"] == 64 * 24 + 24 * 10
    assert summary["float_bytes"] == model.parameters_.nbytes
    assert summary["final_learning_rate"] == model.history_["learning_rate"][-1]
    assert not summary["interrupted"]
    assert (model.success_rate_, *model.success_interval_) == summary["accept_rate"]
    # Of 14 steps four were judged; after three rejections one is taken all the same.
    found = summary["accept_rate"][0] * 4
    assert found == round(found) <= np.nansum(model.history_["accepted"])
    lines = model.summary().splitlines()
    assert lines[0].startswith("14 steps in 2 epochs, ")
    assert [line.split()[0] for line in lines[1:]] == [
        *("final", "accepted", "loss", "meta", "flips", "rollbacks", "parameters"),
        "memory",
    ]
    assert (np.diff(model.history_["seconds"]) > 0).all()
    assert (model.history_["samples_per_second"] > 0).all()


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
    "options",
    [
        {},
        {"second_moment": "cluster", "dropout": 0.2},
        {"quantize_gradients": "ternary"},
    ],
)
def test_bits_depend_on_neither_threads_nor_instruction_set(options):
    X, y = few_digits(300)
    models = []
    for config in ({"n_threads": 1}, {"n_threads": 3}, {"isa": "generic"}):
        with config_context(backend="cpu", **config):
            models.append(trainer(**options).fit(X, y))
    assert same(models[0], models[1])
    # BLAS has its own instruction sets; products of codes are exact.
    assert models[0].score(X, y) == pytest.approx(models[2].score(X, y), abs=0.05)


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


@pytest.mark.parametrize("options", [{}, {"quantize_gradients": "ternary"}])
def test_partial_fit_and_warm_start(options):
    X, y = few_digits()
    model = trainer(**options)
    for k in range(8):
        part = slice(50 * k, 50 * (k + 1))
        model.partial_fit(X[part], y[part], classes=np.arange(10))
    assert model.n_iter_ == 8
    first = model.score(X, y)
    copy = pickle.loads(pickle.dumps(model))
    for one in (model, copy):
        one.partial_fit(X, y)
    assert same(model, copy)
    assert np.array_equal(model.grad_residual_, copy.grad_residual_)
    assert model.score(X, y) > first
    warm = trainer(warm_start=True, max_iter=1).fit(X, y)
    losses = [warm.loss_]
    for _ in range(3):
        losses.append(warm.fit(X, y).loss_)
    assert losses[-1] < 0.7 * losses[0]
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        warm.set_params(hidden_layer_sizes=(9,)).fit(X, y)
    with pytest.raises(ValueError, match="early_stopping"):
        trainer(early_stopping=True).partial_fit(X, y)


def test_callbacks():
    X, y = few_digits(150)
    monitor = ScoringMonitor(scoring="accuracy")
    model = trainer(max_iter=4).set_callbacks(monitor)
    model.fit(X, y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(rows) == 4
    assert rows[-1]["accuracy"] == model.score(X, y)

    class StopAtTwo:
        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context):
            return context.task_name == "epoch" and context.task_id == 1

    assert trainer(max_iter=9).set_callbacks(StopAtTwo()).fit(X, y).n_iter_ == 2


def test_bad_input():
    X, y = few_digits(50)
    broken = X.copy()
    broken[3, 5] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        trainer().fit(broken, y)
    with pytest.raises(ValueError, match="trust_region"):
        trainer(ratio_test_every=3).fit(X, y)
    with pytest.raises(ValueError, match="class_weight"):
        trainer(loss="huber", class_weight="balanced").fit(X, y)
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        trainer(hidden_layer_sizes=(3, -1)).fit(X, y)
    with pytest.raises(ValueError, match=r"[Ss]ample.weight"):
        trainer().fit(X, y, sample_weight=np.zeros(50))
    huge = trainer().fit(X * 1e300, y)
    assert np.isfinite(huge.predict_proba(X * 1e300)).all()


@pytest.mark.parametrize("options", [{}, {"quantize_gradients": "ternary"}])
def test_a_loss_that_is_not_finite_goes_back(options, monkeypatch):
    X, y = few_digits(200)
    original = Network.loss_and_gradient
    calls = []

    def broken(self, *args):
        loss = original(self, *args)
        calls.append(loss)
        if len(calls) == 8:
            self.parameters[...] = self.gradient[...] = np.nan
            return float("nan")
        return loss

    monkeypatch.setattr(Network, "loss_and_gradient", broken)
    with pytest.warns(RuntimeWarning, match="last good state"):
        model = trainer(max_iter=10, **options).fit(X, y)
    assert model.training_summary_["n_rollbacks"] == 1
    assert np.isfinite(model.parameters_).all()
    assert not options or np.isfinite(model.grad_residual_).all()
    assert model.score(X, y) > 0.8
    rates = model.history_["learning_rate"]
    assert rates[8] < 0.5 * rates[6]


def test_ctrl_c_ends_between_two_steps(monkeypatch):
    """A signal during the ninth step: that one is finished, a tenth is not begun."""
    X, y = few_digits()
    step, calls = Run.next_batch, []

    def signalled(self, *args):
        calls.append(None)
        if len(calls) == 9:
            signal.raise_signal(signal.SIGINT)
        return step(self, *args)

    monkeypatch.setattr(Run, "next_batch", signalled)
    model = trainer(max_iter=100)
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(X, y)
    assert len(calls) == 9
    assert model.training_summary_["interrupted"]
    assert np.isfinite(model.decision_function(X)).all()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class KilledError(Exception):
    pass


RESUMED = [
    {},
    {"dropout": 0.2, "step_controller": "auxiliary", "early_stopping": True},
    {
        "second_moment": "cluster",
        "trust_region": "layer",
        "ratio_test_every": 3,
        "freeze_threshold": 0.01,
        "freeze_from": 0.3,
    },
    {"optimizer": "sgd", "random_state": None, "trust_region": "cluster"},
    {"quantize_gradients": "ternary", "second_moment": "row"},
    {"trust_region": "cluster", "n_clusters": 3, "trust_radius": 0.01},
]


@pytest.mark.parametrize("options", RESUMED, ids=range(len(RESUMED)))
def test_killed_and_resumed_is_not_interrupted(options, tmp_path, monkeypatch):
    X, y = few_digits(200)
    options = {"max_iter": 6, "checkpoint_every": 4, **options}
    step = Run.step
    limit = [10**9]

    def killed(self, *args):
        if self.n_steps_done >= limit[0]:
            raise KilledError
        return step(self, *args)

    monkeypatch.setattr(Run, "step", killed)
    whole = trainer(**options, checkpoint_dir=tmp_path / "whole").fit(X, y)
    for limit[0] in (3, 11, 12, 17, 29):
        with pytest.raises(KilledError):
            trainer(**options, checkpoint_dir=tmp_path / "parts").fit(X, y)
    limit[0] = 10**9
    parts = trainer(**options, checkpoint_dir=tmp_path / "parts").fit(X, y)
    assert parts.n_iter_ == whole.n_iter_ == 6
    if "random_state" not in options:
        assert same(whole, parts)
        assert parts.loss_curve_ == whole.loss_curve_
        for name, column in whole.history_.items():
            if "second" not in name:
                other = parts.history_[name]
                assert np.array_equal(column, other, equal_nan=True), name
    # What has ended has nothing to go on with.
    again = trainer(**options, checkpoint_dir=tmp_path / "parts").fit(X, y)
    assert same(parts, again)
    with pytest.raises(ValueError, match="other data"):
        trainer(**options, checkpoint_dir=tmp_path / "parts").fit(X[::-1] * 2, y)
    anew = trainer(**options, checkpoint_dir=tmp_path / "parts", resume=False)
    assert anew.fit(X[::-1] * 2, y).n_iter_ > 0


def test_resume_true_needs_a_checkpoint(tmp_path):
    X, y = few_digits(50)
    with pytest.raises(ValueError, match="no checkpoint"):
        trainer(checkpoint_dir=tmp_path, resume=True).fit(X, y)
    assert Checkpoints({"checkpoint_dir": None, "resume": "auto"}).seed is None


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


def test_regret_against_the_schedule():
    X, y = few_digits(200)
    slow = trainer(learning_rate_init=1e-4)
    found = controller_regret(slow, X, y, n_repeats=2)
    assert found.regret.shape == (2,)
    assert found.mean < 0
    assert found.standard_error >= 0
    with pytest.raises(ValueError, match="schedule"):
        controller_regret(slow.set_params(step_controller="schedule"), X, y)


def test_training_display():
    pytest.importorskip("matplotlib", reason="pip install matplotlib").use("Agg")
    X, y = few_digits(100)
    model = trainer(trust_region="layer").fit(X, y)
    columns = ["loss", "radius", "alignment"]
    display = TrainingDisplay.from_estimator(model, columns=columns, smoothing=0)
    for line, column in zip(display.lines_, columns, strict=True):
        assert np.array_equal(line.get_ydata(), model.history_[column])
    again = TrainingDisplay.from_estimator(model, columns=columns, axes=display.axes_)
    assert again.figure_ is display.figure_
    with pytest.raises(ValueError, match="columns"):
        TrainingDisplay.from_estimator(model, columns=["nothing"])
    with pytest.raises(ValueError, match="axes"):
        TrainingDisplay.from_estimator(model, columns=["loss"], axes=display.axes_)
