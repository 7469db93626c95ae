"""Linear classifiers and regressors."""

import numpy as np
from scipy import sparse
from sklearn import discriminant_analysis, linear_model, svm
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_ternary._gpu.arrays import like
from sklearn_ternary.compression._classes import (
    CompressedEstimator,
    compressed_class,
    get_feature_names_out,
    state_without,
    with_state,
)
from sklearn_ternary.compression._products import rows_times
from sklearn_ternary.compression._rows import pack_rows
from sklearn_ternary.compression._samples import checked_product

CLASSIFIERS = (
    "LogisticRegression",
    "LogisticRegressionCV",
    "PassiveAggressiveClassifier",
    "Perceptron",
    "SGDClassifier",
)
RIDGE_CLASSIFIERS = ("RidgeClassifier", "RidgeClassifierCV")
REGRESSORS = (
    "ARDRegression",
    "BayesianRidge",
    "ElasticNet",
    "ElasticNetCV",
    "HuberRegressor",
    "Lars",
    "LarsCV",
    "Lasso",
    "LassoCV",
    "LassoLars",
    "LassoLarsCV",
    "LassoLarsIC",
    "LinearRegression",
    "MultiTaskElasticNet",
    "MultiTaskElasticNetCV",
    "MultiTaskLasso",
    "MultiTaskLassoCV",
    "OrthogonalMatchingPursuit",
    "OrthogonalMatchingPursuitCV",
    "PassiveAggressiveRegressor",
    "QuantileRegressor",
    "Ridge",
    "RidgeCV",
    "SGDRegressor",
    "TheilSenRegressor",
)
WITH_LINK = ("GammaRegressor", "PoissonRegressor", "TweedieRegressor")

# Float copies and earlier stages of the weights.
_COPIES = (
    "_average_coef",
    "_average_intercept",
    "_standard_coef",
    "_standard_intercept",
    "coef_path_",
    "coefs_paths_",
)


class _CompressedLinear(CompressedEstimator):
    """Outputs ``X @ coef_.T + intercept_`` with `coef_` packed."""

    public_methods = {}
    of_outputs = (
        "decision_function",
        "predict",
        "predict_log_proba",
        "predict_proba",
        "score",
    )

    @classmethod
    def compress_part(cls, estimator, job):
        return _compress_linear(estimator, job, cls)

    @property
    def coef_(self):
        """The packed weights, a TernaryArray of the shape of the original's."""
        if "_packed_coef" not in vars(self):
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute 'coef_'"
            )
        return self._packed_coef[0] if self._coef_ndim == 1 else self._packed_coef

    def _outputs(self, X):
        activations = self._compression.activations
        product = rows_times(X, self._packed_coef, activations, X.dtype)
        # As NumPy would for the original's weights.
        dtype = np.result_type(X.dtype, self._coef_dtype)
        product = product.astype(dtype, copy=False)
        if self._coef_ndim == 1:
            product = product[:, 0]
        return product + like(np.asarray(self.intercept_), product)

    def _checked_outputs(self, X, formats, **options):
        if "_packed_coef" not in vars(self):
            check_is_fitted(self)
        return checked_product(self, X, self._outputs, accept_sparse=formats, **options)


class _CompressedRegressor(_CompressedLinear):
    def _decision_function(self, X):
        # scikit-learn's `predict` of all linear regressors calls this.
        return self._checked_outputs(X, ["csr", "csc", "coo"])


class _CompressedRegressorWithLink(_CompressedLinear):
    def _linear_predictor(self, X):
        # `predict` applies the inverse link to this.
        formats = ["csr", "csc", "coo"]
        return self._checked_outputs(X, formats, dtype=[np.float64, np.float32])


def _decision_function(self, X):
    """Confidence scores of samples, through the packed weights.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)

    Returns
    -------
    scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
    """
    scores = self._checked_outputs(X, "csr")
    return scores.reshape(-1) if scores.shape[1:] == (1,) else scores


def _predict(self, X):
    """Class labels of samples, through the packed weights.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)

    Returns
    -------
    y_pred : ndarray of shape (n_samples,)
    """
    # As scikit-learn's, which asks for the type of all arrays first: with few classes
    # that takes longer than the product.
    scores = self.decision_function(X)
    chosen = scores.argmax(axis=1) if scores.ndim > 1 else (scores > 0).astype(int)
    return self.classes_.take(chosen)


class _CompressedRidgeClassifier(_CompressedLinear):
    """May predict several labels for a sample: `predict` is the original's."""

    public_methods = {"decision_function": _decision_function}


class _CompressedClassifier(_CompressedRidgeClassifier):
    public_methods = {"decision_function": _decision_function, "predict": _predict}


def _discriminant_transform(self, X):
    """Project samples to maximize the separation of the classes.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)

    Returns
    -------
    X_new : ndarray of shape (n_samples, n_components)
    """
    if "scalings_" not in vars(self):  # solver="lsqr"
        return self._original_class.transform(self, X)
    check_is_fitted(self)

    def project(X):
        if self.solver == "svd":
            X = X - like(np.asarray(self.xbar_), X)
        return rows_times(X, self.scalings_.T, "float32", X.dtype)

    return checked_product(self, X, project)[:, : self._max_components]


class _CompressedDiscriminant(_CompressedClassifier):
    """Linear discriminant analysis: its projection is packed too."""

    public_methods = {
        **_CompressedClassifier.public_methods,
        "get_feature_names_out": get_feature_names_out,
        "transform": _discriminant_transform,
    }
    of_outputs = (*_CompressedClassifier.of_outputs, "transform")

    @classmethod
    def compress_part(cls, estimator, job):
        result = super().compress_part(estimator, job)
        if "scalings_" not in vars(estimator):  # solver="lsqr"
            return result
        rotation = np.asarray(estimator.scalings_).T
        center = getattr(estimator, "xbar_", np.zeros(rotation.shape[1]))
        zero = np.zeros(rotation.shape[0])
        inputs = outputs = None
        if job.X is not None:
            X, X_packed = samples(estimator, job)
            inputs, outputs = X_packed - center, (X - center) @ rotation.T
        rows = pack_rows(rotation, zero, job.options, inputs, outputs, fit_bias=False)
        # `transform` multiplies from the left: a view without a copy.
        result.scalings_ = rows.weights.T
        name = job.name("scalings_")
        job.report(name, (estimator.scalings_,), rows.weights, (), rows.r2)
        return result


def samples(estimator, job):
    """Calibration data of a job as arrays, for the original and the compressed."""
    tags = estimator.__sklearn_tags__()
    formats = ["csr", "csc"] if tags.input_tags.sparse else False

    def checked(X):
        return validate_data(
            estimator,
            X,
            accept_sparse=formats,
            dtype=[np.float64, np.float32],
            reset=False,
        )

    X = checked(job.X)
    return X, X if job.X_packed is job.X else checked(job.X_packed)


def _compress_linear(estimator, job, mixin):
    check_is_fitted(estimator)
    coef = estimator.coef_
    coef = coef.toarray() if sparse.issparse(coef) else np.asarray(coef)
    W = np.atleast_2d(coef)
    bias = np.broadcast_to(np.asarray(estimator.intercept_, dtype=float), len(W))
    inputs = outputs = None
    if job.X is not None:
        X, inputs = samples(estimator, job)
        outputs = np.asarray(X @ W.T, dtype=np.float64) + bias
    rows = pack_rows(W, bias, job.options, inputs, outputs)
    state = state_without(estimator, "coef_", "intercept_", "scalings_", *_COPIES)
    state |= {
        "_packed_coef": rows.weights,
        "_coef_ndim": coef.ndim,
        "_coef_dtype": coef.dtype.name,  # skops trusts text, and no dtype
        "_compression": job.local_options(),
        "intercept_": _intercept_like(estimator.intercept_, rows.bias, coef),
    }
    before, biases = (coef, estimator.intercept_), (state["intercept_"],)
    job.report(job.name("coef_"), before, rows.weights, biases, rows.r2)
    return with_state(compressed_class(type(estimator), mixin), state)


def _intercept_like(original, bias, coef):
    """The bias with type and shape of the original intercept, as far as it fits."""
    if np.ndim(original) or coef.ndim == 1:
        return bias.astype(coef.dtype).reshape(np.shape(original))[()]
    if not bias.any():
        return original
    return bias.astype(coef.dtype)


def families():
    """Return pairs of classes and what differs in the compressed ones.

    Names that this version of scikit-learn lacks are left out.
    """
    groups = (
        (linear_model, CLASSIFIERS, _CompressedClassifier),
        (linear_model, RIDGE_CLASSIFIERS, _CompressedRidgeClassifier),
        (svm, ("LinearSVC",), _CompressedClassifier),
        (
            discriminant_analysis,
            ("LinearDiscriminantAnalysis",),
            _CompressedDiscriminant,
        ),
        (linear_model, REGRESSORS, _CompressedRegressor),
        (svm, ("LinearSVR",), _CompressedRegressor),
        (linear_model, WITH_LINK, _CompressedRegressorWithLink),
    )
    return [
        (getattr(module, name), mixin)
        for module, names, mixin in groups
        for name in names
        if hasattr(module, name)
    ]
