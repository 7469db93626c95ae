"""Ternary codes that keep the outputs of a layer, not only its weights.

Rounding each weight to the nearest level is best where inputs are independent
and of equal variance. With samples of the inputs the error of the *outputs*,
``sum((Z - s X q)**2)``, can be made small instead.
"""

import numpy as np

# With more inputs the Gram matrix is not formed, only its diagonal.
MAX_GRAM = 2048
MAX_SWEEPS = 20
# Scales that the descent begins with, as multiples of the scale of the weights;
# above so many inputs they would take too long.
MULTIPLES = (0.1, 0.2, 0.35, 0.5, 0.7, 1.0)
MAX_STARTS = 512


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


def descend(codes, scale, gram, target):
    """Change one code at a time as long as that brings the outputs closer.

    Coordinate descent on ``s² qᵀ G q - 2 s qᵀ t`` over q in {-1, 0, 1}, with the
    best scale s after each sweep.

    Parameters
    ----------
    codes, target, gram
        As for `gain`.
    scale : ndarray of shape (n_outputs,)
        Scale of the first sweep.

    Returns
    -------
    codes : ndarray of the shape of `codes`, float64
    """
    codes = codes.astype(np.float64)
    products = codes @ gram
    diagonal = np.diag(gram)
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
        if not changed:
            break
        _, scale = gain(codes, gram, target)
    return codes


def output_codes(W, scale, starts, gram, target):
    """Best codes that coordinate descent finds from several starts.

    The descent ends where no single change helps, and where that is depends on
    the scale it begins with. Smaller scales let correlated inputs share a weight.

    Parameters
    ----------
    W : ndarray of shape (n_outputs, n_inputs)
    scale : ndarray of shape (n_outputs,)
        Scale that suits the weights themselves.
    starts : list of ndarray of the shape of W
        Codes to begin with besides those of `MULTIPLES` of the scale.
    gram, target
        As for `gain`.

    Returns
    -------
    codes : ndarray of the shape of W, int8
    """
    beginnings = [(start, gain(start, gram, target)[1]) for start in starts]
    for multiple in MULTIPLES if W.shape[1] <= MAX_STARTS else ():
        s = multiple * scale.astype(np.float64)
        ratio = np.divide(W, s[:, None], out=np.zeros(W.shape), where=s[:, None] > 0)
        beginnings.append((np.clip(np.rint(ratio), -1, 1), s))
    best, best_gain = None, None
    for codes, first_scale in beginnings:
        found = descend(codes, first_scale, gram, target)
        found_gain, _ = gain(found, gram, target)
        if best is None:
            best, best_gain = found, found_gain
        better = found_gain > best_gain
        best[better] = found[better]
        best_gain = np.maximum(best_gain, found_gain)
    return best.astype(np.int8)
