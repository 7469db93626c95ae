"""Compressed models behave as estimators of scikit-learn, and as the original."""

import copy
import importlib
import io
import pickle
import warnings

import joblib
import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.datasets import load_diabetes, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from sklearn_ternary import config_context
from sklearn_ternary.compression import compress

X, Y = load_iris(return_X_y=True)
MODELS = [
    LogisticRegression(C=0.5),
    Ridge(0.1),
    PCA(2, whiten=True),
    MLPClassifier((6,), max_iter=40, early_stopping=True, random_state=0),
    SGDClassifier(average=True, random_state=0),
]


def fit(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return clone(model).fit(X, Y)


def outputs(model, X=X):
    for method in ("predict_proba", "decision_function", "predict", "transform"):
        if hasattr(model, method):
            return getattr(model, method)(X)
    raise AssertionError


each_model = pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)


@each_model
def test_the_same_kind_of_estimator(model):
    original = fit(model)
    small = compress(original, X)
    assert isinstance(small, type(model))
    assert small.get_params() == original.get_params()
    assert small.__sklearn_tags__() == original.__sklearn_tags__()
    assert is_classifier(small) == is_classifier(original)
    assert is_regressor(small) == is_regressor(original)
    assert small.n_features_in_ == original.n_features_in_
    text = "".join(repr(original).split())
    assert "".join(repr(small).split()) == "Compressed" + text
    assert isinstance(small._repr_html_(), str)
    check_is_fitted(small)


@each_model
@pytest.mark.parametrize(
    "copied",
    [
        lambda m: pickle.loads(pickle.dumps(m)),
        lambda m: pickle.loads(pickle.dumps(m, protocol=2)),
        copy.deepcopy,
        copy.copy,
        lambda m: _through_joblib(m),
    ],
    ids=["pickle", "pickle 2", "deepcopy", "copy", "joblib"],
)
def test_copies_predict_the_same(model, copied):
    small = compress(fit(model), X)
    other = copied(small)
    assert type(other) is type(small)
    np.testing.assert_array_equal(outputs(other), outputs(small))
    assert other.compression_report_ == small.compression_report_


def _through_joblib(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


@each_model
def test_classes_and_states_are_found_by_name(model):
    """So skops.io stores estimators: names of classes, and states without types."""
    small = compress(fit(model), X)
    cls = getattr(importlib.import_module(type(small).__module__), type(small).__name__)
    assert cls is type(small)
    again = object.__new__(cls)
    again.__setstate__(small.__getstate__())
    np.testing.assert_array_equal(outputs(again), outputs(small))
    assert not any(isinstance(v, np.dtype | type) for v in vars(small).values())
    for W in vars(small).get("coefs_", []):
        make, arguments = W.__reduce__()
        assert make is type(W)
        np.testing.assert_array_equal(make(*arguments).codes(), W.codes())


def test_a_class_of_no_compressed_model_is_not_found():
    from sklearn_ternary.compression import _families

    assert not hasattr(_families, "CompressedKMeans")


def test_pickle_in_a_fresh_interpreter(run_python, tmp_path):
    small = compress(fit(MODELS[0]), X)
    (tmp_path / "model.pickle").write_bytes(pickle.dumps((small, X, outputs(small))))
    run_python(
        """
import pickle
import numpy as np
small, X, wanted = pickle.loads(open("model.pickle", "rb").read())
np.testing.assert_array_equal(small.predict_proba(X), wanted)
"""
    )


def test_pickle_is_small():
    data, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    wide = np.hstack([data, rng.normal(size=(len(data), 4000))])
    model = RidgeClassifier().fit(wide, y)
    small = compress(model)
    assert len(pickle.dumps(small)) < len(pickle.dumps(model)) / 30


@each_model
def test_the_original_is_left_alone(model):
    original = fit(model)
    before = pickle.dumps(original)
    compress(original, X)
    assert pickle.dumps(original) == before
    small = compress(original)
    for name, value in vars(small).items():
        if isinstance(value, np.ndarray):
            mine = getattr(original, name, None)
            assert not (isinstance(mine, np.ndarray) and np.shares_memory(value, mine))


@each_model
def test_inputs_are_left_alone(model):
    small = compress(fit(model), X)
    data = X.copy()
    outputs(small, data)
    np.testing.assert_array_equal(data, X)


@each_model
@pytest.mark.parametrize("calibrated", [False, True])
def test_fit_fits_the_original_class_and_compresses(model, calibrated):
    original = fit(model)
    small = compress(original, X if calibrated else None, scale="absmean", layout="t2")
    again = clone(small)
    assert type(again) is type(small)
    with pytest.raises(NotFittedError):
        outputs(again)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert again.fit(X, Y) is again
    assert again.compression_report_ == small.compression_report_
    np.testing.assert_array_equal(outputs(again), outputs(small))


def test_fit_follows_parameters():
    small = compress(fit(LogisticRegression()), X)
    small.set_params(C=1e-4).fit(X[:100], Y[:100])
    wanted = compress(LogisticRegression(C=1e-4).fit(X[:100], Y[:100]), X[:100])
    assert small.coef_ == wanted.coef_
    np.testing.assert_array_equal(small.classes_, [0, 1])


def test_cross_validation_measures_compressed_models():
    data, y = load_wine(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1)).fit(data, y)
    small = compress(model, data)
    found = cross_val_score(small, data, y, cv=3)
    folds = []
    for fold in range(3):
        train, test = list(StratifiedKFold(3).split(data, y))[fold]
        fold_model = clone(model).fit(data[train], y[train])
        folds.append(compress(fold_model, data[train]).score(data[test], y[test]))
    np.testing.assert_allclose(found, folds)


@pytest.mark.parametrize("scoring", ["accuracy", "neg_log_loss", "roc_auc_ovr"])
def test_scorers_find_the_methods(scoring):
    """They ask a method for its name, and call what is so called."""
    small = compress(fit(LogisticRegression()))
    scorer = get_scorer(scoring)
    assert scorer(small, X, Y) == scorer(make_pipeline(small), X, Y)
    own = compress(fit(LogisticRegressionCV(cv=2, scoring="accuracy")))
    assert own.score(X, Y) == np.mean(own.predict(X) == Y)
    assert small.predict.__name__ == "predict"


def test_callbacks_stay_where_they_are():
    seen = []

    class Callback:
        """Counts how often it is set up."""

        def setup(self, estimator, context):
            seen.append(type(estimator).__name__)

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, *args, **kwargs):
            pass

        def on_fit_task_end(self, *args, **kwargs):
            pass

    original = LogisticRegression(max_iter=500).set_callbacks(Callback())
    small = compress(original.fit(X, Y), X)
    assert small._skl_callbacks is original._skl_callbacks
    small.fit(X, Y)
    assert seen == ["LogisticRegression"] * 2
    assert small._skl_callbacks == original._skl_callbacks


def test_parameters_of_a_compressed_model_can_be_searched():
    small = compress(fit(LogisticRegression()), X)
    search = GridSearchCV(small, {"C": [1e-4, 1.0]}, cv=3).fit(X, Y)
    assert type(search.best_estimator_) is type(small)
    assert search.best_estimator_.compression_report_.measure


def test_what_changes_float_weights_is_absent():
    for model, name in [
        (SGDClassifier(), "partial_fit"),
        (MLPClassifier((3,), max_iter=2), "partial_fit"),
        (IncrementalPCA(2), "partial_fit"),
        (LogisticRegression(), "sparsify"),
        (LogisticRegression(), "densify"),
    ]:
        assert hasattr(model, name)
        small = compress(fit(model))
        assert not hasattr(small, name)
        with pytest.raises(AttributeError, match=name):
            getattr(small, name)


@each_model
def test_no_float_weights_are_kept(model):
    """Nothing that the model holds is a float array as large as the weights."""
    data, y = load_digits(return_X_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = compress(clone(model).fit(data[:200], y[:200]), data[:200])
    sizes = {int(np.prod(layer.shape)) for layer in small.compression_report_.layers}

    def floats(value):
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            yield value
        elif isinstance(value, (list, tuple)):
            for item in value:
                yield from floats(item)
        elif isinstance(value, dict):
            yield from floats(list(value.values()))
        elif hasattr(value, "__dict__") and not isinstance(value, type):
            yield from floats(vars(value))

    assert min(sizes) > 50
    assert not [v.shape for v in floats(vars(small)) if v.size in sizes]


def test_pandas_in_and_out():
    frame = load_iris(as_frame=True).data
    original = PCA(2).fit(frame)
    small = compress(original, frame)
    np.testing.assert_array_equal(small.feature_names_in_, frame.columns)
    small.set_output(transform="pandas")
    result = small.transform(frame)
    assert list(result.columns) == ["pca0", "pca1"]
    assert result.index.equals(frame.index)
    assert list(small.fit_transform(frame).columns) == ["pca0", "pca1"]
    with pytest.raises(ValueError, match="feature names"):
        small.transform(frame[frame.columns[::-1]])


def test_wrong_number_of_features():
    for model in MODELS:
        small = compress(fit(model))
        with pytest.raises(ValueError, match="3 features"):
            outputs(small, X[:, :3])


def test_metadata_requests_survive():
    from sklearn import config_context as sklearn_config

    with sklearn_config(enable_metadata_routing=True):
        original = LogisticRegression().set_fit_request(sample_weight=True).fit(X, Y)
        small = compress(original)
        small.fit(X, Y, sample_weight=np.ones(len(Y)))
        request = small.get_metadata_routing().fit.requests
        assert request == {"sample_weight": True}


def test_sample_weights_reach_fit():
    weight = np.where(Y == 2, 0.0, 1.0)
    small = compress(fit(Ridge())).fit(X, Y, sample_weight=weight)
    wanted = compress(Ridge().fit(X, Y, sample_weight=weight))
    assert small.coef_ == wanted.coef_


@each_model
def test_backends_and_threads_agree(model, n_threads):
    small = compress(fit(model), X)
    with config_context(backend="cpu", n_threads=1):
        wanted = outputs(small)
        weights = compress(fit(model), X).compression_report_
    with config_context(backend="cpu", n_threads=n_threads):
        np.testing.assert_array_equal(outputs(small), wanted)
        assert compress(fit(model), X).compression_report_ == weights
    with config_context(backend="numpy"):
        np.testing.assert_allclose(outputs(small), wanted, rtol=1e-4, atol=1e-5)


class NotALinearModel(BaseEstimator):
    """Fits anything."""

    def fit(self, X, y=None):
        return self


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"estimator": NotALinearModel()}, TypeError, "NotALinearModel cannot be"),
        ({"estimator": LogisticRegression}, TypeError, "not a fitted estimator"),
        ({"estimator": 3}, TypeError, "estimator=3"),
        ({"estimator": LogisticRegression()}, NotFittedError, "not fitted"),
        ({"estimator": PCA()}, NotFittedError, "not fitted"),
        ({"estimator": MLPClassifier()}, NotFittedError, "not fitted"),
        ({"scale": "best"}, ValueError, "scale='best'"),
        ({"scale": 1.0}, ValueError, "scale=1.0"),
        ({"activations": "int4"}, ValueError, "activations='int4'"),
        ({"layout": "q3"}, ValueError, "layout='q3'"),
        ({"exclude": "coef_"}, ValueError, "exclude='coef_' must be a sequence"),
        ({"exclude": ["nothing"]}, ValueError, "exclude='nothing' names no part"),
        ({"X_calibration": X[:, :2]}, ValueError, "2 features"),
        ({"X_calibration": np.full((3, 4), np.nan)}, ValueError, "NaN"),
    ],
)
def test_errors(change, error, message):
    arguments = {"estimator": fit(LogisticRegression()), **change}
    with pytest.raises(error, match=message):
        compress(**arguments)


def test_a_compressed_model_is_not_compressed_again():
    with pytest.raises(TypeError, match="compressed already"):
        compress(compress(fit(LogisticRegression())))


@pytest.mark.parametrize("exclude", [[0], [-1], ["1"], [0, 2], ["-3"]])
def test_layers_can_be_excluded(exclude):
    data, y = load_digits(return_X_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MLPClassifier((8, 7), max_iter=5, random_state=0).fit(data, y)
    small = compress(model, data, exclude=exclude)
    kept = {int(e) % 3 for e in exclude}
    for i, layer in enumerate(small.compression_report_.layers):
        assert (layer.layout is None) == (i in kept)
        if i in kept:
            np.testing.assert_array_equal(small.coefs_[i], model.coefs_[i])
            assert layer.bits_per_weight == 64
    assert clone(small).fit(data, y).compression_report_.layers == (
        small.compression_report_.layers
    )
    with pytest.raises(ValueError, match="leaves nothing"):
        compress(model, exclude=[0, 1, 2])
    with pytest.raises(ValueError, match="exclude=3 names no part"):
        compress(model, exclude=[3])


def test_report_counts_what_is_stored():
    data, y = load_diabetes(return_X_y=True)
    model = Ridge().fit(data, y)
    report = compress(model, data).compression_report_
    # 10 codes in 2 bytes, a float32 scale; 10 float64; a float64 intercept each.
    assert (report.nbytes_before, report.nbytes_after) == (88, 14)
    assert report.ratio == 88 / 14
    assert report.n_weights == 10
    assert report.bits_per_weight == 8 * 6 / 10
    assert report.measure == "r2"
    assert report.layers[0].r2 == pytest.approx(report.agreement, rel=1e-5)
    text = str(report)
    assert text.startswith("Ridge: 88 bytes -> 14, 6.3 times smaller, 4.80 bits per")
    assert "R² against the original: 0." in text
    assert "on 442 calibration samples" in text
    assert text.splitlines()[-1].split()[:4] == ["coef_", "1x10", "t5", "4.80"]
    without = compress(model).compression_report_
    assert (without.measure, without.agreement, without.n_calibration) == (
        None,
        None,
        0,
    )
    assert "calibration" not in str(without)
