"""`demo`: the main job."""

import json

import numpy as np


def test_demo(invoke):
    report = json.loads(invoke("demo", "--epochs", 8, "--json").output)
    rows = report["variants"]
    floats, rounded, twin, ternary = rows
    assert all(row["equal_after_load"] for row in rows)
    assert floats["bits_per_weight"] == twin["bits_per_weight"] == 32
    assert ternary["accuracy"] > 0.93
    assert ternary["accuracy"] > rounded["accuracy"] - 0.01
    for row in rows:
        assert 0.5 < row["accuracy"] <= 1
        assert row["training_seconds"] > 0
        assert row["seconds_per_image"] > 0
        assert row["size_ratio"] == floats["file_bytes"] / row["file_bytes"]
    # 25,856 weights of log2(3) bits, and what else is stored.
    assert report["model"]["n_weights"] == 25_856
    for row in (rounded, ternary):
        assert row["file_bytes"] > 25_856 * np.log2(3) / 8
        assert 1.6 < row["bits_per_weight"] < 2.1
    assert report["data"]["n_train"] + report["data"]["n_test"] == 1797


def test_demo_depends_on_the_seed_only(invoke):
    def accuracies(seed):
        output = invoke("demo", "--epochs", 1, "--seed", seed, "--json").output
        return [row["accuracy"] for row in json.loads(output)["variants"]]

    assert accuracies(0) == accuracies(0)
    assert accuracies(0) != accuracies(1)


def test_demo_prints_the_table(invoke):
    output = invoke("demo", "--epochs", 1).output
    assert "\n ternary " in output
    assert output.count("  equal") == 4
