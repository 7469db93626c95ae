"""Optimizers: from gradients to directions.

An optimizer knows the flat array of parameters, how it is cut into segments, and
nothing of layers. A new one is a class with the methods of `Optimizer`, and a name in
`make_optimizer`.
"""

import numpy as np

from sklearn_ternary._gpu.arrays import assign
from sklearn_ternary.neural_network._steps.second_moment import SharedSecondMoment


class Optimizer:
    """What the trainer asks of an optimizer.

    Attributes
    ----------
    direction : ndarray of shape (n,)
        What the last call of `find_direction` found: what would be added to the
        parameters for a learning rate of one, weight decay included.
    clusters : RowClusters or None
        Those of the moments.
    """

    clusters = None

    def find_direction(self, gradient, parameters, decay, gradient_scale=1.0):
        """Update the moments and `direction`.

        Parameters
        ----------
        gradient, parameters : ndarray of shape (n,)
        decay : ndarray of shape (n_segments,)
            Decoupled weight decay.
        gradient_scale : float, default=1.0
            The gradient counts times this.

        Returns
        -------
        sums : ndarray of shape (n_segments, 5)
            See `sklearn_ternary._reference.steps`.
        """
        raise NotImplementedError

    def curvature(self, step):
        """``d · P d``: P is what the optimizer takes for the diagonal of curvature."""
        raise NotImplementedError

    @property
    def state(self):
        """Arrays and numbers that a checkpoint holds, by name."""
        raise NotImplementedError

    @state.setter
    def state(self, state):
        raise NotImplementedError

    @property
    def n_bytes(self):
        """Memory of the moments; `direction` is not among them."""
        arrays = self.state.items()
        return sum(v.nbytes for k, v in arrays if k != "direction" and np.ndim(v))


class SGD(Optimizer):
    """Stochastic gradient descent with momentum [1]_.

    Parameters
    ----------
    segments : Segments
    operations : module or namespace
        The functions of `sklearn_ternary._reference.steps`.
    dtype : dtype
    momentum : float, default=0.9
        The velocity is ``m = momentum * m + g``, the direction ``-(m + decay p)``.

    References
    ----------
    .. [1] B. Polyak, "Some methods of speeding up the convergence of iteration
       methods", 1964.
    """

    def __init__(self, segments, operations, dtype, *, momentum=0.9):
        self.segments = segments
        self.operations = operations
        self.momentum = momentum
        self.velocity = operations.zeros(segments.n_values, dtype)
        self.direction = operations.zeros(segments.n_values, dtype)

    def find_direction(self, gradient, parameters, decay, gradient_scale=1.0):
        return self.operations.sgd_direction(
            gradient,
            parameters,
            self.velocity,
            self.direction,
            self.segments.bounds,
            decay,
            self.momentum,
            gradient_scale,
        )

    def curvature(self, step):
        return float(np.dot(step, step))

    @property
    def state(self):
        return {"velocity": self.velocity, "direction": self.direction}

    @state.setter
    def state(self, state):
        assign(self.velocity, state["velocity"])
        assign(self.direction, state["direction"])


class AdamW(Optimizer):
    """Adam [1]_ with decoupled weight decay [2]_.

    Parameters
    ----------
    segments : Segments
    operations : module or namespace
        The functions of `sklearn_ternary._reference.steps`.
    dtype : dtype
    beta_1, beta_2 : float
        Decay of the moments.
    epsilon : float
        Added to the root of the second moment.
    second_moment : {"element", "row", "tensor", "cluster"}, default="element"
        What shares a second moment; see `SharedSecondMoment`.
    n_clusters : int, default=16
        For ``"cluster"``.
    random_state : int, default=0
        For ``"cluster"``.

    References
    ----------
    .. [1] D. Kingma and J. Ba, "Adam: a method for stochastic optimization",
       ICLR 2015.
    .. [2] I. Loshchilov and F. Hutter, "Decoupled weight decay regularization",
       ICLR 2019.
    """

    def __init__(
        self,
        segments,
        operations,
        dtype,
        *,
        beta_1=0.9,
        beta_2=0.99,
        epsilon=1e-8,
        second_moment="element",
        n_clusters=16,
        random_state=0,
    ):
        self.segments = segments
        self.operations = operations
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_steps = 0
        n = segments.n_values
        self.first = operations.zeros(n, dtype)
        self.direction = operations.zeros(n, dtype)
        self.shared = self.second = None
        if second_moment == "element":
            self.second = operations.zeros(n, dtype)
        else:
            self.shared = SharedSecondMoment(
                segments, operations, second_moment, beta_2, n_clusters, random_state
            )
            self.clusters = self.shared.clusters

    def find_direction(self, gradient, parameters, decay, gradient_scale=1.0):
        self.n_steps += 1
        if self.shared is not None:
            return self._shared_direction(gradient, parameters, decay, gradient_scale)
        return self.operations.adamw_direction(
            gradient,
            parameters,
            self.first,
            self.second,
            self.direction,
            self.segments.bounds,
            decay,
            self.beta_1,
            self.beta_2,
            1 / (1 - self.beta_1**self.n_steps),
            1 / (1 - self.beta_2**self.n_steps),
            self.epsilon,
            gradient_scale,
        )

    def _shared_direction(self, gradient, parameters, decay, gradient_scale):
        operations, segments = self.operations, self.segments
        squares = operations.square_sums(gradient, segments.row_bounds)
        squares *= gradient_scale**2
        self.shared.update(squares, parameters)
        return operations.shared_direction(
            gradient,
            parameters,
            self.first,
            self._row_divisors().astype(parameters.dtype),
            self.direction,
            segments.bounds,
            segments.row_bounds,
            decay,
            self.beta_1,
            1 / (1 - self.beta_1**self.n_steps),
            gradient_scale,
        )

    @property
    def _correction(self):
        return 1 / (1 - self.beta_2**self.n_steps)

    def _row_divisors(self):
        return np.sqrt(self.shared.of_rows() * self._correction) + self.epsilon

    def curvature(self, step):
        if self.shared is not None:
            squares = self.operations.square_sums(step, self.segments.row_bounds)
            return float(np.dot(squares, self._row_divisors()))
        T = step.dtype.type
        divisors = np.sqrt(self.second * T(self._correction)) + T(self.epsilon)
        return float(np.dot(step * divisors, step))

    @property
    def state(self):
        state = {
            "first": self.first,
            "direction": self.direction,
            "n_steps": self.n_steps,
        }
        if self.shared is None:
            return state | {"second": self.second}
        return state | self.shared.state

    @state.setter
    def state(self, state):
        self.n_steps = int(state["n_steps"])
        assign(self.first, state["first"])
        assign(self.direction, state["direction"])
        if self.shared is None:
            assign(self.second, state["second"])
        else:
            self.shared.state = state


def make_optimizer(name, segments, operations, dtype, options):
    """Optimizer by its name.

    Parameters
    ----------
    name : {"adamw", "sgd"}
    segments : Segments
    operations : module or namespace
    dtype : dtype
    options : dict
        Keyword arguments of all optimizers; each takes its own.

    Returns
    -------
    optimizer : Optimizer
    """
    cls, names = _OPTIMIZERS[name]
    chosen = {key: options[key] for key in names}
    return cls(segments, operations, dtype, **chosen)


_ADAM_NAMES = (
    "beta_1",
    "beta_2",
    "epsilon",
    "second_moment",
    "n_clusters",
    "random_state",
)
_OPTIMIZERS = {"adamw": (AdamW, _ADAM_NAMES), "sgd": (SGD, ("momentum",))}
