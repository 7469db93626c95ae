"""bench-lm and profile, on a model of a few kilobytes."""

import json
import os
from xml.etree import ElementTree

import numpy as np
import pytest
import tiny
from click.testing import CliRunner

from sklearn_ternary.cli._app import app
from sklearn_ternary.cli._flame_graph import flame_graph
from sklearn_ternary.persistence import GGUFWriter


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    sizes = {
        "block_count": 1,
        "embedding_length": 32,
        "feed_forward_length": 64,
        "context_length": 40,
        "attention.head_count": 2,
        "attention.layer_norm_rms_epsilon": 1e-5,
    }
    metadata = {"general.architecture": "llama"}
    metadata |= {f"llama.{key}": value for key, value in sizes.items()}
    shapes = {"token_embd": (10, 32), "output_norm": (32,)}
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        shapes[f"blk.0.{name}"] = (32, 32)
    shapes |= {"blk.0.attn_norm": (32,), "blk.0.ffn_norm": (32,)}
    shapes |= {"blk.0.ffn_gate": (64, 32), "blk.0.ffn_up": (64, 32)}
    shapes["blk.0.ffn_down"] = (32, 64)
    path = tmp_path_factory.mktemp("model") / "model.gguf"
    rng = np.random.default_rng(0)
    entries = [(f"{name}.weight", "F32", shape) for name, shape in shapes.items()]
    with GGUFWriter(path, entries, metadata) as writer:
        for name, _, shape in entries:
            writer.write(name, rng.normal(size=shape))
    return str(path)


def run(*arguments):
    return CliRunner().invoke(app, arguments)


def test_bench_lm_measures_and_compares(model, tmp_path):
    report = str(tmp_path / "a.json")
    common = ["bench-lm", "-m", model, "--gen", "3", "--iterations", "1"]
    done = run(
        *common,
        *("--threads", "1,2", "--prompt-tokens", "5,20", "--batch-sizes", "1,3"),
        *("--layouts", "auto,t2", "--warmup", "0", "--json", "-o", report),
    )
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["results"]
    assert len(rows) == 2 * 2 * (1 + 2 + 2)
    assert {row["what"] for row in rows} == {"load", "prompt", "generate"}
    assert all(row["seconds"] > 0 for row in rows)
    done = run("bench-lm", "--compare", report, report, "--json")
    assert [row["speedup"] for row in json.loads(done.stdout)] == [1.0] * len(rows)
    printed = run("bench-lm", "--output", "json", "--compare", report, report)
    assert json.loads(printed.stdout) == json.loads(done.stdout)
    assert "speed-up" in run("bench-lm", "--compare", report, report).output
    assert "generate 3" in run(*common, "--prompt-tokens", "2").output


def test_bench_lm_has_the_options_of_its_kind(model):
    text = run("bench-lm", "--help").output
    for name in (
        *("threads", "simd-level", "device", "batch-sizes", "quantization", "prompts"),
        *("output", "iterations", "warmup", "configs", "compare"),
    ):
        assert f"--{name}" in text
    done = run(
        *("bench-lm", "-m", model, "--gen", "2", "--prompt-tokens", "3", "--json"),
        *("--iterations", "1", "--warmup", "0", "--device", "cpu,numpy"),
        *("--simd-level", "generic", "--quantization", "t2", "--threads", "1"),
    )
    rows = json.loads(done.stdout)["results"]
    assert [row["backend"] for row in rows] == ["cpu"] * 3 + ["numpy"] * 3
    assert {(row["isa"], row["layout"]) for row in rows} == {("generic", "t2")}


def test_bench_lm_reads_prompts_and_settings(tmp_path):
    path = str(tiny.write(tmp_path / "tiny.gguf", n_layers=1))
    prompts, configs = tmp_path / "prompts.txt", tmp_path / "configs.toml"
    prompts.write_text("hello\n\nné\n")
    configs.write_text(
        '[[run]]\nthreads = [1, 2]\nlayouts = "t2"\n\n[[run]]\nprompt_tokens = 4\n'
    )
    common = ["bench-lm", "-m", path, "--gen", "1", "--iterations", "1"]
    common += ["--warmup", "0", "--prompt-tokens", "3", "--json"]
    done = run(*common, "--prompts", str(prompts), "--configs", str(configs))
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["results"]
    assert [(row["layout"], row["n_threads"]) for row in rows[::4]] == [
        ("t2", 1), ("t2", 2), ("auto", 1)
    ]  # fmt: skip
    n = {(row["what"], row["n_tokens"]) for row in rows}
    # Each prompt begins with a token of its own.
    assert n == {
        ("load", 0), ("prompt", 3), ("prompt", 4), ("prompts", 6 + 4), ("generate", 1)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"x = 1", "key 'x'; it takes run"),
        (b"", "no [[run]]"),
        (b"run = 3", "no [[run]]"),
        (b"[[run]]\nmodel = 'a'", "key 'model'; a run takes threads"),
        (b"[[run]]\nthreads = 0", "threads: '0' is not a number"),
        (b"[[run]]\nlayouts = ['t2', 't3']", "layouts: 't3' is not one of"),
        (b"[[run]", "not TOML"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_settings_that_are_none(model, tmp_path, content, problem):
    path = tmp_path / "configs.toml"
    path.write_bytes(content)
    done = run("bench-lm", "-m", model, "--configs", str(path))
    assert done.exit_code == 2 and problem in done.output


def test_profile_writes_a_trace(model, tmp_path):
    trace = tmp_path / "trace.json"
    common = ["profile", "-m", model, "--prompt-tokens", "7", "--gen", "2"]
    done = run(*common, "--json", "-o", str(trace))
    assert done.exit_code == 0, done.output
    seconds = json.loads(done.stdout)["seconds"]
    assert seconds["prompt"]["attention"] > 0
    events = json.loads(trace.read_text())["traceEvents"]
    heads = [event["cat"] for event in events if event["name"] == "head"]
    assert heads == ["prompt", "generate", "generate"]
    assert all(event["ph"] == "X" and event["dur"] >= 0 for event in events)
    picture = tmp_path / "flames.svg"
    assert run(*common, "-o", str(picture)).exit_code == 0
    root = ElementTree.parse(picture).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    titles = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles[0].startswith("all: ") and titles[0].endswith("100.0%")
    assert any(title.startswith("prompt: ") for title in titles)
    assert any(title.startswith("layer 0: ") for title in titles)
    assert "attention" in run(*common).output


def test_generate_writes_a_profile(tmp_path):
    path = str(tiny.write(tmp_path / "tiny.gguf", n_layers=1))
    trace = tmp_path / "trace.json"
    command = ["generate", "-m", path, "-p", "hello", "-n", "3"]
    plain = run(*command)
    done = run(*command, "--profile", str(trace))
    assert done.exit_code == 0 and done.stdout == plain.stdout
    events = json.loads(trace.read_text())["traceEvents"]
    assert sum(event["name"] == "head" for event in events) in (1, 2, 3)
    picture = tmp_path / "flames.svg"
    environment = {"SKLEARN_TERNARY_PROFILE": str(picture)}
    done = CliRunner().invoke(app, command, env=environment)
    assert done.exit_code == 0
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")


def test_the_log_names_the_instruction_set(model, run_python):
    """In a process of its own: what logs, is set up for the whole of it."""
    code = """
import sys
sys.stderr = sys.stdout
from sklearn_ternary.cli import main
arguments = ["profile", "-m", sys.argv[1], "--gen", "1", "--prompt-tokens", "3"]
main(arguments, standalone_mode=False)
"""
    environment = os.environ | {
        "SKLEARN_TERNARY_LOG": "debug",
        "SKLEARN_TERNARY_ISA": "generic",
    }
    text = run_python(code, model, env=environment)
    assert "SIMD level generic of" in text
    assert "language model on backend cpu" in text and "'isa': 'generic'" in text


def test_what_boxes_of_a_flame_graph_show():
    picture = flame_graph({("a<b", "x"): 3.0, ("a<b",): 1.0, ("c", "y" * 99): 1e-9})
    root = ElementTree.fromstring(picture)
    boxes = root.findall(".//{*}rect")
    widths = [float(box.get("width")) for box in boxes]
    assert widths == [1200.0, 1200.0, 900.0]  # what is too narrow is left out
    assert "a<b: 4 s, 100.0%" in [
        title.text for title in root.iter("{http://www.w3.org/2000/svg}title")
    ]
    assert ElementTree.fromstring(flame_graph({})).tag.endswith("svg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench-lm"], "--model is needed"),
        (["bench-lm", "--compare", "a", "b", "-m", "c"], "goes without"),
        (["bench-lm", "-m", "MODEL", "--threads", "0"], "'0' is not a number from 1"),
        (["bench-lm", "-m", "MODEL", "--layouts", "t3"], "'t3' is not one of"),
        (["bench-lm", "-m", "MODEL", "--prompt-tokens", "41"], "context of the model"),
        (["bench-lm", "-m", "nowhere.gguf"], "nowhere.gguf"),
        (["bench-lm", "--compare", "MODEL", "MODEL"], "not a report"),
        (["profile", "-m", "MODEL", "--gen", "40"], "context of the model"),
        (["profile", "-m", "MODEL", "-o", "."], "is a folder"),
    ],
)
def test_wrong_use_is_told(model, arguments, message):
    done = run(*[model if a == "MODEL" else a for a in arguments])
    assert done.exit_code == 2 and message in done.output
