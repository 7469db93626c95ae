"""The Dockerfile, read: nothing here can build it."""

import fnmatch
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMES = ("ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "RUN", "USER", "WORKDIR")


@pytest.fixture(scope="module")
def text():
    return (ROOT / "Dockerfile").read_text("utf-8")


@pytest.fixture(scope="module")
def instructions(text):
    """Pairs of a name and its arguments, lines that go on joined."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]


def of(instructions, name):
    return [rest for found, rest in instructions if found == name]


def stages(instructions):
    """The instructions of each stage; those before the first are left out."""
    found = []
    for name, rest in instructions:
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, rest))
    return found


def test_only_these_instructions(instructions):
    assert {name for name, _ in instructions} == set(NAMES)  # no ADD, no latest


def test_bases_are_versions(instructions, text):
    assert instructions[0] == ["ARG", "BASE=debian:bookworm-slim"]
    build, last = of(instructions, "FROM")
    assert (build, last) == ("${BASE} AS build", "${BASE}")
    cuda = re.search(r"BASE=(nvidia/cuda:\S+)", text)[1]
    assert re.fullmatch(r"nvidia/cuda:12\.\d+\.\d+-runtime-ubuntu\d\d\.\d\d", cuda)


def test_the_extra_for_it_exists(text):
    extra = re.search(r"EXTRAS='\[(\w+)\]'", text)[1]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert extra in project["optional-dependencies"]
    assert "sklearn-ternary" in project["scripts"]


def test_the_image_runs_as_a_user_without_rights(instructions):
    last = stages(instructions)[-1]
    names = [name for name, _ in last]
    (user,) = of(last, "USER")
    added = re.search(r"useradd .*--uid (\d+) (\w+)", of(last, "RUN")[0])
    assert user == added[2]
    assert int(added[1]) >= 10_000  # no user of the bases has it
    # Nothing is installed or copied as that user's, and what runs is.
    assert names.index("USER") > max(names.index("RUN"), names.index("COPY"))
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert not re.search(r"sudo|chmod|chown", " ".join(rest for _, rest in last))


def test_commands_are_lists(instructions):
    (entry,), (arguments,) = of(instructions, "ENTRYPOINT"), of(instructions, "CMD")
    assert json.loads(entry) == ["sklearn-ternary"]
    assert json.loads(arguments) == ["doctor"]


def test_packages_leave_nothing_behind(instructions):
    build, last = stages(instructions)
    for run in of(instructions, "RUN"):
        words = shlex.split(run)
        if "apt-get" in words:
            assert "--no-install-recommends" in words
            assert "--yes" in words
            assert words.index("update") < words.index("install")
            assert "rm -rf /var/lib/apt/lists/*" in run
        if "pip" in run:
            assert "--no-cache-dir" in words
    assert "gcc" in of(build, "RUN")[0]
    assert not re.search(r"gcc|python3-dev", of(last, "RUN")[0])
    assert "libgomp1" in of(last, "RUN")[0]  # the kernels were linked with it


def test_copies_come_from_a_stage_that_is_there(instructions):
    build, last = stages(instructions)
    assert of(build, "COPY") == [". ."]
    (copied,) = of(last, "COPY")
    assert copied == "--from=build /opt/venv /opt/venv"
    assert "/opt/venv" in of(build, "RUN")[1]
    assert all(path.startswith("/") for path in of(instructions, "WORKDIR"))


def test_what_is_sent_to_the_build():
    """The folders of the build, and no other: no history, no environment, no data."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"

    def is_sent(path):
        sent = True
        for rule in rules:
            pattern = rule.removeprefix("!").removeprefix("**/")
            if fnmatch.fnmatch(path, pattern) or path.startswith(pattern + "/"):
                sent = rule.startswith("!")
        return sent

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = ["pyproject.toml", "meson.build", "meson.options", "sklearn_ternary/x.py"]
    for path in (*needed, project["readme"], *project["license-files"]):
        assert is_sent(path), path
    for path in (".git/config", ".venv/bin/python", "build/x", "tests/x", ".env"):
        assert not is_sent(path), path
