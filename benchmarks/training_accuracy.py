"""Accuracy of ternary networks, for the page "Training ternary networks".

    python benchmarks/training_accuracy.py -o benchmarks/results/training_accuracy.json

Trains networks on each data set with several seeds, beside their float twins, plain
schedules and scikit-learn's perceptrons. ``--only digits`` (a beginning of the names
of tasks) measures some of them, and keeps the others of the file. The tasks of MNIST
need ``--mnist FILE``, an .npz with arrays X (the first 60,000 rows for training) and
y. About two minutes without MNIST, and an hour with it.
"""

import argparse
import json
import os
import time
import warnings

import numpy as np
from digit_images import moved, upright
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ternary import ConstrainedTrainer

# Rows for training of a data set of MNIST, rows for scores, and what is made of each
# image of both.
_TEST = slice(60_000), slice(60_000, None)
_HELD_OUT = slice(50_000), slice(50_000, 60_000)
MNIST_ROWS = {
    "mnist": (*_TEST, None),
    "mnist, held out": (*_HELD_OUT, None),
    "mnist, upright": (*_TEST, upright),
    "mnist, upright, held out": (*_HELD_OUT, upright),
}
# Models of a task, and what each changes.
MODELS = {
    "ternary": {},
    "schedule only": {"step_controller": "schedule"},
    "float twin": {"quantize_weights": None},
}
PEER = "scikit-learn"
DIABETES = {
    "loss": "squared_error",
    "hidden_layer_sizes": (64, 64),
    "max_iter": 20,
    "linear_skip": True,
    "normalization": None,
    "quantize_activations": None,
    "learning_rate_init": 0.001,
}
# All were chosen with 10,000 of the training rows held out.
MNIST = {
    "hidden_layer_sizes": (256, 256),
    "max_iter": 4,
    "standardize": "global",
    "learning_rate_init": 0.001,
}
MNIST_LONG = {
    **MNIST,
    "max_iter": 20,
    "quantize_weights": "twn",
    "input_dropout": 0.2,
    "dropout": 0.1,
}
# Images are moved anew each time, which leaves nothing for dropout to do.
MNIST_MOVED = {
    **MNIST,
    "max_iter": 20,
    "quantize_weights": "twn",
    "augment": moved,
}
MNIST_MOVED_ALONE = {**MNIST_MOVED, "step_controller": "schedule"}
# Task -> data, parameters, seeds.
TASKS = {
    "digits 64-128-128-10, 60 epochs": (
        "digits",
        {"hidden_layer_sizes": (128, 128), "max_iter": 60},
        10,
    ),
    "digits 64-64-64-10, 15 epochs": (
        "digits",
        {"hidden_layer_sizes": (64, 64), "max_iter": 15},
        10,
    ),
    "digits, 15 epochs, from 5e-4": (
        "digits",
        {"hidden_layer_sizes": (64, 64), "max_iter": 15, "learning_rate_init": 5e-4},
        10,
    ),
    "digits, 15 epochs, from 2e-4": (
        "digits",
        {"hidden_layer_sizes": (64, 64), "max_iter": 15, "learning_rate_init": 2e-4},
        10,
    ),
    "breast_cancer 30-64-64-2, 60 epochs": (
        "breast_cancer",
        {"hidden_layer_sizes": (64, 64), "max_iter": 60},
        40,
    ),
    "diabetes 10-64-64-1 and a linear skip, 20 epochs": ("diabetes", DIABETES, 10),
    "MNIST 784-256-256-10, 4 epochs": ("mnist", MNIST, 5),
    "MNIST, 4 epochs, from 2e-3": ("mnist", {**MNIST, "learning_rate_init": 2e-3}, 5),
    "MNIST, 4 epochs, from 1.7e-4": (
        "mnist",
        {**MNIST, "learning_rate_init": 5e-3 / 30},
        5,
    ),
    "MNIST 784-256-256-10, dropout, 20 epochs": ("mnist", MNIST_LONG, 3),
    "MNIST 784-256-256-10, upright, moved, 20 epochs": (
        "mnist, upright",
        MNIST_MOVED,
        3,
    ),
    "MNIST, upright, moved, 20 epochs, schedule alone": (
        "mnist, upright",
        MNIST_MOVED_ALONE,
        3,
    ),
    "MNIST, moved, 20 epochs, schedule alone": ("mnist", MNIST_MOVED_ALONE, 3),
    "MNIST, 4 epochs, held-out rows": ("mnist, held out", MNIST, 3),
    "MNIST, dropout, 20 epochs, held-out rows": ("mnist, held out", MNIST_LONG, 3),
    "MNIST, upright, moved, held-out rows, schedule alone": (
        "mnist, upright, held out",
        MNIST_MOVED_ALONE,
        3,
    ),
}


def load(name, seed, mnist):
    """Return X_train, X_test, y_train, y_test; None where data is missing."""
    if name in MNIST_ROWS:
        if mnist is None:
            return None
        with np.load(mnist) as file:
            X, y = file["X"], file["y"]
        X = X.reshape(len(X), -1).astype(np.float32)
        train, test, prepare = MNIST_ROWS[name]
        X = X if prepare is None else prepare(X)
        return X[train], X[test], y[train], y[test]
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    stratify = None if name == "diabetes" else y
    return train_test_split(X, y, test_size=0.25, random_state=seed, stratify=stratify)


def peer(options, seed):
    """scikit-learn's perceptron of the same size and epochs."""
    is_regressor = options.get("loss", "log_loss") != "log_loss"
    cls = MLPRegressor if is_regressor else MLPClassifier
    network = cls(
        hidden_layer_sizes=options["hidden_layer_sizes"],
        max_iter=options["max_iter"],
        batch_size=32,
        n_iter_no_change=options["max_iter"],
        random_state=seed,
    )
    return make_pipeline(StandardScaler(), network)


def measure(task, mnist):
    """Yield one row for each model."""
    name, options, n_seeds = TASKS[task]
    # What a task has by itself is no other model.
    others = [m for m, changes in MODELS.items() if changes.items() - options.items()]
    models = ["ternary", *others]
    is_plain = name not in MNIST_ROWS and "learning_rate_init" not in options
    if is_plain or name == "diabetes":
        models.append(PEER)
    for model in models:
        scores, seconds = [], []
        for seed in range(n_seeds):
            parts = load(name, seed, mnist)
            if parts is None:
                print(f"{task}: skipped, --mnist FILE is needed")
                return
            X_train, X_test, y_train, y_test = parts
            if model == PEER:
                estimator = peer(options, seed)
            else:
                estimator = ConstrainedTrainer(
                    **{**options, **MODELS[model], "random_state": seed}
                )
            start = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                estimator.fit(X_train, y_train)
            seconds.append(time.process_time() - start)
            scores.append(float(estimator.score(X_test, y_test)))
        is_regressor = options.get("loss", "log_loss") != "log_loss"
        yield {
            "task": task,
            "model": model,
            "measure": "R²" if is_regressor else "accuracy",
            "scores": scores,
            "cpu_seconds": min(seconds),
        }


def main():
    """Run as a script."""
    from _machine import describe_machine
    from _results import write_results

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", required=True, help="JSON file to write")
    parser.add_argument("--only", default="", help="beginning of the names of tasks")
    parser.add_argument("--mnist", help=".npz file with X and y")
    arguments = parser.parse_args()
    rows = []
    if os.path.exists(arguments.output):
        with open(arguments.output, encoding="utf-8") as file:
            rows = json.load(file)["results"]
    for task in TASKS:
        if not task.startswith(arguments.only):
            continue
        new = []
        for row in measure(task, arguments.mnist):
            new.append(row)
            print(
                f"{task:50}{row['model']:15}{np.mean(row['scores']):8.4f} ± "
                f"{np.std(row['scores']):.4f}{row['cpu_seconds']:8.2f} s",
                flush=True,
            )
        if new:
            rows = [row for row in rows if row["task"] != task] + new
    order = list(TASKS)
    rows.sort(key=lambda row: order.index(row["task"]))
    results = {
        "format": "sklearn-ternary training accuracy 1",
        "machine": describe_machine(),
        "results": rows,
    }
    write_results(arguments.output, results)


if __name__ == "__main__":
    main()
