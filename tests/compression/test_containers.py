"""Models made of models."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sklearn_ternary.compression import compress
from sklearn_ternary.quantization import TernaryArray

X, Y = load_wine(return_X_y=True)


def pipeline(*last):
    return Pipeline([("scale", StandardScaler()), *last])


def names(model):
    return [layer.name for layer in model.compression_report_.layers]


def test_pipeline():
    original = pipeline(("classify", LogisticRegression(C=0.1))).fit(X, Y)
    small = compress(original, X)
    assert type(small) is Pipeline
    assert names(small) == ["classify__coef_"]
    scaled = original["scale"].transform(X)
    wanted = scaled @ small["classify"].coef_.toarray().T + small["classify"].intercept_
    np.testing.assert_allclose(small.decision_function(X), wanted, rtol=1e-5, atol=1e-5)
    # Step by step is the same as all at once.
    alone = compress(original["classify"], scaled)
    np.testing.assert_array_equal(alone.predict_proba(scaled), small.predict_proba(X))
    assert small["scale"] is not original["scale"]
    assert small.get_params(deep=False).keys() == original.get_params(deep=False).keys()


def test_later_steps_are_fitted_to_what_packed_ones_give():
    original = pipeline(("project", PCA(4)), ("predict", Ridge())).fit(X, Y)
    small = compress(original, X)
    assert names(small) == ["project__components_", "predict__coef_"]
    # A bias fitted to the inputs that the step really gets.
    np.testing.assert_allclose(
        small.predict(X).mean(), original.predict(X).mean(), rtol=1e-5
    )
    projected = small[:-1].transform(X)
    W = small["predict"].coef_.toarray()
    wanted = projected @ W + small["predict"].intercept_
    np.testing.assert_allclose(small.predict(X), wanted, rtol=1e-5, atol=1e-5)


def test_fitting_a_compressed_pipeline_leaves_the_original_alone():
    original = pipeline(("classify", LogisticRegression())).fit(X, Y)
    before = pickle.dumps(original)
    small = compress(original, X)
    small.fit(X[:100] * 2, Y[:100])
    assert pickle.dumps(original) == before
    assert isinstance(small["classify"].coef_, TernaryArray)


@pytest.mark.parametrize(
    ("exclude", "packed"),
    [
        (["project"], ["mlp__0", "mlp__1", "mlp__2"]),
        ([1], ["mlp__0", "mlp__1", "mlp__2"]),
        ([-1], ["project__components_"]),
        (["mlp"], ["project__components_"]),
        (["mlp__0", "mlp__-1"], ["project__components_", "mlp__1"]),
        (["project", "mlp__1"], ["mlp__0", "mlp__2"]),
    ],
)
def test_exclude_in_a_pipeline(exclude, packed):
    mlp = MLPClassifier((6, 5), learning_rate_init=0.05, max_iter=80, random_state=0)
    original = pipeline(("project", PCA(4)), ("mlp", mlp)).fit(X, Y)
    for X_calibration in (None, X):
        small = compress(original, X_calibration, exclude=exclude)
        layers = small.compression_report_.layers
        assert [layer.name for layer in layers if layer.layout] == packed
        assert small.score(X, Y) > 0.5
        # The network is now trained on what the packed components give.
        again = clone(small).fit(X, Y)
        assert again.score(X, Y) > 0.7
        for one, other in zip(again["mlp"].coefs_, small["mlp"].coefs_, strict=True):
            assert type(one) is type(other)
        assert type(again["project"]) is type(small["project"])


def test_exclude_that_names_nothing():
    original = pipeline(("classify", LogisticRegression())).fit(X, Y)
    for exclude in (["scale__0"], ["classify__0"], ["mlp"], [2], [-3]):
        with pytest.raises(ValueError, match="names no part"):
            compress(original, exclude=exclude)
    with pytest.raises(ValueError, match="leaves nothing"):
        compress(original, exclude=["classify"])


def test_other_steps_are_kept():
    original = pipeline(("none", "passthrough"), ("project", PCA(4)))
    original = Pipeline([*original.steps, ("near", KNeighborsClassifier())]).fit(X, Y)
    small = compress(original, X)
    assert names(small) == ["project__components_"]
    assert isinstance(small["near"], KNeighborsClassifier)
    assert small.score(X, Y) > 0.8


def test_one_vs_rest():
    original = OneVsRestClassifier(LogisticRegression(C=0.1))
    data = StandardScaler().fit_transform(X)
    original.fit(data, Y)
    small = compress(original, data, layout="t2")
    assert names(small) == ["0__coef_", "1__coef_", "2__coef_"]
    parts = [
        data @ e.coef_.toarray().ravel() + e.intercept_[0] for e in small.estimators_
    ]
    np.testing.assert_allclose(
        small.decision_function(data), np.transpose(parts), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_array_equal(small.predict(data), np.argmax(parts, axis=0))
    np.testing.assert_array_equal(small.classes_, original.classes_)
    again = clone(small).fit(data, Y)
    np.testing.assert_array_equal(again.predict_proba(data), small.predict_proba(data))
    assert again.estimators_[0].coef_.layout == "t2"
    kept = compress(original, exclude=[0])
    assert isinstance(kept.estimators_[0].coef_, np.ndarray)


def test_several_labels():
    data, y = load_digits(return_X_y=True)
    labels = np.column_stack([y % 2 == 0, y < 5, y == 3]).astype(int)
    original = OneVsRestClassifier(Ridge()).fit(data, labels)
    small = compress(original, data)
    equal = (original.predict(data) == small.predict(data)).all(axis=1).mean()
    assert small.compression_report_.agreement == equal


@pytest.mark.parametrize("search", [GridSearchCV, RandomizedSearchCV])
def test_searches_give_their_best_estimator(search):
    options = {"n_iter": 2} if search is RandomizedSearchCV else {}
    fitted = search(LogisticRegression(max_iter=500), {"C": [0.01, 0.1]}, **options)
    data = StandardScaler().fit_transform(X)
    fitted.fit(data, Y)
    small = compress(fitted, data)
    assert small.coef_ == compress(fitted.best_estimator_, data).coef_
    with pytest.raises(NotFittedError, match="best_estimator_"):
        compress(search(LogisticRegression(), {"C": [1]}))
    inside = make_pipeline(StandardScaler(), fitted).fit(X, Y)
    assert isinstance(compress(inside, X)[-1].coef_, TernaryArray)


def test_feature_union():
    union = FeatureUnion([("pca", PCA(2)), ("svd", TruncatedSVD(3))])
    original = make_pipeline(StandardScaler(), union, LogisticRegression()).fit(X, Y)
    small = compress(original, X)
    assert names(small) == [
        "featureunion__pca__components_",
        "featureunion__svd__components_",
        "logisticregression__coef_",
    ]
    assert small[:-1].transform(X).shape == (len(X), 5)
    assert compress(original, exclude=["featureunion__pca"]).score(X, Y) > 0.5
    again = clone(small).fit(X, Y)
    assert again.score(X, Y) > 0.8
    assert isinstance(again[1].transformer_list[0][1].components_, TernaryArray)


def test_column_transformer():
    frame = load_iris(as_frame=True).data
    frame.columns = list("abcd")
    y = load_iris().target
    columns = ColumnTransformer(
        [("two", PCA(1), ["a", "b"]), ("rest", StandardScaler(), ["c", "d"])]
    )
    original = make_pipeline(columns, LogisticRegression()).fit(frame, y)
    small = compress(original, frame)
    assert names(small)[0] == "columntransformer__two__components_"
    pca = small[0].named_transformers_["two"]
    assert isinstance(pca.components_, TernaryArray)
    wanted = frame[["a", "b"]].to_numpy() - pca.mean_
    wanted = wanted @ pca.components_.toarray().T
    np.testing.assert_allclose(
        small[0].transform(frame)[:, :1], wanted, rtol=1e-4, atol=1e-5
    )
    again = clone(small).fit(frame, y)
    fitted_again = again[0].named_transformers_["two"]
    assert fitted_again.components_ == pca.components_
    kept = compress(original, exclude=["columntransformer__two"])
    for model in (kept, clone(kept).fit(frame, y)):
        assert type(model[0].named_transformers_["two"]) is PCA
    assert list(small[0].get_feature_names_out()) == (
        list(original[0].get_feature_names_out())
    )


def test_names_of_columns_reach_the_first_step():
    frame = pd.DataFrame(X, columns=[f"c{i}" for i in range(X.shape[1])])
    original = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, Y)
    small = compress(original.set_output(transform="pandas"), frame)
    np.testing.assert_array_equal(small.feature_names_in_, frame.columns)
    np.testing.assert_array_equal(small.predict(frame).shape, Y.shape)


def test_containers_of_nothing_that_can_be_compressed():
    data, y = load_breast_cancer(return_X_y=True)
    for model in (make_pipeline(StandardScaler(), SVC()), OneVsRestClassifier(SVC())):
        with pytest.raises(TypeError, match="cannot be compressed"):
            compress(model.fit(data[:50], y[:50]))


def test_unfitted_containers():
    for model in (
        make_pipeline(StandardScaler(), LogisticRegression()),
        OneVsRestClassifier(LogisticRegression()),
        ColumnTransformer([("a", PCA(1), [0, 1])]),
    ):
        with pytest.raises(NotFittedError):
            compress(model)
