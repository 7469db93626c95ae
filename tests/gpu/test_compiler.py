"""Kernels are compiled once, for the device that is there, with options of our own."""

import ast
from pathlib import Path

import pytest

from sklearn_ternary import _gpu, _reference
from sklearn_ternary._gpu import compiler, kernels

TEXT = "// nothing"
OPTIONS = ("-std=c++17",)


@pytest.fixture
def compiled(cupy, tmp_path, monkeypatch):
    """Architectures compiled for so far, and a function that asks for a module."""
    nvrtc, asked = cupy.cuda.nvrtc, []
    compile_program = nvrtc.compileProgram
    monkeypatch.setattr(
        nvrtc,
        "compileProgram",
        lambda p, o: asked.append(o[-1].split("=")[1]) or compile_program(p, o),
    )
    monkeypatch.setattr(cupy, "RawModule", lambda path: Path(path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def get(capability=(9, 0), text=TEXT):
        return compiler.compiled_module(cupy, "name", text, OPTIONS, capability)

    return asked, get


def test_compiled_once(compiled, tmp_path):
    asked, get = compiled
    path = get()
    assert path == get()
    assert asked == ["sm_90"]
    assert path.parent == tmp_path / "sklearn_ternary" / "kernels"
    assert get(text=TEXT + " more") != path
    assert get(capability=(8, 0)) != path


@pytest.mark.parametrize("damage", [lambda b: b[:9], lambda b: b[::-1], lambda b: b""])
def test_what_is_damaged_is_compiled_again(compiled, damage):
    asked, get = compiled
    path = get()
    right = path.read_bytes()
    path.write_bytes(damage(right))
    assert get() == path
    assert path.read_bytes() == right
    assert asked == ["sm_90"] * 2


def test_devices_of_other_ages(compiled):
    asked, get = compiled
    get((8, 9))
    get((12, 1))
    assert asked == ["compute_80", "compute_120"]
    with pytest.raises(NotImplementedError, match=r"capability 6\.1"):
        get((6, 1))


def test_nowhere_to_keep_it(compiled, tmp_path, monkeypatch):
    asked, get = compiled
    (tmp_path / "sklearn_ternary").write_text("a file where the folder should be")
    path = get()
    assert path.exists() and path == get()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", _no_home)
    assert path == get()
    assert asked == ["sm_90"]


def _no_home():
    raise RuntimeError("Could not determine home directory.")


def test_what_does_not_compile(compiled):
    _, get = compiled
    with pytest.raises(RuntimeError, match=r"(?s)name\.cu does not.*compiler says"):
        get(text="#error")


@pytest.fixture
def real_cupy():
    """CuPy, installed; it needs no device for what is done here."""
    cupy = pytest.importorskip("cupy", reason="install cupy-cuda12x or cupy-cuda13x")
    try:
        cupy.cuda.nvrtc.getVersion()
    except Exception as error:  # the library is a package of its own
        pytest.skip(f"CuPy finds no NVRTC: install cupy-cuda12x[ctk] ({error})")
    return cupy


@pytest.mark.parametrize("capability, kind", [((9, 0), "cubin"), ((99, 0), "ptx")])
def test_cupys_own_compiler(real_cupy, tmp_path, monkeypatch, capability, kind):
    """No number is flushed to zero, which CuPy's RawModule(code=…) asks for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    text, options = kernels.source("network"), kernels.OPTIONS
    compiler.compiled_module(real_cupy, "network", text, options, capability)
    (path,) = tmp_path.glob("sklearn_ternary/kernels/*")
    made = path.read_bytes()
    assert path.suffix == f".{kind}"
    if kind == "cubin":
        assert made.startswith(b"\x7fELF")
    else:
        assert b".target sm_" in made and b"ftz" not in made


def _names(tree):
    """Dotted names that start with ``cupy`` or ``cupyx``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            try:
                name = ast.unparse(node).replace("self._cupy", "cupy")
            except ValueError:
                continue
            if name.replace(".", "").isidentifier() and name.startswith("cupy"):
                yield name


def test_cupy_has_what_is_used(real_cupy):
    """Every name, also where the tests use the stand-in."""
    import cupyx

    folder = Path(_gpu.__file__).parent
    files = [*folder.rglob("*.py"), Path(__file__).parents[2] / "benchmarks" / "gpu.py"]
    names = {n for f in files for n in _names(ast.parse(f.read_text()))}
    assert {"cupy.cuda.runtime.memGetInfo", "cupyx.empty_pinned"} <= names
    for name in sorted(names):
        start, *parts = name.split(".")
        found = {"cupy": real_cupy, "cupyx": cupyx}[start]
        for part in parts:
            found = getattr(found, part)


def test_cupy_has_what_definitions_use(real_cupy):
    """Where expressions call the definitions, NumPy hands over to CuPy by name."""
    folder = Path(_reference.__file__).parent
    modules = "foreign_layouts groups layers lloyd losses matmul pack steps sums"
    for name in modules.split():
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "np":
                assert node.attr == "errstate" or hasattr(real_cupy, node.attr)
