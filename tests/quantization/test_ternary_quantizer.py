import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_ternary import TernaryArray, TernaryQuantizer, config_context, ternarize

SCALES = ["absmean", "twn", "mse", "absmax", "norm"]


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return rng.normal(size=(200, 7)) * rng.uniform(0.1, 10, size=7)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("granularity", ["feature", "tensor", "sample", "block"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_agrees_with_ternarize(X, scale, granularity, dtype):
    X = X.astype(dtype)
    block_size = 3 if granularity == "block" else None
    quantizer = TernaryQuantizer(
        scale=scale, granularity=granularity, block_size=block_size
    )
    values = quantizer.fit_transform(X)
    assert values.dtype == dtype
    if granularity == "block":
        parts = [X[:, :3], X[:, 3:6], X[:, 6:]]
        expected = np.hstack([ternarize(p, scale=scale).toarray() for p in parts])
    else:
        axis = {"feature": 0, "tensor": None, "sample": 1}[granularity]
        expected = ternarize(X, scale=scale, axis=axis).toarray()
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    np.testing.assert_array_equal(values != 0, expected != 0)


def test_absmean_by_hand(X):
    quantizer = TernaryQuantizer().fit(X)
    s = np.abs(X).mean(axis=0)
    np.testing.assert_allclose(quantizer.scale_, s, rtol=1e-14)
    np.testing.assert_allclose(quantizer.threshold_, s / 2, rtol=1e-14)
    np.testing.assert_allclose(quantizer.levels_, s[:, None] * [-1, 0, 1], rtol=1e-14)
    np.testing.assert_array_equal(
        quantizer.transform(X), np.clip(np.rint(X / s), -1, 1) * quantizer.scale_
    )


def test_five_levels(X):
    quantizer = TernaryQuantizer(5, scale="absmax", output="codes")
    codes = quantizer.fit_transform(X)
    assert codes.dtype == np.int8
    assert set(np.unique(codes)) == {-2, -1, 0, 1, 2}
    assert quantizer.levels_.shape == (7, 5)
    np.testing.assert_array_equal(
        quantizer.inverse_transform(codes),
        TernaryQuantizer(5, scale="absmax").fit_transform(X),
    )


@pytest.mark.parametrize("granularity", ["feature", "tensor", "block"])
@pytest.mark.parametrize("scale", ["absmean", "absmax"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batches_equal_the_whole_to_the_bit(X, scale, granularity, dtype):
    X = X.astype(dtype)
    block_size = 2 if granularity == "block" else None
    options = {"scale": scale, "granularity": granularity, "block_size": block_size}
    whole = TernaryQuantizer(**options).fit(X)
    for sizes in ([200], [1] * 200, [3, 190, 7]):
        batches = TernaryQuantizer(**options)
        for batch in np.split(X, np.cumsum(sizes)[:-1]):
            batches.partial_fit(batch)
        np.testing.assert_array_equal(batches.scale_, whole.scale_)
        np.testing.assert_array_equal(batches.threshold_, whole.threshold_)
        assert batches.n_samples_seen_ == 200


def test_fit_forgets_what_partial_fit_saw(X):
    quantizer = TernaryQuantizer().partial_fit(100 * X)
    quantizer.fit(X)
    np.testing.assert_array_equal(quantizer.scale_, TernaryQuantizer().fit(X).scale_)
    assert quantizer.n_samples_seen_ == 200


@pytest.mark.parametrize(
    "options",
    [{"scale": "mse"}, {"scale": "twn"}, {"scale": 1.0}, {"granularity": "sample"}],
)
def test_partial_fit_is_hidden_where_batches_cannot_update(options):
    quantizer = TernaryQuantizer(**options)
    assert not hasattr(quantizer, "partial_fit")
    with pytest.raises(AttributeError, match="partial_fit"):
        quantizer.partial_fit([[1.0]])
    assert hasattr(TernaryQuantizer(), "partial_fit")


def test_statistics(X):
    quantizer = TernaryQuantizer(output="codes").fit(X)
    codes = quantizer.transform(X)
    p = np.array([(codes == c).mean() for c in (-1, 0, 1)])
    assert quantizer.sparsity_ == p[1]
    assert quantizer.entropy_bits_ == pytest.approx(-np.sum(p * np.log2(p)))
    assert quantizer.bits_per_value_ == pytest.approx((200 * 2 * 8 + 7 * 64) / 1400)


def test_constant_data_has_no_entropy():
    quantizer = TernaryQuantizer().fit(np.zeros((4, 2)))
    assert quantizer.entropy_bits_ == 0
    assert quantizer.sparsity_ == 1
    np.testing.assert_array_equal(quantizer.scale_, 0)


@pytest.mark.parametrize("granularity", ["feature", "tensor", "sample", "block"])
def test_outputs_hold_the_same_values(X, granularity):
    block_size = 4 if granularity == "block" else None
    options = {"granularity": granularity, "block_size": block_size}
    values = TernaryQuantizer(**options).fit_transform(X)
    packed = TernaryQuantizer(output="packed", **options).fit(X)
    A = packed.transform(X)
    assert isinstance(A, TernaryArray)
    np.testing.assert_array_equal(A.toarray(), values)
    np.testing.assert_array_equal(packed.inverse_transform(A), values)
    coded = TernaryQuantizer(output="codes", **options).fit(X)
    np.testing.assert_array_equal(coded.transform(X), A.codes())
    if granularity == "sample":
        with pytest.raises(ValueError, match="scales of the rows"):
            coded.inverse_transform(coded.transform(X))
    else:
        np.testing.assert_array_equal(
            coded.inverse_transform(coded.transform(X)), values
        )


def test_rows_are_scaled_alone(X):
    quantizer = TernaryQuantizer(granularity="sample").fit(X[:5])
    assert quantizer.scale_ is None
    np.testing.assert_array_equal(
        quantizer.transform(X)[7:8], quantizer.transform(X[7:8])
    )


def test_zero_scales_give_zeros_on_new_data():
    quantizer = TernaryQuantizer().fit([[0.0, 1.0], [0.0, 2.0]])
    np.testing.assert_array_equal(quantizer.transform([[5.0, 1.0]]), [[0.0, 1.5]])


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("writeable", [True, False])
def test_copy_false_works_in_place(X, order, writeable):
    expected = TernaryQuantizer().fit_transform(X)
    V = np.array(X, order=order)
    V.flags.writeable = writeable
    with config_context(working_memory=1e-3):
        out = TernaryQuantizer(copy=False).fit(V).transform(V)
    np.testing.assert_array_equal(out, expected)
    assert np.shares_memory(out, V) == writeable


def test_copy_leaves_the_input_alone(X):
    before = X.copy()
    TernaryQuantizer().fit_transform(X)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("frames", ["pandas", "polars"])
def test_set_output(X, frames):
    pytest.importorskip(frames)
    quantizer = TernaryQuantizer().set_output(transform=frames)
    out = quantizer.fit_transform(X)
    assert list(out.columns) == [f"x{i}" for i in range(7)]
    np.testing.assert_array_equal(out.to_numpy(), TernaryQuantizer().fit_transform(X))
    packed = TernaryQuantizer(output="packed").set_output(transform=frames).fit(X)
    with pytest.raises(ValueError, match="output='packed'"):
        packed.transform(X)


def test_feature_names(X):
    pd = pytest.importorskip("pandas", reason="pip install pandas")
    names = list("abcdefg")
    quantizer = TernaryQuantizer().fit(pd.DataFrame(X, columns=names))
    assert list(quantizer.get_feature_names_out()) == names
    assert list(quantizer.feature_names_in_) == names


def test_pickle_and_clone(X):
    quantizer = TernaryQuantizer(5, scale="mse", granularity="block", block_size=2)
    quantizer.fit(X)
    copied = pickle.loads(pickle.dumps(quantizer))
    np.testing.assert_array_equal(copied.transform(X), quantizer.transform(X))
    assert clone(quantizer).get_params() == quantizer.get_params()


def test_in_a_grid_search():
    X, y = load_digits(return_X_y=True)
    pipeline = make_pipeline(TernaryQuantizer(), LogisticRegression(C=0.001))
    search = GridSearchCV(
        pipeline, {"ternaryquantizer__n_levels": [3, 5]}, cv=2, error_score="raise"
    )
    search.fit(X[:400] - 8.0, y[:400])
    assert search.best_score_ > 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_levels": 4}, "'n_levels' parameter"),
        ({"scale": "median"}, "'scale' parameter"),
        ({"scale": -1.0}, "'scale' parameter"),
        ({"scale": [1.0, 2.0]}, "does not give one value to each of the 7 groups"),
        ({"scale": [1.0] * 6 + [np.nan]}, "must be finite"),
        ({"scale": "twn", "n_levels": 5}, "scale='twn' is defined for n_levels=3"),
        ({"granularity": "row"}, "'granularity' parameter"),
        ({"granularity": "block"}, "granularity='block' needs a block_size"),
        ({"block_size": 3}, "block_size=3 is for granularity='block', not"),
        ({"output": "dense"}, "'output' parameter"),
        ({"copy": "no"}, "'copy' parameter"),
    ],
)
def test_wrong_parameters(X, options, message):
    with pytest.raises(ValueError) as error:
        TernaryQuantizer(**options).fit(X)
    assert message in str(error.value)


@pytest.mark.parametrize("method", ["fit", "partial_fit", "transform"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nonfinite_values_are_named(X, method, bad):
    quantizer = TernaryQuantizer().fit(X)
    before = quantizer.scale_.copy()
    X[5, 1] = bad
    kind = "NaN" if np.isnan(bad) else "infinity"
    with pytest.raises(ValueError, match=f"X contains {kind}.*row 5, column 1"):
        getattr(quantizer, method)(X)
    np.testing.assert_array_equal(quantizer.scale_, before)


def test_sums_that_overflow_are_an_error():
    X = np.full((3, 2), 1e308)
    with pytest.raises(ValueError, match="magnitudes of column 0 add up"):
        TernaryQuantizer().fit(X)
    np.testing.assert_array_equal(TernaryQuantizer(scale="absmax").fit_transform(X), X)


def test_inverse_transform_refuses_what_are_no_codes(X):
    quantizer = TernaryQuantizer(output="codes").fit(X)
    for codes in (np.full((1, 7), 2), np.full((1, 7), 0.5)):
        with pytest.raises(ValueError, match="no codes of 3 levels"):
            quantizer.inverse_transform(codes)
    with pytest.raises(ValueError, match="expecting 7 features"):
        quantizer.inverse_transform(ternarize(np.ones((2, 3))))
