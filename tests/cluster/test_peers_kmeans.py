"""The benchmark beside peers runs, on sizes that say nothing about speed."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from sklearn_ternary import ClusteredKMeans

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load(name, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location(
        f"peers_{name}", BENCHMARKS / "peers" / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def peers(monkeypatch):
    return load("kmeans", monkeypatch)


def test_scale_is_measured(monkeypatch, tmp_path):
    scale = load("kmeans_scale", monkeypatch)
    monkeypatch.setattr(scale, "_ROWS_TIMED", 0)
    mapped = scale.write_rows(tmp_path / "X.npy", 3000)
    rows = scale.measure_rows(mapped, [2000, 3000], 1, 1)
    assert len(rows) == 6
    rows += scale.measure_batches(mapped[:2000], [500], 1)
    assert [row["ratio"] for row in rows if row.get("contestant") == "ours"] == [1, 1]
    results = {
        "machine": {"cpu": "cpu", "n_cpus": 2, "system": "system", "date": "today"},
        "results": [{"n_threads": 1, **row} for row in rows],
    }
    assert len(scale.report(results)) == 11


def test_threads_are_measured_beside_the_machine(monkeypatch):
    threads = load("kmeans_threads", monkeypatch)
    monkeypatch.setattr(threads, "TURN_SECONDS", 0)
    monkeypatch.setattr(threads, "WHILE_SECONDS", 0)
    (row,) = threads.measure({(300, 20, 4): 3}, 1, 2**20, 10)
    one, two = row["seconds"]
    assert row["gain"] == one / two
    assert row["compute_gain"] > 0 < row["memory_gain"]
    machine = {"cpu": "cpu", "n_cpus": 2, "date": "today"}
    assert len(threads.report({"machine": machine, "results": [row]})) == 3


def test_all_tasks_are_measured_and_compared(peers):
    plan = [(task, "float32", [(300, 40, 4)], [1]) for task in peers.TASKS]
    by_task = {task: {} for task in peers.TASKS}
    for row in peers.measure(plan, 1, 3):
        by_task[row["task"]][row["contestant"]] = row
    codes = by_task.pop("int8")[peers.INT8]
    assert codes["inertia"] > 0
    assert codes["centers_apart"] < 0.2
    assert codes["bytes_per_row"] == 52
    for task, found in by_task.items():
        ours, theirs = found[peers.OURS], found["scikit-learn"]
        if task not in ("fit", "reach"):
            assert ours["n_iter"] == theirs["n_iter"]
        assert theirs["ratio_seconds"] == theirs["seconds"] / ours["seconds"]
        if task == "iterations":
            assert ours["of_sgemm"] > 0
        if task not in ("seeding", "fit"):
            # Rows of a few words are often nearly as near to another centre.
            within = {"reach": 2 * (peers.WITHIN - 1), "sparse": 0.01}.get(task, 1e-4)
            assert ours["inertia"] == pytest.approx(theirs["inertia"], rel=within)


def test_rows_like_texts_differ(peers):
    X = peers.bags_of_words(300, 50, 4, "float32")
    assert len({row.tobytes() for row in X.toarray()}) > 290


def test_missing_peers_are_named(peers):
    found, missing = peers.contestants()
    assert {peers.OURS, "scikit-learn"} <= set(found)
    assert not set(found) & set(missing)
    assert set(found) | set(missing) == {peers.OURS, "scikit-learn", *peers.INSTALL}
    results = {
        "machine": {
            "cpu": "cpu",
            "n_cpus": 2,
            "system": "system",
            "date": "today",
            "versions": {"Python": "3"},
        },
        "rounds": 1,
        "missing": {"faiss": peers.INSTALL["faiss"]},
        "results": peers.measure([("iterations", "float32", [(60, 3, 2)], [1])], 1),
    }
    lines = peers.report(results)
    assert "faiss is missing: pip install faiss-cpu" in lines
    assert any("scikit-learn" in line and "60x3x2" in line for line in lines)


def test_equal_sizes_are_measured(monkeypatch):
    balanced = load("kmeans_balanced", monkeypatch)
    rows = balanced.measure([(200, 3, 4)], [1], 2, 1)
    results = {
        "machine": {"cpu": "cpu", "n_cpus": 2, "date": "today"},
        "missing": True,
        "results": rows,
    }
    lines = balanced.report(results)
    assert lines[1] == "k-means-constrained is missing: pip install k-means-constrained"
    assert "times as long" in lines[2]
    # The peer solves the same problem, where it is installed.
    theirs = balanced.peer()
    if theirs is not None:
        X, start = balanced.rows_of(200, 3, 4)
        other = theirs(4, 50, 50, init=start, n_init=1, max_iter=50, tol=0).fit(X)
        assert rows[0]["inertia"] >= 0.99 * other.inertia_


def test_the_grid_is_measured(monkeypatch):
    grid = load("kmeans_grid", monkeypatch)
    monkeypatch.setattr(grid, "PINNED_SHAPE", (300, 4, 3))
    monkeypatch.setattr(grid, "PINNED_ITERATIONS", 3)
    rows = grid.measure_all(grid.TASKS, [(200, 3, 4), (300, 8, 2)], 2, 1)
    assert [row["n_threads"] for row in rows] == [2, 2, 1, 2]
    results = {
        "machine": {"cpu": "cpu", "n_cpus": 2, "date": "today"},
        "results": rows,
    }
    assert "NumPy, products" in grid.report(results)[-1]
    # All contestants do the same.
    X, start = grid.rows_of(300, 8), grid.rows_of(5, 8)
    centers = [step(X, start) for step in (grid.by_products, grid.by_differences)]
    ours = ClusteredKMeans(5, init=start, max_iter=1, tol=0).fit(X)
    for found in centers:
        np.testing.assert_allclose(found, ours.cluster_centers_, rtol=1e-4, atol=1e-6)


@pytest.mark.memory
@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="Linux tells peaks of memory"
)
def test_memory_is_measured(monkeypatch):
    memory = load("kmeans_memory", monkeypatch)
    shape = (20_000, 16, 20)
    rows = memory.measure([shape], [])
    assert 0 <= rows[0]["ours"] <= memory.limit(shape)
    results = {
        "machine": {"cpu": "cpu", "n_cpus": 2, "date": "today"},
        "results": [*rows, {"task": "training", "centroids": 5, "peak": 2**20}],
    }
    assert memory.report(results)[-1].split() == [
        "training",
        "on",
        "5",
        "centroids",
        "1.0",
    ]
