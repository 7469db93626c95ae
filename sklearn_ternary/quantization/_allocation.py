"""Mixed precision: how many levels each of several arrays gets.

Each unit (an array or a column) has candidates of different cost, in bytes or
bits, and error. Choosing one per unit for the least total error within a budget
is the multiple-choice knapsack problem. Its relaxation is solved by walking down
the lower convex hulls of (cost, error), steepest slope first [1]_; what the walk
leaves of the budget is then filled.

.. [1] P. Sinha and A. A. Zoltners, "The Multiple-Choice Knapsack Problem",
   Operations Research 27(3), 1979.
"""

import heapq
import math
from collections.abc import Mapping
from numbers import Real

import numpy as np

from sklearn_ternary import _dispatch
from sklearn_ternary._config import get_config
from sklearn_ternary._gpu.arrays import like, namespace, on_its_device
from sklearn_ternary._layouts import DENSEST
from sklearn_ternary._reference.groups import n_groups
from sklearn_ternary._validation import as_float_array, check_finite
from sklearn_ternary.quantization._array import pack_codes
from sklearn_ternary.quantization._clipping import best_step
from sklearn_ternary.quantization._groups import as_matrix, grouping, row_panels
from sklearn_ternary.quantization._scales import SCALES, check_scale
from sklearn_ternary.quantization._ternarize import ternarize

LEVELS = (3, 5, 15, 255)
# Three levels are packed in 1.6 bits and mean log2(3) = 1.585: a target may be so
# much below what the coarsest candidates take.
TOLERANCE = 0.02
_ROUNDING = 1e-9  # Of sums and of targets such as 7 / 3.


def allocate_precision(
    arrays, target_bits, *, levels=LEVELS, scale="mse", axis=None, block_size=None
):
    """Choose the number of levels of each array for a number of stored bits.

    The sum of squared errors is made small while the bytes of the packed arrays,
    scales and padding included, stay within `target_bits` per value. The choice
    is greedy by error saved per byte, and its error is never larger than that of
    the same number of levels everywhere where that meets the target.

    Parameters
    ----------
    arrays : mapping of str to array, or iterable of (str, array)
        Read once, one array at a time, so that a file can be streamed. The
        arrays are float32 or float64; others are converted as by
        :func:`~sklearn_ternary.ternarize`.
    target_bits : float
        Largest mean number of bits per value. A target up to 2 % below what the
        coarsest choice takes is met by that choice, so that 1.58 means ternary
        everywhere where the scales take little.
    levels : sequence of int, default=(3, 5, 15, 255)
        Numbers of levels to choose from.
    scale : {"mse", "absmean", "twn", "absmax", "norm"}, default="mse"
        How the scales of three and five levels are found, see
        :func:`~sklearn_ternary.ternarize`; ``"twn"`` is not defined for five.
        Those of 15 and 255 are always of least squared error between clipping
        and rounding, as ``calibration="mse"`` of
        :class:`~sklearn_ternary.AffineQuantizer`.
    axis, block_size
        Which values of an array share a scale, see
        :func:`~sklearn_ternary.ternarize`.

    Returns
    -------
    n_levels : dict of str to int

    Raises
    ------
    ValueError
        If the target is unreachable; the message names the minimum. If an
        option is unknown, a name occurs twice, or an array has NaN or infinite
        values.

    See Also
    --------
    quantize_arrays : Choose, and quantize.
    AdaptiveQuantizer : The same for the columns of a matrix.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ternary.quantization import allocate_precision
    >>> rng = np.random.default_rng(0)
    >>> arrays = {"large": 10 * rng.normal(size=1000), "small": rng.normal(size=9000)}
    >>> allocate_precision(arrays, 1.9)
    {'large': 15, 'small': 3}
    """
    levels = check_levels(levels, scale)
    if (
        not isinstance(target_bits, Real)
        or isinstance(target_bits, bool)
        or not 0 < target_bits < math.inf
    ):
        raise ValueError(f"target_bits={target_bits!r} must be a finite number above 0")
    names, n_values, costs, errors, exponents = {}, 0, [], [], []
    for name, W in _pairs(arrays):
        if name in names:
            raise ValueError(f"arrays has the name {name!r} twice")
        names[name] = None
        W = _finite_array(W, name)
        n_values += W.size
        exponents.append(magnitude_exponent(W))
        packed = (_quantized(W, n, scale, axis, block_size) for n in levels)
        pairs = [(A.nbytes, _squared_error(W, A, exponents[-1])) for A in packed]
        costs.append([n_bytes for n_bytes, _ in pairs])
        errors.append([error for _, error in pairs])
    if not names:
        return {}
    # All errors in one unit, that of the array with the largest values.
    exponents = np.array(exponents)[:, None]
    with np.errstate(under="ignore"):
        errors = np.ldexp(errors, 2 * (exponents - exponents.max()))
    choice = choose_levels(8 * np.array(costs), errors, target_bits, n_values, levels)
    return {name: levels[i] for name, i in zip(names, choice, strict=True)}


def quantize_arrays(
    arrays, target_bits, *, levels=LEVELS, scale="mse", axis=None, block_size=None
):
    """Quantize arrays to a number of stored bits per value.

    The levels are those of :func:`allocate_precision`.

    Parameters
    ----------
    arrays : mapping of str to array, or iterable of (str, array)
        A mapping is read twice, one array at a time; the arrays of an iterable
        are kept in memory.
    target_bits : float
    levels : sequence of int, default=(3, 5, 15, 255)
    scale : {"mse", "absmean", "twn", "absmax", "norm"}, default="mse"
    axis, block_size
        As for :func:`allocate_precision`.

    Returns
    -------
    quantized : dict of str to TernaryArray
        With layouts ``"t5"``, ``"q3"``, ``"i4"`` or ``"i8"``.

    Raises
    ------
    ValueError
        As :func:`allocate_precision`.
    """
    if not isinstance(arrays, Mapping):
        arrays = list(arrays)
    n_levels = allocate_precision(
        arrays,
        target_bits,
        levels=levels,
        scale=scale,
        axis=axis,
        block_size=block_size,
    )
    return {
        name: quantize_array(
            W, n_levels[name], scale=scale, axis=axis, block_size=block_size
        )
        for name, W in _pairs(arrays)
    }


def quantize_array(W, n_levels, *, scale="mse", axis=None, block_size=None):
    """Quantize one array to 3, 5, 15 or 255 levels in their densest layout.

    Parameters
    ----------
    W : array-like of any shape
    n_levels : {3, 5, 15, 255}
    scale : {"mse", "absmean", "twn", "absmax", "norm"}, default="mse"
    axis, block_size
        As for :func:`allocate_precision`.

    Returns
    -------
    A : TernaryArray

    Raises
    ------
    ValueError
        For unknown options, and NaN or infinite values.
    """
    (n_levels,) = check_levels((n_levels,), scale)
    return _quantized(_finite_array(W, "W"), n_levels, scale, axis, block_size)


def check_levels(levels, scale):
    """Return `levels` as a sorted tuple; ValueError if they cannot be used."""
    try:
        checked = tuple(sorted(set(levels)))
    except TypeError:
        checked = ()
    if not checked or not set(checked) <= set(LEVELS):
        raise ValueError(f"levels={levels!r} must be some of {list(LEVELS)}")
    if not isinstance(scale, str) or scale not in SCALES:
        raise ValueError(f"scale={scale!r} must be one of {list(SCALES)}")
    for n_levels in set(checked) & {3, 5}:
        check_scale(scale, n_levels)
    return tuple(int(n) for n in checked)


def choose_levels(costs, errors, target_bits, n_values, levels):
    """Choose a candidate for each unit so that the bits meet the target.

    Parameters
    ----------
    costs : ndarray of shape (n_units, n_candidates)
        Bits.
    errors : ndarray of shape (n_units, n_candidates)
        Squared errors, finite.
    target_bits : float
        Bits per value, see :func:`allocate_precision`.
    n_values : int
        Number of values of all units.
    levels : tuple of int
        Named in the error.

    Returns
    -------
    choice : ndarray of shape (n_units,), int

    Raises
    ------
    ValueError
        If no choice meets the target.
    """
    minimum = costs.min(axis=1).sum()
    budget = target_bits * n_values
    if minimum > budget * (1 + TOLERANCE):
        raise ValueError(
            f"target_bits={target_bits!r} is unreachable: the minimum is "
            f"{minimum / n_values:.4f} bits per value with levels={levels}"
            if n_values
            else f"target_bits={target_bits!r} is unreachable: there are no values"
        )
    budget = max(budget, minimum) * (1 + _ROUNDING)
    units = np.arange(len(costs))
    starts = [_walk(costs, errors, budget)]
    for candidate in range(costs.shape[1]):
        if costs[:, candidate].sum() <= budget:
            starts.append([candidate] * len(costs))
    filled = [_fill(costs, errors, start, budget) for start in starts]
    return min(filled, key=lambda choice: errors[units, choice].sum())


def _walk(costs, errors, budget):
    """Cheapest candidates, improved along the hulls by error saved per cost."""
    # Of equally cheap candidates the one with the least error.
    choice = np.lexsort((errors, costs), axis=1)[:, 0].tolist()
    spent = costs[np.arange(len(costs)), choice].sum()
    costs, errors = costs.tolist(), errors.tolist()
    steps = []
    for unit, start in enumerate(choice):
        steps += _hull_steps(costs[unit], errors[unit], start, unit)
    # A hull gets flatter, so sorting keeps the order of the steps of a unit.
    steps.sort(key=lambda step: -step[0])
    stopped = set()
    for _, unit, candidate in steps:
        extra = costs[unit][candidate] - costs[unit][choice[unit]]
        if unit in stopped or spent + extra > budget:
            stopped.add(unit)
            continue
        choice[unit] = candidate
        spent += extra
    return choice


def _hull_steps(costs, errors, start, unit):
    """Slope, unit and candidate of each step down a lower convex hull."""
    steps = []
    here = start
    while True:
        useful = [
            ((errors[here] - error) / (cost - costs[here]), cost, candidate)
            for candidate, (cost, error) in enumerate(zip(costs, errors, strict=True))
            if cost > costs[here] and error < errors[here]
        ]
        if not useful:
            return steps
        # Of equal slopes the farthest.
        slope, _, here = max(useful)
        steps.append((slope, unit, here))


def _fill(costs, errors, choice, budget):
    """Spend what is left, the step that saves most error per cost first."""
    choice = list(choice)
    left = budget - costs[np.arange(len(costs)), choice].sum()
    costs, errors = costs.tolist(), errors.tolist()
    heap = []

    def push(unit):
        here = choice[unit]
        for candidate, cost in enumerate(costs[unit]):
            extra = cost - costs[unit][here]
            saved = errors[unit][here] - errors[unit][candidate]
            if saved > 0 and extra <= left:
                slope = saved / extra if extra > 0 else math.inf
                heapq.heappush(heap, (-slope, unit, candidate, here))

    for unit in range(len(costs)):
        push(unit)
    while heap:
        _, unit, candidate, here = heapq.heappop(heap)
        extra = costs[unit][candidate] - costs[unit][here]
        if choice[unit] == here and extra <= left:
            choice[unit] = candidate
            left -= extra
            push(unit)
    return np.array(choice)


def magnitude_exponent(W):
    """Exponent e such that the values of ``W * 2**-e`` are at most 1."""
    largest = max(float(W.max()), -float(W.min())) if W.size else 0.0
    return int(np.frexp(largest)[1])


def _pairs(arrays):
    return arrays.items() if isinstance(arrays, Mapping) else arrays


def _finite_array(W, name):
    W = as_float_array(W, name)
    check_finite(W, name)
    return W


@on_its_device
def _quantized(W, n_levels, scale, axis, block_size):
    """TernaryArray of a float array without NaN and infinities."""
    if n_levels in (3, 5):
        return ternarize(
            W, scale=scale, axis=axis, block_size=block_size, n_levels=n_levels
        )
    X = as_matrix(W)
    group_size, per_row = grouping(W.shape, axis, block_size)
    half = n_levels // 2
    step = like(_steps(X, group_size, per_row, half), X)
    # Levels are code * (scale / half): a step in two roundings.
    scales = step * step.dtype.type(half)
    step = scales / step.dtype.type(half)
    zero = namespace(step).zeros_like(step)
    with np.errstate(under="ignore"):
        codes = _dispatch.affine_codes(X, step, zero, group_size, -half, half)
    return pack_codes(codes, scales, group_size, W.shape, DENSEST[n_levels])


def _steps(X, group_size, per_row, half):
    """Steps of least squared error, of shape (R or 1, G)."""
    n_rows, n_columns = X.shape
    shape = (n_rows if per_row else 1, n_groups(n_columns, group_size))
    if not X.size:
        return np.zeros(shape, dtype=X.dtype)
    if per_row or (shape[1] == 1 and group_size == n_columns):
        rows = n_columns * np.arange(shape[0])[:, None]
        starts = rows + group_size * np.arange(shape[1])
        step = best_step(X.ravel(), starts.ravel(), half, half)
    else:
        memory = get_config()["working_memory"]
        parts = [
            best_step(
                _dispatch.columns(X, columns.start, columns.stop).ravel(),
                n_rows * np.arange(columns.stop - columns.start),
                half,
                half,
            )
            for columns in row_panels(n_columns, n_rows, X.itemsize, memory)
        ]
        step = np.concatenate(parts)
    return step.reshape(shape)


@on_its_device
def _squared_error(W, A, exponent):
    """Sum of squared differences of ``W * 2**-exponent`` and A."""
    X, Y = W.reshape(-1), A.toarray().reshape(-1)
    total, ldexp = 0.0, namespace(X).ldexp
    memory = get_config()["working_memory"]
    with np.errstate(under="ignore"):
        for part in row_panels(len(X), 1, 32, memory):
            x = ldexp(X[part].astype(np.float64), -exponent)
            y = ldexp(Y[part].astype(np.float64), -exponent)
            total += float(((x - y) ** 2).sum())
    return total
