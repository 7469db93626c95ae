"""What `fit` and `partial_fit` of the trainer do."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import check_X_y, validate_data

from sklearn_ternary._dispatch import config_of_rows
from sklearn_ternary._gpu.arrays import (
    assign,
    device_of,
    from_device,
    is_device_array,
    like,
    take,
    to_host,
)
from sklearn_ternary._sklearn_compat import _check_sample_weight
from sklearn_ternary._validation import check_finite, validated_on_device
from sklearn_ternary.neural_network._networks.packed import (
    PackedNetwork,
    named_parameters,
)
from sklearn_ternary.neural_network._networks.perceptron import (
    build_network,
    hidden_sizes,
)
from sklearn_ternary.neural_network._steps.schedules import OPEN_ENDED
from sklearn_ternary.neural_network._training.blas_threads import one_blas_thread
from sklearn_ternary.neural_network._training.checkpoints import Checkpoints
from sklearn_ternary.neural_network._training.interrupts import InterruptFlag
from sklearn_ternary.neural_network._training.run import Run
from sklearn_ternary.neural_network._training.standardization import (
    find_standardization,
)
from sklearn_ternary.neural_network._training.stopping import Stopping
from sklearn_ternary.neural_network._training.summary import summarize
from sklearn_ternary.neural_network._training.targets import ClassTargets, NumberTargets
from sklearn_ternary.neural_network._training.training_data import (
    TrainingData,
    merge_equal_rows,
)
from sklearn_ternary.quantization import TernaryArray

_DTYPES = [np.float64, np.float32]
# Right for ternary weights; float ones get a share.
_LEARNING_RATES = {"adamw": 0.005, "sgd": 0.05}
_FLOAT_SHARE = 0.4
# Controllers do not go beyond so many times these, nor above the given one.
_LIMIT_FACTOR = 5
_LARGE_SET = 10_000
# learning_rate="adaptive", as in scikit-learn's perceptrons.
_ADAPTIVE_DIVISOR = 5
_LEAST_RATE = 1e-6
_HOST = np.zeros(0)


class Fitting:
    """One call of `fit` or `partial_fit`.

    Parameters
    ----------
    estimator : ConstrainedTrainer
    """

    def __init__(self, estimator):
        self.estimator = estimator
        self.options = estimator.get_params(deep=False)
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
        checkpoints = Checkpoints(self.options)
        seed = check_random_state(estimator.random_state).randint(2**31)
        random_state = np.random.RandomState(checkpoints.choose_seed(seed))
        X_given, y_given = X, y
        X, y, weight = self._validated(X, y, sample_weight, reset=not goes_on)
        X, y, weight, held_out = self._hold_out(X, y, weight, random_state)
        if not goes_on:
            estimator._standardization = find_standardization(
                X, weight, estimator.standardize
            )
        data = self._data(X, y, weight)
        self.held_out = self._scored(held_out)
        network = self._network(data.X, random_state, goes_on)
        batch_size = self._batch_size(len(data))
        n_steps = estimator.max_iter * -(-len(data) // batch_size)
        run = self._run(network, n_steps, random_state)
        estimator.__dict__.pop("_run", None)
        estimator.__dict__.pop("_run_state", None)
        stopping = Stopping(
            estimator.tol, estimator.n_iter_no_change, estimator.early_stopping
        )
        checkpoints.restore(run, stopping, data)
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        given = {
            "estimator": estimator,
            "X": X_given,
            "y": y_given,
            "metadata": metadata,
        }
        context = estimator._init_callback_context(max_subtasks=estimator.max_iter)
        context.call_on_fit_task_begin(**given)
        with device_of(network.parameters):
            data.move(network.parameters)
            can_save = estimator.checkpoint_dir is not None
            with InterruptFlag(can_save) as interrupt, one_blas_thread():
                self._train(
                    run,
                    data,
                    batch_size,
                    stopping,
                    checkpoints,
                    interrupt,
                    context,
                    given,
                )
            if stopping.parameters is not None:
                assign(network.parameters, stopping.parameters)
            self._finish(run, stopping, interrupt.raised)
        context.call_on_fit_task_end(**given, reconstruction_attributes={})

    def partial_fit(self, X, y, classes, sample_weight):
        """Train for one epoch."""
        estimator = self.estimator
        if estimator.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if classes is not None and not self.is_classifier:
            raise ValueError(f"classes={classes!r} is for loss='log_loss'")
        first = not hasattr(estimator, "_packed")
        X, y, weight = self._validated(
            X, y, sample_weight, reset=first, classes=classes
        )
        if first:
            estimator._standardization = find_standardization(
                X, weight, estimator.standardize
            )
        data = self._data(X, y, weight)
        run = estimator.__dict__.get("_run")
        if run is None:
            run = self._new_incremental_run(data.X, goes_on=not first)
            estimator._stopping = Stopping(estimator.tol, np.inf, False)
            estimator._run = run
        run.begin_epoch(len(data))
        batch_size = self._batch_size(len(data))
        parameters = run.network.parameters
        with device_of(parameters), one_blas_thread():
            data.move(parameters)
            while run.next_batch(data, batch_size):
                pass
            loss = run.end_epoch()
            estimator._stopping.observe(loss, None, parameters)
            if estimator.verbose:
                print(f"Iteration {run.epoch}, loss = {loss:.8f}")
            self._finish(run, estimator._stopping, False)

    def _new_incremental_run(self, X, goes_on):
        estimator = self.estimator
        seed = check_random_state(estimator.random_state).randint(2**31)
        random_state = np.random.RandomState(seed)
        network = self._network(X, random_state, goes_on)
        run = self._run(network, 0, random_state)
        state = estimator.__dict__.pop("_run_state", None)
        if state is not None:
            run.state = state
        return run

    def _validated(self, X, y, sample_weight, reset, classes=None):
        """Merged rows of X, numbers for y, and weights."""
        estimator = self.estimator
        self.is_on_device = is_device_array(X)
        if self.is_on_device:
            X = validated_on_device(estimator, X, reset)
            check_finite(X, "X")
            stands_for_it = np.zeros((len(X), 1))
            _, y = check_X_y(
                stands_for_it,
                to_host(from_device(y)),
                multi_output=True,
                y_numeric=not self.is_classifier,
            )
        else:
            X, y = validate_data(
                estimator,
                X,
                to_host(from_device(y)),
                accept_sparse="csr",
                dtype=_DTYPES,
                multi_output=True,
                y_numeric=not self.is_classifier,
                reset=reset,
                accept_large_sparse=False,
            )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        weight = None
        if sample_weight is not None:
            weight = _check_sample_weight(
                to_host(from_device(sample_weight)),
                stands_for_it if self.is_on_device else X,
                dtype=np.float64,
                ensure_non_negative=True,
            )
            if not weight.any():
                raise ValueError("sample_weight has no value above 0")
        if self.is_classifier:
            if reset:
                used = y if weight is None else y[weight > 0]
                estimator._targets = ClassTargets.of(used, classes)
                estimator.classes_ = estimator._targets.classes
            if estimator.class_weight is not None:
                extra = compute_sample_weight(estimator.class_weight, y)
                weight = extra if weight is None else weight * extra
            if weight is not None:  # classes of weight 0 may be unknown
                rows = np.flatnonzero(weight > 0)
                X, y, weight = take(X, rows), y[rows], weight[rows]
            y = estimator._targets.encode(y)
        else:
            y = y.astype(np.float64)
        chosen, weight = merge_equal_rows(X, y, weight)
        X, y = take(X, chosen), y[chosen]
        if not self.is_classifier and reset:
            estimator._targets = NumberTargets.of(y, weight, estimator.loss)
        return X, y, weight

    def _hold_out(self, X, y, weight, random_state):
        """Training samples, and what is held out for scores (or None)."""
        estimator = self.estimator
        if not estimator.early_stopping:
            return X, y, weight, None
        single = self.is_classifier and not estimator._targets.is_multilabel
        parts = train_test_split(
            np.arange(len(y)),
            random_state=random_state,
            test_size=estimator.validation_fraction,
            stratify=y if single else None,
        )
        if len(parts[1]) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or "
                "the size of your dataset."
            )
        kept, held_out = (
            (take(X, rows), y[rows], None if weight is None else weight[rows])
            for rows in parts
        )
        return *kept, held_out

    def _data(self, X, y, weight):
        estimator = self.estimator
        targets = y if self.is_classifier else estimator._targets.encode(y)
        return TrainingData(estimator._standardization.apply(X), targets, weight)

    def _scored(self, held_out):
        """Scaled samples, targets to compare with, and weights."""
        if held_out is None:
            return None
        X, y, weight = held_out
        X = self.estimator._standardization.apply(X)
        if self.is_classifier and not self.estimator._targets.is_multilabel:
            y = self.estimator.classes_[y.ravel().astype(int)]
        return X, y, weight

    def _network(self, X, random_state, goes_on):
        estimator = self.estimator
        targets = estimator._targets
        self.config = config_of_rows(X)
        network = build_network(
            X.shape[1],
            targets.n_outputs,
            targets.loss(),
            self.options,
            config=self.config,
        )
        network.initialize(random_state)
        if goes_on:
            old = estimator.parameters_
            if old is None or len(old) != len(network.parameters):
                size = "none" if old is None else f"{len(old)}"
                raise ValueError(
                    f"the parameters to go on from are {size}, and the network has "
                    f"{len(network.parameters)}: it was packed, or "
                    "hidden_layer_sizes or another parameter has changed"
                )
            assign(network.parameters, old)
        return network

    def _run(self, network, n_steps, random_state):
        usual = _LEARNING_RATES[self.options["optimizer"]]
        if self.options["quantize_weights"] is None:
            usual *= _FLOAT_SHARE
        rate = self.options["learning_rate_init"]
        rate = usual if rate == "auto" else rate
        limit = _LIMIT_FACTOR * usual
        return Run(
            network, self.options, rate, limit, n_steps, random_state, self.config
        )

    def _batch_size(self, n_samples):
        size = self.options["batch_size"]
        if size == "auto":
            size = 128 if n_samples >= _LARGE_SET else 32
        elif size > n_samples:
            warnings.warn(
                f"batch_size={size} is above the number of samples, {n_samples}; it is "
                "clipped",
                stacklevel=6,
            )
        return min(size, n_samples)

    def _train(
        self, run, data, batch_size, stopping, checkpoints, interrupt, context, given
    ):
        estimator = self.estimator
        is_open_ended = estimator.learning_rate in OPEN_ENDED
        while run.epoch < estimator.max_iter and not stopping.stopped:
            task = context.subcontext(task_name="epoch")
            task.call_on_fit_task_begin(**given)
            run.begin_epoch(len(data))
            while run.next_batch(data, batch_size) and not interrupt.raised:
                checkpoints.save_if_due(run, stopping)
            if interrupt.raised and run.position < len(data):
                warnings.warn("Training interrupted by user.", stacklevel=5)
                checkpoints.save(run, stopping)
                return
            loss = run.end_epoch()
            score = self._score(run.network) if self.held_out else None
            unchanged = stopping.observe(loss, score, run.network.parameters)
            if estimator.verbose:
                print(f"Iteration {run.epoch}, loss = {loss:.8f}")
                if score is not None:
                    print(f"Validation score: {score:f}")
            if task.call_on_fit_task_end(
                **given,
                reconstruction_attributes=lambda: self._fitted(run, stopping, False),
            ):
                stopping.stopped = True
            elif unchanged and (is_open_ended or estimator.early_stopping):
                stopping.stopped = not self._lower_adaptive_rate(run, stopping)
                if estimator.verbose:
                    what = "Validation score" if self.held_out else "Training loss"
                    then = f"Learning rate times {run.controller.divided:g}"
                    print(
                        f"{what} did not improve more than tol={estimator.tol:f} for "
                        f"{estimator.n_iter_no_change} consecutive epochs. "
                        f"{'Stopping' if stopping.stopped else then}."
                    )
            is_last = stopping.stopped or run.epoch == estimator.max_iter
            if is_last or interrupt.raised:
                checkpoints.save(run, stopping)
            else:
                checkpoints.save_if_due(run, stopping)
            if interrupt.raised and not is_last:
                warnings.warn("Training interrupted by user.", stacklevel=5)
                return
        if (
            is_open_ended
            and not stopping.stopped
            and estimator.n_iter_no_change < np.inf
        ):
            warnings.warn(
                f"Maximum iterations ({estimator.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=5,
            )

    def _lower_adaptive_rate(self, run, stopping):
        """Whether training can go on with a smaller rate, as in scikit-learn's."""
        rate = run.control.learning_rate * run.controller.divided
        if self.options["learning_rate"] != "adaptive" or rate <= _LEAST_RATE:
            return False
        run.controller.divide(_ADAPTIVE_DIVISOR)
        stopping.n_unchanged = 0
        return True

    def _score(self, network):
        X, y, weight = self.held_out
        predicted = self.estimator._targets.decode(to_host(network.forward(X)))
        if not np.isfinite(predicted).all() if predicted.dtype.kind == "f" else False:
            return float("nan")
        measure = accuracy_score if self.is_classifier else r2_score
        return float(measure(y, predicted, sample_weight=weight))

    def _finish(self, run, stopping, interrupted):
        for name, value in self._fitted(run, stopping, interrupted).items():
            setattr(self.estimator, name, value)

    def _fitted(self, run, stopping, interrupted):
        """Attributes of the estimator as if training had ended now."""
        estimator = self.estimator
        network = run.network
        n_layers = len(hidden_sizes(estimator.hidden_layer_sizes)) + 1
        arrays = named_parameters(network, n_layers)
        packed = PackedNetwork.of(arrays, self.options)
        scored = stopping.scored
        summary = summarize(run, packed, len(stopping.curve), interrupted)
        # Attributes are where X is.
        place = network.parameters if self.is_on_device else _HOST
        fitted = {
            "_packed": packed,
            "_targets": estimator._targets,
            "_standardization": estimator._standardization,
            "parameters_": like(network.parameters.copy(), place),
            "grad_residual_": None
            if run.gradients.residual is None
            else like(run.gradients.residual.copy(), place),
            "coefs_": [_placed(W, place) for W in packed.weights],
            "intercepts_": [like(bias, place) for bias in packed.biases],
            "n_iter_": len(stopping.curve),
            "n_layers_": n_layers + 1,
            "n_outputs_": network.n_outputs,
            "out_activation_": self._out_activation(),
            "t_": run.history.n_samples,
            "loss_": stopping.curve[-1] if stopping.curve else float("nan"),
            "loss_curve_": list(stopping.curve),
            "best_loss_": None if scored else stopping.best,
            "validation_scores_": list(stopping.scores) if scored else None,
            "best_validation_score_": stopping.best if scored else None,
            "history_": run.history.columns(),
            "training_summary_": summary,
            "success_rate_": summary["accept_rate"][0],
            "success_interval_": summary["accept_rate"][1:],
        }
        if self.is_classifier:
            fitted["classes_"] = estimator.classes_
        return fitted

    def _out_activation(self):
        if not self.is_classifier:
            return "identity"
        targets = self.estimator._targets
        several = targets.n_outputs > 1 and not targets.is_multilabel
        return "softmax" if several else "logistic"


def _placed(W, place):
    """Weights where an array is."""
    if isinstance(W, np.ndarray):
        return like(W, place)
    if not is_device_array(place):
        return W
    parts = like(W.packed, place), like(W.scale, place)
    return TernaryArray(*parts, W.shape, W.layout, group_size=W.group_size)
