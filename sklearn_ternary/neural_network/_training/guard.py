"""Going back to the last good state of a run that has lost its way."""

import math
import warnings

import numpy as np

from sklearn_ternary.neural_network._steps.numbers import Number, Numbers

# Steps between two copies of the state, and over which losses are compared.
_PATIENCE = 100
# A loss above this share of that of a network that knows nothing may be a divergence.
_SHARE_OF_NAIVE = 0.5
_MOST_ROLLBACKS = 20


class Guard(Numbers):
    """Keeps a copy of the state, and goes back to it where training fails.

    It fails where the loss or the gradient is not finite, or where the running
    average of the loss is above twice that of `_PATIENCE` steps ago and above half of
    the naive loss. The learning rate is then divided by four.

    Attributes
    ----------
    naive : float
        Loss of a network that has learned nothing; NaN until `begin`.
    n_rollbacks : int
    """

    NUMBERS = "average", "compared", "naive"
    average = Number()
    compared = Number()
    naive = Number()

    def __init__(self):
        super().__init__()
        self.average = self.compared = self.naive = math.nan
        self.since = 0
        self.n_rollbacks = 0
        self.saved = None

    def begin(self, loss, of_zeros):
        """Take in the first loss, and what it would be for outputs of zero.

        The first alone says nothing where training goes on from what was learned.
        """
        self.average = loss
        self.naive = max(loss, of_zeros)

    def watch(self, loss, gradient_norm):
        """Whether training has failed at a step that has not been taken yet."""
        if not math.isfinite(loss + gradient_norm):
            return True
        self.average += 0.1 * (loss - self.average)
        limit = max(2 * self.compared, _SHARE_OF_NAIVE * self.naive)
        return self.average > limit

    @property
    def is_due(self):
        """Whether a copy of the state should be kept now."""
        return self.saved is None or self.since >= _PATIENCE

    def keep(self, state):
        """Keep a copy of `state`, a dict of arrays and numbers."""
        old, self.saved = self.saved or {}, {}
        for name, value in state.items():
            if np.ndim(value):
                copy = old.get(name)
                # New memory would cost more than the copying.
                if type(copy) is type(value) and copy.shape == value.shape:
                    copy[...] = value
                else:
                    copy = value.copy()
                value = copy
            self.saved[name] = value
        self.compared = self.average
        self.since = 0

    def fail(self, loss, step):
        """Count a failure, and say so.

        Raises
        ------
        ValueError
            If there have been too many.
        """
        self.n_rollbacks += 1
        self.average = self.compared
        if self.n_rollbacks > _MOST_ROLLBACKS:
            raise ValueError(
                f"training diverged {self.n_rollbacks} times; the last loss was {loss} "
                f"at step {step}. A lower learning_rate_init or a trust_region may help"
            )
        warnings.warn(
            f"the loss was {loss} at step {step}: going back to the last good state "
            "with a quarter of the learning rate",
            RuntimeWarning,
            stacklevel=5,
        )

    @property
    def state(self):
        counts = {"since": self.since, "n_rollbacks": self.n_rollbacks}
        saved = self.saved or {}
        saved = {f"saved.{name}": value for name, value in saved.items()}
        return super().state | counts | saved

    @state.setter
    def state(self, state):
        Numbers.state.fset(self, state)
        self.since = int(state["since"])
        self.n_rollbacks = int(state["n_rollbacks"])
        saved = {
            name.removeprefix("saved."): value
            for name, value in state.items()
            if name.startswith("saved.")
        }
        self.saved = saved or None
