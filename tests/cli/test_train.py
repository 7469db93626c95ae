"""``sklearn-ternary train`` and ``predict``."""

import csv
import importlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.datasets import load_diabetes, load_iris

from sklearn_ternary import ConstrainedTrainer
from sklearn_ternary.cli import main
from sklearn_ternary.persistence import load_latest


@pytest.fixture
def iris(folder):
    X, y = load_iris(return_X_y=True)
    np.savez("iris.npz", X=X, y=y)
    return X, y


@pytest.fixture
def iris_table(folder):
    pd = pytest.importorskip("pandas", reason="pip install pandas")
    data = load_iris()
    table = pd.DataFrame(data.data, columns=["a", "b", "c", "d"])
    table["kind"] = data.target_names[data.target]
    table.to_csv("iris.csv", index=False)
    return table


def test_train_and_predict(invoke, iris):
    X, y = iris
    report = json.loads(
        invoke("train", "iris.npz", "-o", "model.safetensors", "--hidden", "32,16",
               "--epochs", 20, "--seed", 3, "--json").output
    )  # fmt: skip
    expected = ConstrainedTrainer((32, 16), max_iter=20, random_state=3).fit(X, y)
    loaded = ConstrainedTrainer.load("model.safetensors")
    np.testing.assert_array_equal(loaded.predict_proba(X), expected.predict_proba(X))
    assert report["train_score"] == expected.score(X, y) > 0.9
    assert report["test_score"] is None
    assert report["loss"] == "log_loss"
    assert (report["n_samples"], report["n_features"], report["n_outputs"]) == (
        150,
        4,
        3,
    )
    assert report["epochs"] == 20
    assert report["file_bytes"] == os.path.getsize("model.safetensors")
    assert report["packed_bytes"] < report["float_bytes"]
    assert not report["interrupted"]
    assert sorted(os.listdir()) == ["iris.npz", "model.safetensors"]

    invoke("predict", "model.safetensors", "iris.npz", "-o", "out.npy")
    np.testing.assert_array_equal(np.load("out.npy"), expected.predict(X))
    np.save("X.npy", X)
    arguments = ["predict", "model.safetensors", "X.npy", "-o", "proba.npy", "--proba"]
    invoke(*arguments)
    np.testing.assert_array_equal(np.load("proba.npy"), expected.predict_proba(X))
    with open("X.npy", "rb") as file:
        data = file.read()
    arguments = ["predict", "model.safetensors", "-", "-o", "piped.npy"]
    result = CliRunner().invoke(main, arguments, input=data)
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(np.load("piped.npy"), expected.predict(X))
    output = invoke("predict", "model.safetensors", "iris.npz", "-o", "out.csv",
                    "--target", "y").output  # fmt: skip
    assert f"score {expected.score(X, y):.4f}" in output
    with open("out.csv") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["prediction"]
    assert [int(row[0]) for row in rows[1:]] == expected.predict(X).tolist()


def test_a_table_with_text_classes(invoke, iris_table):
    options = ["--epochs", 15, "--hidden", 16, "--test-fraction", 0.2, "--json"]
    report = json.loads(invoke("train", "iris.csv", "-o", "m", *options).output)
    assert report["n_samples"] == 120
    assert report["test_score"] > 0.8
    # Columns are found by name; others do no harm.
    turned = iris_table[["kind", "d", "c", "b", "a"]].assign(other="text")
    turned.to_csv("turned.csv", index=False)
    invoke("predict", "m", "turned.csv", "-o", "out.csv", "--proba")
    with open("out.csv") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["setosa", "versicolor", "virginica"]
    best = np.array(rows[0])[np.array(rows[1:], float).argmax(axis=1)]
    assert np.mean(best == iris_table["kind"]) > 0.8
    # To a pipe, and with a score.
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sklearn_ternary", "predict", "m", "turned.csv"]
        + ["--target", "kind", "--json"],
        capture_output=True,
        check=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.splitlines()[1] in rows[0]
    assert json.loads(done.stderr)["score"] > 0.8


def test_numbers_make_a_regressor(invoke, folder):
    X, y = load_diabetes(return_X_y=True)
    np.savez("data.npz", inputs=X, outputs=y)  # whole numbers of dtype float64
    options = "--features inputs --target outputs --epochs 20 --param linear_skip=true"
    output = invoke("train", "data.npz", "-o", "m", *options.split()).output
    assert "R²" in output
    model = ConstrainedTrainer.load("m")
    assert model.loss == "squared_error"
    assert model.linear_skip is True
    assert model.score(X, y) > 0.3
    np.savez("classes.npz", X=X, y=np.digitize(y, [100, 200]).astype(float))
    assert (
        "accuracy" in invoke("train", "classes.npz", "-o", "c", "--epochs", "1").output
    )


def test_options_reach_the_trainer(invoke, iris):
    options = (
        "--loss squared_error --batch-size 50 --learning-rate 0.003 --float "
        "--param dropout=0.1 --param step_controller=schedule --epochs 3 --hidden 8"
    )
    invoke("train", "iris.npz", "-o", "m", *options.split())
    model = ConstrainedTrainer.load("m")
    assert model.loss == "squared_error"
    assert model.batch_size == 50
    assert model.learning_rate_init == 0.003
    assert model.quantize_weights is None
    assert model.dropout == 0.1
    assert model.step_controller == "schedule"
    assert model.hidden_layer_sizes in ((8,), [8])


def test_an_interrupt_saves_and_resume_ends_with_the_same_bits(invoke, iris):
    """A real Ctrl-C, at a time when training runs."""
    X, y = iris
    arguments = ["train", "iris.npz", "-o", "m", "--hidden", "64,64"]
    arguments += ["--epochs", "400"]
    arguments += ["--checkpoint-every", "10", "--param", "batch_size=16"]
    for _ in range(5):  # a training may end before the signal reaches it
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sklearn_ternary", *arguments, "--force"],
            stderr=subprocess.PIPE,
            text=True,
        )
        end = time.monotonic() + 60
        while load_latest("m.checkpoints") is None and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=60)[1]
        if os.path.exists("m.checkpoints"):
            break
    assert process.returncode == 130, error
    assert "--resume goes on from m.checkpoints" in error
    interrupted = ConstrainedTrainer.load("m")
    assert interrupted.training_summary_["interrupted"]
    assert 0 < load_latest("m.checkpoints").step < 400 * 10

    assert "--force" in invoke(*arguments, code=2).output
    report = json.loads(invoke(*arguments, "--resume", "--json").output)
    assert report["epochs"] == 400
    whole = ConstrainedTrainer((64, 64), batch_size=16, max_iter=400, random_state=0)
    expected = whole.fit(X, y).predict_proba(X)
    resumed = ConstrainedTrainer.load("m")
    assert resumed.checkpoint_dir is None  # the model's fit is none of that run
    np.testing.assert_array_equal(resumed.predict_proba(X), expected)
    assert not os.path.exists("m.checkpoints")


# SIGTERM during the ninth step of a training.
TERMINATED = """
import signal, sys
from sklearn_ternary.cli import main
from sklearn_ternary.neural_network._training.run import Run
signal.signal(signal.SIGTERM, signal.SIG_DFL)
step = Run.next_batch
def signalled(self, *args):
    if self.n_steps_done == 8:
        signal.raise_signal(signal.SIGTERM)
    return step(self, *args)
Run.next_batch = signalled
main(sys.argv[1:])
"""


def test_termination_saves_and_resume_ends_with_the_same_bits(invoke, iris):
    X, y = iris
    arguments = ["train", "iris.npz", "-o", "m", "--hidden", "16", "--epochs", "6"]
    done = subprocess.run([sys.executable, "-P", "-c", TERMINATED, *arguments],
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == -signal.SIGTERM, done.stderr
    assert load_latest("m.checkpoints").step == 9
    assert sorted(os.listdir()) == ["iris.npz", "m.checkpoints"]
    invoke(*arguments, "--resume")
    whole = ConstrainedTrainer((16,), max_iter=6, random_state=0).fit(X, y)
    resumed = ConstrainedTrainer.load("m").predict_proba(X)
    np.testing.assert_array_equal(resumed, whole.predict_proba(X))


def test_a_terminal_shows_loss_rate_and_speed(iris, monkeypatch):
    module = importlib.import_module("sklearn_ternary.cli.train")
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True, raising=False)
    shown = []

    class Bar(module.Bar):
        def __init__(self, advance):
            super().__init__(lambda n, text: shown.append((n, text)))

    monkeypatch.setattr(module, "Bar", Bar)
    model = ConstrainedTrainer((8,), max_iter=3, random_state=0)
    module._fit(model, *iris)
    assert sum(n for n, _ in shown) == 3
    assert all("loss" in t and "rate" in t and "samples/s" in t for _, t in shown)
    assert shown[-1][1].startswith("epoch 3, ")


CASES = {
    "no file": (["train", "none.npz", "-o", "m"], "No such file"),
    "no table": (["train", "none.csv", "-o", "m"], "No such file"),
    "no target": (["train", "X.npz", "-o", "m"], "no array 'y'"),
    "no features": (["train", "iris.npz", "-o", "m", "--features", "Z"], "'Z'"),
    "rows": (["train", "short.npz", "-o", "m"], "inconsistent"),
    "hidden": (["train", "iris.npz", "-o", "m", "--hidden", "a"], "--hidden"),
    "param": (["train", "iris.npz", "-o", "m", "--param", "a"], "NAME=VALUE"),
    "unknown": (["train", "iris.npz", "-o", "m", "--param", "a=1"], "'a'"),
    "bad value": (["train", "iris.npz", "-o", "m", "--param", "tol=-1"], "'tol'"),
    "resume": (["train", "iris.npz", "-o", "m", "--resume"], "no checkpoint"),
    "exists": (["train", "iris.npz", "-o", "iris.npz"], "--force"),
    "pipe": (["train", "iris.npz", "-o", "-"], "MODEL has to be a file"),
    "no model": (["predict", "none", "iris.npz"], "No such file"),
    "another": (["predict", "iris.npz", "iris.npz"], "iris.npz"),
    "ending": (["predict", "m", "iris.npz", "-o", "out.txt"], ".npy or .csv"),
}


@pytest.mark.parametrize("case", CASES)
def test_wrong_use_is_2_and_says_why(invoke, iris, case):
    X, y = iris
    np.savez("X.npz", X=X)
    np.savez("short.npz", X=X, y=y[:-1])
    before = sorted(os.listdir())
    args, message = CASES[case]
    assert message in invoke(*args, code=2).output
    assert sorted(os.listdir()) == before


def test_wrong_tables(invoke, iris_table):
    invoke("train", "iris.csv", "-o", "m", "--epochs", 1)
    for columns, message in ((["a", "b"], "no column 'c'"), ([], "no column 'a'")):
        iris_table[[*columns, "kind"]].to_csv("few.csv", index=False)
        assert message in invoke("predict", "m", "few.csv", code=2).output
    iris_table.assign(a="x").to_csv("text.csv", index=False)
    output = invoke("train", "text.csv", "-o", "n", code=2).output
    assert "column 'a' holds text" in output
    assert "no column 'z'" in invoke(
        "train", "iris.csv", "-o", "n", "--target", "z", code=2
    ).output  # fmt: skip
    assert "text cannot be in a .npy" in invoke(
        "predict", "m", "iris.csv", "-o", "o.npy", code=2
    ).output  # fmt: skip
