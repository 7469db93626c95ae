"""Small trainers on few digits, for the tests of ConstrainedTrainer."""

from functools import partial

import numpy as np
from sklearn.datasets import load_digits

from sklearn_ternary import ConstrainedTrainer

X_DIGITS, Y_DIGITS = load_digits(return_X_y=True)
trainer = partial(
    ConstrainedTrainer, hidden_layer_sizes=(24,), max_iter=3, random_state=0
)


def few_digits(n=400):
    return X_DIGITS[:n], Y_DIGITS[:n]


def same(one, two):
    """Whether two fitted trainers have the same parameters to the bit."""
    return np.array_equal(one.parameters_, two.parameters_)
