"""Studies of the trainer's options, for the page "Training ternary networks".

    python benchmarks/training_studies.py -o benchmarks/results/training_studies.json

Five studies on the data sets of scikit-learn: how often steps reduce the loss with a
controller and with a fixed learning rate; schedules; whether the step predictor can
tell the length that a line search finds; clustered updates; and what faster trainings
cost in accuracy. ``--only success`` measures one, and keeps the others of the file.
About three minutes.
"""

import argparse
import json
import math
import os
import time
import warnings
from functools import partial

import numpy as np
from sklearn import datasets
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from training_accuracy import DIABETES, load

from sklearn_ternary import ConstrainedTrainer
from sklearn_ternary.neural_network import AuxiliaryStepPredictor
from sklearn_ternary.neural_network._steps.step_control import StepControl
from sklearn_ternary.neural_network._training import new_run
from sklearn_ternary.neural_network._training.history import wilson_interval
from sklearn_ternary.neural_network._training.run import Run

DIGITS = {"hidden_layer_sizes": (64, 64), "max_iter": 15}
BREAST_CANCER = {"hidden_layer_sizes": (64, 64), "max_iter": 30}
FACTORS = (1 / 30, 1, 10)  # of the automatic learning rate


def fitted(options, data):
    """A trainer, its score on the test set, and seconds of training."""
    X_train, X_test, y_train, y_test = data
    model = ConstrainedTrainer(**options)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X_train, y_train)
    seconds = time.process_time() - start
    return model, float(model.score(X_test, y_test)), seconds


# -- how often steps reduce the loss ---------------------------------------------

SUCCESS_SEEDS = 30
SUCCESS_PROBLEMS = {
    "digits": {"hidden_layer_sizes": (64, 64), "max_iter": 3},
    "breast_cancer": {"hidden_layer_sizes": (64, 64), "max_iter": 9},
    "diabetes": {**DIABETES, "max_iter": 12},
}
EVERY_STEP = {"trust_region": "global", "ratio_test_every": 1}
WAYS = {
    # A radius so large that it never binds.
    "fixed learning rate": {
        "learning_rate": "constant",
        "step_controller": "schedule",
        "trust_radius": 1e6,
    },
    "hypergradient and radius": {"step_controller": "hypergradient"},
    "auxiliary network and radius": {"step_controller": "auxiliary"},
}


def success():
    """Yield share of the steps that reduced the loss of their batch."""
    for problem, options in SUCCESS_PROBLEMS.items():
        usual = options.get("learning_rate_init", 0.005)
        for factor in FACTORS:
            for way, more in WAYS.items():
                n_steps = n_hits = 0
                for seed in range(SUCCESS_SEEDS):
                    given = {**options, **EVERY_STEP, **more, "random_state": seed}
                    given["learning_rate_init"] = factor * usual
                    model, *_ = fitted(given, load(problem, seed, None))
                    n = int(np.isfinite(model.history_["accepted"]).sum())
                    n_steps += n
                    n_hits += round(n * model.success_rate_)
                share, low, high = wilson_interval(n_hits, n_steps)
                yield {
                    "problem": problem,
                    "way": way,
                    "rate": factor * usual,
                    "seeds": SUCCESS_SEEDS,
                    "n_steps": n_steps,
                    "share": share,
                    "interval": [low, high],
                }


# -- schedules --------------------------------------------------------------------

SCHEDULE_SEEDS = 8
SCHEDULES = {
    "cosine": {},
    "wsd": {"learning_rate": "wsd"},
    "constant": {"learning_rate": "constant"},
    "invscaling": {"learning_rate": "invscaling"},
    "adaptive": {"learning_rate": "adaptive", "n_iter_no_change": 2},
    "cosine, hypergradient": {"step_controller": "hypergradient"},
    "cosine, auxiliary": {"step_controller": "auxiliary"},
}
# The first learning rate of the peers, times the same factors.
PEERS = {
    "SGDClassifier, adaptive": lambda rate, seed: SGDClassifier(
        loss="log_loss",
        learning_rate="adaptive",
        n_iter_no_change=2,
        eta0=rate,
        random_state=seed,
    ),
    "MLPClassifier, sgd, adaptive": lambda rate, seed: MLPClassifier(
        (64, 64),
        solver="sgd",
        learning_rate="adaptive",
        n_iter_no_change=2,
        learning_rate_init=rate,
        batch_size=32,
        max_iter=15,
        random_state=seed,
    ),
}
PEER_RATE = 0.01


def schedules():
    """Yield scores of schedules from several first learning rates."""
    for problem, options in (("digits", DIGITS), ("breast_cancer", BREAST_CANCER)):
        for factor in FACTORS:
            for name, change in SCHEDULES.items():
                given = {"step_controller": "schedule", **options, **change}
                given["learning_rate_init"] = 0.005 * factor
                scores = [
                    fitted({**given, "random_state": s}, load(problem, s, None))[1]
                    for s in range(SCHEDULE_SEEDS)
                ]
                yield {"problem": problem, "factor": factor, "name": name} | {
                    "scores": scores
                }
            for name, make in PEERS.items():
                scores = [
                    _peer_score(make(PEER_RATE * factor, s), load(problem, s, None))
                    for s in range(SCHEDULE_SEEDS)
                ]
                yield {"problem": problem, "factor": factor, "name": name} | {
                    "scores": scores
                }


def _peer_score(model, data):
    X_train, X_test, y_train, y_test = data
    model = make_pipeline(StandardScaler(), model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X_train, y_train)
    return float(model.score(X_test, y_test))


# -- predictions of a line search -----------------------------------------------

LINE_SEEDS = 8
LINE_EVERY = 5  # steps between two searches
FACTORS_SEARCHED = 2.0 ** np.arange(-6, 6.25, 0.5)
LEARNED_FROM = ("digits", "wine", "synthetic 0", "synthetic 1", "synthetic 2")
HELD_OUT = ("breast_cancer", "iris", "synthetic 3", "synthetic 4")


class SearchedRun(Run):
    """A run that looks for the best length of every fifth step, and notes the state."""

    found = None  # a list

    def __init__(self, *args):
        super().__init__(*args)
        self.controller.update = self._note
        self.control.controller_steps = math.inf
        # The compiled form shows no features.
        self.control.step = partial(StepControl.step, self.control)

    def _note(self, features, is_active):
        self._features = features

    def step(self, X, targets, weight=None, share=1.0):
        """One step, with its batch at hand."""
        self._batch = X, targets, weight
        return super().step(X, targets, weight, share)

    def _move(self, factors):
        if self.n_steps_done % LINE_EVERY == LINE_EVERY - 1:
            p = self.network.parameters
            old, losses = p.copy(), []
            for factor in FACTORS_SEARCHED:
                super()._move(factor * factors)
                losses.append(self.network.loss(*self._batch))
                p[...] = old
            best = FACTORS_SEARCHED[int(np.argmin(losses))]
            rate = math.log(self.control.learning_rate)
            self.found.append((*self._features, math.log(best), rate))
        super()._move(factors)


def _line_data(problem, seed):
    if not problem.startswith("synthetic"):
        return getattr(datasets, f"load_{problem}")(return_X_y=True)
    k = int(problem.split()[1])
    return datasets.make_classification(
        400 + 200 * k,
        10 + 8 * k,
        n_informative=4 + k,
        n_classes=2 + k % 3,
        flip_y=0.05 * k,
        random_state=seed,
    )


def _searched(problem):
    """States, logarithms of the best factors, and of the rates they belong to."""
    SearchedRun.found = []
    original, new_run.Run = new_run.Run, SearchedRun
    try:
        for seed in range(LINE_SEEDS):
            rate = 10.0 ** np.random.default_rng(seed).uniform(-4, -1)
            X, y = _line_data(problem, seed)
            options = {
                "hidden_layer_sizes": (32,),
                "learning_rate": "constant",
                "step_controller": "schedule",
                "learning_rate_init": rate,
                "max_iter": 6,
                "controller_until": 1.0,
                "random_state": seed,
            }
            fitted(options, train_test_split(X, y, random_state=seed))
    finally:
        new_run.Run = original
    table = np.array(SearchedRun.found)
    return table[:, :-2], table[:, -2], table[:, -1]


def line_search():
    """Yield R² of predicted step lengths on problems that were not learned from."""
    parts = [_searched(problem) for problem in LEARNED_FROM]
    states, factors = (np.concatenate([p[i] for p in parts]) for i in (0, 1))
    predictor = AuxiliaryStepPredictor(max_iter=2000, random_state=0)
    predictor.fit(states, factors)
    for problem in HELD_OUT:
        X, best, rate = _searched(problem)
        predicted = predictor.predict(X)
        yield {
            "problem": problem,
            "n_states": len(X),
            "n_learned_from": len(states),
            "factor": float(r2_score(best, predicted)),
            "rate": float(r2_score(rate + best, rate + predicted)),
            "kept": float(r2_score(rate + best, rate)),
            "mean": float(r2_score(rate + best, rate + factors.mean())),
        }


# -- clustered updates -------------------------------------------------------------

CLUSTER_SEEDS = 8
# Far too long steps, so that radii have something to do, and no controller that
# lengthens radii which are always reached.
LONG = {"learning_rate_init": 0.05, "step_controller": "schedule"}
RADIUS = {**LONG, "trust_radius": 0.005}
CLUSTERED = {
    "moments for each element": {},
    "moments for each unit": {"second_moment": "row"},
    "moments for each layer": {"second_moment": "tensor"},
    "moments for 2 clusters": {"second_moment": "cluster", "n_clusters": 2},
    "moments for 16 clusters": {"second_moment": "cluster", "n_clusters": 16},
    "long steps, no radius": LONG,
    "one radius": {**RADIUS, "trust_region": "global"},
    "a radius for each layer": {**RADIUS, "trust_region": "layer"},
    "radii for 4 clusters": {**RADIUS, "trust_region": "cluster", "n_clusters": 4},
    "radii for 16 clusters": {**RADIUS, "trust_region": "cluster", "n_clusters": 16},
}


def clusters():
    """Yield scores and memory of what shares moments and radii."""
    for problem, options in (("digits", DIGITS), ("breast_cancer", BREAST_CANCER)):
        for name, change in CLUSTERED.items():
            scores, bounded = [], []
            for seed in range(CLUSTER_SEEDS):
                given = {**options, **change, "random_state": seed}
                model, score, _ = fitted(given, load(problem, seed, None))
                scores.append(score)
                history = model.history_
                at_bound = history["step_norm"] >= 0.99 * history["radius"]
                bounded.append(float(at_bound.mean()))
            summary = model.training_summary_
            yield {
                "problem": problem,
                "name": name,
                "scores": scores,
                "bounded": sum(bounded) / len(bounded),
                "optimizer_bytes": summary["optimizer_bytes"],
                "float_bytes": summary["float_bytes"],
            }


# -- speed over accuracy -----------------------------------------------------------

RECIPE_SEEDS = 5
RECIPES = {
    "as it is": {},
    "a quarter of the epochs": {"max_iter": 15},
    "batches of 128": {"batch_size": 128},
    "one layer of 64": {"hidden_layer_sizes": (64,)},
    "all three": {"max_iter": 15, "batch_size": 128, "hidden_layer_sizes": (64,)},
}


def recipes():
    """Yield time of training and of a prediction beside the accuracy."""
    for name, change in RECIPES.items():
        scores, seconds, predictions = [], [], []
        for seed in range(RECIPE_SEEDS):
            data = load("digits", seed, None)
            options = {"hidden_layer_sizes": (128, 128), "max_iter": 60, **change}
            model, score, elapsed = fitted({**options, "random_state": seed}, data)
            scores.append(score)
            seconds.append(elapsed)
            predictions.append(_prediction_time(model.pack(), data[1]))
        yield {
            "name": name,
            "change": change,
            "scores": scores,
            "fit_seconds": min(seconds),
            "predict_seconds": min(predictions),
            "packed_bytes": model.training_summary_["packed_bytes"],
        }


def _prediction_time(model, X):
    start = time.process_time()
    for _ in range(20):
        model.predict(X)
    return (time.process_time() - start) / 20 / len(X)


STUDIES = {f.__name__: f for f in (success, schedules, line_search, clusters, recipes)}


def main():
    """Run as a script."""
    from _machine import describe_machine
    from _results import write_results

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", required=True, help="JSON file to write")
    parser.add_argument("--only", choices=STUDIES, help="measure one study")
    arguments = parser.parse_args()
    studies = {}
    if arguments.only and os.path.exists(arguments.output):
        with open(arguments.output, encoding="utf-8") as file:
            studies = json.load(file)["studies"]
    for name in [arguments.only] if arguments.only else STUDIES:
        started = time.monotonic()
        studies[name] = list(STUDIES[name]())
        print(f"{name}: {time.monotonic() - started:.1f} s", flush=True)
    results = {
        "format": "sklearn-ternary training studies 1",
        "machine": describe_machine(),
        "studies": {name: studies[name] for name in STUDIES if name in studies},
    }
    write_results(arguments.output, results)


if __name__ == "__main__":
    main()
