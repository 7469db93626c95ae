"""A network with one hidden layer of tanh units, and Adam."""

import math
from itertools import pairwise

import numpy as np

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.99, 1e-8
_KEEP = np.array([[_BETA_1], [_BETA_2]])


class AuxiliaryNetwork:
    """``o = tanh(x W1 + b1) W2 + b2``, trained one gradient at a time.

    The head, W2 and b2, starts at zero.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, hidden layers, outputs.
    learning_rate : float
    random_state : RandomState
        For the hidden layers.

    Attributes
    ----------
    parameters : ndarray
    coefs, intercepts : list of ndarray
        Views of it.
    table : ndarray of shape (3, n_parameters)
        Parameters, and the two moments of their gradient.
    count : ndarray of shape (1,)
        Steps of Adam taken.
    """

    def __init__(self, sizes, learning_rate, random_state):
        self.learning_rate = learning_rate
        self.shapes = [*pairwise(sizes), *((n,) for n in sizes[1:])]
        self.table = np.zeros((3, sum(math.prod(shape) for shape in self.shapes)))
        self.count = np.zeros(1)
        self._bind()
        for W in self.coefs[:-1]:
            W[...] = random_state.standard_normal(W.shape) / np.sqrt(len(W))

    def _bind(self):
        """Make arrays of the layers that are views of those of all."""
        n = len(self.shapes) // 2
        self.parameters, self._gradient = self.table[0], np.zeros(len(self.table[0]))
        self._new = np.zeros_like(self.table[1:])
        views = _views(self.parameters, self.shapes)
        self.coefs, self.intercepts = views[:n], views[n:]
        views = _views(self._gradient, self.shapes)
        self._slopes = list(zip(views[:n], views[n:], strict=True))

    def __getstate__(self):
        names = "learning_rate", "shapes", "table", "count"
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._bind()

    def layers(self, X):
        """Values of all layers, inputs and outputs included."""
        values = [X]
        last = len(self.coefs) - 1
        for i, (W, b) in enumerate(zip(self.coefs, self.intercepts, strict=True)):
            # Row by row, so that a row's result does not depend on the others.
            Z = (values[-1][:, :, None] * W).sum(axis=1) + b
            values.append(Z if i == last else np.tanh(Z))
        return values

    def step(self, values, gradient):
        """One step of Adam.

        Parameters
        ----------
        values : list of ndarray
            From `layers`.
        gradient : ndarray of shape (n_samples, n_outputs)
            Of the loss by the outputs.
        """
        for i in reversed(range(len(self.coefs))):
            dW, db = self._slopes[i]
            np.matmul(values[i].T, gradient, out=dW)
            np.sum(gradient, axis=0, out=db)
            if i > 0:
                gradient = (gradient @ self.coefs[i].T) * (1 - values[i] ** 2)
        self.count += 1
        rate = self.learning_rate / (1 - _BETA_1**self.n_steps)
        correction = 1 - _BETA_2**self.n_steps
        # Both moments and their new terms at once: the arrays are short, calls are not.
        p, moments, new = self.table[0], self.table[1:], self._new
        np.multiply(self._gradient, 1 - _BETA_1, out=new[0])
        np.multiply(self._gradient, self._gradient, out=new[1])
        new[1] *= 1 - _BETA_2
        moments *= _KEEP
        moments += new
        np.sqrt(moments[1] / correction, out=new[1])
        new[1] += _EPSILON
        np.divide(moments[0], new[1], out=new[0])
        new[0] *= rate
        p -= new[0]

    @property
    def n_steps(self):
        """Steps of Adam taken."""
        return int(self.count[0])

    def clear_head(self):
        """Let the outputs be 0 for any input."""
        for array in (self.coefs[-1], self.intercepts[-1]):
            array[...] = 0

    @property
    def state(self):
        return {"weights": self.table.ravel(), "n_updates": self.n_steps}

    @state.setter
    def state(self, state):
        self.table[...] = np.reshape(state["weights"], self.table.shape)
        self.count[0] = state["n_updates"]


def _views(flat, shapes):
    views, start = [], 0
    for shape in shapes:
        stop = start + math.prod(shape)
        views.append(flat[start:stop].reshape(shape))
        start = stop
    return views
