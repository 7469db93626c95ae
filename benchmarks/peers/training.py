"""Steps of training beside torch, and prediction with packed weights.

    python benchmarks/peers/training.py
    python benchmarks/peers/training.py -o benchmarks/results/training.json

A step is forward, backward and Adam on one batch that stays the same. All contestants
run in one process and take turns, round after round; the time of each is the shortest
processor time of a step, on one thread. torch runs eagerly: an MLP with ReLU, and the
same with RMSNorm before every layer, weights rounded to three levels and activations
to 8 bits (BitNet b1.58), as ours. The layers of one sample are what `predict` does
once a sample is checked and scaled: packed weights beside the float twin (with sums in
float64, so that a row does not depend on its neighbours), a bare float32 program of
ours, NumPy and torch. `predict` itself is that of fitted estimators: ours, its float
twin and scikit-learn's `MLPClassifier`. The share of the peak is what the products of
a step would take at the multiply-add rate of float32 vectors, measured in the same
run, of the time of the step; 8-bit products and the tile unit are above that rate.
Whole fits are those of the digits with `MLPClassifier` of equal sizes, epochs and
batches beside ours: time that passes, on one thread and on all.
"""

import argparse
import importlib.util
import os
import sys
import warnings
from functools import partial
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from sklearn_ternary import ConstrainedTrainer, config_context
from sklearn_ternary._config import current_config
from sklearn_ternary._cpu.product_levels import vector_level
from sklearn_ternary._dispatch.steps import choose_steps
from sklearn_ternary._kernels import _matmul
from sklearn_ternary._kernels._cpu_features import supported_isas
from sklearn_ternary.neural_network._networks.activations import ReLU
from sklearn_ternary.neural_network._networks.linear import Linear
from sklearn_ternary.neural_network._networks.losses import SoftmaxLoss
from sklearn_ternary.neural_network._networks.network import Network
from sklearn_ternary.neural_network._networks.packed import (
    PackedNetwork,
    named_parameters,
)
from sklearn_ternary.neural_network._networks.rms_norm import RMSNorm
from sklearn_ternary.neural_network._steps.optimizers import AdamW
from sklearn_ternary.neural_network._steps.segments import Segments
from sklearn_ternary.neural_network._training.run import Run

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from _machine import describe_machine
from _results import write_results

# Widths and rows of a batch, and the ratios that are aimed at: to the ternary and to
# the float network of torch.
SHAPES = {
    ((64, 64, 64, 10), 32): (8, 4),
    ((784, 256, 256, 10), 128): (2.5, 1.2),
    ((784, 512, 512, 10), 256): (1.5, 1.0),
}
OURS, TERNARY, FLOAT = "ternary", "torch ternary", "torch float"
CONTROLLED = "with controller"
BOUNDED = "with auxiliary network and trust region"
CLUSTERED = "with radii of clusters and inverse scaling"
TWIN, BARE, NUMPY = "float", "float program", "NumPy float"
AS_FLOAT = {"quantize_weights": None, "quantize_activations": None}
INSTALL_TORCH = "torch: not found; pip install torch"
RATE = 1e-3
FIT_LAYERS, FIT_EPOCHS, FIT_BATCH = (128, 128), 20, 32
PERCEPTRON = "MLPClassifier"


def network_of(widths, ternary):
    """A network with ternary weights and rounded activations, or its float twin."""
    layers = []
    rounding = ("absmean", "int8") if ternary else (None, None)
    for i, width in enumerate(widths[1:]):
        layers += [ReLU(), RMSNorm()] if i else []
        layers.append(Linear(width, *rounding))
    network = Network(layers, widths[0], SoftmaxLoss())
    network.initialize(np.random.RandomState(0))
    return network


def our_step(widths, X, y, ternary=True):
    """A step of ours: rounded weights and activations, or the float twin."""
    network = network_of(widths, ternary)
    segments = Segments(network.layout)
    config = current_config()
    steps = choose_steps(network.parameters.size, np.float32, config=config)
    optimizer = AdamW(segments, steps, np.float32)
    decay = segments.decay(0.0, np.float32)
    factors = np.full(len(segments), RATE, dtype=np.float32)

    def step():
        loss = network.loss_and_gradient(X, y)
        optimizer.find_direction(network.gradient, network.parameters, decay)
        steps.apply_step(
            network.parameters, optimizer.direction, segments.bounds, factors
        )
        return loss

    return step


def controlled_step(widths, X, y, **options):
    """The same step as the trainer takes it: features, controller, radius, history."""
    network = network_of(widths, True)
    options = ConstrainedTrainer(**options).get_params()
    run = Run(network, options, RATE, RATE, 10**9, np.random.RandomState(0))
    return lambda: run.step(X, y)


def torch_step(widths, X, y, ternary):
    """A step of torch, eager, on one thread."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(1)
    torch.manual_seed(0)

    class TernaryLinear(nn.Linear):
        """Ma et al., 2024; the gradients go straight through the roundings."""

        def __init__(self, n_inputs, n_outputs):
            super().__init__(n_inputs, n_outputs)
            self.gain = nn.Parameter(torch.ones(n_inputs))

        def forward(self, x):
            x = functional.rms_norm(x, x.shape[-1:], self.gain, 1e-6)
            largest = x.abs().amax(-1, keepdim=True).clamp(min=1e-5)
            rounded = (x * (127 / largest)).round().clamp(-128, 127) * (largest / 127)
            x = x + (rounded - x).detach()
            scale = self.weight.abs().mean().clamp(min=1e-5)
            rounded = (self.weight / scale).round().clamp(-1, 1) * scale
            weight = self.weight + (rounded - self.weight).detach()
            return functional.linear(x, weight, self.bias)

    layers = []
    for i in range(len(widths) - 1):
        layers += [nn.ReLU()] if i else []
        kind = TernaryLinear if ternary else nn.Linear
        layers.append(kind(widths[i], widths[i + 1]))
    model = nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    X, y = torch.from_numpy(X), torch.from_numpy(y.astype(np.int64))

    def step():
        loss = functional.cross_entropy(model(X), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def take_turns(contestants, seconds, rounds):
    """Shortest processor time of a call of each, in seconds."""
    best, repeats = dict.fromkeys(contestants, np.inf), {}
    for name, function in contestants.items():
        function()
        start, n = process_time(), 0
        while process_time() - start < 0.05:
            function()
            n += 1
        each = (process_time() - start) / n
        repeats[name] = max(2, int(seconds / rounds / len(contestants) / each))
    for _ in range(rounds):
        for name, function in contestants.items():
            start = process_time()
            for _ in range(repeats[name]):
                function()
            took = (process_time() - start) / repeats[name]
            best[name] = min(best[name], took)
    return best


def predictions(widths, X, y):
    """`predict` of one sample by fitted estimators."""
    given = {"hidden_layer_sizes": widths[1:-1], "max_iter": 1, "random_state": 0}
    models = {
        OURS: ConstrainedTrainer(**given),
        TWIN: ConstrainedTrainer(**given, **AS_FLOAT),
        PERCEPTRON: MLPClassifier(**given),
    }
    x = X[:1]
    for model in models.values():
        model.partial_fit(X, y, classes=np.arange(widths[-1]))
    return {name: partial(model.predict, x) for name, model in models.items()}


def layers_of(widths, x):
    """Ways to compute the layers of one sample: packed weights, and float ones."""
    twin = network_of(widths, False)
    arrays = named_parameters(twin, len(widths) - 1)
    weights = [arrays[f"weight{i}"] for i in range(len(widths) - 1)]
    options = {
        "quantize_weights": "absmean",
        "quantize_output": True,
        "quantize_activations": "int8",
        "activation": "relu",
    }
    packed = PackedNetwork.of(arrays, options)
    as_float = PackedNetwork.of(arrays, options | {"quantize_weights": None})

    def by_numpy():
        y = x
        for i, W in enumerate(weights):
            if i:
                y = np.maximum(y, 0)
                y = y / np.sqrt(np.mean(y * y) + 1e-6)
            y = y @ W.T
        return y

    contestants = {
        OURS: lambda: packed.forward(x),
        TWIN: lambda: as_float.forward(x),
        BARE: lambda: twin.forward(x),
        NUMPY: by_numpy,
    }
    if importlib.util.find_spec("torch"):
        import torch

        tensors = [torch.from_numpy(W) for W in weights]
        row = torch.from_numpy(x)

        def by_torch():
            with torch.no_grad():
                y = row
                for i, W in enumerate(tensors):
                    if i:
                        y = torch.relu(y)
                        y = torch.nn.functional.rms_norm(y, y.shape[-1:], None, 1e-6)
                    y = torch.nn.functional.linear(y, W)
            return y

        contestants[FLOAT] = by_torch
    return contestants


def fits(rounds=3):
    """Rows of results for whole fits of the digits."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    train, test, train_y, test_y = train_test_split(
        X, y, test_size=0.3, stratify=y, random_state=0
    )
    equal = {
        "hidden_layer_sizes": FIT_LAYERS,
        "max_iter": FIT_EPOCHS,
        "batch_size": FIT_BATCH,
        "n_iter_no_change": FIT_EPOCHS,
        "random_state": 0,
    }
    models = {
        OURS: ConstrainedTrainer(**equal),
        TWIN: ConstrainedTrainer(**equal, **AS_FLOAT),
        PERCEPTRON: MLPClassifier(**equal, tol=0.0),
    }
    for n_threads in sorted({1, os.cpu_count()}):
        best = dict.fromkeys(models, np.inf)
        with config_context(n_threads=n_threads), threadpool_limits(n_threads):
            for _ in range(rounds):
                for name, model in models.items():
                    start = perf_counter()
                    model.fit(train, train_y)
                    best[name] = min(best[name], perf_counter() - start)
        yield {
            "n_threads": n_threads,
            "n": len(train),
            "epochs": FIT_EPOCHS,
            "batch_size": FIT_BATCH,
            "widths": [train.shape[1], *FIT_LAYERS, 10],
            "seconds": best,
            "accuracy": {k: float(m.score(test, test_y)) for k, m in models.items()},
            "speedup": best[PERCEPTRON] / best[OURS],
            "floor": 3,
        }


def row_of(task, widths, n, best, peers, floors, peak, multiply_adds):
    """A row of results."""
    return {
        "task": task,
        "widths": widths,
        "n": n,
        "seconds": best,
        "speedup": {name: best[name] / best[OURS] for name in peers if name in best},
        "floor": {name: v for name, v in floors.items() if name in best},
        "overhead": {
            name: best[name] / best[OURS] - 1
            for name in (CONTROLLED, BOUNDED, CLUSTERED)
            if name in best
        },
        "of_peak": 2 * multiply_adds / best[OURS] / peak,
    }


def steps_of(widths, n, seconds, rounds, peak):
    """Rows of results for one shape."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, widths[0])).astype(np.float32)
    y = rng.randint(widths[-1], size=n).astype(np.int32)
    contestants = {
        OURS: our_step(widths, X, y),
        TWIN: our_step(widths, X, y, ternary=False),
        CONTROLLED: controlled_step(widths, X, y),
        BOUNDED: controlled_step(
            widths, X, y, step_controller="auxiliary", trust_region="global"
        ),
        CLUSTERED: controlled_step(
            widths, X, y, trust_region="cluster", learning_rate="invscaling"
        ),
    }
    if importlib.util.find_spec("torch"):
        contestants[TERNARY] = torch_step(widths, X, y, ternary=True)
        contestants[FLOAT] = torch_step(widths, X, y, ternary=False)
    best = take_turns(contestants, seconds, rounds)
    peers = TERNARY, FLOAT
    floors = dict(zip(peers, SHAPES[widths, n], strict=True))
    weights = sum(a * b for a, b in pairwise(widths))
    # Forward, gradients of weights, and gradients of inputs but the first.
    total = (3 * weights - widths[0] * widths[1]) * n
    row = row_of("step", widths, n, best, peers, floors, peak, total)
    floors = {TWIN: 3}
    best = take_turns(layers_of(widths, X[:1]), seconds / 4, rounds)
    peers = TWIN, BARE, NUMPY, FLOAT
    layers = row_of("layers", widths, 1, best, peers, floors, peak, weights)
    best = take_turns(predictions(widths, X, y), seconds / 4, rounds)
    peers = TWIN, PERCEPTRON
    return [
        row,
        layers,
        row_of("predict", widths, 1, best, peers, floors, peak, weights),
    ]


def lines(row):
    """A row for people."""
    for name, seconds in row["seconds"].items():
        text = f"  {name:<39} {seconds * 1e6:9.1f} us"
        if name == OURS:
            text += f"  {row['of_peak']:.0%} of peak"
        if name in row["overhead"]:
            text += f"  {row['overhead'][name]:+.1%}"
        if name in row["speedup"]:
            text += f"  ours {row['speedup'][name]:.2f}x"
        if name in row["floor"]:
            text += f" (floor {row['floor'][name]})"
        yield text


def _timed_peak():
    best = 0, np.inf
    for _ in range(10):
        start = process_time()
        done = _matmul.float_peak(50_000, vector_level(supported_isas()[0]))
        took = process_time() - start
        best = min(best, (done, took), key=lambda pair: pair[1])
    return best


def main():
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", help="JSON file to write")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument(
        "--seconds", type=float, default=8, help="about how long a shape is measured"
    )
    arguments = parser.parse_args()
    torch = importlib.util.find_spec("torch") is not None
    notes = [] if torch else [INSTALL_TORCH]
    machine = describe_machine()
    print(f"{machine['cpu']}, {machine['date']}", *notes, sep="\n")
    done, seconds = _timed_peak()
    peak = done / seconds
    print(f"multiply-add of float32 vectors: {peak / 1e9:.0f} GFLOP/s")
    results = []
    with config_context(n_threads=1), threadpool_limits(1):
        for widths, n in SHAPES:
            rows = steps_of(widths, n, arguments.seconds, arguments.rounds, peak)
            results += rows
            for row in rows:
                shape = "-".join(map(str, widths))
                print(f"\n{row['task']} {shape}, {row['n']} rows")
                print("\n".join(lines(row)), flush=True)
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLPClassifier, which could go on
        for row in fits():
            found.append(row)
            print(
                f"\nfit of digits, {row['epochs']} epochs, threads: {row['n_threads']}"
            )
            for name, seconds in row["seconds"].items():
                accuracy = row["accuracy"][name]
                print(f"  {name:<39} {seconds:9.3f} s  accuracy {accuracy:.4f}")
            print(f"  {PERCEPTRON} takes {row['speedup']:.1f}x (floor {row['floor']})")
    if arguments.output:
        content = {
            "format": "sklearn-ternary peers training 1",
            "machine": machine,
            "torch": metadata.version("torch") if torch else None,
            "float_peak": peak,
            "notes": notes,
            "results": results,
            "fits": found,
        }
        write_results(arguments.output, content)


if __name__ == "__main__":
    main()
