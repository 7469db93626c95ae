"""Controllers of the learning rate and of the radius."""

import math

import numpy as np

from sklearn_ternary.neural_network._steps.auxiliary_network import AuxiliaryNetwork
from sklearn_ternary.neural_network._steps.numbers import Number, Numbers
from sklearn_ternary.neural_network._steps.signals import FEATURES

# The rule of the increments: see `StepController`.
MAX_INCREMENT = 0.03
GAIN = 5.0
MAX_FACTOR = 100.0
# The auxiliary network.
HIDDEN_UNITS = 16
PENALTY = 0.04
NETWORK_LEARNING_RATE = 0.01

_ALIGNMENT = FEATURES.index("alignment")
_ROLLBACK = 4


class StepController(Numbers):
    """Follows the schedule: both multipliers stay 1.

    The learning rate of a step is ``learning_rate_init * b * exp(U1)``, its radius
    ``r0 * b * exp(U2)``, b being the base schedule. A controller moves U1 and U2.

    Attributes
    ----------
    log_rate, log_radius : float
        U1 and U2.
    log_rate_limit : float
        U1 does not exceed this, nor log 100.
    n_hits, n_judged : int
        How often the last increment had the sign of the alignment that was then
        seen, of all increments other than 0.
    moves : bool
        Whether it does more than to follow.
    """

    NUMBERS = (
        "log_rate",
        "log_radius",
        "log_guard",
        "last_increment",
        "n_hits",
        "n_judged",
        "log_rate_limit",
    )
    log_rate = Number()
    log_radius = Number()
    log_guard = Number()
    last_increment = Number()
    n_hits = Number(int)
    n_judged = Number(int)
    log_rate_limit = Number()
    moves = learns = False
    gain = 0.0
    learner = None  # arrays of a network

    def __init__(self):
        super().__init__()
        self.log_rate_limit = math.log(MAX_FACTOR)

    def update(self, features, is_active):
        """Move the multipliers, before a step is taken.

        Parameters
        ----------
        features : list of 6 float
            See `TrainingSignals`.
        is_active : bool
            Whether the radius bounded the last step.
        """

    def divide(self, divisor):
        """Divide the learning rate from now on, whatever the multipliers do."""
        self.log_guard -= math.log(divisor)

    def roll_back(self):
        """A quarter of the learning rate, after a run had to go back."""
        self.divide(_ROLLBACK)

    @property
    def divided(self):
        """What divisions have made of a learning rate of one."""
        return math.exp(self.log_guard)

    @property
    def rate_multiplier(self):
        """What the learning rate is multiplied by."""
        return math.exp(self.log_rate + self.log_guard)

    @property
    def radius_multiplier(self):
        """What the radius is multiplied by."""
        return math.exp(self.log_radius)


class HypergradientController(StepController):
    """The scalar hypergradient rule on the logarithm of the learning rate [1]_.

    With the next batch's gradient g and the last step d, the loss would have changed
    by the length of that step as ``g·d``: where the alignment ``c = cos(g, -d)`` is
    above 0 the step was too short, below 0 too long. So

        U1 <- clip(U1 + δ tanh(β (1 - a) c), ±log M)
        U2 <- clip(U2 + δ tanh(β a c), ±log M)

    with δ = 0.03, β = 5, M = 100. The feedback goes to what decided the length: to
    the radius where it was active (a = 1), else to the learning rate.

    Parameters
    ----------
    gain : float, default=5
        β; with 0 the multipliers stay 1.

    References
    ----------
    .. [1] A. Baydin et al., "Online learning rate adaptation with hypergradient
       descent", ICLR 2018, https://arxiv.org/abs/1703.04782
    """

    moves = True

    def __init__(self, gain=GAIN):
        super().__init__()
        self.gain = gain

    def update(self, features, is_active):
        alignment = features[_ALIGNMENT]
        self._count_hit(alignment)
        o1, o2 = self._outputs(features, is_active)
        gain = self.gain * alignment
        du1 = MAX_INCREMENT * math.tanh((0.0 if is_active else gain) + o1)
        du2 = MAX_INCREMENT * math.tanh((gain if is_active else 0.0) + o2)
        self.log_rate = min(self.log_rate_limit, _clipped(self.log_rate + du1))
        self.log_radius = _clipped(self.log_radius + du2)
        self.last_increment = du2 if is_active else du1

    def _outputs(self, features, is_active):
        return 0.0, 0.0

    def _count_hit(self, alignment):
        if self.last_increment != 0 and alignment != 0:
            self.n_judged += 1
            self.n_hits += (self.last_increment > 0) == (alignment > 0)


class AuxiliaryController(HypergradientController):
    """The hypergradient rule plus the outputs of a small network.

    ``o = W2 tanh(W1 x + b1) + b2`` with 6 inputs, 16 hidden units and 2 outputs, 146
    parameters, enters the arguments of tanh of the rule, whose part it leaves as it
    is. The network learns online: with the alignment c of the next step, one step of
    Adam on ``-c tanh(o_a) + λ/2 ||o||²``, λ = 0.04, o_a being the output of what
    decided the length. Its head starts at zero, where this is the scalar rule.

    Parameters
    ----------
    random_state : RandomState
    learns : bool, default=True
        False leaves the network as it is.
    """

    def __init__(self, random_state, learns=True):
        super().__init__()
        self.learns = learns
        sizes = (len(FEATURES), HIDDEN_UNITS, 2)
        self.network = AuxiliaryNetwork(sizes, NETWORK_LEARNING_RATE, random_state)
        # Whether there was a step, what the network saw at it, hidden, and said.
        self.last = np.zeros(1 + sum(sizes))
        self.learner = self.network.table, self.network.count, self.last

    def _outputs(self, features, is_active):
        ends = np.cumsum([1, len(FEATURES), HIDDEN_UNITS])
        known, *values = np.split(self.last, ends)
        values = [v[None] for v in values]
        if self.learns and known[0]:
            gradient = meta_gradient(values[-1], features[_ALIGNMENT], is_active)
            self.network.step(values, gradient)
        new = self.network.layers(np.array([features]))
        self.last[:] = np.concatenate([[1.0], *(v[0] for v in new)])
        return new[-1][0].tolist()

    def roll_back(self):
        super().roll_back()
        self.network.clear_head()
        self.last[1 + len(FEATURES) + HIDDEN_UNITS :] = 0

    @property
    def state(self):
        return super().state | self.network.state | {"last": self.last}

    @state.setter
    def state(self, state):
        Numbers.state.fset(self, state)
        self.network.state = state
        self.last[:] = state["last"]


def meta_gradient(outputs, reward, is_active):
    """Gradient by o of ``-reward tanh(o_a) + λ/2 ||o||²``.

    Parameters
    ----------
    outputs : ndarray of shape (n, 2)
    reward : float or ndarray of shape (n,)
        Alignment of the next gradient with the step.
    is_active : bool or ndarray of shape (n,)
        Whether the radius decided the length.

    Returns
    -------
    gradient : ndarray of shape (n, 2)
    """
    rows = np.arange(len(outputs))
    deciding = np.asarray(is_active, dtype=np.intp)
    gradient = PENALTY * outputs
    gradient[rows, deciding] -= reward * (1 - np.tanh(outputs[rows, deciding]) ** 2)
    return gradient


def make_controller(name, random_state):
    """Controller by the name of `step_controller`."""
    if name == "auxiliary":
        return AuxiliaryController(random_state)
    return HypergradientController() if name == "hypergradient" else StepController()


def _clipped(value):
    limit = math.log(MAX_FACTOR)
    return min(limit, max(-limit, value))
