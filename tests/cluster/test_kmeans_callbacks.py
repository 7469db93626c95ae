"""Callbacks of ClusteredKMeans."""

import numpy as np
import pytest
from small_kmeans import bits, blobs

from sklearn_ternary import ClusteredKMeans


class Recorder:
    """Notes the tasks, and ends the runs or iterations it is told to."""

    def __init__(self, stop_at=None, stop_runs=False):
        self.tasks = []
        self.inertia = []
        self.stop_at = stop_at
        self.stop_runs = stop_runs

    def setup(self, estimator, context):
        self.tasks.append("setup")

    def teardown(self, estimator, context):
        self.tasks.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
        self.tasks.append(context.task_name)
        if context.task_name == "iteration":
            self.inertia.append(-fitted_estimator.score(X))
            return context.task_id == self.stop_at
        return context.task_name == "run" and self.stop_runs


def test_callbacks_see_runs_and_iterations(algorithm):
    X, _ = blobs(500, 4, 5, std=5.0)
    recorder = Recorder()
    kmeans = ClusteredKMeans(
        5, init="random", n_init=3, random_state=0, algorithm=algorithm, tol=0
    )
    plain = bits(kmeans.fit(X))
    kmeans.set_callbacks(recorder).fit(X)
    assert bits(kmeans) == plain
    assert recorder.tasks[0] == "setup"
    assert recorder.tasks[-2:] == ["fit", "teardown"]
    assert recorder.tasks.count("run") == 3
    assert recorder.tasks.count("iteration") >= kmeans.n_iter_ - 1
    assert min(recorder.inertia) == pytest.approx(kmeans.inertia_)


def test_callbacks_end_runs():
    X, _ = blobs(500, 4, 5, std=5.0)
    recorder = Recorder(stop_at=1, stop_runs=True)
    kmeans = ClusteredKMeans(5, init="random", n_init=3, random_state=0, tol=0)
    kmeans.set_callbacks(recorder).fit(X)
    assert kmeans.n_iter_ == 2
    assert recorder.tasks.count("run") == 1
    np.testing.assert_array_equal(kmeans.predict(X), kmeans.labels_)


def test_progress_bar(capsys):
    from sklearn.callback import ProgressBar

    X, _ = blobs(200, 4, 5)
    kmeans = ClusteredKMeans(5, random_state=0).set_callbacks(ProgressBar())
    kmeans.fit(X)
    assert "ClusteredKMeans - fit" in capsys.readouterr().out
