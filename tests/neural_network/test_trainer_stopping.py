"""ConstrainedTrainer: when training ends, and what it says on the way."""

import signal

import numpy as np
import pytest
from sklearn.callback import ScoringMonitor
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from small_trainers import few_digits, trainer

from sklearn_ternary.neural_network._training.run import Run
from sklearn_ternary.neural_network._training.stopping import Stopping


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
