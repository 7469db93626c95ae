"""``train`` and ``predict``: networks with ternary weights from files of samples."""

import csv
import json
import os
import sys
import time
import warnings

import click
import numpy as np

from sklearn_ternary.cli._app import Failure
from sklearn_ternary.cli._console import (
    console,
    count_text,
    json_option,
    output_path,
    print_json,
    progress,
    seconds_text,
    size_text,
    target_text,
)
from sklearn_ternary.cli._options import force_option
from sklearn_ternary.cli._samples import features_option, read_samples
from sklearn_ternary.persistence._checkpoint import remove_checkpoints
from sklearn_ternary.persistence._formats import tensor_writer

LOSSES = ("log_loss", "squared_error", "absolute_error", "huber")
# More whole numbers than so many, and than the root of the number of samples, are no
# classes where they are stored as floats.
_MOST_FLOAT_CLASSES = 20

target_option = click.option(
    "--target",
    metavar="NAME",
    help="Array of the targets, or column of a .csv.  [default: y, the last column]",
)


@click.command()
@click.argument("data", metavar="DATA")
@click.option(
    "-o",
    "--output",
    "model_path",
    metavar="MODEL",
    required=True,
    help="File to write.",
)
@features_option
@target_option
@click.option(
    "--loss",
    type=click.Choice(LOSSES),
    help="log_loss trains a classifier.  [default: by the targets]",
)
@click.option(
    "--hidden",
    default="256",
    show_default=True,
    metavar="N,N,...",
    help="Units of the hidden layers.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=60,
    show_default=True,
    help="Passes over the samples.",
)
@click.option("--batch-size", type=click.IntRange(min=1), help="Samples of a step.")
@click.option(
    "--learning-rate",
    type=click.FloatRange(min=0, min_open=True),
    help="The first one, before the schedule.",
)
@click.option("--float", "is_float", is_flag=True, help="Train float weights instead.")
@click.option(
    "--test-fraction",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Share of the samples that are kept out to score the model.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of weights, order and what is kept out.",
)
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any parameter of ConstrainedTrainer; may be repeated.",
)
@click.option(
    "--checkpoint-dir",
    metavar="FOLDER",
    help="Of checkpoints.  [default: MODEL.checkpoints, until training ends]",
)
@click.option(
    "--checkpoint-every",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Steps between two checkpoints.",
)
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint.")
@click.option("--force", is_flag=True, help="Overwrite MODEL if it exists.")
@json_option
def train(
    data,
    model_path,
    features,
    target,
    loss,
    test_fraction,
    seed,
    checkpoint_dir,
    resume,
    force,
    as_json,
    **options,
):
    """Train a network with ternary weights on DATA.

    DATA is a .npz or .safetensors file of arrays (- reads one from stdin), or a .csv
    table (read by pandas).
    Ctrl-C ends training after the step that runs, writes a checkpoint and the model as
    it is then; --resume goes on from there, to the bits of a run that was not
    interrupted. SIGTERM writes the checkpoint alone.
    """
    if model_path == "-":
        raise click.UsageError("MODEL has to be a file")
    X, y = read_samples(data, features, target)
    own_folder = checkpoint_dir is None
    folder = f"{model_path}.checkpoints" if own_folder else checkpoint_dir
    model = _trainer(_loss(y) if loss is None else loss, seed, options)
    model.set_params(checkpoint_dir=folder, resume=bool(resume))
    X, y, test = _divided(X, y, test_fraction, seed, model.loss)
    with output_path(model_path, force or resume) as out:
        started = time.perf_counter()
        _fit(model, X, y)
        seconds = time.perf_counter() - started
        # The file is that of a model, not of this run.
        model.set_params(checkpoint_dir=None, resume="auto").save(out)
    summary = model.training_summary_
    interrupted = summary["interrupted"]
    if own_folder and not interrupted:
        remove_checkpoints(folder)
    report = {
        "input": data,
        "output": model_path,
        "loss": model.loss,
        "n_samples": len(y),
        "n_features": model.n_features_in_,
        "n_outputs": model.n_outputs_,
        "n_parameters": summary["n_parameters"],
        "epochs": model.n_iter_,
        "final_loss": summary["final_loss"],
        "train_score": float(model.score(X, y)),
        "test_score": None if test is None else float(model.score(*test)),
        "seconds": seconds,
        "samples_per_second": summary["n_samples_seen"] / summary["seconds"]
        if summary["seconds"]
        else None,
        "float_bytes": summary["float_bytes"],
        "packed_bytes": summary["packed_bytes"],
        "file_bytes": os.path.getsize(model_path),
        "interrupted": interrupted,
    }
    if as_json:
        print_json(report)
    else:
        _print(report)
    if interrupted:
        raise Failure(f"interrupted; --resume goes on from {folder}", 130)


def _loss(y):
    """The loss that suits the targets: whole numbers that are floats may be classes."""
    from sklearn.utils.multiclass import type_of_target

    kind, y = type_of_target(y), np.asarray(y)
    is_number = kind.startswith("continuous") or (
        kind == "multiclass"
        and y.dtype.kind == "f"
        and len(np.unique(y)) > max(_MOST_FLOAT_CLASSES, len(y) ** 0.5)
    )
    return "squared_error" if is_number else "log_loss"


def _trainer(loss, seed, options):
    from sklearn_ternary.neural_network import ConstrainedTrainer

    try:
        hidden = tuple(int(n) for n in options["hidden"].split(",") if n.strip())
    except ValueError:
        raise click.UsageError(
            f"--hidden {options['hidden']} is no list of whole numbers"
        ) from None
    given = {
        "hidden_layer_sizes": hidden,
        "loss": loss,
        "max_iter": options["epochs"],
        "checkpoint_every": options["checkpoint_every"],
        "random_state": seed,
    }
    if options["batch_size"] is not None:
        given["batch_size"] = options["batch_size"]
    if options["learning_rate"] is not None:
        given["learning_rate_init"] = options["learning_rate"]
    if options["is_float"]:
        given |= {"quantize_weights": None, "quantize_activations": None}
    for text in options["params"]:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"--param {text} is not NAME=VALUE")
        try:
            given[name] = json.loads(value)
        except ValueError:
            given[name] = value
    unknown = set(given) - set(ConstrainedTrainer().get_params())
    if unknown:
        raise click.UsageError(f"there is no parameter {min(unknown)!r}")
    return ConstrainedTrainer(**given)


def _divided(X, y, fraction, seed, loss):
    """Samples to train on, and those kept out or None."""
    if not fraction:
        return X, y, None
    from sklearn.model_selection import train_test_split

    stratify = y if loss == "log_loss" and y.ndim == 1 else None
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=fraction, random_state=seed, stratify=stratify
    )
    return X, y, (X_test, y_test)


def _fit(model, X, y):
    """Fit, with a bar on a terminal."""
    with warnings.catch_warnings():
        # Said by the exit code and the report.
        warnings.filterwarnings("ignore", "Training interrupted")
        if not sys.stderr.isatty():
            model.fit(X, y)
            return
        with progress("training", model.max_iter, remaining=True) as advance:
            model.set_callbacks(Bar(advance)).fit(X, y)
    model.set_callbacks()


class Bar:
    """A callback that shows epoch, loss, learning rate and samples a second."""

    def __init__(self, advance):
        self.advance = advance
        self.done = 0

    def setup(self, estimator, context):
        """Nothing to set up."""

    def teardown(self, estimator, context):
        """Nothing to tear down."""

    def on_fit_task_begin(self, estimator, context):
        """Nothing to say yet."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        """Tell of the epoch that has ended."""
        if context.task_name != "epoch":
            return
        n_iter, summary = fitted_estimator.n_iter_, fitted_estimator.training_summary_
        rate = fitted_estimator.history_["samples_per_second"][-1]
        self.advance(
            n_iter - self.done,
            f"epoch {n_iter}, loss {fitted_estimator.loss_:.4g}, "
            f"rate {summary['final_learning_rate']:.2g}, {rate:,.0f} samples/s",
        )
        self.done = n_iter


def _print(report):
    out = console()
    name = "accuracy" if report["loss"] == "log_loss" else "R²"
    scores = [f"{name} {report['train_score']:.4f} on the samples"]
    if report["test_score"] is not None:
        scores.append(f"{report['test_score']:.4f} on those kept out")
    out.print(
        f"{count_text(report['n_samples'], 'sample')} of "
        f"{count_text(report['n_features'], 'feature')}, "
        f"{count_text(report['n_parameters'], 'parameter')}: "
        f"{count_text(report['epochs'], 'epoch')} in "
        f"{seconds_text(report['seconds'])}, loss {report['final_loss']:.4g}",
        soft_wrap=True,
    )
    out.print("; ".join(scores), soft_wrap=True)
    out.print(
        f"{size_text(report['float_bytes'])} of float weights -> "
        f"{size_text(report['packed_bytes'])} packed; "
        f"{size_text(report['file_bytes'])} in {target_text(report['output'])}",
        markup=False,
        soft_wrap=True,
    )


@click.command()
@click.argument("model_path", metavar="MODEL")
@click.argument("data", metavar="DATA")
@click.option(
    "-o", "--output", "target_path", metavar="OUT", default="-", show_default=True,
    help="File to write.",
)  # fmt: skip
@features_option
@click.option(
    "--target",
    metavar="NAME",
    help="Array or column of true targets: scores the predictions.",
)
@click.option("--proba", is_flag=True, help="Write probabilities of the classes.")
@force_option
@json_option
def predict(model_path, data, target_path, features, target, proba, force, as_json):
    """Predict with a MODEL that train has written.

    DATA is a file as for train, or a .npy matrix. OUT is a .npy file, a .csv file, or
    - for lines of a .csv file on stdout.
    """
    from sklearn_ternary.neural_network import ConstrainedTrainer

    ending = ".csv" if target_path == "-" else os.path.splitext(target_path)[1]
    if ending not in (".csv", ".npy"):
        raise click.UsageError(f"OUT must end in .npy or .csv: {target_path}")
    model = ConstrainedTrainer.load(model_path)
    if proba and model.loss != "log_loss":
        raise click.UsageError("--proba is for classifiers")
    X, y = read_samples(
        data,
        features,
        target,
        with_target=False,
        columns=getattr(model, "feature_names_in_", None),
    )
    if not hasattr(model, "feature_names_in_"):
        X = np.asarray(X)
    started = time.perf_counter()
    predictions = model.predict_proba(X) if proba else model.predict(X)
    seconds = time.perf_counter() - started
    names = ["prediction"]
    if proba and predictions.shape[1] == len(getattr(model, "classes_", ())):
        names = [str(name) for name in model.classes_]
    with output_path(target_path, force) as out:
        _write(out, ending, predictions, names)
    report = {
        "model": model_path,
        "input": data,
        "output": target_path,
        "shape": list(predictions.shape),
        "score": None if y is None else float(model.score(X, y)),
        "seconds": seconds,
    }
    stream = click.get_text_stream("stderr") if target_path == "-" else None
    if as_json:
        print_json(report, stream)
        return
    score = "" if y is None else f", score {report['score']:.4f}"
    console(stderr=target_path == "-").print(
        f"{count_text(len(predictions), 'prediction')} in {seconds_text(seconds)}"
        f"{score}, in {target_text(target_path)}",
        markup=False,
        soft_wrap=True,
    )


def _write(out, ending, predictions, names):
    if ending == ".npy":
        if predictions.dtype.kind not in "biuf":
            raise ValueError("classes that are text cannot be in a .npy file: use .csv")
        declared = [("predictions", predictions.dtype, predictions.shape)]
        with tensor_writer(out, declared, ".npy") as writer:
            writer.write("predictions", predictions)
        return
    table = predictions if predictions.ndim == 2 else predictions[:, None]
    if len(names) != table.shape[1]:
        names = [f"{names[0]}_{i}" for i in range(table.shape[1])]
    from sklearn_ternary.persistence import atomic_file

    with atomic_file(out) as file:
        lines = csv.writer(_Text(file), lineterminator="\n")
        lines.writerow(names)
        lines.writerows(table.tolist())


class _Text:
    """A binary file that takes text."""

    def __init__(self, file):
        self.file = file

    def write(self, text):
        """Write text as UTF-8."""
        self.file.write(text.encode())
