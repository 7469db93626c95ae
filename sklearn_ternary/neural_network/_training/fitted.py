"""Attributes of the estimator after training."""

import numpy as np

from sklearn_ternary._gpu.arrays import is_device_array, like
from sklearn_ternary.neural_network._networks.packed import (
    PackedNetwork,
    named_parameters,
)
from sklearn_ternary.neural_network._networks.perceptron import hidden_sizes
from sklearn_ternary.neural_network._training.summary import summarize
from sklearn_ternary.quantization import TernaryArray

_HOST = np.zeros(0)


def fitted_attributes(estimator, run, stopping, *, interrupted, on_device):
    """Attributes of the estimator as if training had ended now.

    Parameters
    ----------
    estimator : ConstrainedTrainer
        With targets and standardization.
    run : Run
    stopping : Stopping
    interrupted : bool
    on_device : bool
        Whether arrays are to be where the network is, or on the host.

    Returns
    -------
    attributes : dict
        By name.
    """
    network, targets = run.network, estimator._targets
    n_layers = len(hidden_sizes(estimator.hidden_layer_sizes)) + 1
    options = estimator.get_params(deep=False)
    packed = PackedNetwork.of(named_parameters(network, n_layers), options)
    scored = stopping.scored
    summary = summarize(run, packed, len(stopping.curve), interrupted)
    place = network.parameters if on_device else _HOST
    residual = run.gradients.residual
    return {
        "_packed": packed,
        "_targets": targets,
        "_standardization": estimator._standardization,
        "parameters_": like(network.parameters.copy(), place),
        "grad_residual_": None if residual is None else like(residual.copy(), place),
        "coefs_": [_placed(W, place) for W in packed.weights],
        "intercepts_": [like(bias, place) for bias in packed.biases],
        "n_iter_": len(stopping.curve),
        "n_layers_": n_layers + 1,
        "n_outputs_": network.n_outputs,
        "out_activation_": targets.out_activation,
        "t_": run.history.n_samples,
        "loss_": stopping.curve[-1] if stopping.curve else float("nan"),
        "loss_curve_": list(stopping.curve),
        "best_loss_": None if scored else stopping.best,
        "validation_scores_": list(stopping.scores) if scored else None,
        "best_validation_score_": stopping.best if scored else None,
        "history_": run.history.columns(),
        "training_summary_": summary,
        "success_rate_": summary["accept_rate"][0],
        "success_interval_": summary["accept_rate"][1:],
    } | targets.attributes


def _placed(W, place):
    """Weights where an array is."""
    if isinstance(W, np.ndarray):
        return like(W, place)
    if not is_device_array(place):
        return W
    parts = like(W.packed, place), like(W.scale, place)
    return TernaryArray(*parts, W.shape, W.layout, group_size=W.group_size)
