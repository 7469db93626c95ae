"""ConstrainedTrainer: what it learns, from what, and what it has then."""

import re

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_iris,
    load_wine,
    make_multilabel_classification,
)
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from small_trainers import X_DIGITS, Y_DIGITS, few_digits, same, trainer
from threadpoolctl import threadpool_limits

from sklearn_ternary import ConstrainedTrainer, TernaryArray, config_context
from sklearn_ternary._kernels._cpu_features import supported_isas
from sklearn_ternary.neural_network import controller_regret
from sklearn_ternary.plotting import TrainingDisplay


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
