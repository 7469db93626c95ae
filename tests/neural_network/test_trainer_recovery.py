"""ConstrainedTrainer: going on, going back, and checkpoints."""

import pickle
import warnings

import numpy as np
import pytest
from small_trainers import X_DIGITS, Y_DIGITS, few_digits, same, trainer

from sklearn_ternary.neural_network._networks.network import Network
from sklearn_ternary.neural_network._training.checkpoints import Checkpoints
from sklearn_ternary.neural_network._training.run import Run
from sklearn_ternary.persistence import load_checkpoint


def test_training_goes_on_from_a_low_loss():
    """Noise of a small loss is no divergence."""
    options = {"max_iter": 10, "batch_size": 8, "warm_start": True}
    model = trainer(**options).fit(X_DIGITS, Y_DIGITS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_params(max_iter=5).fit(X_DIGITS, Y_DIGITS)
    assert model.training_summary_["n_rollbacks"] == 0
    assert model.loss_ < 0.05


def test_checkpoints_come_as_often_and_stay_as_long_as_asked(tmp_path):
    X, y = few_digits(200)
    model = trainer(max_iter=4, batch_size=20, checkpoint_every=7, keep_last=3)
    model.set_params(checkpoint_dir=tmp_path).fit(X, y)  # 40 steps
    paths = sorted(tmp_path.iterdir())
    assert [load_checkpoint(path).step for path in paths] == [28, 35, 40]


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


class KilledError(Exception):
    pass


def with_noise(X, random_state):
    return X + random_state.normal(0, 1, X.shape)


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
    {"augment": with_noise, "input_dropout": 0.1},
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
