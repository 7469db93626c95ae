"""The documentation is complete, and what it shows is what happens."""

import ast
import dataclasses
import doctest
import importlib
import importlib.util
import inspect
import json
import pkgutil
import re
import sys
import textwrap
from pathlib import Path

import pytest

import sklearn_ternary

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
GUIDE = ROOT / "doc" / "user_guide"
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS

COMMANDS = {
    "demo": "python3 -m venv .venv && .venv/bin/pip install . && "
    ".venv/bin/sklearn-ternary demo",
    "test": 'python3 -m venv .venv && .venv/bin/pip install ".[test]" && '
    ".venv/bin/pytest",
}
# Examples that are shown but cannot be compared, with the reason.
NOT_RUN = {"show_versions()": "prints what this machine has"}


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    """No display, and neither files nor settings of the user."""
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    config = sklearn_ternary.get_config()
    yield
    sklearn_ternary.set_config(**config)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def public_names():
    """Every public name with its place, as a path below the package."""
    public = {n: getattr(sklearn_ternary, n) for n in sklearn_ternary.__all__}
    modules = {n for n, value in public.items() if inspect.ismodule(value)}
    names = [n for n in public if n not in modules | {"__version__"}]
    for module in sorted(modules):
        members = importlib.import_module(f"sklearn_ternary.{module}").__all__
        names += [f"{module}.{n}" for n in members if n not in sklearn_ternary.__all__]
    return names


PUBLIC = public_names()


def resolve(name):
    """Return the object of a name as in `PUBLIC`."""
    thing = sklearn_ternary
    for part in name.split("."):
        thing = getattr(thing, part)
    return thing


CLASSES = [n for n in PUBLIC if inspect.isclass(resolve(n))]
# Warnings and exceptions are only caught.
MADE_BY_USERS = [n for n in CLASSES if not issubclass(resolve(n), BaseException)]


def callables():
    """Public functions, and the methods that public classes define themselves."""
    for name in PUBLIC:
        thing = resolve(name)
        if not inspect.isclass(thing):
            yield name
            continue
        for attribute, member in vars(thing).items():
            is_method = inspect.isfunction(member) or isinstance(
                member, classmethod | staticmethod
            )
            # Those of scikit-learn's mixins have its docstrings.
            if is_method and not attribute.startswith("_"):
                yield f"{name}.{attribute}"


CALLABLES = list(callables())


def sections(thing):
    """Title to body of the sections of a numpydoc docstring; "" is the summary."""
    doc = inspect.getdoc(thing) or ""
    parts = re.split(r"^(\S[^\n]*)\n-{3,}\n", doc, flags=re.MULTILINE)
    return {"": parts[0].strip(), **dict(zip(parts[1::2], parts[2::2], strict=True))}


def documented_parameters(body):
    """Return the names on the left of a Parameters section."""
    names = []
    for line in body.splitlines():
        if line and not line[0].isspace():
            names += [n.strip(" *`") for n in line.split(" : ")[0].split(",")]
    return names


def parameters(function):
    """Return the names that a call may give."""
    return [n for n in inspect.signature(function).parameters if n != "self"]


def returns_value(function):
    """Whether a ``return`` or ``yield`` of the function itself has a value."""
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    pending = list(ast.parse(source).body[0].body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.Return | ast.Yield) and node.value is not None:
            return True
        pending.extend(ast.iter_child_nodes(node))
    return False


# Docstrings


@pytest.mark.parametrize("name", PUBLIC)
def test_has_a_summary(name):
    summary = sections(resolve(name))[""]
    assert summary, f"{name} has no docstring"
    assert summary.split("\n")[0].endswith("."), f"summary of {name} is no sentence"


@pytest.mark.parametrize("name", CALLABLES)
def test_parameters_and_returns(name):
    function = resolve(name)
    found = sections(function)
    assert found[""], f"{name} has no docstring"
    given = parameters(function)
    documented = documented_parameters(found.get("Parameters", ""))
    assert documented == given, f"Parameters of {name}"
    if returns_value(function):
        assert found.keys() & {"Returns", "Yields"}, f"{name} lacks Returns"


@pytest.mark.parametrize("name", MADE_BY_USERS)
def test_class_sections(name):
    thing = resolve(name)
    found = sections(thing)
    # Results are made by functions, which have the examples.
    title = "Attributes" if dataclasses.is_dataclass(thing) else "Parameters"
    documented = documented_parameters(found.get(title, ""))
    assert documented == parameters(thing), f"{title} of {name}"
    if title == "Parameters":
        assert ">>>" in found.get("Examples", ""), f"{name} has no example"


@pytest.mark.parametrize("name", CLASSES)
def test_properties_have_docstrings(name):
    for attribute, member in vars(resolve(name)).items():
        if isinstance(member, property) and not attribute.startswith("_"):
            assert inspect.getdoc(member), f"{name}.{attribute}"


# Examples


def modules():
    """Names of all modules of the installed package."""
    found = pkgutil.walk_packages(sklearn_ternary.__path__, "sklearn_ternary.")
    # __main__ runs when it is imported.
    names = [info.name for info in found if not info.name.endswith("__main__")]
    return ["sklearn_ternary", *names]


def run(test):
    """Run the examples of one DocTest and return how many there were."""
    printed = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    result = runner.run(test, out=printed.append)
    assert result.failed == 0, "".join(printed)
    return result.attempted


@pytest.mark.parametrize("name", modules())
def test_examples_of_module(name):
    module = importlib.import_module(name)
    for test in doctest.DocTestFinder().find(module, name):
        run(test)


def test_nothing_is_skipped_unseen():
    skipped = set()
    for name in modules():
        for test in doctest.DocTestFinder().find(importlib.import_module(name), name):
            skipped |= {
                example.source.split("#")[0].strip()
                for example in test.examples
                if example.options.get(doctest.SKIP)
            }
    assert skipped == set(NOT_RUN)


PAGES = sorted((ROOT / "doc").glob("*.rst")) + sorted(GUIDE.glob("*.rst"))


def page_examples(path):
    """Return the examples of a page as one DocTest."""
    text = path.read_text(encoding="utf-8")
    return doctest.DocTestParser().get_doctest(text, {}, path.name, str(path), 0)


@pytest.mark.parametrize(
    "path", [p for p in PAGES if ">>>" in p.read_text("utf-8")], ids=lambda p: p.stem
)
def test_examples_of_page(path):
    test = page_examples(path)
    assert not any(e.options.get(doctest.SKIP) for e in test.examples)
    assert run(test) > 0


def test_readme_example():
    test = page_examples(README)
    assert 8 <= len(test.examples) <= 12
    assert run(test) == len(test.examples)


# Completeness


def api_entries():
    """Return the names that the autosummaries of the API page list."""
    text = (ROOT / "doc" / "api" / "index.rst").read_text("utf-8")
    blocks = re.findall(r"   :toctree: generated/\n\n((?:   \S+\n)+)", text)
    return [line.strip() for block in blocks for line in block.splitlines()]


def test_api_page_lists_every_public_name():
    assert sorted(api_entries()) == sorted(PUBLIC)


def test_configuration_page_names_keys_and_variables():
    from sklearn_ternary._config import _KEYS

    text = (GUIDE / "configuration.rst").read_text("utf-8")
    for key, row in _KEYS.items():
        assert f"* - ``{key}``" in text
        assert f"``{row.variable}``" in text


def test_quantization_page_defines_every_scale():
    from sklearn_ternary.quantization._scales import SCALES

    text = (GUIDE / "quantization.rst").read_text("utf-8")
    for scale in SCALES:
        assert re.search(rf'^``"{scale}"``$', text, re.MULTILINE), scale


@pytest.mark.parametrize(
    "path", [README, GUIDE / "command_line.rst"], ids=lambda p: p.name
)
def test_every_command_is_named(path):
    from sklearn_ternary.cli._app import _COMMANDS

    text = path.read_text("utf-8")
    for command in _COMMANDS:
        assert re.search(rf"(`|sklearn-ternary ){command}\b", text), command


def test_options_on_the_command_line_page_exist():
    from click.testing import CliRunner

    from sklearn_ternary.cli._app import _COMMANDS, app

    text = (GUIDE / "command_line.rst").read_text("utf-8")
    helps = [CliRunner().invoke(app, [name, "--help"]).output for name in _COMMANDS]
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    assert options
    assert {o for o in options if not any(o in h for h in helps)} == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_readme_has_the_two_commands(name):
    text = README.read_text("utf-8")
    pattern = rf"<!-- command: {name} -->\n```sh\n(.*?)\n```\n"
    assert re.findall(pattern, text, re.DOTALL) == [COMMANDS[name]]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name):
    text = (ROOT / name).read_text("utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (ROOT / target).exists(), target


# Tables


@pytest.fixture
def render_tables(monkeypatch):
    """The script that makes tables of measurements."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("render_tables")


def test_readme_tables_are_those_of_the_results(render_tables):
    text = README.read_text("utf-8")
    assert render_tables.filled(text) == text


def test_stale_table_is_noticed(render_tables):
    text = README.read_text("utf-8")
    assert render_tables.filled(text.replace("20.00×", "20.25×")) != text.replace(
        "20.00×", "20.25×"
    )


def test_every_table_of_the_guide_is_made(render_tables):
    pages = "".join(path.read_text("utf-8") for path in PAGES)
    included = set(re.findall(r"include:: \.\./generated/tables/(\w+)\.rst", pages))
    assert included
    assert included <= set(render_tables.TABLES)


# Targets


@pytest.fixture
def targets(render_tables):
    return importlib.import_module("result_tables.targets")


def test_every_target_is_in_its_results_and_on_its_page(targets, render_tables):
    found = targets.all_judged()
    assert len(found) > 100
    assert [
        one.target["what"] for one in found if one.verdict == targets.NOT_FOUND
    ] == []
    page = (ROOT / "doc" / "user_guide" / "targets.rst").read_text("utf-8")
    for name in targets.TABLES:
        assert f"generated/tables/{name}.rst" in page, name
    names = {"title", "text", "file", "list", "unit", "where", "value", "targets"}
    of_one = names - {"title", "text", "targets"}
    of_one |= {"what", "at_least", "at_most", "aim", "lower", "over", "than", "minus"}
    for subject in targets.subjects().values():
        assert set(subject) <= names
        for target in subject["targets"]:
            assert set(target) <= of_one, target
            assert {"at_least", "at_most", "aim"} & set(target), target


def test_targets_are_judged(targets, monkeypatch, tmp_path):
    rows = [
        {"n": 1, "name": "ours", "seconds": 2.0, "peer": {"x": 4.0}, "all": [1, 3]},
        {"n": 1, "name": "theirs", "seconds": 5.0, "all": [0, 1]},
        {"n": 2, "name": "ours", "seconds": 3.0, "peer": {"x": 9.0}},
    ]
    (tmp_path / "made.json").write_text(json.dumps({"results": rows}))
    monkeypatch.setattr(targets, "RESULTS", tmp_path)
    monkeypatch.setattr(targets, "results", lambda name: {"results": rows})
    subject = {"title": "t", "file": "made", "unit": "×", "where": {"name": "ours"}}
    seconds, peer = {"value": "seconds"}, {"value": ["peer", "x"], "over": "seconds"}
    one, all_ = {**seconds, "where": {"n": 1}}, {"value": "all", "where": {"n": 1}}
    cases = [
        ({**seconds, "at_most": 3}, 3.0, "met"),  # the worst of two
        ({**seconds, "at_most": 2.5}, 3.0, "unmet"),
        ({**seconds, "at_most": 4, "aim": 3}, 3.0, "aim reached"),
        ({**seconds, "aim": 2, "lower": True}, 3.0, "aim missed"),
        ({**peer, "at_least": 2, "aim": 2.5}, 2.0, "met"),
        ({**peer, "at_least": 2.1}, 2.0, "unmet"),
        ({**one, "than": {"name": "theirs"}, "at_most": 1}, 0.4, "met"),
        ({**all_, "minus": {"name": "theirs"}, "at_least": 1.5}, 1.5, "met"),
        ({"value": "gone", "at_least": 1}, None, targets.NOT_FOUND),
        ({**one, "than": {"name": "nobody"}, "aim": 1}, None, targets.NOT_FOUND),
        ({**seconds, "file": "later", "at_least": 1}, None, "not measured"),
    ]
    subject["targets"] = [{"what": "", **case[0]} for case in cases]
    for (_, measured, verdict), found in zip(
        cases, targets.judged(subject), strict=True
    ):
        assert (found.measured, found.verdict) == (measured, verdict)


# Benchmarks: the scripts run, on sizes that say nothing about speed.


def test_asv_can_make_what_it_takes_for_benchmarks():
    """It makes every class with such a method, without arguments."""
    folder, found = ROOT / "benchmarks", 0
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.ClassDef):
                continue
            methods = {f.name: f for f in node.body if isinstance(f, ast.FunctionDef)}
            if any(re.match("(time|timeraw|mem|peakmem|track)_", m) for m in methods):
                found += 1
                assert "__init__" not in methods, f"{path.name}: {node.name}"
    assert found > 10


@pytest.fixture
def peers(monkeypatch):
    """The script that measures us beside others."""
    folder = ROOT / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))
    path = folder / "peers" / "quantize.py"
    spec = importlib.util.spec_from_file_location("peers_quantize", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_peers_are_measured_and_compared(peers):
    isas = peers.available_isas()
    rows = peers.measure(2048, 2, isas[:1], [1])
    peers.add_ratios(rows)
    by_name = {row["operation"]: row for row in rows}
    assert set(by_name) == {*peers.BASELINES, *peers.OURS}
    ours, numpy = by_name["quantize absmean"], by_name["numpy"]
    assert ours["vs_numpy"] == numpy["seconds"] / ours["seconds"]
    assert ours["vs_copy"] == pytest.approx(1 / ours["copy_bandwidth"])
    assert ours["reading"] == by_name["read"]["seconds"] / ours["seconds"]
    assert by_name["quantize mse"]["vs_absmean"] > 0
    assert by_name["unpack"]["vs_full"] > 0


def test_ratios_are_to_the_same_size(peers):
    def row(operation, size, seconds):
        return {
            "operation": operation,
            "isa": None,
            "n_threads": 1,
            "size": size,
            "seconds": seconds,
        }

    rows = [
        row("copy", 1, 1.0),
        row("numpy", 1, 6.0),
        row("quantize absmean", 1, 2.0),
        row("copy", 2, 10.0),
        row("numpy", 2, 80.0),
        row("quantize absmean", 2, 20.0),
    ]
    peers.add_ratios(rows)
    assert (rows[2]["vs_numpy"], rows[2]["vs_copy"]) == (3.0, 2.0)
    assert (rows[5]["vs_numpy"], rows[5]["copy_bandwidth"]) == (4.0, 0.5)
    assert "vs_gguf_tq2_0" not in rows[2]


def test_backends_are_measured(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    results = importlib.import_module("backends").measure([256])
    assert all(row["numpy"] > 0 and row["cpu"] > 0 for row in results["timings"])
    assert len(results["timings"]) == len(results["crossovers"])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.5, "1.50 s"), (0.0123, "12.3 ms"), (4.56e-4, "456 µs"), (2e-7, "0.20 µs")],
)
def test_durations_have_three_digits(render_tables, seconds, text):
    duration = importlib.import_module("result_tables._parts").duration
    assert duration(seconds).replace("\N{NO-BREAK SPACE}", " ") == text
