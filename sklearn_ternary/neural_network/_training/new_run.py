"""The network and the run that a call of `fit` begins with."""

import numpy as np
from sklearn.utils import check_random_state

from sklearn_ternary._dispatch import config_of_rows
from sklearn_ternary._gpu.arrays import assign
from sklearn_ternary.neural_network._networks.perceptron import build_network
from sklearn_ternary.neural_network._training.run import Run

# Right for ternary weights; float ones get a share.
_LEARNING_RATES = {"adamw": 0.005, "sgd": 0.05}
_FLOAT_SHARE = 0.4
# Controllers do not go beyond so many times these, nor above the given one.
_LIMIT_FACTOR = 5
_LARGE_SET = 10_000


def draw_seed(estimator):
    """A seed by the `random_state` of an estimator."""
    return check_random_state(estimator.random_state).randint(2**31)


def usual_batch_size(n_samples):
    """Batch size of ``"auto"``."""
    return min(n_samples, 128 if n_samples >= _LARGE_SET else 32)


def new_run(estimator, X, n_steps, random_state, goes_on):
    """A run at its beginning.

    Parameters
    ----------
    estimator : ConstrainedTrainer
        With targets.
    X : {ndarray, CuPy array, CSR matrix}
        Scaled rows; the network works where they are.
    n_steps : int
        0 where unknown.
    random_state : RandomState
    goes_on : bool
        Whether it begins with the parameters of the estimator.

    Returns
    -------
    run : Run

    Raises
    ------
    ValueError
        If these are of another network, or packed away.
    """
    options = estimator.get_params(deep=False)
    targets, config = estimator._targets, config_of_rows(X)
    network = build_network(
        X.shape[1], targets.n_outputs, targets.loss(), options, config=config
    )
    network.initialize(random_state)
    if goes_on:
        old = estimator.parameters_
        if old is None or len(old) != len(network.parameters):
            size = "none" if old is None else f"{len(old)}"
            raise ValueError(
                f"the parameters to go on from are {size}, and the network has "
                f"{len(network.parameters)}: it was packed, or "
                "hidden_layer_sizes or another parameter has changed"
            )
        assign(network.parameters, old)
    usual = _LEARNING_RATES[options["optimizer"]]
    if options["quantize_weights"] is None:
        usual *= _FLOAT_SHARE
    rate = options["learning_rate_init"]
    rate = usual if rate == "auto" else rate
    limit = _LIMIT_FACTOR * usual
    return Run(network, options, rate, limit, n_steps, random_state, config)


def new_incremental_run(estimator, X, goes_on):
    """A run for `partial_fit`, with the state that was pickled if there is one."""
    random_state = np.random.RandomState(draw_seed(estimator))
    run = new_run(estimator, X, 0, random_state, goes_on)
    state = estimator.__dict__.pop("_run_state", None)
    if state is not None:
        run.state = state
    return run
