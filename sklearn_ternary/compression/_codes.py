"""Ternary codes that keep the outputs of a layer, not only its weights.

Rounding each weight to the nearest level is best where inputs are independent
and of equal variance. With samples of the inputs the error of the *outputs*,
``sum((Z - s X q)**2)``, can be made small instead.
"""

import numpy as np

# With more inputs the Gram matrix is not formed, only its diagonal.
MAX_GRAM = 2048
MAX_SWEEPS = 20


def weighted_codes(W, importance):
    """Codes of least ``sum(importance * (w - s q)**2)`` for each row, exactly.

    For given codes the best scale removes ``(sum h |w| over q != 0)**2 / sum h``,
    and the best codes mark the largest magnitudes, so that one number of them is
    left to choose.

    Parameters
    ----------
    W : ndarray of shape (n_outputs, n_inputs)
    importance : ndarray of shape (n_inputs,)
        Not negative.

    Returns
    -------
    codes : ndarray of the shape of W, int8
    """
    codes = np.zeros(W.shape, dtype=np.int8)
    for row, out in zip(W, codes, strict=True):
        size = np.abs(row)
        order = np.argsort(-size, kind="stable")
        sums = np.cumsum((importance * size)[order])
        counts = np.cumsum(importance[order])
        gain = np.divide(sums**2, counts, out=np.zeros_like(sums), where=counts > 0)
        if gain.size and gain.max() > 0:
            chosen = order[: np.argmax(gain) + 1]
            out[chosen] = np.sign(row[chosen])
    return codes


def gain(codes, gram, target):
    """How much squared error the best scale removes, and that scale.

    Parameters
    ----------
    codes, target : ndarray of shape (n_outputs, n_inputs)
        `target` is ``Zᵀ X``.
    gram : ndarray of shape (n_inputs, n_inputs)
        ``Xᵀ X``.

    Returns
    -------
    gain, scale : ndarray of shape (n_outputs,)
    """
    along = np.einsum("ij,ij->i", codes, target)
    norm = np.einsum("ij,ij->i", codes @ gram, codes)
    scale = np.divide(along, norm, out=np.zeros_like(along), where=norm > 0)
    return along * scale, scale


def descend(codes, gram, target):
    """Change one code at a time as long as that brings the outputs closer.

    Coordinate descent on ``s² qᵀ G q - 2 s qᵀ t`` over q in {-1, 0, 1}, with the
    best scale s after each sweep; the value never rises.

    Parameters
    ----------
    codes, target, gram
        As for `gain`.

    Returns
    -------
    codes : ndarray of the shape of `codes`, float64
    """
    codes = codes.astype(np.float64)
    products = codes @ gram
    diagonal = np.diag(gram)
    _, scale = gain(codes, gram, target)
    for _ in range(MAX_SWEEPS):
        active = scale > 0
        changed = False
        inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=active)
        for j in np.flatnonzero(diagonal > 0):
            rest = products[:, j] - codes[:, j] * diagonal[j]
            best = np.rint((target[:, j] * inverse - rest) / diagonal[j])
            step = np.where(active, np.clip(best, -1, 1) - codes[:, j], 0.0)
            rows = np.flatnonzero(step)
            if rows.size:
                changed = True
                codes[rows, j] += step[rows]
                products[rows] += step[rows, None] * gram[j]
        _, scale = gain(codes, gram, target)
        if not changed:
            break
    return codes
