"""Steps of optimizers."""

import importlib
from functools import partial
from types import SimpleNamespace

import numpy as np

from sklearn_ternary._config import current_config
from sklearn_ternary._dispatch._choice import _MODULES, _device_number, choose
from sklearn_ternary._reference import steps

_COMPILED = (
    "abs_sums",
    "adamw_direction",
    "apply_step",
    "sgd_direction",
    "shared_direction",
    "square_sums",
    "ternary_gradient",
)


def choose_steps(size, dtype, *, config=None):
    """Choose where an optimizer is computed, once for all its steps.

    Parameters
    ----------
    size : int
        Number of parameters.
    dtype : dtype
    config : Config, default=None

    Returns
    -------
    operations : namespace
        The functions of `sklearn_ternary._reference.steps`.
    """
    config = config or current_config()
    # Its crossover: a step is about as much work for a value as a product.
    choice = choose("multiply_float", size, dtype, config=config)
    if choice.backend == "cuda" and dtype == np.float32:
        module = importlib.import_module(f"{_MODULES['cuda']}.steps")
        return module.make_steps(_device_number(config))
    if choice.backend != "cpu":
        return steps
    module = importlib.import_module(f"{_MODULES['cpu']}.steps")
    options = {"n_threads": choice.n_threads, "isa": choice.isa}
    chosen = {name: partial(getattr(module, name), **options) for name in _COMPILED}
    others = {"Control": module.Control, "read": steps.read, "zeros": module.zeros}
    return SimpleNamespace(**chosen, **others)
