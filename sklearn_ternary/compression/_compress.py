"""`compress`: a fitted model in, a packed one out."""

from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV

from sklearn_ternary._in_kind import through_host
from sklearn_ternary._layouts import get_layout
from sklearn_ternary.compression._classes import CompressedEstimator, unfitted
from sklearn_ternary.compression._containers import CONTAINERS, parts_of
from sklearn_ternary.compression._families import FAMILIES
from sklearn_ternary.compression._job import Options
from sklearn_ternary.compression._run import run
from sklearn_ternary.quantization._products import ACTIVATIONS
from sklearn_ternary.quantization._scales import check_scale


@through_host
def compress(
    estimator,
    X_calibration=None,
    *,
    scale="mse",
    activations="float32",
    layout=None,
    exclude=(),
):
    """Pack the weights of a fitted model and predict through them.

    The result is a fitted estimator of the same kind: an instance of a subclass
    of the original's class, with its parameters, `classes_`, `n_features_in_`,
    tags and methods, whose weights (`coef_`, `coefs_`, `components_`) are packed
    arrays. No float copy of them is kept. The original is left as it is.

    Read more in the :ref:`user guide <compression>`.

    Parameters
    ----------
    estimator : fitted estimator
        A linear classifier or regressor (also with a link, as `PoissonRegressor`),
        `LinearDiscriminantAnalysis`, `LinearSVC`, `LinearSVR`, `MLPClassifier`,
        `MLPRegressor`, `PCA`, `IncrementalPCA` or `TruncatedSVD`; a `Pipeline`,
        `FeatureUnion`, `ColumnTransformer` or `OneVsRestClassifier` of them, whose
        other parts are copied; a search over parameters, whose `best_estimator_` is
        compressed and returned.
    X_calibration : {array-like, sparse matrix} of shape (n_samples, n_features), \
            default=None
        Samples without targets, a few hundred or more, like those that will be
        predicted. With them scale and bias of each output are fitted by least
        squares to the outputs of the original, layer after layer, and with
        ``scale="mse"`` the codes are chosen for the least error of the outputs.
        Without them weights are only rounded, and accuracy falls much more.
        Transformers in a `ColumnTransformer` are only rounded in any case.
    scale : {"mse", "absmean", "twn", "absmax", "norm"}, default="mse"
        How weights are rounded, with one scale for each output; see
        :func:`ternarize`.
    activations : {"float32", "int8"}, default="float32"
        Type that inputs have when they meet packed weights: floats, or rounded to
        int8 with one scale for each sample, which does not take sparse X.
    layout : str, default=None
        How codes are packed; None for the densest, see :ref:`layouts`.
    exclude : sequence of str or int, default=()
        Parts that keep their float weights: steps and transformers by name or by
        index, classifiers of a `OneVsRestClassifier` and layers of a network by
        index, negative ones counting from the end. A part of a part is written as
        for parameters, with two underscores: ``"mlp__0"`` is the first layer
        of the step ``"mlp"``, ``"mlp__-1"`` its last.

    Returns
    -------
    compressed : estimator
        Its `compression_report_`, a
        :class:`~sklearn_ternary.compression.CompressionReport`, tells bytes, bits
        and, with calibration data, the agreement with the original.

    Raises
    ------
    TypeError
        If the model is none of those above.
    ValueError
        For unknown options, entries of `exclude` that name no part, or if these
        leave nothing to compress.
    sklearn.exceptions.NotFittedError
        If the model is not fitted.

    See Also
    --------
    ternarize : The same for a single array.

    Notes
    -----
    `fit` of the result fits the original class with the same parameters and
    compresses again with the same options, on the new training data if there were
    calibration data; :func:`sklearn.base.clone` keeps the options, so that
    cross-validation measures compressed models. `partial_fit`, `densify` and
    `sparsify` are absent: they change float weights in place.

    Models of scikit-learn check arrays of the host: those of a device are copied there
    and what is predicted is copied back. Products of arrays of the host are computed
    on a device under ``backend="cuda"``.

    `coef_` and `components_` are :class:`TernaryArray` of the original's shape,
    the entries of `coefs_` transposed views of one; :func:`numpy.asarray` and
    `toarray` unpack them. Products are summed in float32, those of linear models
    with dense float64 samples in float64, and returned in the type that the original
    returns.

    References
    ----------
    .. [1] M. Nagel et al., "Up or Down? Adaptive Rounding for Post-Training
       Quantization", ICML 2020, for rounding that keeps outputs.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_ternary import compress
    >>> X, y = load_digits(return_X_y=True)
    >>> model = LogisticRegression(C=0.01, max_iter=1000).fit(X[:1000], y[:1000])
    >>> small = compress(model, X[:1000])
    >>> small.coef_
    <TernaryArray of shape (10, 64), 3 levels, layout 't5', 2.12 bits per value>
    >>> small.predict(X[1000:1005])
    array([1, 4, 0, 5, 3])
    """
    options = Options(
        scale=scale,
        activations=activations,
        layout=layout,
        exclude=_as_tuple(exclude),
        calibrate=X_calibration is not None,
    )
    _check_options(options)
    if isinstance(estimator, type) or not isinstance(estimator, BaseEstimator):
        raise TypeError(f"estimator={estimator!r} is not a fitted estimator")
    estimator = _best(estimator)
    if isinstance(estimator, CompressedEstimator):
        raise TypeError(f"{estimator!r} is compressed already")
    if not _Parts.supports(estimator):
        raise TypeError(_unsupported(estimator))
    return run(estimator, options, X_calibration, _Parts.compress)


def _as_tuple(exclude):
    if isinstance(exclude, (str, int)):
        raise ValueError(f"exclude={exclude!r} must be a sequence of names and indices")
    return tuple(exclude)


def _check_options(options):
    if not isinstance(options.scale, str):
        raise ValueError(f"scale={options.scale!r} must be the name of a rule")
    check_scale(options.scale, 3)
    if options.activations not in ACTIVATIONS:
        raise ValueError(
            f"activations={options.activations!r} must be one of {list(ACTIVATIONS)}"
        )
    if options.layout is not None:
        get_layout(options.layout, 3)


def _best(estimator):
    """Return the model that a search over parameters has found."""
    if not isinstance(estimator, (GridSearchCV, RandomizedSearchCV)) and not (
        hasattr(estimator, "cv_results_") and hasattr(estimator, "best_estimator_")
    ):
        return estimator
    if not hasattr(estimator, "best_estimator_"):
        raise NotFittedError(
            f"This {type(estimator).__name__} has no best_estimator_: call fit, with "
            "refit=True"
        )
    return _best(estimator.best_estimator_)


def _lookup(table, estimator):
    """Entry of the nearest class that an estimator inherits from."""
    for cls in type(estimator).__mro__:
        if cls in table:
            return table[cls]
    return None


class _Parts:
    """What containers ask about their parts."""

    @staticmethod
    def supports(part):
        """Whether there is a model to compress in a part, at any depth."""
        if not isinstance(part, BaseEstimator):
            return False
        part = getattr(part, "best_estimator_", part)
        if isinstance(part, CompressedEstimator):
            return False
        if _lookup(FAMILIES, part) is not None:
            return True
        if _lookup(CONTAINERS, part) is None:
            return False
        return any(_Parts.supports(inner) for inner in parts_of(part))

    @staticmethod
    def compress(part, job):
        """Compress a model or a container of models."""
        part = _best(part)
        family = _lookup(FAMILIES, part)
        if family is not None:
            return family.compress_part(part, job)
        return _lookup(CONTAINERS, part)(part, job, _Parts)

    @staticmethod
    def prototype(part, job):
        """Unfitted copy of a part, which compresses itself when it is fitted."""
        if not isinstance(part, BaseEstimator):
            return part
        family = _lookup(FAMILIES, part)
        if family is None or isinstance(part, CompressedEstimator):
            return clone(part)
        return unfitted(part, family, job.local_options())


def _unsupported(estimator):
    models = sorted(cls.__name__ for cls in FAMILIES)
    containers = sorted(cls.__name__ for cls in CONTAINERS)
    return (
        f"{type(estimator).__name__} cannot be compressed. Supported are "
        f"{', '.join(models)}; {', '.join(containers)} that contain one of them; and "
        "searches such as GridSearchCV over them"
    )
