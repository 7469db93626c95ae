"""Epoch after epoch, until something ends training."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sklearn_ternary.neural_network._steps.schedules import OPEN_ENDED

# learning_rate="adaptive", as in scikit-learn's perceptrons.
_ADAPTIVE_DIVISOR = 5
_LEAST_RATE = 1e-6
_TO_CALLER = 6  # stack level of who called `fit`


class Epochs:
    """The epochs of `fit`.

    Parameters
    ----------
    estimator : ConstrainedTrainer
    run : Run
    stopping : Stopping
    checkpoints : Checkpoints
    held_out : HeldOut or None
    fitted : callable
        Attributes of the estimator as if training had ended now.
    """

    def __init__(self, estimator, run, stopping, checkpoints, held_out, fitted):
        self.estimator = estimator
        self.run = run
        self.stopping = stopping
        self.checkpoints = checkpoints
        self.held_out = held_out
        self.fitted = fitted
        self.is_open_ended = estimator.learning_rate in OPEN_ENDED

    def train(self, data, batch_size, interrupt, context, given):
        """Train until the last epoch, a stop or an interrupt.

        Parameters
        ----------
        data : TrainingData
        batch_size : int
        interrupt : InterruptFlag
        context : callback context
        given : dict
            What callbacks are told.
        """
        estimator, run, stopping = self.estimator, self.run, self.stopping
        checkpoints = self.checkpoints
        while run.epoch < estimator.max_iter and not stopping.stopped:
            task = context.subcontext(task_name="epoch")
            task.call_on_fit_task_begin(**given)
            run.begin_epoch(len(data))
            while run.next_batch(data, batch_size) and not interrupt.raised:
                checkpoints.save_if_due(run, stopping)
            is_over = run.position >= len(data)
            if is_over:
                unchanged = self._end_epoch()
                if task.call_on_fit_task_end(
                    **given, reconstruction_attributes=self.fitted
                ):
                    stopping.stopped = True
                elif unchanged:
                    self._stop_or_slow_down()
            is_last = is_over and (stopping.stopped or run.epoch == estimator.max_iter)
            if is_last or interrupt.raised:
                checkpoints.save(run, stopping)
            else:
                checkpoints.save_if_due(run, stopping)
            if interrupt.raised and not is_last:
                warnings.warn("Training interrupted by user.", stacklevel=_TO_CALLER)
                return
        if (
            self.is_open_ended
            and not stopping.stopped
            and estimator.n_iter_no_change < np.inf
        ):
            warnings.warn(
                f"Maximum iterations ({estimator.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=_TO_CALLER,
            )

    def _end_epoch(self):
        """Whether there was no improvement for too long."""
        run, verbose = self.run, self.estimator.verbose
        loss = run.end_epoch()
        score = self.held_out.score(run.network) if self.held_out else None
        unchanged = self.stopping.observe(loss, score, run.network.parameters)
        if verbose:
            print(f"Iteration {run.epoch}, loss = {loss:.8f}")
            if score is not None:
                print(f"Validation score: {score:f}")
        return unchanged and (self.is_open_ended or self.held_out is not None)

    def _stop_or_slow_down(self):
        estimator, controller = self.estimator, self.run.controller
        rate = self.run.control.learning_rate * controller.divided
        if estimator.learning_rate == "adaptive" and rate > _LEAST_RATE:
            controller.divide(_ADAPTIVE_DIVISOR)
            self.stopping.n_unchanged = 0
            then = f"Learning rate times {controller.divided:g}"
        else:
            self.stopping.stopped = True
            then = "Stopping"
        if estimator.verbose:
            what = "Validation score" if self.held_out else "Training loss"
            print(
                f"{what} did not improve more than tol={estimator.tol:f} for "
                f"{estimator.n_iter_no_change} consecutive epochs. {then}."
            )
