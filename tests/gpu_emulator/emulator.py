"""Compile the kernels with g++ and run them on NumPy arrays; see emulator.h."""

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
COMPILER = os.environ.get("CXX", "g++")
_CACHE = Path(tempfile.gettempdir()) / f"sklearn_ternary_gpu_emulator_{os.getuid()}"
_KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\('
)
_CONDITION = re.compile(r"^#ifdef (\w+)$(.*?)^#endif", re.MULTILINE | re.DOTALL)
_ORDERS = {"forward": 0, "shuffled": 1}
_FLAGS = (
    "-std=c++17",
    "-O1",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    "-Wall",
    "-Wno-unknown-pragmas",
    "-Wno-unused-function",
    "-Wno-sequence-point",  # there is one between expressions in braces
)
_SANITIZERS = (
    "-fsanitize=address,alignment",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
    # Checks of the stack do not know fibers.
    "-fno-sanitize-address-use-after-scope",
    "--param",
    "asan-stack=0",
)


class EmulatorError(RuntimeError):
    """A kernel did what a device forbids, or does not compile."""


def has_compiler():
    """Whether there is a C++ compiler."""
    return shutil.which(COMPILER) is not None


def address_sanitizer():
    """Library to preload for ``build="address"``, or None if there is none."""
    done = subprocess.run(
        [COMPILER, "-print-file-name=libasan.so"], capture_output=True, text=True
    )
    path = done.stdout.strip()
    return path if os.path.isabs(path) else None


def with_mutants(code, mutants):
    """Plant bugs that `EmulatedModule.mutant` brings to life, one at a time.

    Parameters
    ----------
    code : str
    mutants : sequence of (str, str)
        A piece of the text that occurs once, and what the bug makes of it:
        statements, or an expression.
    """
    for number, (right, wrong) in enumerate(mutants, 1):
        if code.count(right) != 1:
            raise ValueError(f"{right!r} occurs {code.count(right)} times")
        if ";" in right:  # a statement, maybe with a comment behind it
            both = (
                f"if (emulator_mutant == {number}) {{ {wrong}\n }} else {{ {right}\n }}"
            )
        else:
            both = f"(emulator_mutant == {number} ? ({wrong}) : ({right}))"
        code = code.replace(right, both)
    return code


class EmulatedModule:
    """The kernels of a source text, as `cupy.RawModule` has them.

    Parameters
    ----------
    code : str
    options : sequence of str, default=()
        Of these, macros (``-DNAME``) count.
    build : {"plain", "races", "address"}, default="plain"
        Detect races, or accesses outside of arrays (in a process that preloads
        `address_sanitizer()`).
    """

    order, seed = "forward", 0

    def __init__(self, code, options=(), build="plain"):
        options = [o for o in options if o.startswith("-D")]
        self.library = ctypes.CDLL(str(_compiled(code, options, build)))
        self.detects_races = build == "races"

    @property
    def mutant(self):
        """Number of the planted bug that is alive, or 0."""
        return ctypes.c_int.in_dll(self.library, "emulator_mutant").value

    @mutant.setter
    def mutant(self, number):
        ctypes.c_int.in_dll(self.library, "emulator_mutant").value = number

    def get_function(self, name):
        return _Kernel(self, name)


class _Kernel:
    max_dynamic_shared_size_bytes = 48 * 1024

    def __init__(self, module, name):
        self._module = module
        self._launch = getattr(module.library, f"emulator_launch_{name}")
        self._name = name

    def __call__(self, grid, block, args, shared_mem=0):
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise EmulatorError("shared_mem exceeds max_dynamic_shared_size_bytes")
        pointers, sizes, kept = [], [], []
        for value in args:
            if isinstance(value, np.ndarray):
                if not value.flags.c_contiguous:
                    raise EmulatorError("an argument is not contiguous")
                held = ctypes.c_void_p(value.ctypes.data)
                pointers.append(ctypes.addressof(held))
                sizes.append(-1)
            else:
                # CuPy passes Python's numbers as int64, float64 and bool.
                kinds = {int: np.int64, float: np.float64, bool: np.bool_}
                held = np.array(value, dtype=kinds.get(type(value)))
                pointers.append(held.ctypes.data)
                null = isinstance(value, np.uintp) and value == 0
                sizes.append(-1 if null else held.itemsize)
            kept.append(held)
        if self._module.detects_races:
            self._tell_arguments(args)
        message = ctypes.create_string_buffer(512)
        failed = self._launch(
            _three(grid),
            _three(block),
            ctypes.c_uint(shared_mem),
            (ctypes.c_void_p * len(pointers))(*pointers),
            (ctypes.c_int * len(sizes))(*sizes),
            len(sizes),
            _ORDERS[self._module.order],
            ctypes.c_uint(self._module.seed),
            message,
        )
        if failed:
            raise EmulatorError(f"{self._name}: {message.value.decode()}")

    def _tell_arguments(self, args):
        arrays = [(i, a) for i, a in enumerate(args) if isinstance(a, np.ndarray)]
        n = len(arrays)
        self._module.library.emulator_arguments(
            (ctypes.c_void_p * n)(*[a.ctypes.data for _, a in arrays]),
            (ctypes.c_ulonglong * n)(*[a.nbytes for _, a in arrays]),
            (ctypes.c_int * n)(*[i for i, _ in arrays]),
            n,
        )


def _three(sizes):
    return (ctypes.c_uint * 3)(*map(int, (*sizes, 1, 1)[:3]))


def _compiled(code, options, build):
    """Path of the shared library, compiled unless an equal one is there."""
    defined = {option.removeprefix("-D") for option in options}
    there = _CONDITION.sub(lambda m: m[2] if m[1] in defined else "", code)
    names = _KERNEL.findall(there)
    exports = "\n".join(f"EXPORT_KERNEL({name})" for name in names)
    source = f'#include "{FOLDER}/emulator.h"\n{code}\n{exports}\n'
    flags = list(_FLAGS)
    if build == "races":
        # The hooks of -fsanitize=thread are ours: its library is not linked.
        flags += ["-DDETECT_RACES", "-fno-threadsafe-statics"]
    if build == "address":
        flags += _SANITIZERS
    seen = ["-fsanitize=thread"] if build == "races" else []
    linked = _SANITIZERS if build == "address" else ()

    def compile_kernels(made):
        text, kernels = made.with_suffix(".cpp"), made.with_suffix(".o")
        text.write_text(source)
        _run(COMPILER, *flags, *seen, *options, "-c", text, "-o", kernels)
        _run(COMPILER, "-shared", *linked, kernels, _runtime(flags), "-o", made)

    return _kept(".so", [source, *options, *flags, *seen], compile_kernels)


def _runtime(flags):
    """Path of what all kernels are linked to."""

    def compile_runtime(made):
        _run(COMPILER, *flags, "-c", FOLDER / "runtime.cpp", "-o", made)

    return _kept(".o", flags, compile_runtime)


def _kept(suffix, parts, make):
    """Path of a file that `make` writes, unless one of equal parts is there."""
    own = "".join(p.read_text() for p in sorted(FOLDER.glob("*.[hc]*")))
    text = "\0".join([*parts, own, COMPILER])
    _CACHE.mkdir(mode=0o700, exist_ok=True)
    if _CACHE.stat().st_uid != os.getuid():
        raise EmulatorError(f"{_CACHE} belongs to somebody else")
    path = _CACHE / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}{suffix}"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=_CACHE) as folder:
            made = Path(folder) / f"made{suffix}"
            make(made)
            os.replace(made, path)
    return path


def _run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        raise EmulatorError(done.stderr[:4000])
