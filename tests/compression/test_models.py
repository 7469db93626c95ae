"""Every supported kind of model, on bundled data, against plain NumPy."""

import functools
import warnings

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.base import clone, is_regressor
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_wine,
)
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    GammaRegressor,
    HuberRegressor,
    LassoLars,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC, LinearSVR

from sklearn_ternary.compression import compress
from sklearn_ternary.quantization import TernaryArray

CLASSIFIERS = [
    LogisticRegression(C=0.1),
    LogisticRegressionCV(
        Cs=2, cv=2, max_iter=50, use_legacy_attributes=False, scoring="accuracy"
    ),
    SGDClassifier(loss="log_loss", average=True, random_state=0),
    RidgeClassifier(),
    LinearSVC(random_state=0),
    Perceptron(random_state=0),
    LinearDiscriminantAnalysis(),
    MLPClassifier((16,), max_iter=30, early_stopping=True, random_state=0),
    MLPClassifier((8, 8), max_iter=15, activation="tanh", random_state=0),
]
REGRESSORS = [
    LinearRegression(),
    Ridge(fit_intercept=False),
    ElasticNet(0.01),
    LassoLars(0.01),
    BayesianRidge(),
    HuberRegressor(max_iter=1000),
    SGDRegressor(random_state=0),
    LinearSVR(random_state=0),
    PoissonRegressor(),
    GammaRegressor(),
    TweedieRegressor(power=0),
    MLPRegressor(hidden_layer_sizes=(16,), max_iter=30, random_state=0),
    MLPRegressor(
        hidden_layer_sizes=(8,), activation="logistic", max_iter=15, random_state=0
    ),
]
TRANSFORMERS = [PCA(5), PCA(3, whiten=True), IncrementalPCA(4), TruncatedSVD(5)]
LOADERS = [load_digits, load_breast_cancer, load_wine, load_diabetes]


def name_of(model):
    return repr(model).replace("\n", "")[:60]


@functools.cache
def data(loader):
    X, y = loader(return_X_y=True)
    X, y = X[:250], y[:250]
    return StandardScaler().fit_transform(X), y


@functools.cache
def fitted(model, loader):
    X, y = data(loader)
    if is_regressor(model):
        y = y + 1.0
    elif loader is load_diabetes:
        y = np.where(y > np.median(y), "high", "low")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return clone(model).fit(X, y), X


def dense(W):
    return W if isinstance(W, np.ndarray) else W.toarray(np.float64)


def expected_outputs(model, X):
    """Outputs before any nonlinearity, with unpacked weights, by NumPy alone."""
    if hasattr(model, "components_"):
        Z = X @ dense(model.components_).T + model._offset
        if getattr(model, "whiten", False):
            Z = Z / np.sqrt(model.explained_variance_)
        return Z
    if not hasattr(model, "coefs_"):
        return X @ dense(model.coef_).T + model.intercept_
    hidden = {
        "relu": lambda Z: np.where(Z > 0, Z, 0),
        "tanh": np.tanh,
        "logistic": lambda Z: 1 / (1 + np.exp(-Z)),
    }[model.activation]
    for i, (W, b) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        X = X @ dense(W) + b
        if i < len(model.coefs_) - 1:
            X = hidden(X)
    return X


def expected_predictions(model, Z):
    if is_regressor(model):
        if isinstance(model, (PoissonRegressor, GammaRegressor)):
            return np.exp(Z)
        return Z.ravel() if Z.ndim == 2 else Z
    Z = Z.reshape(len(Z), -1)
    best = (Z[:, 0] > 0).astype(int) if Z.shape[1] == 1 else Z.argmax(axis=1)
    return model.classes_[best]


def assert_close(found, wanted):
    wanted = np.asarray(wanted)
    np.testing.assert_allclose(
        found, wanted, rtol=1e-5, atol=1e-5 * max(np.abs(wanted).max(), 1)
    )


@pytest.mark.parametrize("calibrated", [False, True], ids=["rounded", "calibrated"])
@pytest.mark.parametrize("loader", LOADERS, ids=lambda f: f.__name__[5:])
@pytest.mark.parametrize("model", CLASSIFIERS + REGRESSORS, ids=name_of)
def test_predictors(model, loader, calibrated):
    original, X = fitted(model, loader)
    small = compress(original, X if calibrated else None)
    assert isinstance(small, type(original))
    Z = expected_outputs(small, X)
    if is_regressor(model):
        assert_close(small.predict(X), expected_predictions(small, Z))
        return
    close_calls = _ties(Z)
    wanted = expected_predictions(small, Z)
    assert (small.predict(X) == wanted)[~close_calls].all()
    np.testing.assert_array_equal(small.classes_, original.classes_)
    if hasattr(original, "decision_function"):
        wanted = original.decision_function(X)
        assert small.decision_function(X).dtype == wanted.dtype
        assert small.decision_function(X).shape == wanted.shape
        assert_close(small.decision_function(X).reshape(Z.shape), Z)
    if isinstance(small, (LogisticRegression, MLPClassifier)):
        Z = Z.reshape(len(X), -1)
        if Z.shape[1] == 1:
            P = np.hstack([1 - expit(Z), expit(Z)])
        else:
            P = softmax(Z, axis=1)
        assert_close(small.predict_proba(X), P)
        with np.errstate(divide="ignore"):
            assert_close(np.exp(small.predict_log_proba(X)), P)


def _ties(Z):
    """Samples whose class hangs on less than the rounding error."""
    Z = Z.reshape(len(Z), -1)
    if Z.shape[1] == 1:
        return np.abs(Z[:, 0]) < 1e-4
    two = np.sort(Z, axis=1)[:, -2:]
    return two[:, 1] - two[:, 0] < 1e-4


@pytest.mark.parametrize("calibrated", [False, True], ids=["rounded", "calibrated"])
@pytest.mark.parametrize("loader", LOADERS, ids=lambda f: f.__name__[5:])
@pytest.mark.parametrize("model", TRANSFORMERS, ids=name_of)
def test_transformers(model, loader, calibrated):
    original, X = fitted(model, loader)
    small = compress(original, X if calibrated else None)
    assert_close(small.transform(X), expected_outputs(small, X))
    assert small.transform(X).dtype == original.transform(X).dtype
    np.testing.assert_array_equal(
        small.get_feature_names_out(), original.get_feature_names_out()
    )
    back = small.inverse_transform(small.transform(X))
    Z = small.transform(X)
    if getattr(model, "whiten", False):
        Z = Z * np.sqrt(small.explained_variance_)
    wanted = Z @ dense(small.components_) + getattr(small, "mean_", 0)
    assert_close(back, wanted)


@pytest.mark.parametrize("solver", ["svd", "eigen", "lsqr"])
def test_discriminant_projection(solver):
    original, X = fitted(LinearDiscriminantAnalysis(solver=solver), load_wine)
    small = compress(original, X)
    if solver == "lsqr":
        with pytest.raises(NotImplementedError):
            small.transform(X)
        return
    centered = X - small.xbar_ if solver == "svd" else X
    wanted = centered @ dense(small.scalings_)
    assert_close(small.transform(X), wanted[:, : small._max_components])
    names = original.get_feature_names_out()
    np.testing.assert_array_equal(small.get_feature_names_out(), names)
    assert len(small.compression_report_.layers) == 2


def test_pca_is_still_a_model_of_the_covariance():
    original, X = fitted(PCA(5), load_wine)
    small = compress(original)
    dense_model = clone(original)
    vars(dense_model).update(vars(original))
    dense_model.components_ = dense(small.components_)
    assert_close(small.get_covariance(), dense_model.get_covariance())
    assert_close(small.score_samples(X), dense_model.score_samples(X))


@pytest.mark.parametrize(
    "model",
    [LogisticRegression(C=0.1), Ridge(), PCA(4), MLPClassifier((8,), max_iter=9)],
)
@pytest.mark.parametrize("layout", ["t2", "t5"])
def test_layouts_hold_the_same_model(model, layout):
    original, X = fitted(model, load_wine)
    one = compress(original, X)
    other = compress(original, X, layout=layout)
    method = "transform" if hasattr(model, "transform") else "predict"
    assert other.compression_report_.layers[0].layout == layout
    np.testing.assert_array_equal(getattr(one, method)(X), getattr(other, method)(X))


@pytest.mark.parametrize("scale", ["mse", "absmean", "twn", "absmax", "norm"])
@pytest.mark.parametrize("calibrated", [False, True])
def test_every_scale(scale, calibrated):
    original, X = fitted(LogisticRegression(C=0.1), load_digits)
    small = compress(original, X if calibrated else None, scale=scale)
    assert_close(small.decision_function(X), expected_outputs(small, X))


def test_int8_activations():
    original, X = fitted(LogisticRegression(C=0.1), load_digits)
    small = compress(original, X, activations="int8")
    step = np.abs(X).max(axis=1, keepdims=True) / 127
    rounded = np.rint(X / step) * step
    np.testing.assert_allclose(
        small.decision_function(X), expected_outputs(small, rounded), atol=0.02
    )


def test_regression_with_several_outputs():
    X, _ = data(load_diabetes)
    Y = np.column_stack([X[:, 0] + X[:, 1], X[:, 2] - 3, X @ np.arange(10.0)])
    original = LinearRegression().fit(X, Y)
    small = compress(original, X)
    assert small.coef_.shape == (3, 10)
    assert small.predict(X).shape == (len(X), 3)
    assert_close(small.predict(X), expected_outputs(small, X))


def test_one_output_keeps_its_shape():
    original, X = fitted(Ridge(), load_diabetes)
    small = compress(original, X)
    assert small.coef_.shape == original.coef_.shape
    assert isinstance(small.coef_, TernaryArray)
    assert np.shape(small.intercept_) == np.shape(original.intercept_)


def test_bayesian_ridge_still_gives_deviations():
    original, X = fitted(BayesianRidge(), load_diabetes)
    mean, deviation = compress(original, X).predict(X, return_std=True)
    assert_close(deviation, original.predict(X, return_std=True)[1])
    assert mean.shape == deviation.shape


def test_float32_models_stay_float32():
    X, y = data(load_digits)
    X = X.astype(np.float32)
    original = LogisticRegression(max_iter=50).fit(X, y)
    small = compress(original, X)
    assert small.predict_proba(X).dtype == original.predict_proba(X).dtype


def test_sparsified_weights():
    X, y = data(load_wine)
    original = LogisticRegression().fit(X, y)
    wanted = compress(original).coef_
    assert compress(original.sparsify()).coef_ == wanted


def test_unsupported_models_are_told_what_is_supported():
    X, y = data(load_wine)
    with pytest.raises(TypeError, match="SVC cannot be compressed") as error:
        compress(SVC().fit(X, y))
    for name in ("LogisticRegression", "PCA", "MLPRegressor", "Pipeline"):
        assert name in str(error.value)
