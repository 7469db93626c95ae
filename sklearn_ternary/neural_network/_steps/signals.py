"""What the step controllers know of a run: six numbers free of scale."""

import math

from sklearn_ternary.neural_network._steps.numbers import Number, Numbers

# Names of the features, in their order.
FEATURES = (
    "progress",
    "gradient_shock",
    "alignment",
    "model_trust",
    "update_ratio",
    "budget_used",
)
_LIMIT = 3.0
_TINY = 1e-12


class TrainingSignals(Numbers):
    """Running averages, and the features made of them.

    Every feature is clipped to [-3, 3], and 0 where it is not a number:

    1. progress: logarithm of the loss's fast average (0.9) over its slow one (0.98);
    2. gradient shock: logarithm of ``||g||`` over its average (0.95);
    3. alignment: the cosine of g and minus the last step, in [-1, 1];
    4. model trust: average (0.9) of the ratio test's rho in [-1, 2], minus a half; 0
       where there is no ratio test;
    5. update ratio: ``log10(||d|| / ||p||) / 3 + 1`` of the last step, so that 1e-3
       is 0;
    6. budget used: ``2 t / T - 1``; 0 where T is unknown.

    Attributes
    ----------
    step_norm : float
        Length of the last step, of which it must be told.
    n_descents : int
        Steps at which the fast average of the loss was below what it had been.
    """

    NUMBERS = (
        "fast_loss",
        "slow_loss",
        "gradient_norm",
        "trust",
        "step_norm",
        "n_descents",
    )
    fast_loss = Number()
    slow_loss = Number()
    gradient_norm = Number()
    trust = Number()
    step_norm = Number()
    n_descents = Number(int)

    def __init__(self):
        super().__init__()
        self.fast_loss = self.slow_loss = self.gradient_norm = math.nan

    def observe(self, loss, gradient_norm, alignment, parameter_norm, step, n_steps):
        """Features at a step, before it is taken.

        Parameters
        ----------
        loss, gradient_norm, alignment, parameter_norm : float
        step, n_steps : int
            `n_steps` is 0 where unknown.

        Returns
        -------
        features : list of 6 float
        """
        log, before = math.log, self.fast_loss
        self.fast_loss = fast = _average(before, loss, 0.9)
        self.slow_loss = slow = _average(self.slow_loss, loss, 0.98)
        self.gradient_norm = usual = _average(self.gradient_norm, gradient_norm, 0.95)
        self.n_descents += fast < before
        ratio = self.step_norm / parameter_norm if parameter_norm > 0 else 0.0
        features = [
            log(max(fast, _TINY) / max(slow, _TINY)),
            log(max(gradient_norm, _TINY) / max(usual, _TINY)),
            alignment,
            self.trust,
            math.log10(ratio) / 3 + 1 if ratio > 0 else 0.0,
            2 * step / n_steps - 1 if n_steps else 0.0,
        ]
        return [_clipped(value) for value in features]

    def observe_ratio(self, rho):
        """Take in the result of a ratio test."""
        rho = min(2.0, max(-1.0, rho))
        self.trust = 0.9 * self.trust + 0.1 * (rho - 0.5)


def _average(old, new, keep):
    return new if math.isnan(old) else keep * old + (1 - keep) * new


def _clipped(value):
    return 0.0 if math.isnan(value) else min(_LIMIT, max(-_LIMIT, value))
