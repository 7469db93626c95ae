"""Projection of a step onto a ball: what a trust region does, by itself."""

import numpy as np

from sklearn_ternary._in_kind import through_host


@through_host
def project_l2_ball(delta, radius):
    """The nearest point to `delta` that is no longer than `radius`.

    A step of a :class:`~sklearn_ternary.ConstrainedTrainer` with a `trust_region` is
    bounded by this, for all parameters, each layer, or each cluster.

    Parameters
    ----------
    delta : array-like
        A step, of any shape; float32 stays float32, everything else becomes float64.
    radius : float
        Not below 0.

    Returns
    -------
    projected : ndarray
        ``delta`` where its l2 norm is at most `radius`, else ``delta * radius /
        norm``, whose norm is at most ``radius * (1 + 4 * eps)``. Values that would
        be below the normal numbers are 0.

    Raises
    ------
    ValueError
        If `delta` is not finite, or `radius` is negative or NaN.

    Examples
    --------
    >>> from sklearn_ternary.neural_network import project_l2_ball
    >>> project_l2_ball([3.0, 4.0], radius=1.0).round(6)
    array([0.6, 0.8])
    >>> project_l2_ball([3.0, 4.0], radius=9.0)
    array([3., 4.])
    """
    radius = float(radius)
    if not radius >= 0:
        raise ValueError(f"radius={radius} is not 0 or above")
    delta = np.asarray(delta)
    dtype = np.float32 if delta.dtype == np.float32 else np.float64
    wide = delta.astype(np.float64)
    if not np.isfinite(wide).all():
        raise ValueError("delta holds NaN or infinity")
    largest = float(np.abs(wide).max(initial=0.0))
    if largest == 0:
        return wide.astype(dtype)
    # Of values of at most 1, so that no square overflows, and none that counts is 0.
    unit = wide / largest
    norm = float(np.linalg.norm(unit))
    if norm <= radius / largest:
        return delta.astype(dtype)
    projected = (unit * (radius / norm)).astype(dtype)
    projected[np.abs(projected) < np.finfo(dtype).tiny] = 0
    return projected
