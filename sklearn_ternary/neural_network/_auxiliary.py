"""AuxiliaryStepPredictor: the small network of the step controller, by itself."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from sklearn_ternary._gpu.arrays import like
from sklearn_ternary._in_kind import HostPickles, through_host
from sklearn_ternary._sklearn_compat import Interval, _fit_context
from sklearn_ternary.neural_network._steps.auxiliary_network import AuxiliaryNetwork
from sklearn_ternary.neural_network._steps.signals import FEATURES
from sklearn_ternary.neural_network._steps.step_controller import (
    GAIN,
    MAX_INCREMENT,
    meta_gradient,
)

_ALIGNMENT = FEATURES.index("alignment")


class AuxiliaryStepPredictor(HostPickles, RegressorMixin, BaseEstimator):
    """Predict increments of a learning rate and a radius from the state of training.

    ``o = W2 tanh(W1 x + b1) + b2`` with, for a
    :class:`~sklearn_ternary.ConstrainedTrainer`, 6 inputs, 16 hidden units and 2
    outputs: 146 parameters. A step multiplies the learning rate by ``exp(δ tanh(β (1
    - a) x3 + o1))`` and the radius by ``exp(δ tanh(β a x3 + o2))``, where x3 is the
    alignment of the new gradient with the last step, a whether the radius bounded
    that, δ = 0.03 and β = 5. While the head W2, b2 is zero, as in the beginning, this
    is the scalar hypergradient rule.

    It only predicts these two; nothing is claimed for other parameters.

    Read more in the :ref:`user guide <step_controller>`.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(16,)
        Hidden units, all with tanh.
    learning_rate_init : float, default=0.01
        Step size of Adam.
    max_iter : int, default=200
        Steps of `fit`.
    random_state : int, RandomState instance or None, default=None
        Random numbers for the hidden layers.

    Attributes
    ----------
    coefs_ : list of ndarray
        Weights of the layers, each of shape (inputs, outputs).
    intercepts_ : list of ndarray
    n_iter_ : int
        Steps of Adam taken.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during `fit`, if all are strings.

    See Also
    --------
    ConstrainedTrainer : Uses it with ``step_controller="auxiliary"``.

    Notes
    -----
    The six features are, in this order: progress, gradient shock, alignment, model
    trust, update ratio, budget used.

    The network is so small that it is computed on the host, where its attributes stay;
    CuPy arrays in give CuPy arrays out.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ternary.neural_network import AuxiliaryStepPredictor
    >>> states = np.random.default_rng(0).uniform(-1, 1, (50, 6))
    >>> predictor = AuxiliaryStepPredictor(random_state=0)
    >>> predictor = predictor.fit(states, np.zeros((50, 2)))
    >>> sum(w.size for w in [*predictor.coefs_, *predictor.intercepts_])
    146
    >>> rate, radius = predictor.predict_step(states[:1], learning_rate=0.1, radius=2)
    >>> bool(0.097 < rate[0] < 0.1031)
    True
    """

    _parameter_constraints: dict = {
        "hidden_layer_sizes": ["array-like"],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        hidden_layer_sizes=(16,),
        *,
        learning_rate_init=0.01,
        max_iter=200,
        random_state=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.random_state = random_state

    @through_host
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Learn given outputs by least squares, from a new start.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            States.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Outputs, such as those of a line search.

        Returns
        -------
        self : AuxiliaryStepPredictor
        """
        X, y = self._validated(X, y, reset=True)
        self._start(X.shape[1], y)
        for _ in range(self.max_iter):
            self._regress(X, y)
        return self

    @through_host
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y):
        """Take one step of Adam towards given outputs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            States.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Outputs.

        Returns
        -------
        self : AuxiliaryStepPredictor
        """
        first = not hasattr(self, "coefs_")
        X, y = self._validated(X, y, reset=first)
        if first:
            self._start(X.shape[1], y)
        self._regress(X, y)
        return self

    @through_host
    def feed_back(self, X, reward, is_active=False):
        """Learn from what came of predicted steps.

        One step of Adam on ``-reward tanh(o_a) + 0.02 ||o||²``, where o_a is the
        output that decided the length: the second where the radius was active, else
        the first. A network that has not been fitted starts with a zero head.

        Parameters
        ----------
        X : array-like of shape (n_samples, 6)
            States for which steps were predicted.
        reward : float or array-like of shape (n_samples,)
            How good a longer step would have been: the cosine of the next gradient
            and minus the step.
        is_active : bool or array-like of shape (n_samples,), default=False
            Whether the radius bounded the step.

        Returns
        -------
        self : AuxiliaryStepPredictor
        """
        X = self._states(X, start=True)
        reward = np.broadcast_to(np.asarray(reward, dtype=np.float64), len(X))
        if not np.isfinite(reward).all():
            raise ValueError(f"reward={reward} is not finite")
        values = self._network.layers(X)
        gradient = meta_gradient(values[-1], reward, is_active) / len(X)
        self._step(values, gradient)
        return self

    @through_host
    def predict(self, X):
        """Outputs o of the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            States.

        Returns
        -------
        outputs : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        outputs = self._network.layers(X)[-1]
        return outputs.ravel() if self._is_flat else outputs

    @through_host
    def score(self, X, y, sample_weight=None):
        """Coefficient of determination of what is predicted.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            States.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            What should be predicted.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
            1 at best; 0 where it is no better than the mean.
        """
        return super().score(X, y, sample_weight)

    @through_host
    def predict_step(self, X, *, learning_rate, radius, is_active=False):
        """Learning rate and radius of the next step.

        Parameters
        ----------
        X : array-like of shape (n_samples, 6)
            States.
        learning_rate, radius : float or array-like of shape (n_samples,)
            Those of the last step.
        is_active : bool or array-like of shape (n_samples,), default=False
            Whether the radius bounded the last step.

        Returns
        -------
        learning_rate, radius : ndarray of shape (n_samples,)
            Each within a factor of ``exp(0.03)`` of the last.

        Raises
        ------
        ValueError
            If a state holds NaN or infinity, or has not 6 features.
        """
        X = self._states(X, start=True)
        o = self._network.layers(X)[-1]
        push = GAIN * X[:, _ALIGNMENT]
        is_active = np.broadcast_to(np.asarray(is_active, dtype=bool), len(X))
        rate = np.exp(MAX_INCREMENT * np.tanh(np.where(is_active, 0, push) + o[:, 0]))
        size = np.exp(MAX_INCREMENT * np.tanh(np.where(is_active, push, 0) + o[:, 1]))
        return learning_rate * rate, radius * size

    def _states(self, X, start):
        """Validated states, and a network for them."""
        n = len(FEATURES)
        if not hasattr(self, "coefs_"):
            X = check_array(X, dtype=np.float64)
            if X.shape[1] == n:
                self.n_features_in_ = n
                self._start(n, np.zeros((1, 2)))
        else:
            X = validate_data(self, X, reset=False, dtype=np.float64)
        if X.shape[1] != n:
            raise ValueError(
                f"X has {X.shape[1]} features; a state of training has {n}: "
                f"{', '.join(FEATURES)}"
            )
        n_outputs = self._network.coefs[-1].shape[1]
        if n_outputs != 2:
            raise ValueError(
                f"the network was fitted to y of {n_outputs} columns; a step has 2, "
                "of learning rate and radius"
            )
        return X

    def _validated(self, X, y, reset):
        return validate_data(
            self,
            X,
            y,
            reset=reset,
            dtype=np.float64,
            multi_output=True,
            y_numeric=True,
        )

    def _start(self, n_features, y):
        self._is_flat = y.ndim == 1
        n_outputs = 1 if self._is_flat else y.shape[1]
        sizes = (n_features, *self.hidden_layer_sizes, n_outputs)
        self._network = AuxiliaryNetwork(
            sizes, self.learning_rate_init, check_random_state(self.random_state)
        )
        self._publish()

    def _regress(self, X, y):
        values = self._network.layers(X)
        error = values[-1] - y.reshape(len(y), -1)
        self._step(values, error / len(X))

    def _step(self, values, gradient):
        self._network.step(values, gradient)
        self._publish()

    def _publish(self, home=None):
        """Set the attributes; copies of the arrays go to where `home` is."""
        self.coefs_ = self._network.coefs
        self.intercepts_ = self._network.intercepts
        if home is not None:
            self.coefs_ = [like(W, home) for W in self.coefs_]
            self.intercepts_ = [like(b, home) for b in self.intercepts_]
        self.n_iter_ = self._network.n_steps

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True
        return tags
