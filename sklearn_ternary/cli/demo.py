"""``demo``: train a classifier, quantize it, and say what that costs and saves."""

import copy
import os
import tempfile
import time

import click

from sklearn_ternary.cli._console import (
    console,
    json_option,
    print_json,
    progress,
    seconds_text,
    size_text,
    table,
)

LAYERS = (256, 128)
BATCH_SIZE = 64
TARGET_BITS = 3.0


@click.command()
@click.option(
    "--epochs",
    type=click.IntRange(1, 1000),
    default=30,
    show_default=True,
    help="Passes over the training images.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of the split and of the first weights.",
)
@json_option
def demo(epochs, seed, as_json):
    """Train a classifier on digits, quantize it, compare.

    Trains scikit-learn's MLPClassifier on its 1,797 bundled images of digits,
    quantizes the trained weights in several ways, saves and loads each, and prints
    accuracy on images not trained on, size on disk and time per prediction.
    """
    # Imported here: scikit-learn takes a second.
    from threadpoolctl import threadpool_limits

    # On layers this small a second BLAS thread costs more than it gives.
    with threadpool_limits(1, user_api="blas"):
        report = _run(epochs, seed)
    if as_json:
        print_json(report)
    else:
        _print(report)


def _run(epochs, seed):
    model, images, labels, training = _train(epochs, seed)
    rows = []
    with tempfile.TemporaryDirectory(prefix="sklearn-ternary-demo-") as folder:
        for name, variant in _variants(model, training["images"]):
            rows.append(_evaluate(variant, name, images, labels, folder))
    float_row = rows[0]
    for row in rows:
        row["size_ratio"] = float_row["file_bytes"] / row["file_bytes"]
    return {
        "data": {
            "name": "scikit-learn digits",
            "n_train": len(training["images"]),
            "n_test": len(images),
        },
        "model": {
            "name": "MLPClassifier",
            "layers": [images.shape[1], *LAYERS, 10],
            "n_weights": sum(w.size for w in model.coefs_),
            "epochs": epochs,
            "seed": seed,
            "training_seconds": training["seconds"],
        },
        "variants": rows,
    }


def _train(epochs, seed):
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.3, stratify=y, random_state=seed
    )
    model = MLPClassifier(LAYERS, batch_size=BATCH_SIZE, random_state=seed)
    start = time.perf_counter()
    with progress("training", epochs) as advance:
        for epoch in range(epochs):
            # scikit-learn's networks take no callbacks; this is one epoch.
            model.partial_fit(X_train, y_train, classes=np.arange(10))
            advance(1, f"training, epoch {epoch + 1}, loss {model.loss_:.3f}")
    seconds = time.perf_counter() - start
    return model, X_test, y_test, {"images": X_train, "seconds": seconds}


def _variants(model, images):
    """Yield a name and a model: as trained, compressed, and of mixed precision."""
    import numpy as np

    from sklearn_ternary import compress
    from sklearn_ternary.quantization import quantize_arrays

    yield "float32, as trained", model
    yield "3 levels, rounded", compress(model)
    yield "3 levels, calibrated", compress(model, images)
    yield "3 levels, ends float32", compress(model, images, exclude=[0, -1])
    mixed = copy.copy(model)
    named = {str(i): W for i, W in enumerate(model.coefs_)}
    packed = quantize_arrays(named, TARGET_BITS, axis=0)
    # Products with more than three levels unpack: better once than every time.
    mixed.coefs_ = [np.asarray(W) for W in packed.values()]
    mixed.packed_coefs = list(packed.values())
    yield f"mixed levels, {TARGET_BITS:g} bits", mixed


def _evaluate(model, name, images, labels, folder):
    """Accuracy, size, prediction equality after save and load, and times."""
    import numpy as np

    from sklearn_ternary import load, save
    from sklearn_ternary.quantization._transposed import TransposedTernaryArray

    path = os.path.join(folder, "model.safetensors")
    weights = getattr(model, "packed_coefs", model.coefs_)
    # Compressed networks hold transposes: a neuron's weights are a packed row.
    turned = [isinstance(W, TransposedTernaryArray) for W in weights]
    stored = [W.T if t else W for t, W in zip(turned, weights, strict=True)]
    arrays = {f"coefs.{i}": W for i, W in enumerate(stored)}
    arrays |= {f"intercepts.{i}": b for i, b in enumerate(model.intercepts_)}
    save(arrays, path)
    start = time.perf_counter()
    loaded = load(path)
    restored = copy.copy(model)
    restored.coefs_ = [
        loaded[f"coefs.{i}"].T if t else np.asarray(loaded[f"coefs.{i}"])
        for i, t in enumerate(turned)
    ]
    restored.intercepts_ = [loaded[f"intercepts.{i}"] for i in range(len(weights))]
    load_seconds = time.perf_counter() - start
    return {
        "name": name,
        "accuracy": float(model.score(images, labels)),
        "bits_per_weight": 8
        * sum(W.nbytes for W in stored)
        / sum(W.size for W in stored),
        "file_bytes": os.path.getsize(path),
        "equal_after_load": bool(
            np.array_equal(model.predict_proba(images), restored.predict_proba(images))
        ),
        "load_seconds": load_seconds,
        "seconds_per_image": _shortest(lambda: restored.predict(images)) / len(images),
        "seconds_single_image": _shortest(lambda: restored.predict(images[:1])),
    }


def _shortest(function, repeat=9):
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def _print(report):
    out = console()
    data, model = report["data"], report["model"]
    out.print(
        f"{model['name']} {'-'.join(map(str, model['layers']))} on {data['name']}, "
        f"{model['epochs']} epochs in {seconds_text(model['training_seconds'])}: "
        f"{data['n_train']:,} images to train, {data['n_test']} to test."
    )
    columns = ["weights", "accuracy>", "bits>", "file>", "smaller>", "an image>"]
    rows = table(None, [*columns, "loads"])
    for row in report["variants"]:
        rows.add_row(
            row["name"],
            f"{100 * row['accuracy']:.1f} %",
            f"{row['bits_per_weight']:.2f}",
            size_text(row["file_bytes"]),
            f"{row['size_ratio']:.1f}x",
            seconds_text(row["seconds_per_image"]),
            "equal" if row["equal_after_load"] else "NOT EQUAL",
        )
    out.print(rows)
    alone = {row["name"]: row["seconds_single_image"] for row in report["variants"]}
    floats, ternary = report["variants"][0]["name"], report["variants"][2]["name"]
    out.print(
        "bits are stored per weight, scales included; files hold the biases too. "
        f"An image is timed in a batch of {data['n_test']}; alone it takes "
        f"{seconds_text(alone[floats])} with float32 and "
        f"{seconds_text(alone[ternary])} with packed weights, most of it "
        "scikit-learn's checks. Calibrated codes are chosen for what the layers "
        "put out on the training images."
    )
    out.print(
        "\nRounding trained weights costs accuracy. Training with ternary weights from "
        "the start is the way to keep it, which this version cannot do yet."
    )
