"""What step controllers gain or cost, for the page "Training ternary networks".

    python benchmarks/training_regret.py -o benchmarks/results/training_regret.json

Trains networks in pairs of equal splits, first weights and orders of the samples: with
the schedule alone, with each controller, and with a trust region whose ratio test
judges every tenth step. Regret is the final training loss (mean over the last tenth of
the steps) minus that of the schedule. About two minutes.
"""

import argparse
import warnings

import numpy as np
from training_accuracy import load

from sklearn_ternary import ConstrainedTrainer

N_SEEDS = 20
RATES = (5e-4, 2e-3, 5e-3, 2e-2)
DATA = {
    "digits": {"hidden_layer_sizes": (64, 64), "max_iter": 15},
    "breast_cancer": {"hidden_layer_sizes": (64, 64), "max_iter": 60},
}
BASE = "schedule"
CONTROLLERS = {
    BASE: {"step_controller": "schedule"},
    "hypergradient": {"step_controller": "hypergradient"},
    "auxiliary": {"step_controller": "auxiliary"},
    "hypergradient, radius and ratio test": {
        "step_controller": "hypergradient",
        "trust_region": "global",
        "ratio_test_every": 10,
    },
}
SHARES = ("accept_rate", "descent_rate", "meta_hit_rate")


def one_run(name, options, rate, seed):
    """Final loss, score, and the shares of a training."""
    X_train, X_test, y_train, y_test = load(name, seed, None)
    model = ConstrainedTrainer(
        **DATA[name], **options, learning_rate_init=rate, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X_train, y_train)
    losses = model.history_["loss"]
    return {
        "loss": float(np.mean(losses[-max(1, len(losses) // 10) :])),
        "score": float(model.score(X_test, y_test)),
        **{share: model.training_summary_[share][0] for share in SHARES},
    }


def measure(name, rate):
    """Yield one row for each controller."""
    runs = {
        controller: [one_run(name, options, rate, seed) for seed in range(N_SEEDS)]
        for controller, options in CONTROLLERS.items()
    }
    for controller, mine in runs.items():
        row = {"data": name, "rate": rate, "controller": controller}
        for value in ("loss", "score"):
            row[value] = [run[value] for run in mine]
        for share in SHARES:
            mean = np.mean([run[share] for run in mine])
            row[share] = None if np.isnan(mean) else float(mean)
        yield row


def main():
    """Run as a script."""
    from _machine import describe_machine
    from _results import write_results

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", required=True, help="JSON file to write")
    arguments = parser.parse_args()
    rows = []
    for name in DATA:
        for rate in RATES:
            for row in measure(name, rate):
                rows.append(row)
                print(
                    f"{name:15}{rate:<8}{row['controller']:40}"
                    f"loss {np.mean(row['loss']):.4f}  "
                    f"score {np.mean(row['score']):.4f}",
                    flush=True,
                )
    results = {
        "format": "sklearn-ternary training regret 1",
        "machine": describe_machine(),
        "results": rows,
    }
    write_results(arguments.output, results)


if __name__ == "__main__":
    main()
