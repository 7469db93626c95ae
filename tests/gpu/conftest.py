"""CuPy for the tests: its stand-in on the emulator, or on a device the real one."""

import contextlib
import gc
import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from sklearn_ternary._dispatch import _choice
from sklearn_ternary._gpu import device, kernels

EMULATOR = Path(__file__).parents[1] / "gpu_emulator"


def _load(name, file):
    spec = importlib.util.spec_from_file_location(name, EMULATOR / file)
    module = importlib.util.module_from_spec(spec)
    # It is looked up under its name while it is executed.
    before, sys.modules[name] = sys.modules.get(name), module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before
    return module


@contextlib.contextmanager
def _imported_as_cupy(stand_in):
    cupyx = types.ModuleType("cupyx")
    cupyx.empty_pinned = np.empty
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", stand_in)
        patch.setitem(sys.modules, "cupyx", cupyx)
        yield


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Compiled kernels are not kept in the user's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def emulator():
    """The emulator; skips where there is no C++ compiler."""
    module = _load("gpu_emulator", "emulator.py")
    if not module.has_compiler():
        pytest.skip("no C++ compiler for the emulator (install g++, or set CXX)")
    return module


@pytest.fixture(scope="session")
def make_stand_in(emulator):
    """Make a stand-in whose kernels are built in a way of their own."""
    return lambda: _load("cupy", "cupy_stand_in.py")


@pytest.fixture(scope="session")
def plain_stand_in(make_stand_in):
    return make_stand_in()


@pytest.fixture
def clean(monkeypatch):
    """Nothing is known of devices, before and after."""
    monkeypatch.setattr(_choice, "_functions", {})
    monkeypatch.setattr(_choice, "_missing", {})
    monkeypatch.setattr(_choice, "_warned", {})

    def forget():
        device._usable.cache_clear()
        device.info.cache_clear()

    forget()
    gc.collect()  # the memory of other tests
    yield
    forget()


@pytest.fixture
def cupy(plain_stand_in, clean):
    """The stand-in, imported as CuPy."""
    with _imported_as_cupy(plain_stand_in):
        yield plain_stand_in
    plain_stand_in.order = "forward"


@pytest.fixture
def without_kernels(monkeypatch):
    """Make a device one that the kernels are not for."""

    def make_older(cupy):
        if cupy.__version__ == "stand-in":
            monkeypatch.setattr(cupy, "capability", (7, 5))
        else:
            for module in (device, kernels):
                monkeypatch.setattr(module, "MIN_CAPABILITY", (99, 0))
        forget()

    def forget():
        kernels._module.cache_clear()
        kernels._function.cache_clear()
        device.info.cache_clear()

    yield make_older
    forget()


@pytest.fixture(params=["forward", "shuffled", "expressions"])
def order(request, any_cupy, without_kernels):
    """Orders of threads on the emulator, and expressions without kernels."""
    if request.param == "expressions":
        without_kernels(any_cupy)
    elif any_cupy.__version__ == "stand-in":
        any_cupy.order = request.param
    elif request.param == "shuffled":
        pytest.skip("the order is the device's")
    return request.param


@pytest.fixture(params=["emulator", "device"])
def any_cupy(request, clean):
    """The stand-in, then the real CuPy where there is a device."""
    if request.param == "emulator":
        stand_in = request.getfixturevalue("plain_stand_in")
        with _imported_as_cupy(stand_in):
            yield stand_in
        return
    real = pytest.importorskip("cupy", reason="CuPy is not installed")
    if not real.cuda.is_available():
        pytest.skip("no CUDA device")
    yield real
