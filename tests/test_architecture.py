"""The house keeps its order: imports point down, every file is installed."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sklearn_ternary"

# Floor of each room, the ground at 0; a module may import its own floor or below.
FLOORS = {
    "_lazy": 0,
    "exceptions": 0,
    "_cache": 0,
    "_config": 0,
    "_layouts": 0,
    "_parameters": 0,
    "_sklearn_compat": 0,
    "persistence": 0,
    "_kernels": 1,
    "_reference": 2,
    "_cpu": 2,
    "_gpu": 2,
    "_measurements": 2,
    "_calibration": 3,
    "_crossovers": 1,
    "_dispatch": 3,
    "_in_kind": 3,
    "_validation": 3,
    "_show_versions": 3,
    "cluster": 4,
    "cuda": 4,
    "quantization": 4,
    "compression": 4,
    "language": 4,
    "linalg": 4,
    "metrics": 4,
    "neural_network": 4,
    "plotting": 4,
    "_files": 4,
    "cli": 5,
    "__main__": 6,
}
SOURCES = (".py", ".cu", ".cuh")
MODULES = sorted(PACKAGE.rglob("*.py")) + sorted(PACKAGE.rglob("*.pyx"))


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(path):
    """Modules of this package that `path` imports, anywhere in the file."""
    text = path.read_text()
    if path.suffix == ".pyx":
        found = re.findall(
            r"^\s*(?:from|cimport|import) (sklearn_ternary[\w.]*)", text, re.M
        )
        return set(found)
    known = {module_name(p) for p in MODULES}
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in known else node.module)
    return {name for name in found if name.split(".")[0] == "sklearn_ternary"}


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_point_downwards(path):
    name = module_name(path)
    if name == "sklearn_ternary":
        assert imports(path) == {"sklearn_ternary._lazy"}
        return
    for imported in imports(path) - {"sklearn_ternary"}:
        assert FLOORS[room(imported)] <= FLOORS[room(name)], (
            f"{name} is below {imported}"
        )


def test_no_circular_imports():
    graph = {module_name(p): imports(p) for p in MODULES}
    done, path = set(), []

    def visit(module):
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done or module not in graph:
            return
        path.append(module)
        for imported in sorted(graph[module]):
            if imported != "sklearn_ternary":
                visit(imported)
        path.pop()
        done.add(module)

    for module in graph:
        visit(module)


def test_every_room_has_a_floor():
    rooms = {room(module_name(p)) for p in MODULES} - {"__init__"}
    assert rooms == set(FLOORS)


@pytest.mark.parametrize(
    "folder",
    sorted({p.parent for p in PACKAGE.rglob("*.py")}),
    ids=lambda folder: str(folder.relative_to(ROOT)),
)
def test_meson_installs_every_python_file(folder):
    text = (folder / "meson.build").read_text()
    listed = re.findall(r"'(\w+\.(?:py|cuh?))'", text)
    files = sorted(p.name for p in folder.iterdir() if p.suffix in SOURCES)
    assert sorted(set(listed)) == files


def test_private_scikit_learn_names_come_from_one_place():
    for path in PACKAGE.rglob("*.py"):
        if path.name == "_sklearn_compat.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                "sklearn."
            ):
                names = [*node.module.split("."), *(a.name for a in node.names)]
                assert not any(n.startswith("_") for n in names), (path, names)


def test_importing_the_package_imports_no_scikit_learn(run_python):
    code = """
import sys, sklearn_ternary
from sklearn_ternary import TernaryArray, ternarize, load, save, get_config
ternarize([[1.0, -2.0]]).toarray()
heavy = {"sklearn", "scipy", "pandas", "matplotlib", "cupy", "torch"} & set(sys.modules)
assert not heavy, heavy
"""
    run_python(code)
