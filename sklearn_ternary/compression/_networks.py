"""Multilayer perceptrons."""

import numpy as np
from scipy.special import expit, softmax
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils.validation import check_is_fitted

from sklearn_ternary._gpu.arrays import as_array, is_device_array, like
from sklearn_ternary.compression._classes import (
    CompressedEstimator,
    compressed_class,
    state_without,
    with_state,
)
from sklearn_ternary.compression._linear import samples
from sklearn_ternary.compression._products import rows_times
from sklearn_ternary.compression._rows import pack_rows
from sklearn_ternary.compression._samples import checked_product
from sklearn_ternary.quantization._transposed import TransposedTernaryArray

ACTIVATIONS = {
    "identity": lambda Z: Z,
    "tanh": np.tanh,
    "logistic": lambda Z: 1 / (1 + np.exp(-Z)) if is_device_array(Z) else expit(Z),
    "relu": lambda Z: np.maximum(Z, 0),
    "softmax": lambda Z: _softmax(Z) if is_device_array(Z) else softmax(Z, axis=1),
    "exp": np.exp,
}


def _softmax(Z):
    E = np.exp(Z - Z.max(axis=1, keepdims=True))
    return E / E.sum(axis=1, keepdims=True)


# The weights, copies of them, and the state of the optimizer.
_WEIGHTS = (
    "_best_coefs",
    "_best_intercepts",
    "_optimizer",
    "coefs_",
    "intercepts_",
)


class _CompressedNetwork(CompressedEstimator):
    """Layers whose `coefs_` are transposed views of packed rows, or float."""

    public_methods = {}

    @classmethod
    def compress_part(cls, estimator, job):
        check_is_fitted(estimator)
        state = state_without(estimator, *_WEIGHTS)
        coefs, intercepts = _packed_layers(estimator, job)
        state |= {
            "coefs_": coefs,
            "intercepts_": intercepts,
            "_compression": job.local_options(),
        }
        return with_state(compressed_class(type(estimator), cls), state)

    of_outputs = ("predict", "predict_log_proba", "predict_proba", "score")

    def _forward_pass_fast(self, X, check_input=True):
        # scikit-learn's `predict` and `predict_proba` call this.
        if is_device_array(X):
            return checked_product(self, X, self._outputs)
        if not check_input:
            return self._outputs(X)
        dtype = None

        def first_layer(X):
            nonlocal dtype
            dtype = X.dtype
            return self._first_layer(X)

        Z = checked_product(self, X, first_layer, accept_sparse=["csr", "csc"])
        return self._further_layers(Z, dtype)

    def _outputs(self, X):
        return self._further_layers(self._first_layer(X), X.dtype)

    def _first_layer(self, X):
        return _times(X, self.coefs_[0], self._compression.activations)

    def _further_layers(self, Z, dtype):
        activation = ACTIVATIONS[self.activation]
        for before, W in zip(self.intercepts_, self.coefs_[1:], strict=False):
            Z += like(before, Z)
            Z = _times(activation(Z), W, self._compression.activations)
        bias = like(self.intercepts_[-1], Z)
        Z = Z.astype(np.result_type(dtype, bias.dtype), copy=False)
        return ACTIVATIONS[self.out_activation_](Z + bias)


def _times(values, W, activations):
    """Product with one layer in float32, with packed weights or not."""
    if isinstance(W, TransposedTernaryArray):
        return rows_times(values, W.T, activations)
    return as_array(values @ like(W, values))


def _packed_layers(estimator, job):
    """Packed weights and biases, one layer after the other.

    Each layer is fitted to what the original makes of the original inputs, from
    what the packed layers before it make of theirs.
    """
    coefs, intercepts = [], []
    X = X_packed = Z = None
    if job.X is not None:
        X, X_packed = samples(estimator, job)
    n_layers = len(estimator.coefs_)
    for i, (W, bias) in enumerate(
        zip(estimator.coefs_, estimator.intercepts_, strict=True)
    ):
        layer = job.child(i, i, n_layers)
        if X is not None:
            Z = np.asarray(X @ W, dtype=np.float64) + bias
        if layer.is_excluded():
            r2 = None
            new_W, new_bias = W.copy(), bias.copy()
            stored = new_W
        else:
            rows = pack_rows(W.T, bias, job.options, X_packed, Z)
            r2 = rows.r2
            new_W, new_bias = rows.weights.T, rows.bias.astype(bias.dtype)
            stored = rows.weights
        coefs.append(new_W)
        intercepts.append(new_bias)
        layer.report(layer.name(), (W, bias), stored, (new_bias,), r2)
        if X is not None and i < n_layers - 1:
            activation = ACTIVATIONS[estimator.activation]
            Z_packed = _times(X_packed, new_W, job.options.activations) + new_bias
            X, X_packed = activation(Z), activation(Z_packed)
    return coefs, intercepts


def families():
    """Return pairs of classes and what differs in the compressed ones."""
    return [(cls, _CompressedNetwork) for cls in (MLPClassifier, MLPRegressor)]
