"""The backend of a language model, chosen once when it is loaded."""

import importlib
import logging

from sklearn_ternary._config import current_config
from sklearn_ternary._crossovers import DEFAULT_CROSSOVER
from sklearn_ternary._dispatch._choice import _HAND_OVER, _cpu_options, _next_backend

_LOG = logging.getLogger("sklearn_ternary.language")
_MODULES = {
    "numpy": "sklearn_ternary._reference.language",
    "cpu": "sklearn_ternary._cpu.language",
}


def make_layer_stack(stack_config, n_layers, *, config=None):
    """Layers without weights yet, and the name of their backend.

    Parameters
    ----------
    stack_config : StackConfig
    n_layers : int

    Returns
    -------
    stack : LayerStack
    backend : str
    """
    config = config or current_config()
    backend = "cpu" if config.backend == "auto" else config.backend
    while True:
        try:
            if backend not in _MODULES:
                raise ImportError(f"no language models on backend {backend!r}")
            module = importlib.import_module(_MODULES[backend])
            stack = module.LayerStack(stack_config, n_layers)
            options = layer_stack_options(backend, config=config)
            _LOG.debug("language model on backend %s %s", backend, options or "")
            return stack, backend
        except _HAND_OVER as error:
            backend = backend.partition(":")[0]
            backend = _next_backend(backend, "language models", error, config)


def sampling_operations(backend):
    """The module that draws tokens for the backend of a model."""
    room = "_cpu" if backend == "cpu" else "_reference"
    return importlib.import_module(f"sklearn_ternary.{room}.sampling")


def layer_stack_options(backend, *, config=None):
    """The keywords that a `LayerStack` of `backend` takes.

    Threads pay at any size here: what a pass does is worth a millisecond.
    """
    if backend != "cpu":
        return {}
    config = config or current_config()
    return _cpu_options(config, float("inf"), DEFAULT_CROSSOVER)
