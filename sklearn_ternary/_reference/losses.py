"""Losses of a network: value and gradient.

With losses l of the samples and weights w (1 without any) the value is
``sum(w l) / sum(w)``, summed in float64 in the order of the rows, and dZ its
gradient by the outputs Z; both are 0 where the weights sum up to 0.
"""

import numpy as np


def softmax_loss(Z, labels, weight, dZ, value):
    """Cross-entropy of the softmax of each row; labels are int32."""
    rows = np.arange(len(Z), like=Z)
    shifted = Z - Z.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    sums = powers.sum(axis=1, keepdims=True)
    losses = np.log(sums[:, 0]) - shifted[rows, labels]
    gradient = powers / sums
    gradient[rows, labels] -= 1
    _finish(losses, gradient, weight, dZ, value)


def sigmoid_loss(Z, targets, weight, dZ, value):
    """Cross-entropy of the sigmoid of each output, summed over the outputs."""
    small = np.exp(-np.abs(Z))
    losses = np.maximum(Z, 0) - Z * targets + np.log1p(small)
    probability = np.where(Z < 0, small, 1) / (1 + small)
    _finish(losses.sum(axis=1), probability - targets, weight, dZ, value)


def squared_loss(Z, targets, weight, dZ, value):
    """Half the squared error, mean over the outputs."""
    error = Z - targets
    _finish((error * error / 2).mean(axis=1), error / Z.shape[1], weight, dZ, value)


def absolute_loss(Z, targets, weight, dZ, value):
    """Absolute error, mean over the outputs."""
    error = Z - targets
    gradient = np.sign(error) / Z.shape[1]
    _finish(np.abs(error).mean(axis=1), gradient, weight, dZ, value)


def huber_loss(Z, targets, delta, weight, dZ, value):
    """Half the squared error up to `delta`, linear beyond; mean over the outputs."""
    error = Z - targets
    inside = np.clip(error, -delta, delta)
    losses = inside * (error - inside / 2)
    _finish(losses.mean(axis=1), inside / Z.shape[1], weight, dZ, value)


def _finish(losses, gradient, weight, dZ, value):
    """Weight the losses and gradients of the samples."""
    losses = losses.astype(np.float64)
    if weight is None:
        share = np.ones_like(losses) / len(losses)
    else:
        total = np.sum(weight, dtype=np.float64)
        share = weight.astype(np.float64) / np.where(total > 0, total, np.inf)
    value[0] = np.dot(losses, share)
    np.multiply(gradient, share[:, None].astype(dZ.dtype), out=dZ)
