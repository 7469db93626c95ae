"""What ternary gradients cost, for the page "Training ternary networks".

    python benchmarks/training_gradients.py -o training_gradients.json

Trains networks of equal first weights and orders of the samples: with float gradients,
and with ternary ones, with and without error feedback. The loss is that of the last of
20 epochs, in training. A fifth of the classes of "digits, a fifth of the labels drawn"
is random, so that no network gets to a loss of 0. Half a minute.
"""

import argparse
import warnings

import numpy as np
from sklearn.datasets import load_diabetes, load_digits

from sklearn_ternary import ConstrainedTrainer

N_SEEDS = 5
N_EPOCHS = 20
FLOAT, FEEDBACK, FORGETFUL = "float", "ternary", "ternary, no feedback"
GRADIENTS = {
    FLOAT: {},
    FEEDBACK: {"quantize_gradients": "ternary"},
    FORGETFUL: {"quantize_gradients": "ternary", "error_feedback": False},
}


def data():
    """Yield the name of a task, its samples, and options of the trainer."""
    X, y = load_digits(return_X_y=True)
    random = np.random.default_rng(0)
    drawn = random.random(len(y)) < 0.2
    y = np.where(drawn, random.integers(0, 10, len(y)), y)
    yield "digits, a fifth of the labels drawn", X, y, {"hidden_layer_sizes": (32,)}
    options = {"hidden_layer_sizes": (32,), "loss": "squared_error"}
    yield "diabetes", *load_diabetes(return_X_y=True), options


def measure():
    """Yield one row for each task, kind of weights, and optimizer."""
    for name, X, y, options in data():
        for weights in ("absmean", None):
            for optimizer in ("adamw", "sgd"):
                rounding = {"quantize_weights": weights, "optimizer": optimizer}
                losses = {
                    way: [
                        _loss(X, y, options | rounding | given, seed)
                        for seed in range(N_SEEDS)
                    ]
                    for way, given in GRADIENTS.items()
                }
                yield {"data": name} | rounding | {"losses": losses}


def _loss(X, y, options, seed):
    model = ConstrainedTrainer(**options, max_iter=N_EPOCHS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, y).loss_


def main():
    """Run as a script."""
    from _machine import describe_machine
    from _results import write_results

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", required=True, help="JSON file to write")
    arguments = parser.parse_args()
    rows = []
    for row in measure():
        rows.append(row)
        means = {way: np.mean(losses) for way, losses in row["losses"].items()}
        print(row["data"], row["quantize_weights"], row["optimizer"], means, flush=True)
    results = {
        "format": "sklearn-ternary training gradients 1",
        "machine": describe_machine(),
        "epochs": N_EPOCHS,
        "results": rows,
    }
    write_results(arguments.output, results)


if __name__ == "__main__":
    main()
