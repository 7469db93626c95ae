"""How much quantization changes an array."""

import math
from dataclasses import dataclass

import numpy as np

from sklearn_ternary._gpu.arrays import (
    is_device_array,
    like,
    namespace,
    on_its_device,
)
from sklearn_ternary._validation import as_float_array, check_finite

# Values looked at together.
_CHUNK = 2**18
_DEVICE_CHUNK = 2**24


@dataclass(frozen=True)
class QuantizationReport:
    """What :func:`quantization_report` returns.

    Attributes
    ----------
    cosine : float
        Cosine of the angle between x and xq, seen as vectors. 1 if both are
        zero, as they are the same; 0 if only one is.
    norm_ratio : float
        Euclidean norm of xq over that of x. 1 if both are zero, infinite if
        only x is.
    l1_ratio : float
        Sum of the magnitudes of xq over that of x, with the same conventions.
    snr_db : float
        ``10 log10(sum(x^2) / sum((x - xq)^2))``, in decibels. Infinite if xq
        equals x (zero included), minus infinite if only x is zero.
    mse : float
        Mean of ``(x - xq)^2``; infinite where float64 cannot hold it.
    """

    cosine: float
    norm_ratio: float
    l1_ratio: float
    snr_db: float
    mse: float


@on_its_device
def quantization_report(x, xq):
    """Compare an array with its quantized version.

    No quantizer of R bits per value can keep a cosine above
    ``sqrt(1 - 2^(-2R))`` on average over independent Gaussian values [1]_: 0.943
    at log2(3) bits, 0.980 at log2(5).

    Parameters
    ----------
    x, xq : array-like, TernaryArray, or anything with a method `toarray`
        Real numbers, of the same shape.

    Returns
    -------
    report : QuantizationReport
        With `cosine`, `norm_ratio`, `l1_ratio`, `snr_db` and `mse`. Sums are
        taken in float64 on scaled values, so that neither huge nor subnormal
        ones overflow or vanish.

    Raises
    ------
    ValueError
        If the shapes differ, there are no values, or some are NaN, infinite or
        no real numbers.

    References
    ----------
    .. [1] T. M. Cover and J. A. Thomas, "Elements of Information Theory",
       theorem 10.3.2 (rate distortion of a Gaussian source), 2nd ed., 2006.

    Examples
    --------
    >>> from sklearn_ternary.metrics import quantization_report
    >>> report = quantization_report([3.0, 1.0, -2.0], [2.5, 0.0, -2.5])
    >>> round(report.cosine, 3), round(report.snr_db, 2), report.mse
    (0.945, 9.7, 0.5)
    """
    x, xq = _finite_array(x, "x"), _finite_array(xq, "xq")
    if x.shape != xq.shape:
        raise ValueError(f"x has shape {x.shape}, but xq has shape {xq.shape}")
    if not x.size:
        raise ValueError(f"x has no values: its shape is {x.shape}")
    x, xq = x.reshape(-1), xq.reshape(-1)
    # What is on a device is compared there, in larger chunks.
    home = xq if is_device_array(xq) else x
    chunk = _DEVICE_CHUNK if is_device_array(home) else _CHUNK
    x, xq = like(x, home), like(xq, home)
    parts = [
        _sums(x[start : start + chunk], xq[start : start + chunk])
        for start in range(0, len(x), chunk)
    ]
    xx, yy, xy, ee, x1, y1 = (_total(pairs) for pairs in zip(*parts, strict=True))
    return QuantizationReport(
        cosine=_cosine(xx, yy, xy),
        norm_ratio=_ratio(yy, xx, math.sqrt, 2),
        l1_ratio=_ratio(y1, x1, float, 1),
        snr_db=_decibels(xx, ee),
        mse=_float(ee[0] / len(x), ee[1]),
    )


# A sum is a pair (m, p) and stands for m * 2**p, which may be out of the range of
# float64. The exponents of sums of squares are even.


def _sums(x, xq):
    """Sums over one chunk: x², xq², x·xq, error², |x| and |xq|."""
    x, y = x.astype(np.float64), xq.astype(np.float64)
    both = max(_exponent(x), _exponent(y))
    with np.errstate(under="ignore"):
        ldexp = namespace(x).ldexp
        error, e_exponent = _scaled(ldexp(x, -both) - ldexp(y, -both))
        x, x_exponent = _scaled(x)
        y, y_exponent = _scaled(y)
        return (
            (float(x @ x), 2 * x_exponent),
            (float(y @ y), 2 * y_exponent),
            (float(x @ y), x_exponent + y_exponent),
            (float(error @ error), 2 * (e_exponent + both)),
            (float(abs(x).sum()), x_exponent),
            (float(abs(y).sum()), y_exponent),
        )


def _exponent(v):
    return int(np.frexp(float(abs(v).max()))[1])


def _scaled(v):
    """The values divided by 2**e so that they are below 1, and e."""
    exponent = _exponent(v)
    return namespace(v).ldexp(v, -exponent), exponent


def _total(pairs):
    """The sum of sums."""
    pairs = [pair for pair in pairs if pair[0] != 0]
    if not pairs:
        return 0.0, 0
    largest = max(exponent for _, exponent in pairs)
    return math.fsum(math.ldexp(m, p - largest) for m, p in pairs), largest


def _float(m, p):
    with np.errstate(over="ignore", under="ignore"):
        return float(np.ldexp(m, p))


def _cosine(xx, yy, xy):
    if xx[0] == 0 or yy[0] == 0:
        return 1.0 if xx[0] == yy[0] else 0.0
    cosine = xy[0] / (math.sqrt(xx[0]) * math.sqrt(yy[0]))
    cosine = _float(cosine, xy[1] - (xx[1] + yy[1]) // 2)
    return min(1.0, max(-1.0, cosine))


def _ratio(above, below, root, power):
    if below[0] == 0:
        return 1.0 if above[0] == 0 else math.inf
    return _float(root(above[0]) / root(below[0]), (above[1] - below[1]) // power)


def _decibels(signal, noise):
    if noise[0] == 0:
        return math.inf
    if signal[0] == 0:
        return -math.inf
    exponent = (signal[1] - noise[1]) * math.log10(2)
    return 10 * (math.log10(signal[0]) - math.log10(noise[0]) + exponent)


def _finite_array(values, name):
    if hasattr(values, "toarray") and not isinstance(values, np.ndarray):
        values = values.toarray()
    values = as_float_array(values, name)
    check_finite(values, name)
    return values
