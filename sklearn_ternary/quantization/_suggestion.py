"""How few bits are enough for a signal-to-noise ratio."""

import math
from dataclasses import dataclass
from numbers import Real

from sklearn_ternary._gpu.arrays import on_its_device
from sklearn_ternary._validation import as_float_array, check_finite
from sklearn_ternary.metrics._quantization_report import quantization_report
from sklearn_ternary.quantization._allocation import (
    LEVELS,
    check_levels,
    quantize_array,
)


@dataclass(frozen=True)
class PrecisionSuggestion:
    """What :func:`suggest_precision` found.

    Attributes
    ----------
    n_levels : int
        Number of levels that is suggested.
    layout : str
        How its codes are packed, the densest way.
    bits : float
        Stored bits per value, scales and padding included.
    snr_db : float
        Signal-to-noise ratio of the quantized array, in decibels.
    """

    n_levels: int
    layout: str
    bits: float
    snr_db: float


@on_its_device
def suggest_precision(
    X, target_snr_db, *, levels=LEVELS, scale="mse", axis=None, block_size=None
):
    """Suggest the fewest bits whose quantization reaches a signal-to-noise ratio.

    Each number of levels is tried on `X`: nothing is estimated. Bits are those that
    are stored, so that few columns, of which some layouts fill up whole blocks, may
    take fewer with more levels.

    Parameters
    ----------
    X : array-like of any shape
        Real numbers.
    target_snr_db : float
        Least ``10 log10(sum(x^2) / sum((x - xq)^2))``; 6 dB more halve the error.
    levels : sequence of int, default=(3, 5, 15, 255)
        Numbers of levels to choose from.
    scale : {"mse", "absmean", "twn", "absmax", "norm"}, default="mse"
        How the scales of three and five levels are found, see
        :func:`~sklearn_ternary.quantization.allocate_precision`.
    axis, block_size
        Which values share a scale, see :func:`~sklearn_ternary.ternarize`.

    Returns
    -------
    suggestion : PrecisionSuggestion

    Raises
    ------
    ValueError
        If no number of levels reaches the target; the message names the best. If
        an option is unknown, or `X` is empty or has NaN or infinite values.

    See Also
    --------
    quantize_arrays : Quantize several arrays to a number of bits.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ternary.quantization import suggest_precision
    >>> X = np.random.default_rng(0).normal(size=(200, 500))
    >>> suggestion = suggest_precision(X, 15)
    >>> suggestion.n_levels, suggestion.layout, round(suggestion.snr_db, 1)
    (15, 'i4', 18.8)
    """
    levels = check_levels(levels, scale)
    if (
        not isinstance(target_snr_db, Real)
        or isinstance(target_snr_db, bool)
        or not math.isfinite(target_snr_db)
    ):
        raise ValueError(f"target_snr_db={target_snr_db!r} must be a finite number")
    X = as_float_array(X, "X")
    check_finite(X, "X")
    if not X.size:
        raise ValueError(f"X of shape {X.shape} has no values")
    tried = []
    for n_levels in levels:
        A = quantize_array(X, n_levels, scale=scale, axis=axis, block_size=block_size)
        tried.append(
            PrecisionSuggestion(
                n_levels=n_levels,
                layout=A.layout,
                bits=8 * A.nbytes / X.size,
                snr_db=quantization_report(X, A).snr_db,
            )
        )
    enough = [one for one in tried if one.snr_db >= target_snr_db]
    if enough:
        return min(enough, key=lambda one: one.bits)
    best = max(tried, key=lambda one: one.snr_db)
    raise ValueError(
        f"target_snr_db={target_snr_db!r} is unreachable: the best is "
        f"{best.snr_db:.2f} dB, with {best.n_levels} levels and {best.bits:.2f} bits "
        f"per value; levels={levels}"
    )
