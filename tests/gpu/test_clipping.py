"""Steps between clipping and rounding, found on a device: those of the host."""

import numpy as np
import pytest

from sklearn_ternary import config_context
from sklearn_ternary._gpu import clipping as device_clipping
from sklearn_ternary.quantization import _clipping
from sklearn_ternary.quantization._clipping import best_step, best_zero_point

DTYPES = [np.float32, np.float64]
RTOL = {np.float32: 1e-7, np.float64: 1e-13}


def make(dtype):
    """Groups: zeros, one value, levels, of one sign, outliers, far and near 0."""
    rng = np.random.default_rng(0)
    tiny = np.finfo(dtype).smallest_subnormal
    huge = np.finfo(dtype).max / 4
    groups = [
        np.zeros(5),
        np.array([-3.0]),
        np.rint(rng.uniform(-7, 7, 40)) / 4,
        rng.lognormal(0, 1, 33),
        rng.standard_t(2, 60),
        rng.normal(size=30) * huge,
        tiny * np.arange(9),
    ]
    starts = np.cumsum([0, *map(len, groups)])[:-1]
    return np.concatenate(groups).astype(dtype), starts


@pytest.fixture(params=["forward", "shuffled"])
def on_device(request, any_cupy):
    if any_cupy.__version__ == "stand-in":
        any_cupy.order = request.param
    elif request.param == "shuffled":
        pytest.skip("the order is the device's")
    return any_cupy.asarray


@pytest.mark.parametrize("half", [1, 7, 127])
@pytest.mark.parametrize("dtype", DTYPES)
def test_steps(on_device, dtype, half):
    values, starts = make(dtype)
    expected = best_step(values, starts, half, half)
    found = best_step(on_device(values), starts, half, half)
    assert isinstance(found, np.ndarray) and found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=RTOL[dtype])
    # A limit of its own for each group and side, and none for some.
    limits = np.arange(len(starts)) % 4, np.arange(len(starts))[::-1] % 3
    expected = best_step(values, starts, *limits)
    with config_context(backend="cuda", strict=True):
        found = best_step(values, starts, *limits)
    np.testing.assert_allclose(found, expected, rtol=RTOL[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_points(on_device, dtype):
    values, starts = make(dtype)
    guess = np.arange(len(starts)) - 8
    steps, zeros = best_zero_point(values, starts, -8, 7, guess)
    found, places = best_zero_point(on_device(values), starts, -8, 7, guess)
    np.testing.assert_array_equal(places, zeros)
    np.testing.assert_allclose(found, steps, rtol=RTOL[dtype])


def test_groups_of_many_events(any_cupy, monkeypatch):
    """Edges of bins, beside groups whose events are looked at one by one."""
    monkeypatch.setattr(_clipping, "MAX_EVENTS", 100)
    monkeypatch.setattr(_clipping, "FIRST_BINS", 64)
    values, starts = make(np.float64)
    several = best_step(any_cupy.asarray(values), starts, 7, 7)
    for i, part in enumerate(np.split(values, starts[1:])):
        (alone,) = best_step(part, [0], 7, 7)
        np.testing.assert_allclose(several[i], alone, rtol=1e-12)


def test_batches_of_groups(any_cupy, monkeypatch):
    """A few groups at a time; where one does not fit, the host searches."""
    values, starts = make(np.float32)
    expected = best_step(any_cupy.asarray(values), starts, 7, 7)
    monkeypatch.setattr(device_clipping, "_SORTED_VALUES", 50)
    found = best_step(any_cupy.asarray(values), starts, 7, 7)
    np.testing.assert_array_equal(found, expected)
    monkeypatch.setattr(device_clipping, "free_bytes", lambda cupy: 1000)
    with config_context(strict=True), pytest.raises(RuntimeError, match="no memory"):
        best_step(any_cupy.asarray(values), starts, 7, 7)
