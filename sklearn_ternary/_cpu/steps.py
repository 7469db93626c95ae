"""Steps of optimizers on the flat array of all parameters."""

from functools import lru_cache

import numpy as np

from sklearn_ternary._cpu import aligned_memory
from sklearn_ternary._kernels import _control, _steps
from sklearn_ternary._kernels._cpu_features import ISA_LEVELS
from sklearn_ternary._reference.steps import N_SUMS, PIECE

Control = _control.Control

# Values from which on threads are worth their start.
_THREADED = 2**18


def adamw_direction(
    gradient,
    parameters,
    first,
    second,
    direction,
    bounds,
    decay,
    beta_1,
    beta_2,
    correction_1,
    correction_2,
    epsilon,
    gradient_scale,
    *,
    n_threads,
    isa,
):
    """Direction of AdamW, with a second moment for each element."""
    pieces, owner = _pieces(bounds.tobytes())
    constants = np.empty((len(pieces), _steps.N_CONSTANTS), dtype=parameters.dtype)
    constants[:] = (
        gradient_scale,
        0,
        beta_1,
        1 - beta_1,
        beta_2,
        1 - beta_2,
        correction_1,
        correction_2,
        epsilon,
    )
    constants[:, 1] = decay[owner]
    sums = np.zeros((len(pieces), N_SUMS))
    _steps.adamw_direction(
        gradient,
        parameters,
        first,
        second,
        direction,
        pieces,
        constants,
        sums,
        ISA_LEVELS[isa],
        _threads(parameters, n_threads),
    )
    return _of_segments(sums, owner)


def sgd_direction(
    gradient,
    parameters,
    first,
    direction,
    bounds,
    decay,
    momentum,
    gradient_scale,
    *,
    n_threads,
    isa,
):
    """Direction of gradient descent with momentum."""
    pieces, owner = _pieces(bounds.tobytes())
    constants = np.empty((len(pieces), 3), dtype=parameters.dtype)
    constants[:] = gradient_scale, 0, momentum
    constants[:, 1] = decay[owner]
    sums = np.zeros((len(pieces), N_SUMS))
    _steps.sgd_direction(
        gradient,
        parameters,
        first,
        direction,
        pieces,
        constants,
        sums,
        ISA_LEVELS[isa],
        _threads(parameters, n_threads),
    )
    return _of_segments(sums, owner)


def shared_direction(
    gradient,
    parameters,
    first,
    divisors,
    direction,
    bounds,
    row_bounds,
    decay,
    beta_1,
    correction_1,
    gradient_scale,
    *,
    n_threads,
    isa,
):
    """Direction of AdamW where the values of a row have one divisor."""
    pieces, owner = _pieces(bounds.tobytes())
    constants = np.zeros((len(pieces), _steps.N_CONSTANTS), dtype=parameters.dtype)
    constants[:, [0, 2, 3, 6]] = gradient_scale, beta_1, 1 - beta_1, correction_1
    constants[:, 1] = decay[owner]
    sums = np.zeros((len(pieces), N_SUMS))
    _steps.shared_direction(
        gradient,
        parameters,
        first,
        divisors,
        direction,
        pieces,
        _rows_of_pieces(bounds.tobytes(), row_bounds.tobytes()),
        constants,
        sums,
        ISA_LEVELS[isa],
        _threads(parameters, n_threads),
    )
    return _of_segments(sums, owner)


def square_sums(x, bounds, *, n_threads, isa):
    """Sum of the squares of each part."""
    return _part_sums(x, bounds, True, n_threads, isa)


def abs_sums(x, bounds, *, n_threads, isa):
    """Sum of the magnitudes of each part."""
    return _part_sums(x, bounds, False, n_threads, isa)


def _part_sums(x, bounds, squares, n_threads, isa):
    sums = np.empty(len(bounds) - 1)
    _steps.part_sums(x, bounds, squares, sums, ISA_LEVELS[isa], _threads(x, n_threads))
    return sums


def ternary_gradient(gradient, residual, row_bounds, gradient_scale, *, n_threads, isa):
    """Round a gradient to three levels, row by row, and keep what that leaves out."""
    _steps.ternary_gradient(
        gradient,
        residual,
        row_bounds,
        gradient_scale,
        ISA_LEVELS[isa],
        _threads(gradient, n_threads),
    )


def zeros(n, dtype):
    """An array for the other functions."""
    return aligned_memory.zeros((n,), dtype)


def apply_step(parameters, direction, bounds, factors, *, n_threads, isa):
    """Add a multiple of the direction to each segment of the parameters."""
    pieces, owner = _pieces(bounds.tobytes())
    _steps.apply_step(
        parameters,
        direction,
        pieces,
        factors[owner],
        ISA_LEVELS[isa],
        _threads(parameters, n_threads),
    )


@lru_cache(maxsize=16)
def _pieces(bounds):
    """Pieces of the segments, and the segment of each."""
    bounds = np.frombuffer(bounds, dtype=np.int64).tolist()
    pieces, owner = [], []
    for i in range(len(bounds) - 1):
        for first in range(bounds[i], bounds[i + 1], PIECE):
            pieces.append((first, min(first + PIECE, bounds[i + 1])))
            owner.append(i)
    return np.array(pieces, dtype=np.int64), np.array(owner)


@lru_cache(maxsize=16)
def _rows_of_pieces(bounds, row_bounds):
    """First row of each piece, its values in the piece before, its length."""
    starts = _pieces(bounds)[0][:, 0]
    row_bounds = np.frombuffer(row_bounds, dtype=np.int64)
    first = np.searchsorted(row_bounds, starts, side="right") - 1
    done, length = starts - row_bounds[first], np.diff(row_bounds)[first]
    return np.stack([first, done, length], axis=1)


def _of_segments(sums, owner):
    n_segments = int(owner[-1]) + 1
    if n_segments == len(sums):
        return sums
    total = np.zeros((n_segments, N_SUMS))
    np.add.at(total, owner, sums)  # one after another, in the order of the pieces
    return total


def _threads(parameters, n_threads):
    return n_threads if len(parameters) >= _THREADED else 1
