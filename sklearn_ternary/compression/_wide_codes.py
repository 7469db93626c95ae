"""Codes that keep the outputs of a wide layer with sparse inputs."""

import numpy as np

MAX_SWEEPS = 4
# Inputs of a block change at once, as if they were independent: a sample should
# have about so many entries in a block.
ENTRIES = 2


def descend_blocks(codes, W, X, outputs, mean, importance, ridge):
    """Change blocks of codes as long as that brings the outputs closer.

    Coordinate descent on ``sum((Z - s X q)**2) + ridge * sum((w - s q)**2)`` with
    centred X and Z, without their Gram matrix. All codes of a block, a random set
    of inputs, take the value that would be best for each alone; outputs that this
    does not bring closer keep theirs. The best scale s is found for each sweep.

    Parameters
    ----------
    codes, W : ndarray of shape (n_outputs, n_inputs)
        `codes` to begin with.
    X : sparse of shape (n_samples, n_inputs)
    outputs : ndarray of shape (n_samples, n_outputs)
    mean : ndarray of shape (n_inputs,)
        Of the columns of X.
    importance : ndarray of shape (n_inputs,)
        Sums of squares of the centred columns of X.
    ridge : float

    Returns
    -------
    codes : ndarray of the shape of `codes`, int8
    """
    codes = codes.astype(np.float32)
    X = X.astype(np.float32)
    columns = X.T.tocsr()
    mean, norms = mean.astype(np.float32), (importance + ridge).astype(np.float32)
    ridge = np.float32(ridge)
    outputs = (outputs - outputs.mean(axis=0)).astype(np.float32)
    product = _centred(X @ codes.T)
    present = np.flatnonzero(importance > 0)
    n_blocks = -(-X.nnz // (ENTRIES * max(X.shape[0], 1)))
    n_blocks = max(min(n_blocks, present.size), 1)
    random = np.random.default_rng(0)
    for _ in range(MAX_SWEEPS):
        scale = _best_scale(codes, W, product, outputs, ridge)
        residual = outputs - scale * product
        changed = False
        for block in np.array_split(random.permutation(present), n_blocks):
            block = np.sort(block)
            part, old, w = columns[block], codes[:, block], W[:, block]
            s = scale[:, None]
            slope = (part @ residual).T + ridge * (w - s * old)
            pull = np.divide(slope, s, out=np.zeros_like(slope), where=s > 0)
            new = np.clip(np.rint(old + pull / norms[block]), -1, 1)
            step = new - old
            moved = part.T @ step.T - step @ mean[block]
            new_residual = residual - scale * moved
            before, after = _sum_of_squares(residual), _sum_of_squares(new_residual)
            before += ridge * _sum_of_squares((w - s * old).T)
            after += ridge * _sum_of_squares((w - s * new).T)
            better = np.flatnonzero(after < before)
            if better.size:
                changed = True
                codes[np.ix_(better, block)] = new[better]
                residual[:, better] = new_residual[:, better]
                product[:, better] += moved[:, better]
        if not changed:
            break
    return codes.astype(np.int8)


def _centred(values):
    return values - values.mean(axis=0)


def _sum_of_squares(values):
    return np.einsum("ij,ij->j", values, values)


def _best_scale(codes, W, product, outputs, ridge):
    """Scale of least squares for each output; 0 where the codes point away."""
    along = np.einsum("ij,ij->j", product, outputs)
    along += ridge * np.einsum("ij,ij->i", codes, W)
    norm = _sum_of_squares(product) + ridge * np.abs(codes).sum(axis=1)
    scale = np.divide(along, norm, out=np.zeros_like(along), where=norm > 0)
    return np.maximum(scale, 0)
