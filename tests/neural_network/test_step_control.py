"""The length of a step: compiled, it is what the definition says."""

import importlib.util
import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest

from sklearn_ternary.neural_network._steps.segments import Segments
from sklearn_ternary.neural_network._steps.signals import TrainingSignals
from sklearn_ternary.neural_network._steps.step_control import StepControl
from sklearn_ternary.neural_network._steps.step_controller import (
    AuxiliaryController,
    HypergradientController,
    make_controller,
)
from sklearn_ternary.neural_network._steps.trust_region import TrustRegion
from sklearn_ternary.neural_network._training.guard import Guard

if importlib.util.find_spec("sklearn_ternary._kernels._control") is None:
    pytest.skip("the compiled kernels are not built", allow_module_level=True)

from sklearn_ternary._kernels._control import Control

N_STEPS = 300
# Tensors of three layers.
LAYERS = 0, 0, 1, 1, 2


def new_control(controller, bound=None, schedule="cosine", compiled=None):
    by_rows = bound == "cluster"
    parts = [
        SimpleNamespace(slice=slice(2 * i, 2 * i + 2), layer=layer, n_rows=2, size=2)
        for i, layer in enumerate(LAYERS)
    ]
    guard = Guard()
    guard.begin(2.3, 2.3)
    return StepControl(
        guard,
        TrainingSignals(),
        controller,
        TrustRegion(bound, 0.05, Segments(parts, by_rows), 3.0, n_clusters=3),
        learning_rate=0.01,
        schedule=schedule,
        n_steps=N_STEPS,
        warmup_steps=15.0,
        power_t=0.4,
        controller_steps=270,
        compiled=compiled,
    )


def drive(control):
    """Reports, factors and radii of a run that fails twice."""
    rng = np.random.default_rng(0)
    n = len(control.factors)
    for t in range(N_STEPS):
        sums = np.abs(rng.normal(size=(n, 5))) * 10 ** rng.uniform(-2, 1)
        sums[:, 1] = rng.normal(0, 0.01, n)
        loss = 2.3 * math.exp(-t / 100) + 0.1 * rng.random()
        loss = {100: math.inf, 200: math.nan}.get(t, loss)
        goes_on = control.step(loss, sums, t)
        assert goes_on == math.isfinite(loss)
        if not goes_on:
            control.controller.roll_back()
        control.signals.step_norm = control.report[3] if goes_on else 0.0
        yield np.concatenate([control.report, control.factors, control.trust.radii])


def states(control):
    parts = control.guard, control.signals, control.controller, control.trust
    return [part.state for part in parts]


@pytest.mark.parametrize("name", ["schedule", "hypergradient", "auxiliary"])
def test_compiled_steps_are_as_long_as_defined(name):
    bounds = None, "global", "layer", "cluster"
    schedules = "constant", "cosine", "wsd", "invscaling"
    for bound, schedule in itertools.product(bounds, schedules):
        one, two = (
            new_control(
                make_controller(name, np.random.RandomState(0)), bound, schedule, form
            )
            for form in (None, Control)
        )
        found = np.array(list(drive(one))), np.array(list(drive(two)))
        if name == "auxiliary":  # tanh of arrays rounds in its own way
            np.testing.assert_allclose(*found, rtol=1e-11)
            for a, b in zip(states(one), states(two), strict=True):
                for key in a:
                    np.testing.assert_allclose(a[key], b[key], rtol=1e-9, atol=1e-12)
        else:
            np.testing.assert_array_equal(*found)
            np.testing.assert_equal(states(one), states(two))


@pytest.mark.parametrize("compiled", [None, Control])
def test_a_head_of_zeros_is_the_hypergradient_rule(compiled):
    still = AuxiliaryController(np.random.RandomState(0), learns=False)
    found = [
        np.array(list(drive(new_control(controller, "global", compiled=compiled))))
        for controller in (still, HypergradientController())
    ]
    np.testing.assert_array_equal(*found)


def test_arrays_of_other_sizes_are_refused():
    control = new_control(HypergradientController(), compiled=Control)
    with pytest.raises(ValueError, match="sums"):
        control.step(1.0, np.zeros((len(LAYERS) - 1, 5)), 0)
    control = new_control(HypergradientController())
    control.report = np.zeros(3)
    with pytest.raises(ValueError, match="sizes"):
        control._bound(Control)
