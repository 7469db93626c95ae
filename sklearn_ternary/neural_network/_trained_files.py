"""Trained networks as files and as plain arrays."""

import math

import numpy as np

from sklearn_ternary.neural_network._networks.packed import PackedNetwork
from sklearn_ternary.neural_network._networks.perceptron import hidden_sizes
from sklearn_ternary.neural_network._training.standardization import Standardization
from sklearn_ternary.neural_network._training.targets import ClassTargets, NumberTargets
from sklearn_ternary.persistence._parts import PLAIN
from sklearn_ternary.quantization import TernaryArray

KIND = "ConstrainedTrainer"
_INFO = {"estimator", "params", "multilabel", "flat", "classes", "features", "n_iter"}
_INFO |= {"summary", "n_features"}


def to_parts(model):
    """Parts of a file, for `save_tensors`.

    Parameters
    ----------
    model : ConstrainedTrainer
        Fitted.
    """
    packed, targets = model._packed, model._targets
    mean, scale = model._standardization
    tensors = {"mean": mean, "scale": scale}
    info = {
        "estimator": KIND,
        "params": _plain_params(model),
        "multilabel": getattr(targets, "is_multilabel", None),
        "flat": getattr(targets, "is_flat", None),
        "classes": None,
        "features": None,
        "n_iter": model.n_iter_,
        "n_features": model.n_features_in_,
        "summary": _encoded(model.training_summary_),
    }
    if isinstance(targets, NumberTargets):
        tensors |= {
            "target_mean": targets.standardization.mean,
            "target_scale": targets.standardization.scale,
        }
    elif targets.classes.dtype.kind in "biuf":
        tensors["classes"] = targets.classes
    else:
        names = targets.classes.tolist()
        if not all(isinstance(name, str) for name in names):
            raise ValueError(f"classes_={names} are neither numbers nor text")
        info["classes"] = names
    if hasattr(model, "feature_names_in_"):
        info["features"] = model.feature_names_in_.tolist()
    parts = {"": (tensors, info)}
    for i, (W, bias, gain) in enumerate(
        zip(packed.weights, packed.biases, packed.gains, strict=True)
    ):
        parts[f"coefs.{i}"] = W._to_parts() if _is_packed(W) else ({PLAIN: W}, None)
        parts[f"intercepts.{i}"] = {PLAIN: bias}, None
        if gain is not None:
            parts[f"gains.{i}"] = {PLAIN: gain}, None
    if packed.skip is not None:
        parts["skip"] = {PLAIN: packed.skip}, None
    return parts


def is_model(parts):
    """Whether the parts of a file are those of a trained network."""
    info = parts.get("", (None, None))[1]
    return isinstance(info, dict) and info.get("estimator") == KIND


def fill(model_class, parts):
    """Model from the parts of a file; every part is checked.

    Raises
    ------
    ValueError
        If something is missing or does not fit.
    """
    tensors, info = parts[""]
    if set(info) != _INFO or not isinstance(info["params"], dict):
        raise ValueError("the description of the model is not complete")
    try:
        model = model_class(**info["params"])
        model._validate_params()
    except TypeError as error:
        raise ValueError(f"params: {error}") from None
    options = model.get_params(deep=False)
    n_features = _count(info, "n_features")
    targets = _targets(tensors, info, model)
    sizes = (
        n_features,
        *hidden_sizes(options["hidden_layer_sizes"]),
        targets.n_outputs,
    )
    packed = _network(parts, sizes, options)
    width = {1, n_features}
    scaling = Standardization(
        *(_vector(tensors, name, width) for name in ("mean", "scale"))
    )
    model._packed, model._targets, model._standardization = packed, targets, scaling
    model.parameters_ = model.grad_residual_ = None
    model.coefs_, model.intercepts_ = packed.weights, packed.biases
    model.n_features_in_ = n_features
    model.n_iter_ = _count(info, "n_iter")
    model.n_layers_ = len(sizes)
    model.n_outputs_ = targets.n_outputs
    model.training_summary_ = _decoded(info["summary"])
    if isinstance(targets, ClassTargets):
        model.classes_ = targets.classes
        several = targets.n_outputs > 1 and not targets.is_multilabel
        model.out_activation_ = "softmax" if several else "logistic"
    else:
        model.out_activation_ = "identity"
    names = info["features"]
    if names is not None:
        if not _is_text_list(names) or len(names) != n_features:
            raise ValueError("features are not one name for each feature")
        model.feature_names_in_ = np.array(names, dtype=object)
    return model


def numpy_state(model):
    """Plain arrays of everything that predictions take.

    Parameters
    ----------
    model : ConstrainedTrainer

    Returns
    -------
    state : dict of str to ndarray
    """
    packed = model._packed
    state = {}
    for i, (W, bias, gain) in enumerate(
        zip(packed.weights, packed.biases, packed.gains, strict=True)
    ):
        if _is_packed(W):
            state[f"codes{i}"] = W.codes()
            state[f"scale{i}"] = W.scale.reshape(-1).copy()
        else:
            state[f"weight{i}"] = W.copy()
        state[f"bias{i}"] = bias.copy()
        if gain is not None:
            state[f"gain{i}"] = gain.copy()
    if packed.skip is not None:
        state["skip"] = packed.skip.copy()
    mean, scale = model._standardization
    state |= {"input_mean": mean.copy(), "input_scale": scale.copy()}
    if isinstance(model._targets, NumberTargets):
        mean, scale = model._targets.standardization
        state |= {"target_mean": mean.copy(), "target_scale": scale.copy()}
    else:
        state["classes"] = model.classes_.copy()
    return state


def _network(parts, sizes, options):
    n = len(sizes) - 1
    wanted = {"", *(f"coefs.{i}" for i in range(n))}
    wanted |= {f"intercepts.{i}" for i in range(n)}
    has_norm = options["normalization"] is not None
    wanted |= {f"gains.{i}" for i in range(1, n) if has_norm}
    wanted |= {"skip"} if options["linear_skip"] else set()
    if set(parts) != wanted:
        odd = sorted(set(parts) ^ wanted)
        raise ValueError(f"the parts {odd} are missing or too many")
    weights, biases, gains = [], [], []
    for i in range(n):
        shape = sizes[i + 1], sizes[i]
        is_last = i == n - 1
        ternary = options["quantize_weights"] is not None
        ternary = ternary and (not is_last or options["quantize_output"])
        tensors, description = parts[f"coefs.{i}"]
        if ternary:
            W = TernaryArray._from_parts(tensors, description)
            if W.shape != shape or W.n_levels != 3:
                raise ValueError(f"coefs.{i} has the shape {W.shape}, not {shape}")
            if W.scale.size != 1:
                raise ValueError(f"coefs.{i} has {W.scale.size} scales; one is needed")
        else:
            W = _array(parts, f"coefs.{i}", shape)
        weights.append(W)
        biases.append(_array(parts, f"intercepts.{i}", shape[:1]))
        gain = _array(parts, f"gains.{i}", shape[1:]) if i and has_norm else None
        gains.append(gain)
    skip = None
    if options["linear_skip"]:
        skip = _array(parts, "skip", (sizes[-1], sizes[0]))
    return PackedNetwork(
        weights,
        biases,
        gains,
        skip,
        options["activation"],
        options["quantize_activations"],
    )


def _array(parts, name, shape):
    tensors, _ = parts[name]
    array = tensors.get(PLAIN)
    if array is None or array.shape != shape or array.dtype != np.float32:
        raise ValueError(f"{name} is not float32 of the shape {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has values that are not finite")
    return array


def _vector(tensors, name, lengths):
    array = tensors.get(name)
    if array is None or array.dtype != np.float64 or array.ndim != 1:
        raise ValueError(f"{name} is not a vector of float64")
    if len(array) not in lengths or not np.isfinite(array).all():
        raise ValueError(f"{name} has a wrong length, or values that are not finite")
    if "scale" in name and not (array > 0).all():
        raise ValueError(f"{name} has values that are not above 0")
    return array


def _targets(tensors, info, model):
    if model.loss != "log_loss":
        n = len(tensors.get("target_mean", ()))
        scaling = Standardization(
            *(_vector(tensors, f"target_{name}", {n}) for name in ("mean", "scale"))
        )
        if n == 0 or not isinstance(info["flat"], bool) or (info["flat"] and n > 1):
            raise ValueError("the description of the targets does not fit")
        return NumberTargets(scaling, model.loss, info["flat"])
    classes = info["classes"]
    if classes is None:
        classes = tensors.get("classes")
    elif _is_text_list(classes):
        classes = np.array(classes)
    is_sorted = (
        isinstance(classes, np.ndarray)
        and classes.ndim == 1
        and len(classes) > 0
        and bool((classes[1:] > classes[:-1]).all())
    )
    if not is_sorted or not isinstance(info["multilabel"], bool):
        raise ValueError("classes are not in order")
    if len(classes) < 2 and not info["multilabel"]:
        raise ValueError("there is one class only")
    return ClassTargets(classes, info["multilabel"])


def _plain_params(model):
    """Parameters that JSON can hold; the others are those of a new trainer."""
    params = model.get_params(deep=False)
    params["hidden_layer_sizes"] = list(hidden_sizes(params["hidden_layer_sizes"]))
    kept = {}
    for name, value in params.items():
        if isinstance(value, np.generic):
            value = value.item()
        is_number = isinstance(value, (bool, int, float)) and math.isfinite(value)
        if value is None or is_number or isinstance(value, (str, list)):
            kept[name] = value
    kept.pop("checkpoint_dir", None)
    return kept


def _encoded(summary):
    """NaN is None in JSON."""

    def plain(value):
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return {name: plain(value) for name, value in summary.items()}


def _decoded(summary):
    if not isinstance(summary, dict):
        raise ValueError("summary is not a dict")

    def number(value):
        if isinstance(value, list):
            return tuple(number(item) for item in value)
        if value is None:
            return math.nan
        if not isinstance(value, (bool, int, float)):
            raise ValueError(f"summary has the value {value!r}")
        return value

    return {name: number(value) for name, value in summary.items()}


def _count(info, name):
    value = info[name]
    if type(value) is not int or not 0 <= value < 2**40:
        raise ValueError(f"{name}={value!r} is not a count")
    return value


def _is_text_list(value):
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_packed(W):
    return isinstance(W, TernaryArray)
