"""``sklearn-ternary cluster``: what it writes, prints and answers."""

import importlib
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from sklearn_ternary import ClusteredKMeans, save, ternarize
from sklearn_ternary.cli import main


def invoke(*args, code=0):
    result = CliRunner().invoke(main, ["cluster", *map(str, args)])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def X(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    return (rng.normal(size=(200, 5)) + 9 * rng.integers(0, 3, (200, 1))).astype("f4")


def test_pipes(X):
    np.save("X.npy", X)
    invoke("X.npy", "-k", 3, "-o", "file.npz")
    command = [sys.executable, "-P", "-m", "sklearn_ternary", "cluster", "-", "-k", "3"]
    with open("X.npy", "rb") as file:
        done = subprocess.run(
            [*command, "-o", "-"], stdin=file, capture_output=True, check=True
        )
    with open("pipe.npz", "wb") as file:
        file.write(done.stdout)
    for name, value in written("file.npz").items():
        np.testing.assert_array_equal(written("pipe.npz")[name], value)


def written(path):
    return dict(np.load(path)) if path.endswith(".npz") else load_file(path)


@pytest.mark.parametrize("target", ["out.npz", "out.safetensors"])
@pytest.mark.parametrize(
    ("source", "mapped"),
    [("C.npy", True), ("F.npy", True), ("X.npz", False), ("X.safetensors", True)],
)
def test_files(X, source, mapped, target):
    np.save("C.npy", X)
    np.save("F.npy", np.asfortranarray(X))
    np.savez("X.npz", X=X, y=np.arange(200))
    save_file({"X": X, "y": np.arange(200)}, "X.safetensors")
    report = json.loads(invoke(source, "-k", 3, "-o", target, "--json").output)
    expected = ClusteredKMeans(3, random_state=0).fit(X)
    found = written(target)
    np.testing.assert_array_equal(found["cluster_centers"], expected.cluster_centers_)
    np.testing.assert_array_equal(found["labels"], expected.labels_)
    assert found["inertia"] == report["inertia"] == expected.inertia_
    assert found["n_iter"] == report["n_iter"] == expected.n_iter_
    sizes = np.bincount(expected.labels_)
    assert report["smallest_cluster"] == sizes.min()
    assert report["largest_cluster"] == sizes.max()
    assert report["mapped"] == mapped
    assert report["shape"] == [200, 5]
    assert report["output_bytes"] == os.path.getsize(target)


def test_labels_alone(X):
    np.save("X.npy", X)
    invoke("X.npy", "-k", 3, "-o", "labels.npy")
    expected = ClusteredKMeans(3, random_state=0).fit_predict(X)
    np.testing.assert_array_equal(np.load("labels.npy"), expected)


@pytest.mark.parametrize("dtype", [">f4", "<f8", "i2", "f2"])
def test_dtypes(X, dtype):
    data = X.astype(dtype)
    np.save("a.npy", data)
    invoke("a.npy", "-k", 2, "-o", "o.npz")
    expected = ClusteredKMeans(2, random_state=0).fit(data)
    np.testing.assert_array_equal(written("o.npz")["labels"], expected.labels_)


def test_options(X):
    np.savez("X.npz", a=X[:50], b=X)
    options = "--array b --init random --n-init 3 --max-iter 4 --tol 0.5 --seed 7"
    invoke("X.npz", "-k", 4, "-o", "o.npz", *options.split())
    expected = ClusteredKMeans(
        4, init="random", n_init=3, max_iter=4, tol=0.5, random_state=7
    ).fit(X)
    np.testing.assert_array_equal(
        written("o.npz")["cluster_centers"], expected.cluster_centers_
    )
    options = "--array b --metric cosine --batch-size 64 --force"
    invoke("X.npz", "-k", 4, "-o", "o.npz", *options.split())
    expected = ClusteredKMeans(4, metric="cosine", batch_size=64, random_state=0)
    np.testing.assert_array_equal(written("o.npz")["labels"], expected.fit_predict(X))
    text = invoke("X.npz", "-k", 4, "-o", "o.npz", "--array", "a", "--force").output
    assert "50 x 5 values of a in 4 clusters" in text


def test_output_to_a_pipe(X):
    np.save("a.npy", X)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sklearn_ternary", "cluster", "a.npy"]
        + ["-k", "3", "-o", "-"],
        capture_output=True,
        check=True,
        timeout=120,
    )
    with open("piped.npz", "wb") as file:
        file.write(done.stdout)
    expected = ClusteredKMeans(3, random_state=0).fit(X)
    np.testing.assert_array_equal(written("piped.npz")["labels"], expected.labels_)
    assert b"inertia" in done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["none.npy", "-k", 2, "-o", "o.npz"], "No such file"),
        (["a.npy", "-k", 0, "-o", "o.npz"], "-k"),
        (["a.npy", "-o", "o.npz"], "-k"),
        (["a.npy", "-k", 2, "-o", "o.csv"], "must end in"),
        (["a.npy", "-k", 201, "-o", "o.npz"], "a.npy: n_samples=200 should"),
        (["a.npy", "-k", 2, "-o", "a.safetensors"], "--force"),
        (["vector.npy", "-k", 2, "-o", "o.npz"], "no matrix"),
        (["nan.npy", "-k", 2, "-o", "o.npz"], "nan.npy: Input X contains NaN.\n"),
        (["two.npz", "-k", 2, "-o", "o.npz"], "2 matrices; --array"),
        (["two.npz", "-k", 2, "-o", "o.npz", "--array", "c"], "no array 'c'"),
        (["two.npz", "-k", 2, "-o", "o.npz", "--array", "v"], "no matrix"),
        (["a.safetensors", "-k", 2, "-o", "o.npz"], "dequantize"),
        (["bad.npy", "-k", 2, "-o", "o.npz"], "bad.npy"),
    ],
)
def test_wrong_use_is_2_and_says_why(X, args, message):
    np.save("a.npy", X)
    np.save("vector.npy", X[:, 0])
    np.save("nan.npy", X * np.nan)
    np.savez("two.npz", a=X, b=X, v=X[0])
    save(ternarize(X), "a.safetensors")
    with open("bad.npy", "wb") as file:
        file.write(b"\x93NUMPY\1\0" + b"\xff" * 50)
    before = sorted(os.listdir())
    assert message in invoke(*args, code=2).output
    assert sorted(os.listdir()) == before


def test_a_terminal_shows_iterations(X, monkeypatch):
    module = importlib.import_module("sklearn_ternary.cli.cluster")
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True, raising=False)
    shown = []

    class Bar(module._Bar):
        def __init__(self, advance):
            super().__init__(lambda amount, text: shown.append(text))

    monkeypatch.setattr(module, "_Bar", Bar)
    kmeans = ClusteredKMeans(4, init="random", n_init=2, random_state=0)
    module._fit(kmeans, X)
    assert "run 1, iteration 1" in shown
    assert "run 2, iteration 1" in shown
    plain = ClusteredKMeans(4, init="random", n_init=2, random_state=0).fit(X)
    np.testing.assert_array_equal(kmeans.labels_, plain.labels_)


def test_an_interrupt_leaves_nothing(X, monkeypatch):
    np.save("a.npy", X)

    def interrupted(self, X):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(ClusteredKMeans, "fit", interrupted)
    assert "interrupted" in invoke("a.npy", "-k", 2, "-o", "o.npz", code=130).output
    assert os.listdir() == ["a.npy"]
