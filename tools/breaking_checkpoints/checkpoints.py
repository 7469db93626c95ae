"""Checkpoints that tell whether they are whole, and modules without their `os`."""

import os
import warnings

import numpy as np

from sklearn_ternary.persistence import (
    _atomic,
    _checkpoint,
    load_latest,
    save_checkpoint,
)

MODULES = (_atomic, _checkpoint)  # whose calls of `os` are watched


class LostError(AssertionError):
    """A checkpoint was lost, or came back changed."""


def expect(condition, message):
    """Raise LostError unless `condition`."""
    if not condition:
        raise LostError(message)


def save(folder, step, size=3000, keep_last=2):
    """Save a checkpoint whose values tell its step."""
    arrays = {"a": np.full(size, step, np.float32), "b": np.arange(step)}
    return save_checkpoint(folder, step, arrays, {"step": step}, keep_last=keep_last)


def check(found):
    """Raise LostError unless a checkpoint is one of `save`; return its step."""
    expect(found is not None, "no checkpoint was found")
    step = found.step
    whole = (
        found.info == {"step": step}
        and (found.arrays["a"] == step).all()
        and np.array_equal(found.arrays["b"], np.arange(step))
    )
    expect(whole, f"checkpoint {step} is not what was saved")
    return step


def loaded_step(folder):
    """Step of the newest checkpoint that is intact."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return check(load_latest(folder))


class watching:  # noqa: N801 - a context manager, used as a function
    """Let modules of the package use a stand-in for `os`."""

    def __init__(self, stand_in):
        self.stand_in = stand_in

    def __enter__(self):
        for module in MODULES:
            module.os = self.stand_in
        return self.stand_in

    def __exit__(self, *exception):
        for module in MODULES:
            module.os = os
