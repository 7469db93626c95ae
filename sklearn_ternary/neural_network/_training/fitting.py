"""What `fit` and `partial_fit` of the trainer do."""

import warnings
from functools import partial

import numpy as np

from sklearn_ternary._gpu.arrays import assign, device_of, is_device_array
from sklearn_ternary.neural_network._training.augmentation import Augmentation
from sklearn_ternary.neural_network._training.blas_threads import one_blas_thread
from sklearn_ternary.neural_network._training.checkpoints import Checkpoints
from sklearn_ternary.neural_network._training.epochs import Epochs
from sklearn_ternary.neural_network._training.fitted import fitted_attributes
from sklearn_ternary.neural_network._training.held_out import HeldOut, split
from sklearn_ternary.neural_network._training.interrupts import InterruptFlag
from sklearn_ternary.neural_network._training.new_run import (
    draw_seed,
    new_incremental_run,
    new_run,
    usual_batch_size,
)
from sklearn_ternary.neural_network._training.samples import check_samples
from sklearn_ternary.neural_network._training.standardization import (
    find_standardization,
)
from sklearn_ternary.neural_network._training.stopping import Stopping
from sklearn_ternary.neural_network._training.training_data import TrainingData


class Fitting:
    """One call of `fit` or `partial_fit`.

    Parameters
    ----------
    estimator : ConstrainedTrainer
    """

    def __init__(self, estimator):
        self.estimator = estimator
        self.is_classifier = estimator.loss == "log_loss"
        if estimator.ratio_test_every is not None and estimator.trust_region is None:
            raise ValueError(
                f"ratio_test_every={estimator.ratio_test_every} needs a trust_region, "
                "which is None"
            )
        if not self.is_classifier and estimator.class_weight is not None:
            raise ValueError(
                f"class_weight={estimator.class_weight!r} is for loss='log_loss', not "
                f"for loss={estimator.loss!r}"
            )

    def fit(self, X, y, sample_weight):
        """Train for `max_iter` epochs."""
        estimator = self.estimator
        goes_on = estimator.warm_start and hasattr(estimator, "parameters_")
        checkpoints = Checkpoints(estimator.get_params(deep=False))
        seed = checkpoints.choose_seed(draw_seed(estimator))
        random_state = np.random.RandomState(seed)
        samples = check_samples(estimator, X, y, sample_weight, reset=not goes_on)
        samples, held_out = split(estimator, samples, random_state)
        data = self._data(samples, finds_scaling=not goes_on)
        held_out = None if held_out is None else HeldOut(estimator, held_out)
        batch_size = self._batch_size(len(data))
        n_steps = estimator.max_iter * -(-len(data) // batch_size)
        run = new_run(estimator, data.X, n_steps, random_state, goes_on)
        estimator.__dict__.pop("_run", None)
        estimator.__dict__.pop("_run_state", None)
        stopping = Stopping(
            estimator.tol, estimator.n_iter_no_change, estimator.early_stopping
        )
        checkpoints.restore(run, stopping, data)
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        given = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        context = estimator._init_callback_context(max_subtasks=estimator.max_iter)
        context.call_on_fit_task_begin(**given)
        fitted = partial(
            fitted_attributes, estimator, run, stopping, on_device=is_device_array(X)
        )
        during = partial(fitted, interrupted=False)
        epochs = Epochs(estimator, run, stopping, checkpoints, held_out, during)
        parameters = run.network.parameters
        can_save = estimator.checkpoint_dir is not None
        with device_of(parameters):
            data.move(parameters)
            with InterruptFlag(can_save) as interrupt, one_blas_thread():
                epochs.train(data, batch_size, interrupt, context, given)
            if stopping.parameters is not None:
                assign(parameters, stopping.parameters)
            vars(estimator).update(fitted(interrupted=interrupt.raised))
        context.call_on_fit_task_end(**given, reconstruction_attributes={})

    def partial_fit(self, X, y, classes, sample_weight):
        """Train for one epoch."""
        estimator = self.estimator
        if estimator.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if classes is not None and not self.is_classifier:
            raise ValueError(f"classes={classes!r} is for loss='log_loss'")
        first = not hasattr(estimator, "_packed")
        samples = check_samples(
            estimator, X, y, sample_weight, reset=first, classes=classes
        )
        data = self._data(samples, finds_scaling=first)
        run = estimator.__dict__.get("_run")
        if run is None:
            run = new_incremental_run(estimator, data.X, goes_on=not first)
            estimator._stopping = Stopping(estimator.tol, np.inf, False)
            estimator._run = run
        run.begin_epoch(len(data))
        batch_size = self._batch_size(len(data))
        parameters, stopping = run.network.parameters, estimator._stopping
        with device_of(parameters), one_blas_thread():
            data.move(parameters)
            while run.next_batch(data, batch_size):
                pass
            loss = run.end_epoch()
            stopping.observe(loss, None, parameters)
            if estimator.verbose:
                print(f"Iteration {run.epoch}, loss = {loss:.8f}")
            fitted = fitted_attributes(
                estimator,
                run,
                stopping,
                interrupted=False,
                on_device=is_device_array(X),
            )
            vars(estimator).update(fitted)

    def _data(self, samples, finds_scaling):
        """Samples and what scales them, found from them or known."""
        estimator = self.estimator
        X, y, weight = samples
        if finds_scaling:
            estimator._standardization = find_standardization(
                X, weight, estimator.standardize
            )
        targets = y if self.is_classifier else estimator._targets.encode(y)
        scaling = estimator._standardization
        if estimator.augment is None:
            return TrainingData(scaling.apply(X), targets, weight)
        return TrainingData(
            X, targets, weight, Augmentation(estimator.augment, scaling)
        )

    def _batch_size(self, n_samples):
        size = self.estimator.batch_size
        if size == "auto":
            return usual_batch_size(n_samples)
        if size > n_samples:
            warnings.warn(
                f"batch_size={size} is above the number of samples, {n_samples}; it is "
                "clipped",
                stacklevel=6,
            )
        return min(size, n_samples)
