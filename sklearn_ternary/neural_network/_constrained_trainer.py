"""ConstrainedTrainer: the estimator."""

from numbers import Integral, Real
from os import PathLike

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import ClassifierTags, RegressorTags

from sklearn_ternary._gpu.arrays import on_its_device
from sklearn_ternary._sklearn_compat import Interval, Options, StrOptions, _fit_context
from sklearn_ternary.neural_network._networks.activations import ACTIVATIONS
from sklearn_ternary.neural_network._steps.schedules import OPEN_ENDED
from sklearn_ternary.neural_network._trained_network import (
    TrainedNetwork,
    is_classifier,
)
from sklearn_ternary.neural_network._training.fitting import Fitting
from sklearn_ternary.neural_network._training.targets import REGRESSION_LOSSES


class ConstrainedTrainer(TrainedNetwork, CallbackSupportMixin, BaseEstimator):
    """Train a perceptron whose weights are ternary.

    The forward pass takes latent float weights rounded to three levels, and inputs of
    each layer rounded to 8 bits; gradients pass the roundings as if they were the
    identity [1]_. Steps can be bounded in length by a trust region, and the learning
    rate follows a schedule times what a controller makes of the alignment of
    successive gradients. With ``quantize_weights=None`` the same code trains the
    float twin.

    `loss` decides what it is: a classifier (two or more classes, or any number of
    labels) with ``"log_loss"``, else a regressor (one or more outputs).

    Read more in the :ref:`user guide <training>`.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(256,)
        Units of the hidden layers.
    loss : {"log_loss", "squared_error", "absolute_error", "huber"}, \
            default="log_loss"
        What is minimized. ``"huber"`` is quadratic up to one standard deviation of
        the targets and linear beyond.
    activation : {"relu", "squared_relu"}, default="relu"
        Of the hidden layers.
    quantize_weights : {"absmean", "twn"} or None, default="absmean"
        How weights are rounded: by their mean magnitude, or with a threshold of 0.7
        times it and the mean of what exceeds it as scale [2]_. None keeps them float.
    quantize_activations : {"int8"} or None, default="int8"
        Whether what ternary weights multiply is rounded to 8 bits.
    quantize_output : bool, default=True
        Whether the last layer is ternary too.
    normalization : {"rms"} or None, default="rms"
        RMSNorm in front of every layer but the first.
    linear_skip : bool, default=False
        Add a linear function of the inputs, in float, to the outputs.
    dropout : float, default=0.0
        Share of hidden values that are left out in training.
    input_dropout : float, default=0.0
        Share of inputs that are left out in training, after `standardize`.
    augment : callable or None, default=None
        Called in training as ``augment(X, random_state)`` with a copy of the rows of
        every batch, before `standardize`, it returns the rows to train on, of the
        same shape: shifted images, say, or numbers with noise. `random_state` is a
        ``RandomState``; a run that draws from it alone can be repeated and resumed.
        Rows that are held out or predicted are left alone.
    standardize : {"feature", "global"} or None, default="feature"
        Shift and scale the inputs with fixed numbers from the data: the mean and
        standard deviation of each feature, or of all. Scaled values are clipped to
        [-10, 10]; sparse ones are not shifted. Targets of regression are always
        scaled.
    optimizer : {"adamw", "sgd"}, default="adamw"
        Where directions come from.
    quantize_gradients : {"ternary"} or None, default=None
        Whether gradients are rounded to three levels before the optimizer gets them,
        with one scale for each unit: what a gradient would be that is kept or sent in
        1.6 bits a value.
    error_feedback : bool, default=True
        With `quantize_gradients`: whether what the rounding leaves out is added to
        the gradient of the next step.
    learning_rate_init : "auto" or float, default="auto"
        ``"auto"`` is, for ternary weights, 0.005 with ``"adamw"`` and 0.05 with
        ``"sgd"``, and 0.4 times that for float ones: rounded weights want larger
        steps.
    learning_rate : {"cosine", "wsd", "invscaling", "constant", "adaptive"}, \
            default="cosine"
        Base schedule. Over `max_iter` epochs: half a cosine, or stable with a linear
        decay in the last fifth. Without an end, as in scikit-learn: ``t **
        -power_t`` at step t, constant, or divided by five whenever `n_iter_no_change`
        epochs did not improve by `tol`.
    power_t : float, default=0.5
        Exponent of ``"invscaling"``.
    warmup_fraction : float, default=0.05
        Share of the steps over which the learning rate rises.
    weight_decay : float, default=0.0
        Decoupled decay of the weights, times the learning rate in each step.
    weight_decay_until : float, default=1.0
        Share of the steps after which there is no decay any more.
    momentum : float, default=0.9
        Of ``"sgd"``.
    beta_1, beta_2 : float, default=0.9, 0.99
        Decay of the moments of ``"adamw"``.
    epsilon : float, default=1e-8
        Added to the root of the second moment of ``"adamw"``.
    second_moment : {"element", "row", "tensor", "cluster"}, default="element"
        What shares a second moment of ``"adamw"``: nothing, the weights of a unit
        [3]_, those of a layer, or rows that k-means puts together.
    n_clusters : int, default=16
        Of units with alike gradients and weights, for ``second_moment="cluster"`` and
        ``trust_region="cluster"``.
    max_grad_norm : float or None, default=None
        Gradients are shortened to this length.
    trust_region : {"global", "layer", "cluster"} or None, default=None
        Whether the length of a step is bounded, of all parameters together, of each
        layer, or of each of `n_clusters` clusters of units, the squares of whose
        radii add up to that of ``"global"``.
    trust_radius : float, default=0.05
        The bound over the norm of the first parameters, or of those of the layer; it
        follows the schedule.
    ratio_test_every : int or None, default=None
        Steps between tests whether a step reduced the loss as predicted; a bad step
        is taken back and the radius shrinks. Needs a `trust_region`.
    step_controller : {"schedule", "hypergradient", "auxiliary"}, \
            default="hypergradient"
        What multiplies the base schedule: nothing, the scalar hypergradient rule, or
        that plus an :class:`~neural_network.AuxiliaryStepPredictor`.
    controller_until : "auto" or float, default="auto"
        Share of the steps after which the controller keeps its multipliers, since it
        is greedy and would shrink steps too early. ``"auto"`` is 0.15, but 200 steps
        at least; with 1.0 it goes on to the end.
    freeze_threshold : float or None, default=None
        Late in training, weights whose codes change more often than this share of
        the times they are looked at stay where they are.
    freeze_from : float, default=0.7
        Share of the steps after which freezing begins.
    batch_size : "auto" or int, default="auto"
        ``"auto"`` is 32, and 128 from 10,000 samples on.
    max_iter : int, default=60
        Epochs. Schedules that decay do so over all of them.
    shuffle : bool, default=True
        Whether every epoch has its own order.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes.
    early_stopping : bool, default=False
        Hold samples out, stop when their score does not improve, and keep the
        parameters of the best score.
    validation_fraction : float, default=0.1
        Share of the samples that is held out.
    n_iter_no_change : int or inf, default=10
        Epochs without improvement after which training stops. Without
        `early_stopping` the training loss counts, and only where `learning_rate` has
        no end: a schedule over `max_iter` epochs is carried out.
    tol : float, default=1e-4
        What counts as improvement.
    warm_start : bool, default=False
        Whether `fit` goes on from the last parameters.
    random_state : int, RandomState instance or None, default=None
        Random numbers for first weights, orders, dropout and what is held out. The
        same number gives the same bits with any number of threads.
    verbose : bool or int, default=False
        Print the loss of every epoch.
    checkpoint_dir : str, path-like or None, default=None
        Folder for checkpoints.
    checkpoint_every : int, default=1000
        Steps between two checkpoints.
    keep_last : int, default=2
        Checkpoints that are kept.
    resume : {"auto"} or bool, default="auto"
        ``"auto"`` goes on from the newest intact checkpoint, if there is one, and
        ends with the bits of a run that was not interrupted. True demands one, False
        starts anew.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Classes of a classifier.
    coefs_ : list of TernaryArray or ndarray
        Weights of each layer, of shape (outputs, inputs).
    intercepts_ : list of ndarray
    parameters_ : ndarray of shape (n_parameters,), float32
        Latent parameters; None after `pack`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during `fit`, if all are strings.
    grad_residual_ : ndarray of shape (n_parameters,), float32, or None
        What the rounding of gradients has left out; None without
        `quantize_gradients` or without `error_feedback`, and after `pack`.
    n_iter_ : int
        Epochs.
    n_layers_ : int
        Layers, those of inputs and outputs included.
    n_outputs_ : int
    out_activation_ : {"logistic", "softmax", "identity"}
    t_ : int
        Samples seen in training.
    loss_, best_loss_ : float
        Last and lowest mean loss of an epoch; `best_loss_` is None with
        `early_stopping`.
    loss_curve_ : list of float
        Mean loss of each epoch.
    validation_scores_ : list of float or None
        Score of what was held out, for each epoch.
    best_validation_score_ : float or None
    history_ : dict of str to ndarray
        For each step: ``loss``, ``learning_rate``, ``radius``, ``step_norm``,
        ``alignment``, ``accepted`` (NaN where not tested), ``flip_rate`` (of the
        codes per step), ``seconds``, ``samples_per_second``.
    success_rate_ : float
        Share of the steps that reduced the loss of their batch, of those that the
        ratio test judged; NaN where there were none.
    success_interval_ : tuple of two float
        Its 95 % interval, by Wilson's score.
    training_summary_ : dict
        ``n_iter``, ``n_steps``, ``n_samples_seen``, ``seconds``, ``final_loss``,
        ``final_learning_rate``; ``accept_rate`` (as
        `success_rate_`), ``descent_rate`` and ``meta_hit_rate``, each with its 95 %
        interval; ``flip_rate``, ``n_frozen``,
        ``n_rollbacks``, ``interrupted``, ``n_parameters``, ``n_ternary``,
        ``optimizer_bytes``, ``gradient_bytes``, ``float_bytes``, ``packed_bytes``.

    See Also
    --------
    compress : Make the weights of a model ternary that is already trained.
    plotting.TrainingDisplay : Plot ``history_``.

    Notes
    -----
    Rows of weight 0 are left out, and equal rows of a set of at most 1,000 are one
    row with the sum of their weights. Where the loss is not finite or rises far above
    what it was, training goes back to the last good state with a quarter of the
    learning rate and warns. Ctrl-C ends training after the step that runs, with a
    warning; the model is what it is by then. With a `checkpoint_dir`, SIGTERM ends the
    process after that step and a checkpoint.

    References
    ----------
    .. [1] S. Ma et al., "The era of 1-bit LLMs: all large language models are in 1.58
       bits", 2024, https://arxiv.org/abs/2402.17764
    .. [2] F. Li et al., "Ternary weight networks", 2016,
       https://arxiv.org/abs/1605.04711
    .. [3] Y. Zhang et al., "Adam-mini: use fewer learning rates to gain more",
       ICLR 2025, https://arxiv.org/abs/2406.16793

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_ternary import ConstrainedTrainer
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> model = ConstrainedTrainer((64,), max_iter=5, random_state=0)
    >>> model.fit(X_train, y_train).score(X_test, y_test) > 0.9
    True
    >>> model.coefs_[0]
    <TernaryArray of shape (64, 64), 3 levels, layout 't2', 2.01 bits per value>
    """

    _parameter_constraints: dict = {
        "hidden_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "loss": [StrOptions({"log_loss", *REGRESSION_LOSSES})],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "quantize_weights": [StrOptions({"absmean", "twn"}), None],
        "quantize_activations": [StrOptions({"int8"}), None],
        "quantize_output": ["boolean"],
        "normalization": [StrOptions({"rms"}), None],
        "linear_skip": ["boolean"],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "input_dropout": [Interval(Real, 0, 1, closed="left")],
        "augment": [callable, None],
        "standardize": [StrOptions({"feature", "global"}), None],
        "optimizer": [StrOptions({"adamw", "sgd"})],
        "quantize_gradients": [StrOptions({"ternary"}), None],
        "error_feedback": ["boolean"],
        "learning_rate_init": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "learning_rate": [StrOptions({"cosine", "wsd", *OPEN_ENDED})],
        "power_t": [Interval(Real, None, None, closed="neither")],
        "warmup_fraction": [Interval(Real, 0, 1, closed="both")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "weight_decay_until": [Interval(Real, 0, 1, closed="both")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "second_moment": [StrOptions({"element", "row", "tensor", "cluster"})],
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "max_grad_norm": [Interval(Real, 0, None, closed="neither"), None],
        "trust_region": [StrOptions({"global", "layer", "cluster"}), None],
        "trust_radius": [Interval(Real, 0, None, closed="neither")],
        "ratio_test_every": [Interval(Integral, 1, None, closed="left"), None],
        "step_controller": [StrOptions({"schedule", "hypergradient", "auxiliary"})],
        "controller_until": [
            StrOptions({"auto"}),
            Interval(Real, 0, 1, closed="both"),
        ],
        "freeze_threshold": [Interval(Real, 0, 1, closed="both"), None],
        "freeze_from": [Interval(Real, 0, 1, closed="both")],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "checkpoint_dir": [str, PathLike, None],
        "checkpoint_every": [Interval(Integral, 1, None, closed="left")],
        "keep_last": [Interval(Integral, 1, None, closed="left")],
        "resume": ["boolean", StrOptions({"auto"})],
    }

    def __init__(
        self,
        hidden_layer_sizes=(256,),
        *,
        loss="log_loss",
        activation="relu",
        quantize_weights="absmean",
        quantize_activations="int8",
        quantize_output=True,
        normalization="rms",
        linear_skip=False,
        dropout=0.0,
        input_dropout=0.0,
        augment=None,
        standardize="feature",
        optimizer="adamw",
        quantize_gradients=None,
        error_feedback=True,
        learning_rate_init="auto",
        learning_rate="cosine",
        power_t=0.5,
        warmup_fraction=0.05,
        weight_decay=0.0,
        weight_decay_until=1.0,
        momentum=0.9,
        beta_1=0.9,
        beta_2=0.99,
        epsilon=1e-8,
        second_moment="element",
        n_clusters=16,
        max_grad_norm=None,
        trust_region=None,
        trust_radius=0.05,
        ratio_test_every=None,
        step_controller="hypergradient",
        controller_until="auto",
        freeze_threshold=None,
        freeze_from=0.7,
        batch_size="auto",
        max_iter=60,
        shuffle=True,
        class_weight=None,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        warm_start=False,
        random_state=None,
        verbose=False,
        checkpoint_dir=None,
        checkpoint_every=1000,
        keep_last=2,
        resume="auto",
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.loss = loss
        self.activation = activation
        self.quantize_weights = quantize_weights
        self.quantize_activations = quantize_activations
        self.quantize_output = quantize_output
        self.normalization = normalization
        self.linear_skip = linear_skip
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.augment = augment
        self.standardize = standardize
        self.optimizer = optimizer
        self.quantize_gradients = quantize_gradients
        self.error_feedback = error_feedback
        self.learning_rate_init = learning_rate_init
        self.learning_rate = learning_rate
        self.power_t = power_t
        self.warmup_fraction = warmup_fraction
        self.weight_decay = weight_decay
        self.weight_decay_until = weight_decay_until
        self.momentum = momentum
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.second_moment = second_moment
        self.n_clusters = n_clusters
        self.max_grad_norm = max_grad_norm
        self.trust_region = trust_region
        self.trust_radius = trust_radius
        self.ratio_test_every = ratio_test_every
        self.step_controller = step_controller
        self.controller_until = controller_until
        self.freeze_threshold = freeze_threshold
        self.freeze_from = freeze_from
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.checkpoint_dir = checkpoint_dir
        self.checkpoint_every = checkpoint_every
        self.keep_last = keep_last
        self.resume = resume

    @_fit_context(prefer_skip_nested_validation=True)
    @on_its_device
    def fit(self, X, y, sample_weight=None):
        """Train.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Classes, a table of 0 and 1 for labels, or numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, not below 0; None is 1 for each.

        Returns
        -------
        self : ConstrainedTrainer
        """
        Fitting(self).fit(X, y, sample_weight)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    @on_its_device
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train for one epoch on these samples.

        The learning rate is constant, but for ``learning_rate="invscaling"``.

        The scaling of inputs and targets stays that of the first call.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        classes : array-like of shape (n_classes,), default=None
            All classes that will come; used in the first call. Not for regression.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights.

        Returns
        -------
        self : ConstrainedTrainer
        """
        Fitting(self).partial_fit(X, y, classes, sample_weight)
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        if is_classifier(self):
            tags.estimator_type = "classifier"
            tags.classifier_tags = ClassifierTags(multi_label=True)
        else:
            tags.estimator_type = "regressor"
            tags.regressor_tags = RegressorTags()
            tags.target_tags.multi_output = True
        return tags
