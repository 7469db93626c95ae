"""Numbers of an object that compiled code reads and changes where they are."""

import numpy as np


class Number:
    """An attribute that is an element of the array ``numbers`` of its object.

    Parameters
    ----------
    kind : type, default=float
        What it is read as.
    """

    def __init__(self, kind=float):
        self.kind = kind

    def __set_name__(self, owner, name):
        self.index = owner.NUMBERS.index(name)

    def __get__(self, instance, owner=None):
        return self if instance is None else self.kind(instance.numbers[self.index])

    def __set__(self, instance, value):
        instance.numbers[self.index] = value


class Numbers:
    """State that is a few numbers, named by ``NUMBERS`` in their order."""

    NUMBERS = ()

    def __init__(self):
        self.numbers = np.zeros(len(self.NUMBERS))

    @property
    def state(self):
        return {name: getattr(self, name) for name in self.NUMBERS}

    @state.setter
    def state(self, state):
        for name in self.NUMBERS:
            setattr(self, name, float(state[name]))


def total(values):
    """Sum from the first to the last, each rounded; `sum` does more of late."""
    result = 0.0
    for value in np.asarray(values).tolist():
        result += value
    return result
