"""Codes, scales and biases that are fitted to outputs."""

import itertools

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from sklearn_ternary.compression import compress
from sklearn_ternary.compression._codes import (
    descend,
    gain,
    output_codes,
    weighted_codes,
)
from sklearn_ternary.compression._job import Options
from sklearn_ternary.compression._rows import pack_rows
from sklearn_ternary.compression._wide_codes import descend_blocks
from sklearn_ternary.quantization import ternarize

RNG = np.random.default_rng(0)
EVERY_CODE = np.array(list(itertools.product([-1, 0, 1], repeat=6)))


def correlated(n_samples, n_inputs, seed=0):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(n_inputs, n_inputs))
    return rng.normal(size=(n_samples, n_inputs)) @ mixing + rng.normal(size=n_inputs)


def least_error(w, importance, codes):
    """Least weighted error over all scales, by the formula of one regression."""
    along = (importance * w * codes).sum(axis=-1)
    norm = (importance * codes**2).sum(axis=-1)
    s = np.divide(along, norm, out=np.zeros(along.shape), where=norm > 0)
    return (importance * (w - np.maximum(s, 0)[..., None] * codes) ** 2).sum(axis=-1)


@pytest.mark.parametrize("seed", range(20))
def test_weighted_codes_are_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(3, 6))
    importance = rng.exponential(size=6) ** 2
    codes = weighted_codes(W, importance)
    for w, found in zip(W, codes, strict=True):
        best = least_error(w, importance, EVERY_CODE).min()
        assert least_error(w, importance, found) == pytest.approx(best, rel=1e-12)


def test_weighted_codes_with_equal_importance_are_those_of_mse():
    W = RNG.normal(size=(5, 40))
    codes = weighted_codes(W, np.ones(40))
    np.testing.assert_array_equal(codes, ternarize(W, scale="mse", axis=1).codes())


def test_weighted_codes_of_nothing():
    assert not weighted_codes(np.zeros((2, 4)), np.ones(4)).any()
    assert not weighted_codes(np.ones((2, 4)), np.zeros(4)).any()
    assert weighted_codes(np.ones((2, 0)), np.ones(0)).shape == (2, 0)


@pytest.mark.parametrize("seed", range(10))
def test_gain_is_the_error_that_a_regression_removes(seed):
    X = correlated(50, 6, seed)
    z = X @ np.random.default_rng(seed).normal(size=6)
    codes = np.array([[1, 0, -1, 1, 0, 0]])
    found, scale = gain(codes, X.T @ X, (X.T @ z)[None])
    u = X @ codes[0]
    (s,), (error,), *_ = np.linalg.lstsq(u[:, None], z)
    assert scale[0] == pytest.approx(s)
    assert found[0] == pytest.approx(z @ z - error)


@pytest.mark.parametrize("seed", range(10))
def test_descent_only_improves(seed):
    X = correlated(80, 12, seed)
    W = np.random.default_rng(seed).normal(size=(4, 12))
    gram, target = X.T @ X, W @ (X.T @ X)
    start = weighted_codes(W, np.diag(gram).copy()).astype(float)
    before, scale = gain(start, gram, target)
    found = descend(start, scale, gram, target)
    after, _ = gain(found, gram, target)
    assert (after >= before * (1 - 1e-12)).all()
    assert set(np.unique(found)) <= {-1, 0, 1}


def test_codes_for_outputs_are_near_the_best_of_all():
    shares = []
    for seed in range(20):
        X = correlated(60, 6, seed)
        W = np.random.default_rng(seed).normal(size=(1, 6)).astype(np.float32)
        gram, target = X.T @ X, W @ (X.T @ X)
        plain = ternarize(W, scale="mse", axis=1)
        codes = output_codes(
            W, plain.scale[:, 0], [plain.codes().astype(float)], gram, target
        )
        every = np.repeat(target, len(EVERY_CODE), axis=0)
        best = gain(EVERY_CODE.astype(float), gram, every)[0].max()
        rounded = gain(plain.codes().astype(float), gram, target)[0][0]
        found = gain(codes.astype(float), gram, target)[0][0]
        assert rounded * (1 - 1e-12) <= found <= best * (1 + 1e-12)
        shares.append(found / best)
    assert np.mean(shares) > 0.98


@pytest.mark.parametrize("scale", ["absmean", "twn", "absmax", "norm"])
def test_scale_and_bias_are_those_of_least_squares(scale):
    X = correlated(200, 30)
    W, b = RNG.normal(size=(4, 30)), RNG.normal(size=4)
    Z = X @ W.T + b
    rows = pack_rows(W, b, Options(scale=scale), X, Z)
    plain = ternarize(W.astype(np.float32), scale=scale, axis=1)
    np.testing.assert_array_equal(rows.weights.codes(), plain.codes())
    for k in range(4):
        u = X @ plain.toarray(np.float64)[k]
        design = np.column_stack([u, np.ones(len(u))])
        (a, bias), *_ = np.linalg.lstsq(design, Z[:, k])
        assert rows.weights.scale[k, 0] == pytest.approx(plain.scale[k, 0] * a, 1e-5)
        assert rows.bias[k] == pytest.approx(bias, rel=1e-4, abs=1e-4)
    residual = Z - X @ rows.weights.toarray(np.float64).T - rows.bias
    spread = ((Z - Z.mean(axis=0)) ** 2).sum()
    assert rows.r2 == pytest.approx(1 - (residual**2).sum() / spread, rel=1e-5)


@pytest.mark.parametrize("fit_bias", [True, False])
@pytest.mark.parametrize("scale", ["mse", "absmean", "norm"])
def test_no_output_is_further_off_than_without_calibration(scale, fit_bias):
    for seed in range(5):
        X = correlated(40, 20, seed)
        W, b = RNG.normal(size=(6, 20)), RNG.normal(size=6)
        Z = X @ W.T + b
        options = Options(scale=scale)
        plain = pack_rows(W, b, options)
        rows = pack_rows(W, b, options, X, Z, fit_bias=fit_bias)

        def errors(packed, X=X, Z=Z):
            U = X @ packed.weights.toarray(np.float64).T + packed.bias
            return ((Z - U) ** 2).sum(axis=0)

        assert (errors(rows) <= errors(plain) * (1 + 1e-5)).all()
        if not fit_bias:
            np.testing.assert_array_equal(rows.bias, b)


def test_exactly_ternary_weights_stay():
    W = RNG.integers(-1, 2, size=(5, 16)) * 0.5
    X = correlated(100, 16)
    rows = pack_rows(W, np.ones(5), Options(), X, X @ W.T + 1)
    np.testing.assert_allclose(rows.weights.toarray(), W, rtol=1e-5)
    np.testing.assert_allclose(rows.bias, 1, atol=1e-4)
    assert rows.r2 == pytest.approx(1)


@pytest.mark.parametrize(
    "X",
    [np.zeros((5, 4)), np.ones((1, 4)), np.full((7, 4), 3.0)],
    ids=["zeros", "one sample", "constant"],
)
def test_samples_that_tell_nothing(X):
    W = RNG.normal(size=(3, 4))
    rows = pack_rows(W, np.zeros(3), Options(), X, X @ W.T)
    U = X @ rows.weights.toarray(np.float64).T + rows.bias
    np.testing.assert_allclose(U, X @ W.T, atol=1e-5)


def test_weights_of_zero():
    X = correlated(20, 4)
    rows = pack_rows(np.zeros((2, 4)), np.ones(2), Options(), X, np.ones((20, 2)))
    assert not rows.weights.toarray().any()
    np.testing.assert_allclose(rows.bias, 1)


def test_calibration_helps_where_inputs_are_correlated():
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    train, test = X[:400], X[400:]
    model = Ridge().fit(train, y[:400])
    wanted = model.predict(test)

    def error(small):
        return np.mean((small.predict(test) - wanted) ** 2)

    assert error(compress(model, train)) < 0.3 * error(compress(model))


def test_layers_are_fitted_to_what_reaches_them():
    X, y = load_digits(return_X_y=True)
    X, y = X[:300] / 16, y[:300]
    model = MLPClassifier((12, 10), max_iter=30, random_state=0).fit(X, y)
    small = compress(model, X)
    H, H_small = X, X
    for i, layer in enumerate(small.compression_report_.layers):
        Z = H @ model.coefs_[i] + model.intercepts_[i]
        Z_small = H_small @ small.coefs_[i].toarray(np.float64) + small.intercepts_[i]
        spread = ((Z - Z.mean(axis=0)) ** 2).sum()
        assert layer.r2 == pytest.approx(1 - ((Z - Z_small) ** 2).sum() / spread, 1e-4)
        # Least squares leaves residuals without mean, whatever came before.
        np.testing.assert_allclose((Z - Z_small).mean(axis=0), 0, atol=1e-4)
        H, H_small = np.maximum(Z, 0), np.maximum(Z_small, 0)


def test_agreement_is_measured_on_the_calibration_data():
    X, y = load_digits(return_X_y=True)
    model = LogisticRegression(max_iter=50).fit(X[:500], y[:500])
    small = compress(model, X[500:900])
    report = small.compression_report_
    equal = model.predict(X[500:900]) == small.predict(X[500:900])
    assert (report.measure, report.n_calibration) == ("equal predictions", 400)
    assert report.agreement == equal.mean()


def test_labels_do_not_matter_rows_may_be_in_any_order():
    X = correlated(100, 12)
    W, b = RNG.normal(size=(3, 12)), RNG.normal(size=3)
    order = RNG.permutation(100)
    one = pack_rows(W, b, Options(), X, X @ W.T + b)
    two = pack_rows(W, b, Options(), X[order], (X @ W.T + b)[order])
    np.testing.assert_array_equal(one.weights.codes(), two.weights.codes())
    np.testing.assert_allclose(one.weights.scale, two.weights.scale, rtol=1e-5)


# Wide layers with sparse inputs


def wide(seed, n_samples=200, n_inputs=3000, n_outputs=4):
    rng = np.random.default_rng(seed)
    X = sparse.random_array((n_samples, n_inputs), density=0.01, rng=rng, format="csr")
    return X, rng.standard_t(3, size=(n_outputs, n_inputs)).astype(np.float32)


def objective(codes, W, X, outputs, ridge):
    """Squared error of centred outputs with the best scale, by plain NumPy."""
    U = X.toarray() @ codes.T.astype(float)
    U, Z = U - U.mean(axis=0), outputs - outputs.mean(axis=0)
    errors = []
    for k in range(len(W)):
        u = np.concatenate([U[:, k], np.sqrt(ridge) * codes[k]])
        z = np.concatenate([Z[:, k], np.sqrt(ridge) * W[k]])
        s = max(u @ z / (u @ u), 0)
        errors.append(((z - s * u) ** 2).sum())
    return np.array(errors)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ridge", [1e-3, 0.1])
def test_descent_of_wide_layers_only_improves(seed, ridge):
    X, W = wide(seed)
    outputs = X @ W.T
    mean = X.mean(axis=0)
    importance = X.power(2).sum(axis=0) - X.shape[0] * mean**2
    start = weighted_codes(W, importance + ridge)
    found = descend_blocks(start, W, X, outputs, mean, importance, ridge)
    assert found.dtype == np.int8
    assert set(np.unique(found)) <= {-1, 0, 1}
    before = objective(start, W, X, outputs, ridge)
    after = objective(found, W, X, outputs, ridge)
    assert (after <= before * (1 + 1e-4)).all()
    assert after.sum() < 0.5 * before.sum()
    again = descend_blocks(start, W, X, outputs, mean, importance, ridge)
    np.testing.assert_array_equal(found, again)


def test_descent_of_wide_layers_reaches_exact_weights():
    X, W = wide(0, n_samples=2000, n_inputs=300)
    codes = np.sign(np.round(W / 2)).astype(np.int8)
    W = 0.5 * codes.astype(np.float32)
    start = codes.copy()
    start[:, ::7] = 0
    mean = X.mean(axis=0)
    importance = X.power(2).sum(axis=0) - X.shape[0] * mean**2
    found = descend_blocks(start, W, X, X @ W.T, mean, importance, 1e-3)
    assert (found == codes).mean() > 0.99


def test_wide_sparse_models_keep_outputs_of_new_samples():
    X, W = wide(1, n_samples=2300)
    Z = X @ W.T
    train, new = X[:2000], X[2000:]

    def error(rows):
        found = new @ rows.weights.toarray(np.float64).T + rows.bias
        return ((found - Z[2000:]) ** 2).sum() / (Z[2000:] ** 2).sum()

    zero = np.zeros(len(W))
    rounded = error(pack_rows(W, zero, Options()))
    scaled = error(pack_rows(W, zero, Options(scale="twn"), train, Z[:2000]))
    fitted = error(pack_rows(W, zero, Options(), train, Z[:2000]))
    assert fitted < min(rounded, scaled)


def test_wide_dense_models_are_calibrated_too():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2500)) * rng.exponential(size=2500)
    W, zero = rng.normal(size=(2, 2500)), np.zeros(2)
    Z = X @ W.T
    rows = pack_rows(W, zero, Options(), X, Z)
    residual = Z - X @ rows.weights.toarray(np.float64).T - rows.bias
    rounded = pack_rows(W, zero, Options())
    plain = Z - X @ rounded.weights.toarray(np.float64).T
    assert (residual**2).sum() < (plain**2).sum()
