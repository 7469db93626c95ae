"""Checkpoints: what is saved comes back, and nothing loses it."""

import importlib
import json
import math
import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from sklearn_ternary.persistence import (
    load_checkpoint,
    load_latest,
    read_container,
    save_checkpoint,
    write_container,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def breaking(monkeypatch):
    """A part of tools/chaos.py, by name."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    return lambda name: importlib.import_module(f"breaking_checkpoints.{name}")


DTYPES = ["?", "u1", "i1", "u2", "i2", "f2", "u4", "i4", "f4", "u8", "i8", "f8"]


def test_arrays_come_back(tmp_path):
    arrays = {
        dtype: np.arange(24).reshape(2, 3, 4).astype(dtype)[:, ::2] for dtype in DTYPES
    }
    arrays |= {
        "fortran": np.asfortranarray(np.random.default_rng(0).normal(size=(3, 5))),
        "scalar": np.array(3.5),
        "empty": np.empty((0, 3), np.float32),
        "nan": np.array([np.nan, -0.0, np.inf], np.float32),
        "names may hold anything: ✓ /../": np.ones(1),
    }
    path = save_checkpoint(tmp_path / "new" / "folder", 7, arrays)
    for found in (load_checkpoint(path), load_latest(tmp_path / "new" / "folder")):
        assert found.step == 7
        assert found.info is None
        assert found.path == path
        assert list(found.arrays) and set(found.arrays) == set(arrays)
        for name, array in arrays.items():
            assert found.arrays[name].dtype == array.dtype
            np.testing.assert_array_equal(found.arrays[name], array)
    assert np.signbit(found.arrays["nan"][1])


def test_info_comes_back(tmp_path):
    generators = [np.random.default_rng(s).bit_generator.state for s in range(2)]
    info = {
        "numbers": [0, -1, 2**70, 0.1, 5e-324, 1.7976931348623157e308, True, None],
        "text": "✓\n\0\ud800",
        "tuple": (1, (2.5, "a"), []),
        "tags": {"__tuple__": [1], "__float__": "nan", "other": {"__dict__": 1}},
        "tag": [{"__array__": "arrays.a"}],
        "generators": generators,
        "": {},
    }
    path = save_checkpoint(tmp_path, 0, {}, info)
    found = load_checkpoint(path).info
    assert found == info
    assert type(found["tuple"]) is tuple
    assert type(found["tuple"][1]) is tuple

    state = np.random.RandomState(3)
    state.normal(size=3)  # half of a pair is kept
    special = [math.nan, math.inf, -math.inf, np.float32(0.1), np.int64(3), np.True_]
    path = save_checkpoint(tmp_path, 1, {}, [state.get_state(), special])
    saved, found = load_checkpoint(path).info
    other = np.random.RandomState()
    other.set_state(saved)
    np.testing.assert_array_equal(other.normal(size=9), state.normal(size=9))
    np.testing.assert_array_equal(np.array(found, float), np.array(special, float))


@pytest.mark.parametrize("keep_last", [1, 3, None])
def test_the_last_ones_are_kept(tmp_path, keep_last):
    other = save_checkpoint(tmp_path, 1, {}, name="other")
    (tmp_path / "checkpoint-notes.txt").write_text("mine")
    # A run that starts anew counts its steps from 0 again.
    paths = [
        save_checkpoint(tmp_path, step, {}, keep_last=keep_last)
        for step in (500, 600, 700, 800, 10, 20)
    ]
    kept = [path for path in paths if os.path.exists(path)]
    assert kept == paths[-(keep_last or 6) :]
    assert load_latest(tmp_path).step == 20
    assert load_latest(tmp_path, name="other").path == other
    assert (tmp_path / "checkpoint-notes.txt").exists()


def test_damaged_ones_are_passed_over_by_name(tmp_path):
    assert load_latest(tmp_path) is None
    assert load_latest(tmp_path / "missing") is None
    paths = [save_checkpoint(tmp_path, step, {}, keep_last=None) for step in range(3)]
    Path(paths[2]).write_bytes(b"")
    with pytest.warns(RuntimeWarning, match="passed over") as caught:
        assert load_latest(tmp_path).step == 1
    assert [paths[2] in str(w.message) for w in caught] == [True]
    Path(paths[1]).write_bytes(Path(paths[0]).read_bytes()[:-1])
    Path(paths[0]).unlink()
    with (
        pytest.warns(RuntimeWarning),
        pytest.raises(ValueError, match="none of 2 checkpoints is intact"),
    ):
        load_latest(tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"step": -1}, "step=-1"),
        ({"step": 1.5}, "step=1.5"),
        ({"step": True}, "step=True"),
        ({"keep_last": 0}, "keep_last=0"),
        ({"name": "../up"}, "name='../up'"),
        ({"name": ""}, "name=''"),
        ({"arrays": {1: np.ones(1)}}, "key 1"),
        ({"arrays": {"a": [1.0]}}, r"arrays\['a'\] is a list"),
        ({"arrays": {"a": np.array([object()])}}, "arrays.a"),
        ({"arrays": {"a": np.ones(2, complex)}}, "arrays.a"),
        ({"info": object()}, "info holds a object"),
        ({"info": {"f": print}}, "info holds a builtin"),
        ({"info": {1: 2}}, "keys that are not text"),
        ({"info": {"a": np.array(["text"])}}, "info.0"),
        ({"info": "a" * 2**21}, "limit"),
    ],
)
def test_what_cannot_be_stored_is_refused(tmp_path, given, message):
    given = {"step": 1, "arrays": {}} | given
    with pytest.raises(ValueError, match=message):
        save_checkpoint(tmp_path, **given)
    assert os.listdir(tmp_path) == []


def test_deep_info(tmp_path):
    deep = ()
    for _ in range(12):
        deep = (deep,)
    assert load_checkpoint(save_checkpoint(tmp_path, 1, {}, deep)).info == deep
    deep = []
    deep.append(deep)
    with pytest.raises(ValueError, match="deep"):
        save_checkpoint(tmp_path, 1, {}, deep)


CONTENTS = {
    "no dict": lambda content: [content],
    "no kind": lambda content: {k: v for k, v in content.items() if k != "kind"},
    "another kind": lambda content: content | {"kind": "model"},
    "more": lambda content: content | {"more": 1},
    "version": lambda content: content | {"version": 2},
    "step": lambda content: content | {"step": -1},
    "step text": lambda content: content | {"step": "1"},
    "step true": lambda content: content | {"step": True},
    "array": lambda content: content | {"info": {"__array__": "info.7"}},
    "array list": lambda content: content | {"info": {"__array__": ["a"]}},
    "tuple": lambda content: content | {"info": {"__tuple__": 3}},
    "float": lambda content: content | {"info": {"__float__": "1e5"}},
    "float list": lambda content: content | {"info": {"__float__": []}},
    "dict": lambda content: content | {"info": {"__dict__": []}},
    "two tags": lambda content: content | {"info": {"__dict__": {}, "__tuple__": []}},
}


@pytest.mark.parametrize("change", CONTENTS)
def test_hostile_contents_are_refused(tmp_path, change):
    """With good checksums, as whoever writes a file can make them."""
    path = save_checkpoint(tmp_path, 1, {"a": np.ones(2)}, [1, 2])
    tensors, content = read_container(path)
    write_container(path, tensors, CONTENTS[change](content))
    with pytest.raises(ValueError, match=os.path.basename(path)):
        load_checkpoint(path)


def test_a_file_is_readable_by_others(tmp_path):
    from safetensors.numpy import load_file

    path = save_checkpoint(tmp_path, 3, {"weight": np.eye(2)}, {"loss": 0.25})
    np.testing.assert_array_equal(load_file(path)["arrays.weight"], np.eye(2))
    raw = Path(path).read_bytes()
    header = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])
    content = json.loads(header["__metadata__"]["content"])
    assert content == {
        "kind": "checkpoint",
        "version": 1,
        "step": 3,
        "info": {"loss": 0.25},
    }


def test_loading_imports_no_pickle_and_no_scikit_learn(run_python, tmp_path):
    save_checkpoint(tmp_path, 3, {"a": np.ones(2)})
    code = """
import sys
from sklearn_ternary.persistence import load_latest
assert load_latest(sys.argv[1]).step == 3
assert "sklearn" not in sys.modules
"""
    run_python(code, str(tmp_path))


# -- a quick version of tools/chaos.py ------------------------------------------


def test_kills(breaking):
    processes = breaking("processes")
    assert int(processes.kill(8, make_run=processes.Loop).split()[0]) >= 8


def test_every_state_of_the_disk(breaking):
    breaking("power_failures").crash(keeps=[1], n_saves=3)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_missing_step_would_be_found(breaking, monkeypatch, call):
    """Without flushing, or with an old name removed first, checkpoints are lost."""
    disk = breaking("power_failures")
    if call == "fsync":
        monkeypatch.setattr(disk.Recorder, "fsync", lambda self, fd: None)
    else:

        def replace(self, source, target):
            for old in Path(target).parent.glob("*.safetensors"):
                self.unlink(str(old))
            os.replace(source, target)
            self.events.append(("rename", source, target))

        monkeypatch.setattr(disk.Recorder, "replace", replace)
    with pytest.raises((breaking("checkpoints").LostError, ValueError)):
        disk.crash(keeps=[2], n_saves=2)


def test_failing_calls(breaking, monkeypatch):
    faults = breaking("io_faults")
    monkeypatch.setattr(faults, "FAILURES", faults.FAILURES[-3:])
    faults.iofault()


def test_changed_bytes(breaking):
    breaking("damage").bitflip(size=50, stride=11)


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_two_writers(breaking):
    breaking("processes").race(60)


def test_killed_and_interrupted_trainings(breaking):
    processes = breaking("processes")

    def make_run():
        return processes.Training(8)

    assert int(processes.kill(4, make_run=make_run).split()[0]) >= 4
    processes.interrupt(2, make_run=make_run)


def test_the_script(breaking, capsys):
    """Its commands are those that it names."""
    breaking("checkpoints")  # the folder is where modules are looked for
    chaos = importlib.import_module("chaos")
    assert chaos.main(["race", "--n", "4"]) == 0
    assert capsys.readouterr().out.startswith("race: 4 saves by two writers")
    assert all(f"chaos.py {name}" in chaos.__doc__ for name in [*chaos.COMMANDS, "all"])
