"""AffineQuantizer against plain NumPy."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_ternary import AffineQuantizer, config_context
from sklearn_ternary.quantization import _clipping
from sklearn_ternary.quantization._clipping import best_step, best_zero_point

DTYPES = [np.float32, np.float64]


def limits(n_bits, scheme):
    top = 2 ** (n_bits - 1) - 1
    return (-top if scheme == "symmetric" else -top - 1), top


def oracle(x, n_bits, scheme):
    """Scale and zero point of the values x, in float64."""
    lowest, highest = limits(n_bits, scheme)
    if scheme == "symmetric":
        return np.abs(x).max() / highest, 0
    low, high = min(x.min(), 0.0), max(x.max(), 0.0)
    scale = (high - low) / (2**n_bits - 1)
    if scale == 0:
        return 0.0, 0
    return scale, int(np.clip(np.rint(lowest - low / scale), lowest, highest))


def squared_error(x, scale, zero, lowest, highest):
    if scale == 0:
        return np.sum(x**2)
    q = np.clip(np.rint(x / scale) + zero, lowest, highest)
    return np.sum((x - (q - zero) * scale) ** 2)


@pytest.mark.estimator_checks
@parametrize_with_checks(
    [
        AffineQuantizer(),
        AffineQuantizer(scheme="affine"),
        AffineQuantizer(4, scheme="affine", calibration="mse"),
        AffineQuantizer(calibration="mse", granularity="tensor"),
        AffineQuantizer(calibration="percentile", percentile=99),
        AffineQuantizer(granularity="block", block_size=2, output="codes"),
        AffineQuantizer(4, output="codes", scheme="affine", copy=False),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("granularity", ["feature", "tensor", "block"])
@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
@pytest.mark.parametrize("n_bits", [4, 8])
@pytest.mark.parametrize("shift", [-3.0, 0.0, 0.7, 50.0])
def test_against_numpy(n_bits, scheme, granularity, shift):
    X = np.random.default_rng(0).normal(size=(60, 7)) * np.arange(1, 8) + shift
    size = {"feature": 1, "tensor": 7, "block": 3}[granularity]
    block_size = 3 if granularity == "block" else None
    quantizer = AffineQuantizer(
        n_bits, scheme=scheme, granularity=granularity, block_size=block_size
    ).fit(X)
    lowest, highest = limits(n_bits, scheme)
    values, codes = np.empty_like(X), np.empty(X.shape, np.int8)
    for g, start in enumerate(range(0, 7, size)):
        columns = slice(start, start + size)
        s, z = oracle(X[:, columns], n_bits, scheme)
        assert quantizer.scale_[g] == pytest.approx(s, rel=1e-15)
        assert quantizer.zero_point_[g] == z
        q = np.clip(np.rint(X[:, columns] / quantizer.scale_[g]) + z, lowest, highest)
        codes[:, columns] = q
        values[:, columns] = (q - z) * quantizer.scale_[g]
    np.testing.assert_array_equal(quantizer.transform(X), values)
    coder = clone(quantizer).set_params(output="codes").fit(X)
    result = coder.transform(X)
    assert result.dtype == np.int8
    np.testing.assert_array_equal(result, codes)
    np.testing.assert_array_equal(coder.inverse_transform(result), values)


@pytest.mark.properties
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
@pytest.mark.parametrize("n_bits", [4, 8])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_error_at_most_half_a_scale(data, n_bits, scheme, dtype):
    width = np.dtype(dtype).itemsize * 8
    X = data.draw(
        hnp.arrays(
            dtype,
            hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
            elements=st.floats(allow_nan=False, allow_infinity=False, width=width),
        )
    )
    with np.errstate(all="raise"):
        quantizer = AffineQuantizer(n_bits, scheme=scheme).fit(X)
        Xq = quantizer.transform(X)
    assert Xq.dtype == X.dtype
    assert np.isfinite(Xq).all()
    assert (Xq[X == 0] == 0).all()
    # In long double, as differences may overflow; x / scale is rounded as well.
    error = np.abs(X.astype(np.longdouble) - Xq)
    half = quantizer.scale_.astype(np.longdouble) / 2
    assert (error <= half * (1 + 1024 * np.finfo(dtype).eps)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("granularity", ["feature", "tensor", "block"])
@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
def test_batches_equal_the_whole(scheme, granularity, dtype):
    X = np.random.default_rng(1).standard_t(2, size=(101, 6)).astype(dtype)
    block_size = 4 if granularity == "block" else None
    whole = AffineQuantizer(
        scheme=scheme, granularity=granularity, block_size=block_size
    )
    batches = clone(whole)
    whole.fit(X)
    for start in range(0, 101, 13):
        batches.partial_fit(X[start : start + 13])
    np.testing.assert_array_equal(whole.scale_, batches.scale_)
    np.testing.assert_array_equal(whole.zero_point_, batches.zero_point_)
    assert whole.bits_per_value_ == batches.bits_per_value_
    assert batches.n_samples_seen_ == 101
    # fit starts anew.
    np.testing.assert_array_equal(
        batches.fit(X[:5]).scale_, clone(whole).fit(X[:5]).scale_
    )


def test_partial_fit_widens_the_dtype():
    quantizer = AffineQuantizer().partial_fit(np.ones((2, 1), np.float32))
    assert quantizer.scale_.dtype == np.float32
    quantizer.partial_fit(np.full((2, 1), 1e200))
    assert quantizer.scale_[0] == 1e200 / 127


@pytest.mark.parametrize("calibration", ["percentile", "mse"])
def test_no_partial_fit_without_running_ranges(calibration):
    quantizer = AffineQuantizer(calibration=calibration)
    assert not hasattr(quantizer, "partial_fit")
    assert hasattr(AffineQuantizer(), "partial_fit")


@pytest.mark.parametrize("percentile", [50, 90, 99.9, 100])
@pytest.mark.parametrize("granularity", ["feature", "tensor", "block"])
def test_percentile_against_numpy(granularity, percentile):
    X = np.random.default_rng(2).normal(size=(200, 5)) + 0.3
    size = {"feature": 1, "tensor": 5, "block": 2}[granularity]
    options = {
        "calibration": "percentile",
        "percentile": percentile,
        "granularity": granularity,
        "block_size": 2 if granularity == "block" else None,
    }
    symmetric = AffineQuantizer(**options).fit(X)
    affine = AffineQuantizer(scheme="affine", **options).fit(X)
    for g, start in enumerate(range(0, 5, size)):
        x = X[:, start : start + size].ravel()
        t = np.percentile(np.abs(x), percentile)
        assert symmetric.scale_[g] == pytest.approx(t / 127, rel=1e-14)
        low = min(0, np.percentile(x, 100 - percentile))
        high = max(0, np.percentile(x, percentile))
        scale = (high - low) / 255
        assert affine.scale_[g] == pytest.approx(scale, rel=1e-14)
        assert affine.zero_point_[g] == np.rint(-128 - low / scale)


@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
@pytest.mark.parametrize("calibration", ["percentile", "mse"])
def test_outliers_are_clipped(calibration, scheme):
    X = np.random.default_rng(3).normal(size=(5000, 2))
    X[0] = 12

    def error(calibration):
        quantizer = AffineQuantizer(4, scheme=scheme, calibration=calibration)
        return np.sum((quantizer.fit_transform(X)[1:] - X[1:]) ** 2)

    assert error(calibration) < 0.5 * error("minmax")


@pytest.mark.parametrize("half", [1, 7, 127])
@pytest.mark.parametrize("seed", range(8))
def test_mse_against_a_grid_of_scales(half, seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 80))
    x = [
        rng.normal(size=n),
        rng.standard_t(1.5, size=n),
        np.round(rng.normal(size=n), 1),
        rng.exponential(size=n) - 0.1,
    ][seed % 4]
    (step,) = best_step(x, np.array([0]), half, half)
    ours = squared_error(x, step, 0, -half, half)
    top = np.abs(x).max() / half
    assert step <= top * (1 + 1e-15)
    tried = [squared_error(x, s, 0, -half, half) for s in np.linspace(0, top, 3000)[1:]]
    assert ours <= min(tried) * (1 + 1e-9) + 1e-25
    if half == 1:
        sizes = np.sort(np.abs(x))[::-1]
        gains = np.cumsum(sizes) ** 2 / np.arange(1, n + 1)
        # The optimum without an upper limit of the scale is not better.
        assert ours == pytest.approx(np.sum(x**2) - gains.max(), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_mse_affine_with_4_bits_against_all_zero_points(seed):
    rng = np.random.default_rng(seed)
    x = [rng.normal(size=40) + 1, rng.exponential(size=50), -rng.exponential(size=9)][
        seed % 3
    ]
    quantizer = AffineQuantizer(
        4, scheme="affine", calibration="mse", granularity="tensor"
    ).fit(x[:, None])
    ours = np.sum((quantizer.transform(x[:, None])[:, 0] - x) ** 2)
    scales = np.linspace(0, np.abs(x).max(), 1500)[1:]
    for zero in range(-8, 8):
        top = max(
            x.max() / (7 - zero) if zero < 7 else 0,
            -x.min() / (zero + 8) if zero > -8 else 0,
        )
        for scale in scales[scales <= top]:
            assert ours <= squared_error(x, scale, zero, -8, 7) * (1 + 1e-9)


def test_mse_affine_with_8_bits():
    x = np.random.default_rng(0).gamma(1.0, size=3000) - 0.5
    values, starts = x, np.array([0])
    s0, z0 = oracle(x, 8, "affine")
    (step,), (zero,) = best_zero_point(values, starts, -128, 127, np.array([z0]))
    ours = squared_error(x, step, zero, -128, 127)
    assert ours < squared_error(x, s0, z0, -128, 127)
    for z in (zero - 1, zero + 1):
        if -128 <= z <= 127:
            (s,) = best_step(values, starts, z + 128, 127 - z)
            assert ours <= squared_error(x, s, z, -128, 127) * (1 + 1e-9)


def test_mse_of_many_groups_is_that_of_each(monkeypatch):
    x = (
        np.random.default_rng(5).standard_t(3, size=4003)
        * 10.0 ** np.repeat(np.arange(-8, 9), 236)[:4003]
    )
    starts = np.arange(0, 4003, 17)
    together = best_step(x, starts, 127, 127)
    alone = [best_step(x[s : s + 17], np.array([0]), 127, 127)[0] for s in starts]
    np.testing.assert_array_equal(together, alone)
    # However many events the groups have together.
    monkeypatch.setattr(_clipping, "MAX_EVENTS", 10)
    np.testing.assert_array_equal(together, best_step(x, starts, 127, 127))


@pytest.mark.parametrize("half", [7, 127])
def test_mse_of_large_groups_is_within_the_tolerance(half, monkeypatch):
    x = np.random.default_rng(6).standard_t(4, size=50_000)
    starts = np.array([0])
    (exact,) = best_step(x, starts, half, half)
    monkeypatch.setattr(_clipping, "MAX_EVENTS", 100)
    monkeypatch.setattr(_clipping, "FIRST_BINS", 64)
    (close,) = best_step(x, starts, half, half)
    errors = [squared_error(x, s, 0, -half, half) for s in (exact, close)]
    assert errors[0] * (1 - 1e-12) <= errors[1] <= errors[0] * (1 + _clipping.TOLERANCE)


def test_mse_does_not_depend_on_the_panels():
    X = np.random.default_rng(7).normal(size=(400, 30))
    whole = AffineQuantizer(calibration="mse").fit(X)
    with config_context(working_memory=0.02):
        panels = AffineQuantizer(calibration="mse").fit(X)
        np.testing.assert_array_equal(whole.transform(X), panels.transform(X))
    np.testing.assert_array_equal(whole.scale_, panels.scale_)


@pytest.mark.edge
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("calibration", ["minmax", "percentile", "mse"])
@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
def test_awkward_columns_without_warnings(scheme, calibration, dtype):
    info = np.finfo(dtype)
    X = np.empty((6, 9), dtype=dtype)
    X[:] = [
        0,
        3.3,
        -1.7,
        info.max,
        info.smallest_subnormal,
        190 * info.smallest_subnormal,
        info.tiny,
        -info.max,
        info.max,
    ]
    X[3, 8] = -info.max / 3
    with np.errstate(all="raise"):
        quantizer = AffineQuantizer(
            scheme=scheme, calibration=calibration, percentile=100
        ).fit(X)
        Xq = quantizer.transform(X)
        coder = clone(quantizer).set_params(output="codes").fit(X)
        coder.inverse_transform(coder.transform(X))
    assert quantizer.scale_[0] == 0
    assert (Xq[:, 0] == 0).all()
    assert np.isfinite(Xq).all()
    np.testing.assert_allclose(Xq[:, [1, 2, 3, 7]], X[:, [1, 2, 3, 7]], rtol=4e-6)
    np.testing.assert_array_equal(Xq[:, 4], X[:, 4])
    np.testing.assert_allclose(Xq[:, 5], X[:, 5], atol=info.smallest_subnormal)


@pytest.mark.edge
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("method", ["fit", "partial_fit", "transform"])
def test_nonfinite_values_are_named(method, bad):
    X = np.ones((5, 3))
    quantizer = AffineQuantizer().fit(X)
    X[3, 1] = bad
    with pytest.raises(ValueError, match="row 3, column 1"):
        getattr(quantizer, method)(X)


@pytest.mark.parametrize(
    "options",
    [
        {"n_bits": 5},
        {"scheme": "odd"},
        {"granularity": "sample"},
        {"calibration": "kl"},
        {"percentile": 49},
        {"percentile": 101},
        {"output": "packed"},
        {"granularity": "block"},
        {"block_size": 4},
        {"granularity": "block", "block_size": 0},
    ],
)
def test_bad_options_are_named(options):
    name = "block_size" if "block" in str(options) else next(iter(options))
    with pytest.raises(ValueError, match=name):
        AffineQuantizer(**options).fit(np.ones((3, 2)))


@pytest.mark.codec
@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
@pytest.mark.parametrize("n_bits", [4, 8])
def test_every_code_survives_the_way_back_and_forth(n_bits, scheme):
    X = np.random.default_rng(0).normal(size=(50, 4)) * [1, 0.1, 3, 1e-5] + [0, 1, 0, 0]
    quantizer = AffineQuantizer(n_bits, scheme=scheme, output="codes").fit(X)
    lowest, highest = limits(n_bits, scheme)
    codes = np.repeat(np.arange(lowest, highest + 1, dtype=np.int8)[:, None], 4, axis=1)
    np.testing.assert_array_equal(
        quantizer.transform(quantizer.inverse_transform(codes)), codes
    )
    for wrong in (lowest - 1, highest + 1, 0.5):
        with pytest.raises(ValueError, match="row 1, column 2"):
            quantizer.inverse_transform([[0, 0, 0, 0], [0, 0, wrong, 0]])


def test_inverse_transform_of_values_returns_them():
    X = np.random.default_rng(0).normal(size=(9, 2))
    quantizer = AffineQuantizer().fit(X)
    Xq = quantizer.transform(X)
    np.testing.assert_array_equal(quantizer.inverse_transform(Xq), Xq)
    np.testing.assert_allclose(quantizer.transform(Xq), Xq, rtol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_order_and_read_only_input(dtype):
    X = np.random.default_rng(0).normal(size=(30, 8)).astype(dtype)
    expected = AffineQuantizer().fit_transform(X)
    assert expected.dtype == dtype
    wide = np.zeros((60, 16), dtype)
    wide[::2, ::2] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    for variant in (np.asfortranarray(X), wide[::2, ::2], read_only):
        for copy in (True, False):
            quantizer = AffineQuantizer(copy=copy).fit(variant)
            given = variant if not variant.flags.writeable else variant.copy("A")
            np.testing.assert_array_equal(quantizer.transform(given), expected)


def test_copy():
    X = np.random.default_rng(0).normal(size=(30, 8))
    before = X.copy()
    expected = AffineQuantizer().fit_transform(X)
    np.testing.assert_array_equal(X, before)
    assert AffineQuantizer(copy=False).fit(X).transform(X) is X
    np.testing.assert_array_equal(X, expected)


def test_another_dtype_in_transform():
    X = np.array([[1.0], [-2.5], [3.0]])
    quantizer = AffineQuantizer().fit(X * 1e300)
    assert quantizer.transform(X.astype(np.float32)).dtype == np.float32
    assert (quantizer.transform(X.astype(np.float32)) == 0).all()
    narrow = AffineQuantizer().fit(X.astype(np.float32))
    assert narrow.scale_.dtype == np.float32
    assert narrow.transform(X).dtype == np.float64


def test_bits_per_value():
    X = np.random.default_rng(0).normal(size=(10, 5)).astype(np.float32)
    # Rows of 5 codes of 4 bits take 3 bytes; 5 scales of 4 bytes, 5 zero points.
    assert AffineQuantizer(4).fit(X).bits_per_value_ == 8 * (10 * 3 + 5 * 4) / 50
    affine = AffineQuantizer(scheme="affine", granularity="tensor").fit(X)
    assert affine.bits_per_value_ == 8 * (50 + 4 + 1) / 50


def test_data_frames_names_pickle_clone():
    X = np.random.default_rng(0).normal(size=(20, 3))
    names = ["a", "b", "c"]
    quantizer = AffineQuantizer(4, scheme="affine")
    expected = quantizer.fit_transform(X)
    for frame, kind in (
        (pd.DataFrame(X, columns=names), "pandas"),
        (pl.DataFrame(X, schema=names), "polars"),
    ):
        fitted = clone(quantizer).set_output(transform=kind).fit(frame)
        result = fitted.transform(frame)
        assert type(result) is type(frame)
        assert list(result.columns) == names
        assert list(fitted.feature_names_in_) == names
        assert list(fitted.get_feature_names_out()) == names
        np.testing.assert_array_equal(result.to_numpy(), expected)
    again = pickle.loads(pickle.dumps(quantizer))
    np.testing.assert_array_equal(again.transform(X), expected)
