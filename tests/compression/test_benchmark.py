"""The script that measures accuracy runs, and measures what it says."""

import importlib
from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression, Ridge

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("compression")


def test_accuracy_is_measured(benchmark):
    models = {"a": [LogisticRegression()], "b": [Ridge()]}
    rows = benchmark.measure(models, ("wine", "diabetes"), n_splits=2)
    assert [(r["model"], r["data"]) for r in rows] == [
        ("a", "wine"),
        ("a", "diabetes"),
        ("b", "wine"),
        ("b", "diabetes"),
    ]
    assert [row["classifier"] for row in rows] == [True, True, False, False]
    assert all(row["rounded"] <= row["float"] + 0.1 for row in rows)
    assert all(0.5 < row["agreement"] <= 1 for row in rows)


def test_enough_models_and_data(benchmark):
    assert len(benchmark.MODELS) >= 10
    assert len(benchmark.DATASETS) == 4
