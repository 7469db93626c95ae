"""From float weights to packed ones, with or without calibration data."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from sklearn_ternary.compression._codes import (
    MAX_GRAM,
    output_codes,
    weighted_codes,
)
from sklearn_ternary.compression._products import rows_times
from sklearn_ternary.compression._wide_codes import descend_blocks
from sklearn_ternary.quantization._array import TernaryArray, pack_codes
from sklearn_ternary.quantization._ternarize import ternarize

# Weights count as inputs of their own, with one of these times the mean squared
# input: fewer samples than weights must not be fitted at any price. Every
# `HOLD_OUT`-th sample decides which, if there are so many.
RIDGES = (0.03, 0.3, 3.0, 30.0)
RIDGE_OF_FEW = 3.0
HOLD_OUT = 5
MIN_SAMPLES = 20


class PackedRows(NamedTuple):
    """Packed weights of shape (n_outputs, n_inputs), biases, and how close."""

    weights: TernaryArray
    bias: np.ndarray
    r2: float | None


def pack_rows(W, bias, options, inputs=None, outputs=None, *, fit_bias=True):
    """Pack weights, one scale for each output.

    Without samples the weights are rounded as `options` say. With them the scale
    and bias of each output are those of least squares, ``outputs ≈ a u + b`` for
    the outputs u of the packed weights, unless the unfitted ones are closer; and
    for ``scale="mse"`` the codes too are chosen for the outputs.

    Parameters
    ----------
    W : ndarray of shape (n_outputs, n_inputs)
    bias : ndarray of shape (n_outputs,)
    options : Options
    inputs : ndarray or sparse of shape (n_samples, n_inputs), default=None
        What reaches the packed weights.
    outputs : ndarray of shape (n_samples, n_outputs), default=None
        What the original model makes here, bias included.
    fit_bias : bool, default=True
        False leaves the bias as it is.

    Returns
    -------
    rows : PackedRows
    """
    W = np.ascontiguousarray(W, dtype=np.float32)
    plain = ternarize(W, scale=options.scale, axis=-1, layout=options.layout)
    bias = np.array(bias, dtype=np.float64)
    if inputs is None or not W.size:
        return PackedRows(plain, bias, None)
    error = _errors(rows_times(inputs, plain, options.activations) + bias, outputs)
    best, best_bias = plain, bias
    candidates = [plain]
    if options.scale == "mse":
        ridge = _best_ridge(W, plain, bias, inputs, outputs, options, fit_bias)
        if ridge is not None:
            candidate = _for_outputs(W, plain, inputs, outputs - bias, ridge, fit_bias)
            candidates.append(candidate)
    for candidate in candidates:
        fitted, fitted_bias = _fitted(
            candidate, bias, inputs, outputs, options.activations, fit_bias
        )
        product = rows_times(inputs, fitted, options.activations)
        fitted_error = _errors(product + fitted_bias, outputs)
        better = fitted_error < error
        best = _choose(better, fitted, best)
        best_bias = np.where(better, fitted_bias, best_bias)
        error = np.where(better, fitted_error, error)
    spread = ((outputs - outputs.mean(axis=0)) ** 2).sum()
    r2 = 1 - error.sum() / spread if spread > 0 else float(error.sum() == 0)
    return PackedRows(best, best_bias, float(r2))


def _best_ridge(W, plain, bias, inputs, outputs, options, fit_bias):
    """Ridge that is best for samples held out; None if rounded codes are."""
    n_samples = inputs.shape[0]
    if n_samples < MIN_SAMPLES:
        return RIDGE_OF_FEW
    held = np.arange(n_samples) % HOLD_OUT == HOLD_OUT - 1
    X, Z = inputs[~held], outputs[~held]
    errors = {}
    for ridge in (None, *RIDGES):
        A = plain
        if ridge is not None:
            A = _for_outputs(W, plain, X, Z - bias, ridge, fit_bias)
        A, c = _fitted(A, bias, X, Z, options.activations, fit_bias)
        found = rows_times(inputs[held], A, options.activations) + c
        errors[ridge] = _errors(found, outputs[held]).sum()
    return min(errors, key=errors.get)


def _errors(found, wanted):
    return ((found - wanted) ** 2).sum(axis=0)


def _fitted(A, bias, inputs, outputs, activations, fit_bias):
    """Give A the scales, and return the biases, of least squares."""
    u = rows_times(inputs, A, activations).astype(np.float64)
    mean_u = u.mean(axis=0) if fit_bias else 0.0
    mean_z = outputs.mean(axis=0) if fit_bias else bias
    norm = ((u - mean_u) ** 2).sum(axis=0)
    along = ((u - mean_u) * (outputs - mean_z)).sum(axis=0)
    factor = np.divide(along, norm, out=np.ones_like(norm), where=norm > 0)
    # A scale is not negative; such an output only gets a bias.
    factor = np.where(factor > 0, factor, 1.0)
    scale = (A.scale * factor[:, None]).astype(np.float32)
    factor = np.divide(
        scale[:, 0], A.scale[:, 0], out=np.ones_like(norm), where=A.scale[:, 0] > 0
    )
    fitted = _with_scale(A, scale)
    return fitted, mean_z - factor * mean_u if fit_bias else bias


def _with_scale(A, scale):
    return TernaryArray(A.packed, scale, A.shape, A.layout, group_size=A.group_size)


def _choose(rows, first, second):
    """Rows of the first where `rows` is true, else of the second."""
    packed = np.where(rows[:, None], first.packed, second.packed)
    scale = np.where(rows[:, None], first.scale, second.scale)
    return TernaryArray(
        packed, scale, first.shape, first.layout, group_size=first.group_size
    )


def _for_outputs(W, plain, inputs, outputs, ridge, fit_bias):
    """Packed array with codes that are chosen for the outputs."""
    n_samples = inputs.shape[0]
    inputs = inputs.astype(np.float64)
    mean = np.asarray(inputs.mean(axis=0)).ravel() if fit_bias else 0.0
    squares = inputs.multiply(inputs) if sparse.issparse(inputs) else inputs**2
    importance = np.asarray(squares.sum(axis=0)).ravel() - n_samples * mean**2
    importance = np.maximum(importance, 0)
    ridge = ridge * importance.mean()
    if ridge <= 0:
        return plain
    codes = weighted_codes(W, importance + ridge)
    if W.shape[1] <= MAX_GRAM:
        gram = inputs.T @ inputs
        gram = gram.toarray() if sparse.issparse(gram) else gram
        target = np.asarray(inputs.T @ outputs).T
        if fit_bias:
            gram = gram - n_samples * np.outer(mean, mean)
            target = target - n_samples * np.outer(outputs.mean(axis=0), mean)
        gram[np.diag_indices_from(gram)] += ridge
        target = target + ridge * W
        starts = [codes, plain.codes().astype(np.float64)]
        codes = output_codes(W, plain.scale[:, 0], starts, gram, target)
    elif sparse.issparse(inputs) and fit_bias:
        codes = descend_blocks(codes, W, inputs, outputs, mean, importance, ridge)
    return _packed(codes, W, plain)


def _packed(codes, W, like):
    """Pack codes with the scales that are best for the weights."""
    counts = np.abs(codes).sum(axis=1, dtype=np.float64)
    sums = (codes * W).sum(axis=1, dtype=np.float64)
    scale = np.divide(sums, counts, out=np.ones_like(sums), where=sums > 0)
    scale = scale.astype(np.float32)[:, None]
    return pack_codes(codes, scale, like.group_size, like.shape, like.layout)
