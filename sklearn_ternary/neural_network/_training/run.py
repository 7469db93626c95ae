"""The training loop: what happens at a step, and the state between two."""

import math

import numpy as np

from sklearn_ternary._dispatch.steps import choose_steps
from sklearn_ternary._gpu.arrays import assign, to_host
from sklearn_ternary.neural_network._steps.flips import EVERY, FlipTracker
from sklearn_ternary.neural_network._steps.gradients import make_gradients
from sklearn_ternary.neural_network._steps.numbers import total
from sklearn_ternary.neural_network._steps.optimizers import make_optimizer
from sklearn_ternary.neural_network._steps.schedules import OPEN_ENDED
from sklearn_ternary.neural_network._steps.segments import Segments
from sklearn_ternary.neural_network._steps.signals import TrainingSignals
from sklearn_ternary.neural_network._steps.step_control import StepControl
from sklearn_ternary.neural_network._steps.step_controller import make_controller
from sklearn_ternary.neural_network._steps.trust_region import (
    TrustRegion,
    reduction_ratio,
)
from sklearn_ternary.neural_network._training.guard import Guard
from sklearn_ternary.neural_network._training.history import History

_RANDOM_WORDS = 624  # of the Mersenne Twister
# controller_until="auto": this share of the steps, and so many at least.
_LISTENING_SHARE = 0.15
_LISTENING_STEPS = 200


class Run:
    """Trains a network on batches.

    Parameters
    ----------
    network : Network
        Initialized.
    options : dict
        Parameters of the estimator.
    learning_rate : float
        The first one.
    rate_limit : float
        The controller does not multiply the learning rate beyond this.
    n_steps : int
        Of the schedule; 0 where unknown, and one that has an end is then constant.
    random_state : RandomState
        Orders the samples, draws dropout and augments; it belongs to this run from
        now on.
    config : Config, default=None
        Decides where steps are computed.

    Attributes
    ----------
    n_steps_done : int
    epoch : int
        The one that is running.
    position : int
        Samples of the epoch that have been seen.
    loss_sum, weight_sum : float
        Of these samples.
    """

    def __init__(
        self,
        network,
        options,
        learning_rate,
        rate_limit,
        n_steps,
        random_state,
        config=None,
    ):
        self.network = network
        self.options = options
        self.n_steps = n_steps
        self.random_state = random_state
        kind, n_clusters = options["trust_region"], options["n_clusters"]
        # One cluster is all: "global", to the bit.
        by_rows = kind == "cluster" and n_clusters > 1
        self.segments = Segments(network.layout, by_rows)
        dtype = network.dtype
        self.operations = choose_steps(len(network.parameters), dtype, config=config)
        seed = int(random_state.randint(2**31))
        named = options | {"random_state": seed}
        self.optimizer = make_optimizer(
            options["optimizer"], self.segments, self.operations, dtype, named
        )
        self.gradients = make_gradients(
            options["quantize_gradients"],
            options["error_feedback"],
            self.segments,
            self.operations,
            dtype,
        )
        self.decay = self.segments.decay(options["weight_decay"], dtype)
        self.no_decay = np.zeros_like(self.decay)
        norm = self._norm(network.parameters)
        self.trust = TrustRegion(
            kind, options["trust_radius"], self.segments, norm, n_clusters, seed
        )
        self.controller = make_controller(
            options["step_controller"], np.random.RandomState(seed)
        )
        schedule = options["learning_rate"]
        if n_steps == 0 and schedule not in OPEN_ENDED:
            schedule = "constant"
        limit = math.log(max(1.0, rate_limit / learning_rate))
        self.controller.log_rate_limit = min(self.controller.log_rate_limit, limit)
        self.signals = TrainingSignals()
        self.guard = Guard()
        self.control = StepControl(
            self.guard,
            self.signals,
            self.controller,
            self.trust,
            learning_rate=learning_rate,
            # Who watches the losses of epochs divides an adaptive one.
            schedule="constant" if schedule == "adaptive" else schedule,
            power_t=options["power_t"],
            n_steps=n_steps,
            warmup_steps=options["warmup_fraction"] * n_steps,
            controller_steps=self._controller_steps(options["controller_until"]),
            compiled=self.operations.Control,
        )
        self.flips = FlipTracker(network, options["freeze_threshold"])
        self.history = History()
        self.n_steps_done = 0
        self.n_tested = self.n_successes = 0
        self.epoch = self.position = 0
        self.loss_sum = self.weight_sum = 0.0
        self.order = np.zeros(0, dtype=np.int64)

    def begin_epoch(self, n_samples):
        """Draw the order of the samples, if an epoch is not running already."""
        if self.position > 0:
            return
        self.order = np.arange(n_samples)
        if self.options["shuffle"]:
            self.random_state.shuffle(self.order)
        self.loss_sum = self.weight_sum = 0.0
        for part in (self.optimizer, self.trust):
            if part.clusters is not None:
                part.clusters.refit_pending = True

    def end_epoch(self):
        """Mean loss of the epoch; the next one is to begin."""
        self.position = 0
        self.epoch += 1
        return self.loss_sum / max(self.weight_sum, 1e-300)

    def next_batch(self, data, batch_size):
        """Take a step on the next samples of the epoch.

        Parameters
        ----------
        data : TrainingData
        batch_size : int

        Returns
        -------
        more : bool
            Whether the epoch has more samples.
        """
        chosen = self.order[self.position : self.position + batch_size]
        X, targets, weight, share = data.batch(chosen, self.random_state)
        loss = self.step(X, targets, weight, share)
        self.position += len(chosen)
        if math.isfinite(loss):
            self.loss_sum += loss * len(chosen)
            self.weight_sum += len(chosen)
        return self.position < len(self.order)

    def step(self, X, targets, weight=None, share=1.0):
        """One step on a batch.

        Parameters
        ----------
        X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        targets : ndarray
        weight : ndarray of shape (n_samples,), default=None
        share : float, default=1.0
            Mean weight of the batch over that of all samples: the loss counts times
            this, so that weights mean the same in every batch.

        Returns
        -------
        loss : float
            Before the step.
        """
        network, optimizer, options = self.network, self.optimizer, self.options
        parameters = network.parameters
        t = self.n_steps_done
        loss = network.loss_and_gradient(X, targets, weight, self.random_state)
        scale = share * self._clipping(share)
        scale = self.gradients.prepare(network.gradient, scale)
        decay = self.decay if self._decays(t) else self.no_decay
        sums = optimizer.find_direction(network.gradient, parameters, decay, scale)
        loss, sums = self.operations.read(loss, sums)
        loss = share * float(loss)
        guard = self.guard
        if guard.saved is None:
            guard.begin(loss, share * self._loss_of_zeros(targets, weight))
        if self.flips.n_frozen:
            self._hold_frozen(sums)
        if not self.control.step(loss, sums, t):
            self._roll_back(loss)
            return loss
        if guard.is_due:
            guard.keep(self._good_state())
        guard.since += 1
        report = self.control.report.tolist()
        every = options["ratio_test_every"]
        accepted = math.nan
        if every is not None and t % every == every - 1:
            accepted = self._tested_step(X, targets, weight, share, sums, report)
        else:
            self._move(self.control.factors)
        if accepted != 0:
            self.signals.step_norm = report[3]
        self.n_steps_done += 1
        if self.n_steps_done % EVERY == 0:
            late = t >= options["freeze_from"] * self.n_steps
            self.flips.look(late and self.n_steps > 0)
        self.history.add((*report, accepted, self.flips.rate), X.shape[0])
        return loss

    def _controller_steps(self, until):
        """Steps before which the controller moves its multipliers."""
        if self.n_steps == 0:
            return math.inf
        if until == "auto":
            return max(_LISTENING_SHARE * self.n_steps, _LISTENING_STEPS)
        return until * self.n_steps

    def _clipping(self, share):
        """What makes the gradient no longer than `max_grad_norm`."""
        limit = self.options["max_grad_norm"]
        if limit is None:
            return 1.0
        norm = share * self._norm(self.network.gradient)
        return limit / norm if norm > limit else 1.0

    def _norm(self, values):
        squares = self.operations.square_sums(values, self.segments.bounds)
        return math.sqrt(float(squares.sum()))

    def _decays(self, t):
        until = self.options["weight_decay_until"]
        return self.n_steps == 0 or t < until * self.n_steps

    def _move(self, factors):
        parameters = self.network.parameters
        self.operations.apply_step(
            parameters,
            self.optimizer.direction,
            self.segments.bounds,
            factors.astype(parameters.dtype),
        )

    def _tested_step(self, X, targets, weight, share, sums, report):
        """Take a step, and take it back if the ratio test rejects it."""
        network = self.network
        loss, rate, radius, step_norm, _ = report
        if network.is_random:
            # Both losses without dropout: two masks could not be compared.
            loss = share * network.loss(X, targets, weight)
        old = network.parameters.copy()
        self._move(self.control.factors)
        new_loss = share * network.loss(X, targets, weight)
        d = network.parameters - old
        slope = total(self.control.factors * sums[:, 3])
        curvature = self.optimizer.curvature(d)
        rho = reduction_ratio(loss, new_loss, slope, curvature, rate)
        accepted = self.trust.judge(rho, step_norm, radius, self.trust.is_active)
        self.signals.observe_ratio(rho)
        self.n_tested += 1
        self.n_successes += rho >= 0
        if not accepted:
            assign(network.parameters, old)
        return float(accepted)

    def _hold_frozen(self, sums):
        """Take frozen parameters out of the direction."""
        direction = self.optimizer.direction
        direction[self.flips.frozen] = 0
        squares = self.operations.square_sums(direction, self.segments.bounds)
        sums[:, 2] = to_host(squares)

    def _loss_of_zeros(self, targets, weight):
        """What a batch would lose with outputs of zero."""
        network = self.network
        Z = np.zeros((len(targets), network.n_outputs), network.dtype)
        found = to_host(targets), to_host(weight)
        return network.loss_.value_and_gradient(Z, *found)[0]

    def _good_state(self):
        state = {f"optimizer.{k}": v for k, v in self.optimizer.state.items()}
        # The next step replaces it, and is compared with none.
        del state["optimizer.direction"]
        state |= {f"gradients.{k}": v for k, v in self.gradients.state.items()}
        return state | {"parameters": self.network.parameters}

    def _roll_back(self, loss):
        self.guard.fail(loss, self.n_steps_done)
        saved = self.guard.saved
        if saved is None:
            raise ValueError(
                f"the loss of the first batch is {loss}; the data may hold values "
                "that are too large"
            )
        assign(self.network.parameters, saved["parameters"])
        last = {"direction": self.optimizer.direction}
        self.optimizer.state = _below("optimizer.", saved) | last
        self.gradients.state = _below("gradients.", saved)
        self.signals.step_norm = 0.0
        self.controller.roll_back()
        self.n_steps_done += 1
        row = (loss, 0.0, 0.0, 0.0, 0.0, 0.0, self.flips.rate)
        self.history.add(row, 0)

    _PARTS = (
        "optimizer",
        "gradients",
        "trust",
        "controller",
        "signals",
        "guard",
        "flips",
        "history",
    )
    _NUMBERS = (
        "n_steps_done",
        "n_tested",
        "n_successes",
        "epoch",
        "position",
        "loss_sum",
        "weight_sum",
    )

    def _round_weights(self):
        """Make the codes those of the parameters of now."""
        self.network.forward(np.empty((0, self.network.n_features)))

    @property
    def state(self):
        """What the next step depends on: arrays of NumPy and numbers by name."""
        self._round_weights()
        state = {name: getattr(self, name) for name in self._NUMBERS}
        state |= {
            "parameters": self.network.parameters,
            "order": self.order,
            "factors": self.control.factors,
        }
        for part in self._PARTS:
            values = getattr(self, part).state
            state |= {f"{part}.{name}": value for name, value in values.items()}
        _, words, place, has_gauss, gauss = self.random_state.get_state()
        state |= {
            "random.words": words,
            "random.place": place,
            "random.has_gauss": has_gauss,
            "random.gauss": gauss,
        }
        return {name: to_host(value) for name, value in state.items()}

    @state.setter
    def state(self, state):
        for name in self._NUMBERS:
            setattr(self, name, type(getattr(self, name))(state[name]))
        assign(self.network.parameters, state["parameters"])
        self._round_weights()
        self.network.flips()
        self.order = np.array(state["order"], dtype=np.int64)
        self.control.factors[:] = state["factors"]
        for part in self._PARTS:
            getattr(self, part).state = _below(f"{part}.", state)
        words = np.array(state["random.words"], dtype=np.uint32)
        if words.shape != (_RANDOM_WORDS,):
            raise ValueError(f"random.words has shape {words.shape}, not (624,)")
        self.random_state.set_state(
            (
                "MT19937",
                words,
                int(state["random.place"]),
                int(state["random.has_gauss"]),
                float(state["random.gauss"]),
            )
        )


def _below(prefix, state):
    return {
        name.removeprefix(prefix): value
        for name, value in state.items()
        if name.startswith(prefix)
    }
