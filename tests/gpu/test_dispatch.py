"""Which backend CuPy arrays and ``backend="cuda"`` get."""

import warnings

import numpy as np
import pytest

from sklearn_ternary import _dispatch, _reference, config_context, dispatch_report
from sklearn_ternary._gpu import memory, quantize, searches, transfer
from sklearn_ternary.exceptions import BackendFallbackWarning

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 12)).astype(np.float32)


def test_cupy_in_cupy_out(cupy):
    """Whether it is asked for or not, on the device of the array."""
    with cupy.cuda.Device(1):
        on_device = cupy.asarray(X)
    for backend in ("auto", "cuda", "cuda:0"):
        with config_context(backend=backend, strict=True):
            scale, threshold = _dispatch.group_scale(on_device, 4, "absmean", 3)
            codes = _dispatch.quantize_codes(on_device, threshold, 4, 3)
        assert isinstance(codes, cupy.ndarray)
        assert codes.device.id == scale.device.id == 1
        expected = _reference.group_scale(X, 4, "absmean", 3)
        np.testing.assert_array_equal(scale.get(), expected[0])


def test_auto_moves_nothing(cupy):
    _dispatch.group_scale(X, 4, "absmean", 3)
    assert cupy.get_default_memory_pool().used_bytes() == 0


@pytest.mark.parametrize("backend", ["cuda", "cuda:1"])
def test_numpy_in_numpy_out(cupy, backend):
    total = np.ones(12)
    expected = total.copy()
    _reference.column_abs_sum(X, expected)
    with config_context(backend=backend, strict=True, collect_metrics=True):
        codes = _dispatch.quantize_codes(X, np.full((1, 1), 0.5, np.float32), 12, 3)
        _dispatch.column_abs_sum(X, total)
        assert {op.backend for op in dispatch_report().operations} == {"cuda"}
    assert type(codes) is np.ndarray
    np.testing.assert_array_equal(total, expected)
    assert cupy.get_default_memory_pool().used_bytes() == 0


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
def test_cupy_arrays_and_another_backend(cupy, backend):
    with config_context(backend=backend), pytest.raises(TypeError, match="CuPy"):
        _dispatch.find_nonfinite(cupy.asarray(X))


def test_what_devices_lack(cupy, monkeypatch):
    """Said once; the CPU does it, and the result goes back to the device."""
    monkeypatch.setattr(searches, "free_bytes", lambda cupy: 0)
    on_device = cupy.asarray(X)
    with pytest.warns(BackendFallbackWarning, match="'cuda' cannot run group_scale"):
        scale, _ = _dispatch.group_scale(on_device, 4, "norm", 3)
    assert isinstance(scale, cupy.ndarray)
    expected, _ = _reference.group_scale(X, 4, "norm", 3)
    np.testing.assert_array_equal(scale.get(), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _dispatch.group_scale(on_device, 4, "norm", 3)
    with config_context(strict=True), pytest.raises(RuntimeError, match="no memory to"):
        _dispatch.group_scale(on_device, 4, "norm", 3)


def test_a_device_that_fails(cupy, monkeypatch):
    """An error of CUDA's: the CPU does the work, or there is an error."""

    def fails(*args, **options):
        raise RuntimeError("cudaErrorLaunchFailure")

    monkeypatch.setattr(quantize, "launch", fails)
    args = X, np.float32([[0.5]]), 12, 3
    expected = _reference.quantize_codes(*args)
    with (
        config_context(backend="cuda"),
        pytest.warns(BackendFallbackWarning, match="cudaErrorLaunchFailure") as told,
    ):
        for _ in range(2):
            np.testing.assert_array_equal(_dispatch.quantize_codes(*args), expected)
    assert len(told) == 1
    strict = config_context(backend="cuda", strict=True)
    with strict, pytest.raises(RuntimeError, match="strict=True forbids"):
        _dispatch.quantize_codes(*args)


def test_a_device_that_is_not_there(cupy):
    with config_context(backend="cuda:2"):
        with pytest.warns(BackendFallbackWarning, match="there is no device 2"):
            assert _dispatch.find_nonfinite(X) == -1
        assert _dispatch.choose("pack", 4, np.int8).backend == "cpu"


@pytest.mark.parametrize(
    ("backend", "rows"),
    [("cuda", 1), ("cuda", 7), ("cuda", 39), ("cuda:0,1", 6), ("cuda:1,1", 40)],
)
def test_pieces(cupy, backend, rows, monkeypatch):
    """Larger inputs go through two slots of pinned memory for each device."""
    monkeypatch.setattr(memory, "PIECE_BYTES", rows * X[0].nbytes)
    bad = X.copy()
    bad[31, 5] = bad[37, 0] = np.nan
    total, expected_total = np.zeros(12), np.zeros(12)
    _reference.column_abs_sum(X, expected_total)
    per_row = _reference.group_scale(X, 5, "twn", 3)
    shared = tuple(a[:1] for a in per_row)
    packed = _reference.quantize_pack(X, per_row[1], 5, 3, "t5")
    with config_context(backend=backend, strict=True):
        found = _dispatch.group_scale(X, 5, "twn", 3)
        np.testing.assert_array_equal(found, per_row)
        for scale, threshold in (per_row, shared):
            args = X, threshold, scale, 5, 3
            values = _dispatch.quantize_values(*args)
            np.testing.assert_array_equal(values, _reference.quantize_values(*args))
        got = _dispatch.quantize_pack(X, per_row[1], 5, 3, "t5")
        np.testing.assert_array_equal(got, packed)
        assert _dispatch.find_nonfinite(bad) == 31 * 12 + 5
        counts = _dispatch.count_codes(packed, 12, "t5")
        np.testing.assert_array_equal(counts, _reference.count_codes(packed, 12, "t5"))
        _dispatch.column_abs_sum(X, total)
        np.testing.assert_array_equal(total, expected_total)


def test_memory_that_runs_out(cupy, monkeypatch):
    """Smaller pieces, until they fit; nothing is added twice."""
    X = RNG.standard_normal((64, 256)).astype(np.float32)
    monkeypatch.setattr(cupy, "memory_limit", 40_000)
    # As if more had been free when it was asked.
    monkeypatch.setattr(memory, "free_bytes", lambda cupy: 10**9)
    total, expected = np.zeros(256), np.zeros(256)
    _reference.column_abs_sum(X, expected)
    with config_context(backend="cuda", strict=True):
        _dispatch.column_abs_sum(X, total)
        np.testing.assert_array_equal(total, expected)
        codes = _dispatch.quantize_codes(X, np.ones((1, 1), np.float32), 256, 3)
    assert np.array_equal(
        codes, _reference.quantize_codes(X, np.float32([[1]]), 256, 3)
    )
    assert cupy.get_default_memory_pool().n_freed > 0


def test_part_of_the_memory(cupy, monkeypatch):
    """Pieces are as small as the part of what is free asks for; a row has to fit."""
    asked = []

    def watched(cupy, rows, work):
        asked.append(rows)
        return work(rows)

    monkeypatch.setattr(transfer, "halving", watched)
    monkeypatch.setattr(cupy, "memory_limit", 6 * X.nbytes)
    expected = _reference.quantize_codes(X, np.float32([[1]]), 12, 3)
    for fraction, rows in ((1, 40), (0.5, 20), (0.05, 2)):
        with config_context(backend="cuda", strict=True, max_device_fraction=fraction):
            codes = _dispatch.quantize_codes(X, np.float32([[1]]), 12, 3)
        np.testing.assert_array_equal(codes, expected)
        assert asked.pop() == rows
    little = config_context(backend="cuda", strict=True, max_device_fraction=0.01)
    with little, pytest.raises(RuntimeError, match=r"max_device_fraction=0\.01"):
        _dispatch.quantize_codes(X, np.float32([[1]]), 12, 3)
    assert cupy.get_default_memory_pool().used_bytes() == 0


@pytest.mark.parametrize("fraction", [0.8, 0.1])
def test_what_is_computed_takes_memory_too(cupy, monkeypatch, fraction):
    """Values of packed bytes are 40 times as large, and what is taken tells."""
    taken = []

    class Watched(cupy._Block):
        def __init__(self, nbytes):
            super().__init__(nbytes)
            taken.append(cupy._state.used)

    monkeypatch.setattr(cupy, "_Block", Watched)
    monkeypatch.setattr(cupy, "memory_limit", 200_000)
    X = RNG.standard_normal((600, 100))
    scale, threshold = _reference.group_scale(X, 100, "absmean", 3)
    packed = _reference.quantize_pack(X, threshold, 100, 3, "t5")
    codes = _reference.unpack(packed, 100, "t5")
    zero = np.zeros_like(scale)
    for name, args in (
        ("unpack", (packed, 100, "t5")),
        ("unpack_values", (packed, 100, "t5", scale, 100)),
        ("code_values", (codes, scale, 100, 3)),
        ("affine_values", (codes, scale, zero, 100)),
        ("quantize_values", (X, threshold, scale, 100, 3)),
    ):
        with config_context(backend="cuda", strict=True, max_device_fraction=fraction):
            found = getattr(_dispatch, name)(*args)
        np.testing.assert_array_equal(found, getattr(_reference, name)(*args))
        assert max(taken) <= fraction * 200_000, name
        taken.clear()


def test_too_little_memory_for_a_row(cupy, monkeypatch):
    monkeypatch.setattr(cupy, "memory_limit", 40)
    told = pytest.warns(BackendFallbackWarning, match="memory does not suffice")
    with config_context(backend="cuda"), told:
        assert _dispatch.find_nonfinite(X) == -1
    assert cupy.get_default_memory_pool().used_bytes() == 0
