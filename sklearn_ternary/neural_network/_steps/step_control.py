"""From the sums of a batch to the length of its step."""

import math

import numpy as np

from sklearn_ternary.neural_network._steps.numbers import total
from sklearn_ternary.neural_network._steps.schedules import base_schedule

REPORT = ("loss", "learning_rate", "radius", "step_norm", "alignment")


class StepControl:
    """Guard, signals, controller and trust region, one after another at each step.

    Where the operations are compiled this is one call, which changes the numbers of
    these objects in their places; `step` here is its definition.

    Parameters
    ----------
    guard : Guard
    signals : TrainingSignals
    controller : StepController
    trust : TrustRegion
    learning_rate : float
        The first one.
    schedule : {"constant", "cosine", "invscaling", "wsd"}
    n_steps : int
        Of the schedule; 0 where unknown.
    warmup_steps : float
    controller_steps : float
        Steps before which the controller moves its multipliers.
    power_t : float, default=0.5
        Of ``"invscaling"``.
    compiled : type or None
        The compiled form.

    Attributes
    ----------
    factors : ndarray of shape (n_segments,), float64
        What each segment of the last direction was multiplied by.
    report : ndarray of float64
        Of the last step, in the order of `REPORT`.
    """

    def __init__(
        self,
        guard,
        signals,
        controller,
        trust,
        *,
        learning_rate,
        schedule,
        n_steps,
        warmup_steps,
        controller_steps,
        power_t=0.5,
        compiled=None,
    ):
        self.guard = guard
        self.signals = signals
        self.controller = controller
        self.trust = trust
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.power_t = power_t
        self.n_steps = n_steps
        self.warmup_steps = warmup_steps
        self.controller_steps = controller_steps if controller.moves else 0
        self.factors = np.zeros(len(trust.segments))
        self.report = np.zeros(len(REPORT))
        if compiled is not None:
            self.step = self._bound(compiled).step

    def step(self, loss, sums, t):
        """Find `factors` for the direction of a batch.

        Parameters
        ----------
        loss : float
        sums : ndarray of shape (n_segments, 5)
            From `Optimizer.find_direction`.
        t : int
            Steps before this one.

        Returns
        -------
        goes_on : bool
            False where training has failed; nothing but the guard has changed then.
        """
        signals, trust = self.signals, self.trust
        gradient_norm = math.sqrt(total(sums[:, 0]))
        if self.guard.watch(loss, gradient_norm):
            return False
        alignment = self._alignment(sums, gradient_norm)
        norm = math.sqrt(total(sums[:, 4]))
        features = signals.observe(
            loss, gradient_norm, alignment, norm, t, self.n_steps
        )
        if t < self.controller_steps:
            self.controller.update(features, trust.is_active)
        if trust.clusters is not None and trust.clusters.observe(sums[:, 0]):
            trust.regroup(sums)
        base = base_schedule(
            self.schedule, t, self.n_steps, self.warmup_steps, self.power_t
        )
        rate = self.learning_rate * base * self.controller.rate_multiplier
        self.factors[:], step_norm, radius, trust.is_active = trust.bound(
            rate, base * self.controller.radius_multiplier, sums
        )
        self.report[:] = loss, rate, radius, step_norm, alignment
        return True

    def _alignment(self, sums, gradient_norm):
        """Cosine of the gradient and minus the last step; 0 without one."""
        length = gradient_norm * self.signals.step_norm
        if not length > 0:
            return 0.0
        dot = total(self.factors * sums[:, 1])
        return min(1.0, max(-1.0, -dot / length))

    def _bound(self, compiled):
        controller, trust = self.controller, self.trust
        return compiled(
            signals=self.signals.numbers,
            guard=self.guard.numbers,
            controller=controller.numbers,
            trust=trust.numbers,
            learner=controller.learner,
            learns=controller.learns,
            gain=controller.gain,
            learning_rate=self.learning_rate,
            radius=trust.radius,
            n_steps=self.n_steps,
            warmup_steps=self.warmup_steps,
            controller_steps=self.controller_steps,
            schedule=self.schedule,
            power_t=self.power_t,
            bound=trust.kind,
            clusters=trust.clusters,
            regroup=trust.regroup,
            lengths=trust.lengths,
            groups=trust.groups,
            counts=trust.counts,
            radii=trust.radii,
            norms=trust.norms,
            factors=self.factors,
            report=self.report,
        )
