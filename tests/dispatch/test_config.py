"""The configuration: contexts, threads, environment, values that are refused."""

import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from sklearn_ternary import _config
from sklearn_ternary._config import (
    config_context,
    effective_config,
    get_config,
    set_config,
)

AUTOMATIC = {
    "backend": "auto",
    "n_threads": None,
    "isa": None,
    "strict": False,
    "collect_metrics": False,
    "working_memory": 1024,
    "max_device_fraction": 0.8,
}

# Values other than the automatic ones.
OTHER = {
    "backend": "numpy",
    "n_threads": 3,
    "isa": "generic",
    "strict": True,
    "collect_metrics": True,
    "working_memory": 64.5,
    "max_device_fraction": 0.5,
}

VARIABLES = {
    "backend": "SKLEARN_TERNARY_BACKEND",
    "n_threads": "SKLEARN_TERNARY_NUM_THREADS",
    "isa": "SKLEARN_TERNARY_ISA",
    "strict": "SKLEARN_TERNARY_STRICT",
    "collect_metrics": "SKLEARN_TERNARY_COLLECT_METRICS",
    "working_memory": "SKLEARN_TERNARY_WORKING_MEMORY",
    "max_device_fraction": "SKLEARN_TERNARY_MAX_DEVICE_FRACTION",
}


@pytest.fixture(autouse=True)
def untouched_configuration(monkeypatch):
    """Start from the automatic values and leave everything as it was."""
    monkeypatch.setattr(_config, "_environment", {})
    monkeypatch.setattr(_config, "_process_settings", {})
    before = _config._thread.settings
    _config._thread.change({})
    yield
    _config._thread.change(before)


def in_thread(function):
    """What `function` returns in a new thread."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def test_automatic_values():
    assert get_config() == AUTOMATIC


def test_returned_dict_is_a_copy():
    get_config()["backend"] = "numpy"
    assert get_config() == AUTOMATIC


def test_contexts_nest_and_end():
    with config_context(backend="numpy", n_threads=2):
        with config_context(n_threads=5, strict=True):
            assert get_config() == AUTOMATIC | {
                "backend": "numpy",
                "n_threads": 5,
                "strict": True,
            }
        assert get_config() == AUTOMATIC | {"backend": "numpy", "n_threads": 2}
    assert get_config() == AUTOMATIC


def test_context_ends_with_an_exception():
    with pytest.raises(ZeroDivisionError), config_context(**OTHER):
        assert get_config() == OTHER
        raise ZeroDivisionError
    assert get_config() == AUTOMATIC


def test_set_config_inside_a_context_ends_with_it():
    with config_context(strict=True):
        set_config(backend="cpu", strict=False)
        assert get_config() == AUTOMATIC | {"backend": "cpu"}
    assert get_config() == AUTOMATIC
    assert in_thread(get_config) == AUTOMATIC


def test_context_as_decorator():
    @config_context(backend="numpy")
    def backend():
        return get_config()["backend"]

    assert (backend(), backend(), get_config()["backend"]) == ("numpy", "numpy", "auto")


def test_none_leaves_a_key_unless_it_means_automatic():
    with config_context(**OTHER):
        with config_context(**dict.fromkeys(OTHER)):
            assert get_config() == OTHER | {"n_threads": None, "isa": None}
        with config_context():
            assert get_config() == OTHER


def test_get_config_can_be_set_again():
    with config_context(**OTHER):
        saved = get_config()
    set_config(**saved)
    assert get_config() == OTHER


def test_new_threads_start_from_what_the_main_thread_set():
    set_config(backend="numpy")
    with config_context(backend="cpu"):
        assert in_thread(get_config)["backend"] == "numpy"


def test_set_config_in_a_thread_stays_there():
    def change():
        set_config(backend="numpy")
        return get_config()["backend"]

    assert in_thread(change) == "numpy"
    assert get_config() == AUTOMATIC
    assert in_thread(get_config) == AUTOMATIC


def test_a_running_thread_keeps_its_configuration():
    asked, changed, answers = threading.Event(), threading.Event(), []

    def ask_twice():
        answers.append(get_config()["backend"])
        asked.set()
        changed.wait(10)
        answers.append(get_config()["backend"])

    thread = threading.Thread(target=ask_twice)
    thread.start()
    asked.wait(10)
    set_config(backend="numpy")
    changed.set()
    thread.join()
    assert answers == ["auto", "auto"]


REFUSED = [
    *(("backend", v) for v in ("", "CPU", "gpu", "cuda:", "cuda:-1", "cuda:x", b"cpu")),
    *(("backend", v) for v in (0, True, ["cpu"], "cuda:0\n", "numpy ")),
    *(("n_threads", v) for v in (0, 1.0, True, "2", 1025, -1025, 10**30, np.nan)),
    *(("isa", v) for v in ("", "AVX2", "sse", 2, ["avx2"], False)),
    *(("strict", v) for v in (0, 1, "true", "yes", [])),
    *(("collect_metrics", v) for v in (0, 1.0, "false")),
    *(
        ("working_memory", v)
        for v in (0, -1, -(10**400), np.nan, np.inf, True, "64", 1j, [1])
    ),
    *(("max_device_fraction", v) for v in (0, -0.5, 1.01, np.nan, True, "0.5", [1])),
]


@pytest.mark.parametrize("key, value", REFUSED, ids=lambda v: repr(v)[:20])
@pytest.mark.parametrize("change", [set_config, config_context, effective_config])
def test_refused_value_is_named_and_changes_nothing(change, key, value):
    with pytest.raises(ValueError) as caught:
        with_context = change(**{"strict": True, key: value})
        with with_context:
            pass
    assert f"{key}={value!r}" in str(caught.value)
    assert "use" in str(caught.value)
    assert get_config() == AUTOMATIC


ALLOWED = [
    *(("backend", v) for v in ("auto", "numpy", "cpu", "cuda", "cuda:0", "cuda:15")),
    *(("n_threads", v) for v in (1, -1, 1024, -1024, np.int64(7))),
    *(("isa", v) for v in ("generic", "avx2", "avx512")),
    *(("strict", v) for v in (True, False)),
    *(("collect_metrics", v) for v in (True, False)),
    *(("working_memory", v) for v in (1, 0.5, 10**12, np.float32(2), np.int32(3))),
    *(("max_device_fraction", v) for v in (1, 0.01, np.float32(0.5))),
]


@pytest.mark.parametrize("key, value", ALLOWED, ids=lambda v: repr(v)[:20])
def test_allowed_value(key, value):
    with config_context(**{key: value}):
        found = get_config()[key]
    assert found == value
    # A plain number: the configuration goes into JSON.
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("change", [set_config, config_context])
def test_unknown_key(change):
    with pytest.raises(TypeError, match="colour"):
        change(colour="red")


def test_arguments_win_over_contexts():
    with config_context(backend="numpy", n_threads=2):
        config = effective_config(n_threads=4, isa="generic", backend=None)
        assert (config.backend, config.n_threads, config.isa) == ("numpy", 4, "generic")
        assert get_config()["n_threads"] == 2


# The environment is read once per process, so each case has its own.


def run(code, **environment):
    """Run Python code with only these of our variables, and return what it says."""
    ours = {k: v for k, v in os.environ.items() if k not in VARIABLES.values()}
    return subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=ours | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def read_config(code="", **environment):
    head = "import json\nfrom sklearn_ternary._config import *\n"
    done = run(f"{head}{code}\nprint(json.dumps(get_config()))", **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_environment():
    texts = {
        VARIABLES[key]: str(int(value)) if value is True else str(value)
        for key, value in OTHER.items()
    }
    assert read_config(**texts) == OTHER


def test_environment_words_and_blanks():
    found = read_config(
        SKLEARN_TERNARY_BACKEND=" cuda:1 ",
        SKLEARN_TERNARY_NUM_THREADS="",
        SKLEARN_TERNARY_STRICT="Yes",
        SKLEARN_TERNARY_COLLECT_METRICS="off",
        SKLEARN_TERNARY_WORKING_MEMORY="128",
    )
    expected = {"backend": "cuda:1", "strict": True, "working_memory": 128}
    assert found == AUTOMATIC | expected


def test_settings_win_over_the_environment():
    found = read_config(
        """
from sklearn_ternary._config import _thread, effective_config
assert effective_config(backend="cpu").backend == "cpu"
assert get_config()["backend"] == "numpy"
set_config(backend="auto", n_threads=None)
with config_context(isa=None, working_memory=7):
    found = get_config()
    assert (found["isa"], found["working_memory"]) == (None, 7), found
""",
        SKLEARN_TERNARY_BACKEND="numpy",
        SKLEARN_TERNARY_NUM_THREADS="2",
        SKLEARN_TERNARY_ISA="generic",
    )
    assert found == AUTOMATIC | {"isa": "generic"}


@pytest.mark.parametrize(
    "key, text",
    [
        ("backend", "fortran"),
        ("n_threads", "0"),
        ("n_threads", "two"),
        ("isa", "sse4"),
        ("strict", "maybe"),
        ("collect_metrics", "2"),
        ("working_memory", "nan"),
        ("working_memory", "lots"),
        ("max_device_fraction", "1.5"),
    ],
)
def test_invalid_environment_is_an_error_at_every_use(key, text):
    done = run(
        """
from sklearn_ternary._config import get_config, set_config
for attempt in range(2):
    try:
        get_config()
    except ValueError as error:
        print(error)
""",
        **{VARIABLES[key]: text},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert f"{VARIABLES[key]}={text!r}" in line
