"""One step of an optimizer on the flat array of all parameters.

The array is cut into segments, one for each parameter tensor, at `bounds`. A
direction is what is added to the parameters for a learning rate of one, weight decay
included. Five sums are found on the way, for each segment:

====  =====================================================
0     g · g, the gradient with itself
1     g · s', the gradient with the direction of the step before
2     s · s, the direction with itself
3     g · s
4     p · p, the parameters with themselves
====  =====================================================

Floating-point addition is not associative, so their order is part of the definition:
products and `LANES` accumulators of the dtype of the parameters along blocks of
`BLOCK` values, the lanes folded in halves, the blocks of a piece of `PIECE` values
added one after another in float64, and so the pieces.
"""

from itertools import pairwise

import numpy as np

LANES = 16
BLOCK = 256
PIECE = 16384
N_SUMS = 5
THRESHOLD = 0.7  # of ternary gradients, over their mean magnitude
# Smaller gradients and first moments count as 0, and smaller second ones: moments that
# fade away would soon be below the normal numbers, for which processors take a
# hundred times as long.
DUST = {"f": (1e-15, 1e-36), "d": (1e-120, 1e-280)}

# Their definition are the classes of `neural_network._steps`.
Control = None


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
):
    """Direction of AdamW, with a second moment for each element.

    Parameters
    ----------
    gradient, parameters : ndarray of shape (n,)
        float32 or float64.
    first, second : ndarray of shape (n,)
        The moments; changed.
    direction : ndarray of shape (n,)
        That of the step before; replaced by the new one.
    bounds : ndarray of shape (n_segments + 1,), int64
        Where segments begin and end.
    decay : ndarray of shape (n_segments,)
        Decoupled weight decay.
    beta_1, beta_2 : float
        Decay of the moments.
    correction_1, correction_2 : float
        What makes them unbiased.
    epsilon : float
        Added to the root of the second moment.
    gradient_scale : float
        The gradient counts times this.

    Returns
    -------
    sums : ndarray of shape (n_segments, 5)
        As above, of the scaled gradient.
    """
    T = parameters.dtype.type
    g = gradient * T(gradient_scale)
    g = _without_dust(g)
    products = [g * g, g * direction]
    first *= T(beta_1)
    first += T(1 - beta_1) * g
    first[...] = _without_dust(first)
    second *= T(beta_2)
    second += T(1 - beta_2) * products[0]
    second[...] = _without_dust(second, 1)
    direction[...] = np.sqrt(second * T(correction_2)) + T(epsilon)
    np.divide(first * T(correction_1), direction, out=direction)
    direction += _each(decay, bounds, parameters) * parameters
    np.negative(direction, out=direction)
    return _sums(products, g, parameters, direction, bounds)


def sgd_direction(
    gradient, parameters, first, direction, bounds, decay, momentum, gradient_scale
):
    """Direction of gradient descent with momentum.

    Parameters
    ----------
    gradient, parameters, first, direction, bounds, decay, gradient_scale
        As for `adamw_direction`; `first` is the velocity.
    momentum : float

    Returns
    -------
    sums : ndarray of shape (n_segments, 5)
    """
    T = parameters.dtype.type
    g = gradient * T(gradient_scale)
    g = _without_dust(g)
    products = [g * g, g * direction]
    first *= T(momentum)
    first += g
    first[...] = _without_dust(first)
    direction[...] = _each(decay, bounds, parameters) * parameters
    direction += first
    np.negative(direction, out=direction)
    return _sums(products, g, parameters, direction, bounds)


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
):
    """Direction of AdamW where the values of a row have one divisor.

    Parameters
    ----------
    gradient, parameters, first, direction, bounds, decay, beta_1, correction_1, \
            gradient_scale
        As for `adamw_direction`.
    divisors : ndarray of shape (n_rows,)
        Roots of the second moments, epsilon included; of the dtype of the parameters.
    row_bounds : ndarray of shape (n_rows + 1,), int64
        Where rows begin and end; those of a segment are of one length.

    Returns
    -------
    sums : ndarray of shape (n_segments, 5)
    """
    T = parameters.dtype.type
    g = _without_dust(gradient * T(gradient_scale))
    products = [g * g, g * direction]
    first *= T(beta_1)
    first += T(1 - beta_1) * g
    first[...] = _without_dust(first)
    divisors = _each(divisors, row_bounds, parameters)
    direction[...] = first * T(correction_1) / divisors
    direction += _each(decay, bounds, parameters) * parameters
    np.negative(direction, out=direction)
    return _sums(products, g, parameters, direction, bounds)


def square_sums(x, bounds):
    """Sum of the squares of each part, float64, added up in `LANES`."""
    return _part_sums(np.square(x, dtype=np.float64), bounds)


def abs_sums(x, bounds):
    """Sum of the magnitudes of each part, float64, added up in `LANES`."""
    return _part_sums(np.abs(x, dtype=np.float64), bounds)


def ternary_gradient(gradient, residual, row_bounds, gradient_scale):
    """Round a gradient to three levels, row by row, and keep what that leaves out.

    What is rounded is the scaled gradient and the `residual` of the step before.
    Values whose magnitude is below `THRESHOLD` times the mean become 0, as in ternary
    weight networks, the others halfway from the mean magnitude of all to theirs: less
    than the level of least squares, so that more is left for later steps to decide.

    Parameters
    ----------
    gradient : ndarray of shape (n,)
        float32 or float64; replaced by the rounded one.
    residual : ndarray of shape (n,)
        Changed: what was to be rounded less what came out.
    row_bounds : ndarray of shape (n_rows + 1,), int64
        Where rows begin and end.
    gradient_scale : float
        The gradient counts times this.
    """
    T = gradient.dtype.type
    residual += gradient * T(gradient_scale)
    lengths = np.asarray(np.diff(row_bounds), like=residual)
    means = abs_sums(residual, row_bounds) / lengths
    limits = T(THRESHOLD) * means.astype(gradient.dtype)
    # NaN is not below a limit, and infinities are not below theirs.
    is_large = ~(np.abs(residual) < _each(limits, row_bounds, residual))
    sums = abs_sums(np.where(is_large, residual, T(0)), row_bounds)
    levels = sums / abs_sums(is_large.astype(gradient.dtype), row_bounds)
    levels = 0.5 * (levels + means)
    levels = _each(levels.astype(gradient.dtype), row_bounds, residual)
    gradient[...] = np.where(is_large, np.copysign(levels, residual), T(0))
    with np.errstate(invalid="ignore"):
        residual -= gradient


def zeros(n, dtype):
    """An array for the other functions."""
    return np.zeros(n, dtype=dtype)


def read(*found):
    """What functions found, on the host; here it is there."""
    return found


def apply_step(parameters, direction, bounds, factors):
    """Add a multiple of the direction to each segment of the parameters.

    Parameters
    ----------
    parameters, direction : ndarray of shape (n,)
        The former is changed.
    bounds : ndarray of shape (n_segments + 1,), int64
    factors : ndarray of shape (n_segments,)
        Of the dtype of the parameters.
    """
    parameters += _each(factors, bounds, parameters) * direction


def _without_dust(x, moment=0):
    """Zeros for what is below `DUST`."""
    limit = x.dtype.type(DUST[x.dtype.char][moment])
    return np.where(np.abs(x) < limit, x.dtype.type(0), x)


def _each(values, bounds, like):
    """The value of the part that each element belongs to."""
    if isinstance(like, np.ndarray):
        return np.repeat(values, np.diff(bounds))
    places = np.arange(like.size, like=like)
    parts = np.searchsorted(np.asarray(bounds, like=like), places, side="right") - 1
    return np.asarray(values, like=like)[parts]


def _sums(products, g, parameters, direction, bounds):
    products = [
        *products,
        direction * direction,
        g * direction,
        parameters * parameters,
    ]
    products = np.stack(products)
    sums = [_segment_sums(products[:, i:j]) for i, j in pairwise(bounds.tolist())]
    return np.stack(sums)


def _segment_sums(x):
    """Sum of each row, in the order above."""
    n_pieces = -(-x.shape[1] // PIECE)
    n_blocks = min(-(-x.shape[1] // BLOCK), PIECE // BLOCK)
    # Zeros at the end change nothing.
    size = n_blocks * BLOCK
    padded = np.zeros_like(x, shape=(len(x), n_pieces * size))
    padded[:, : x.shape[1]] = x
    blocks = _lane_sums(padded.reshape(len(x), n_pieces, n_blocks, BLOCK))
    blocks = blocks.astype(np.float64)
    pieces = np.zeros_like(blocks, shape=blocks.shape[:2])
    for i in range(n_blocks):
        pieces += blocks[..., i]
    total = np.zeros_like(pieces, shape=len(x))
    for i in range(n_pieces):
        total += pieces[:, i]
    return total


def _part_sums(x, bounds):
    """Sum of each part, those of one length side by side."""
    sums = [np.zeros_like(x, shape=0)]
    lengths = np.diff(bounds)
    ends = np.flatnonzero(np.diff(lengths)) + 1
    for first, last in pairwise([0, *ends.tolist(), len(lengths)]):
        length = int(lengths[first])
        shape = last - first, -(-length // LANES) * LANES
        padded = np.zeros_like(x, shape=shape)
        parts = x[int(bounds[first]) : int(bounds[last])]
        padded[:, :length] = parts.reshape(shape[0], length)
        sums.append(_lane_sums(padded))
    return np.concatenate(sums)


def _lane_sums(x):
    """Sums along the last axis: `LANES` side by side, added in halves."""
    lanes = np.zeros_like(x, shape=(*x.shape[:-1], LANES))
    for i in range(0, x.shape[-1], LANES):
        lanes += x[..., i : i + LANES]
    while lanes.shape[-1] > 1:
        half = lanes.shape[-1] // 2
        lanes = lanes[..., :half] + lanes[..., half:]
    return lanes[..., 0]
