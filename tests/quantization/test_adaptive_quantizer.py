"""AdaptiveQuantizer, allocate_precision and quantize_arrays."""

import itertools
import pickle
import weakref

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_ternary import (
    AdaptiveQuantizer,
    AffineQuantizer,
    TernaryArray,
    TernaryQuantizer,
    config_context,
)
from sklearn_ternary.quantization import allocate_precision, quantize_arrays
from sklearn_ternary.quantization._allocation import choose_levels, quantize_array

LEVELS = (3, 5, 15, 255)
BITS = {3: 1.6, 5: 7 / 3, 15: 4.0, 255: 8.0}
DTYPES = [np.float32, np.float64]


def make_data(dtype=np.float64, n_samples=200, n_features=6, seed=0):
    rng = np.random.default_rng(seed)
    scales = 10.0 ** rng.uniform(-1, 1, n_features)
    return (rng.standard_t(4, size=(n_samples, n_features)) * scales).astype(dtype)


@pytest.mark.estimator_checks
@parametrize_with_checks(
    [
        AdaptiveQuantizer(),
        AdaptiveQuantizer(target_bits=4),
        AdaptiveQuantizer(target_bits=2.5, granularity="block", block_size=2),
        AdaptiveQuantizer(target_bits=8, granularity="tensor", copy=False),
        AdaptiveQuantizer(levels=(3,), scale="twn"),
        AdaptiveQuantizer(target_bits=3, scale="absmean"),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_the_default_is_ternary_everywhere():
    X = make_data(n_features=300)
    quantizer = AdaptiveQuantizer().fit(X)
    assert (quantizer.allocation_ == 3).all()
    ternary = TernaryQuantizer(scale="mse").fit(X)
    np.testing.assert_array_equal(quantizer.scale_, ternary.scale_)
    np.testing.assert_array_equal(quantizer.transform(X), ternary.transform(X))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", [2, 3.3, 4, 5.7])
def test_each_column_is_rounded_as_by_its_quantizer(target, dtype):
    X = make_data(dtype)
    quantizer = AdaptiveQuantizer(target_bits=target).fit(X)
    Xq = quantizer.transform(X)
    assert Xq.dtype == dtype
    assert len(np.unique(quantizer.allocation_)) > 1
    same = {
        3: TernaryQuantizer(scale="mse"),
        5: TernaryQuantizer(5, scale="mse"),
        15: AffineQuantizer(4, calibration="mse"),
        255: AffineQuantizer(8, calibration="mse"),
    }
    for column, n_levels in enumerate(quantizer.allocation_):
        x = X[:, [column]]
        expected = same[n_levels].fit_transform(x)
        assert len(np.unique(Xq[:, column])) <= n_levels
        # scale_ is the largest level, which is rounded once more than the step.
        np.testing.assert_allclose(
            Xq[:, [column]], expected, rtol=4 * np.finfo(dtype).eps
        )


@pytest.mark.parametrize("target", [1.58, 1.6, 2, 7 / 3, 3, 4, 5.5, 8, 100])
@pytest.mark.parametrize("n_features", [1, 5, 40])
def test_bits_meet_the_target_and_uniform_is_never_better(n_features, target):
    X = make_data(n_features=n_features)
    quantizer = AdaptiveQuantizer(target_bits=target).fit(X)
    bits = np.mean([BITS[n] for n in quantizer.allocation_])
    assert bits <= max(target, 1.6) * (1 + 1e-8)
    error = np.sum((quantizer.transform(X) - X) ** 2)
    for n_levels in LEVELS:
        if BITS[n_levels] <= target:
            uniform = AdaptiveQuantizer(target_bits=target, levels=(n_levels,)).fit(X)
            uniform_error = np.sum((uniform.transform(X) - X) ** 2)
            assert error <= uniform_error * (1 + 1e-12)
    if target in (1.6, 7 / 3, 4, 8) and n_features == 1:
        assert bits == pytest.approx(target)


def test_more_bits_less_error():
    X = make_data(n_features=30)
    errors = [
        np.sum((AdaptiveQuantizer(target_bits=t).fit_transform(X) - X) ** 2)
        for t in np.linspace(1.6, 8, 20)
    ]
    assert (np.diff(errors) < 0).all()


@pytest.mark.parametrize("seed", range(12))
def test_against_all_allocations_of_a_matrix(seed):
    """Heavy-tailed columns of different sizes: near the optimum."""
    X = make_data(seed=seed, n_features=4, n_samples=50)
    target = np.random.default_rng(seed).uniform(1.6, 8)
    error = np.empty((4, 4))
    for i, n_levels in enumerate(LEVELS):
        quantizer = AdaptiveQuantizer(target_bits=8, levels=(n_levels,)).fit(X)
        error[:, i] = np.sum((quantizer.transform(X) - X) ** 2, axis=0)
    columns = range(4)
    optimum = min(
        error[columns, choice].sum()
        for choice in itertools.product(range(4), repeat=4)
        if sum(BITS[LEVELS[i]] for i in choice) <= 4 * target
    )
    ours = np.sum((AdaptiveQuantizer(target_bits=target).fit_transform(X) - X) ** 2)
    assert optimum * (1 - 1e-9) <= ours <= 1.5 * optimum


def exhaustive(costs, errors, budget):
    units = range(len(costs))
    choices = itertools.product(range(costs.shape[1]), repeat=len(costs))
    return min(
        errors[units, list(choice)].sum()
        for choice in choices
        if costs[units, list(choice)].sum() <= budget
    )


def random_problem(seed):
    """Costs and errors of up to five units with four candidates, and a budget."""
    rng = np.random.default_rng(seed)
    n_units = int(rng.integers(1, 6))
    costs = np.cumsum(rng.integers(1, 50, size=(n_units, 4)), axis=1)
    errors = rng.random((n_units, 4)) * 100
    if seed % 2:
        errors = -np.sort(-errors, axis=1)
    least, most = costs.min(axis=1).sum(), costs.max(axis=1).sum()
    return costs, errors, least + (most - least) * rng.random()


def test_gap_to_the_optimum_of_small_problems():
    gaps = []
    for seed in range(150):
        costs, errors, budget = random_problem(seed)
        choice = choose_levels(costs, errors, budget, 1, LEVELS)
        error = errors[range(len(costs)), choice].sum()
        gaps.append(error / exhaustive(costs, errors, budget) - 1)
    assert min(gaps) > -1e-12
    assert np.median(gaps) < 1e-12
    assert np.mean(gaps) < 0.02


@pytest.mark.properties
@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_choice_is_affordable_and_not_worse_than_uniform(seed):
    costs, errors, budget = random_problem(seed)
    units = range(len(costs))
    choice = choose_levels(costs, errors, budget, 1, LEVELS)
    assert costs[units, choice].sum() <= budget * (1 + 1e-8)
    for candidate in range(4):
        if costs[:, candidate].sum() <= budget:
            uniform = errors[:, candidate].sum()
            assert errors[units, choice].sum() <= uniform * (1 + 1e-12)
    # Nothing that is affordable alone would still save error.
    left = budget - costs[units, choice].sum()
    for unit in units:
        for candidate in range(4):
            extra = costs[unit, candidate] - costs[unit, choice[unit]]
            saved = errors[unit, choice[unit]] - errors[unit, candidate]
            assert saved <= 0 or extra > left


def test_gap_shrinks_with_many_units():
    """Against a lower bound: the walk along the hulls, its last step in part."""
    rng = np.random.default_rng(0)
    costs = np.tile(24 * np.array([8, 12, 20, 40]), (500, 1))
    errors = np.array([1, 0.3, 0.05, 0.001]) * 10 ** rng.uniform(-3, 3, (500, 1))
    budget = costs.min(axis=1).sum() * 1.7
    choice = choose_levels(costs, errors, budget, 1, LEVELS)
    # These errors are on their hulls: steps sorted by slope are the optimum.
    slopes = -np.diff(errors, axis=1) / np.diff(costs, axis=1)
    order = np.argsort(-slopes, axis=None)
    spent = np.cumsum(np.diff(costs, axis=1).ravel()[order])
    saved = np.cumsum((-np.diff(errors, axis=1)).ravel()[order])
    bound = errors[:, 0].sum() - np.interp(budget - costs[:, 0].sum(), spent, saved)
    error = errors[range(500), choice].sum()
    assert bound <= error <= 1.001 * bound


@pytest.mark.parametrize("target", [0.5, 1.5, 1.56])
def test_unreachable_target_names_the_minimum(target):
    with pytest.raises(ValueError, match=r"unreachable: the minimum is 1\.6000"):
        AdaptiveQuantizer(target_bits=target).fit(make_data())
    with pytest.raises(ValueError, match=r"minimum is 4\.0000"):
        AdaptiveQuantizer(target_bits=target, levels=(15, 255)).fit(make_data())


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"target_bits": 0}, "target_bits"),
        ({"target_bits": np.nan}, "target_bits"),
        ({"levels": ()}, "levels"),
        ({"levels": (3, 9)}, "levels"),
        ({"levels": "3"}, "levels"),
        ({"scale": "odd"}, "scale"),
        ({"scale": "twn"}, "twn"),
        ({"granularity": "sample"}, "granularity"),
        ({"granularity": "block"}, "block_size"),
        ({"block_size": 2}, "block_size"),
    ],
)
def test_bad_options_are_named(options, name):
    with pytest.raises(ValueError, match=name):
        AdaptiveQuantizer(**options).fit(make_data())


@pytest.mark.parametrize("scale", ["absmean", "absmax", "norm", "mse"])
@pytest.mark.parametrize("granularity", ["feature", "block", "tensor"])
def test_granularity_and_scale(granularity, scale):
    X = make_data(n_features=7)
    size = {"feature": 1, "block": 3, "tensor": 7}[granularity]
    quantizer = AdaptiveQuantizer(
        target_bits=2.2,
        granularity=granularity,
        block_size=3 if granularity == "block" else None,
        scale=scale,
        levels=(3, 5),
    ).fit(X)
    Xq = quantizer.transform(X)
    assert len(quantizer.scale_) == len(quantizer.n_levels_) == -(-7 // size)
    for g, n_levels in enumerate(quantizer.n_levels_):
        columns = slice(g * size, (g + 1) * size)
        assert (quantizer.allocation_[columns] == n_levels).all()
        same = TernaryQuantizer(int(n_levels), scale=scale, granularity="tensor")
        np.testing.assert_allclose(
            Xq[:, columns], same.fit_transform(X[:, columns]), rtol=1e-12
        )


def test_block_larger_than_the_matrix():
    X = make_data(n_features=3)
    options = {"target_bits": 4}
    block = AdaptiveQuantizer(granularity="block", block_size=10**12, **options)
    tensor = AdaptiveQuantizer(granularity="tensor", **options)
    np.testing.assert_array_equal(block.fit_transform(X), tensor.fit_transform(X))


def test_bits_per_value_is_what_arrays_would_store():
    X = make_data(np.float32, n_samples=101)
    quantizer = AdaptiveQuantizer(target_bits=3).fit(X)
    stored = 0
    for column, n_levels in enumerate(quantizer.allocation_):
        A = quantize_array(X[:, column], int(n_levels))
        stored += A.nbytes
        assert A.scale[0, 0] == quantizer.scale_[column]
        np.testing.assert_array_equal(A.toarray(), quantizer.transform(X)[:, column])
    assert quantizer.bits_per_value_ == 8 * stored / X.size


def test_panels_do_not_matter():
    X = make_data(n_features=40)
    whole = AdaptiveQuantizer(target_bits=3).fit(X)
    with config_context(working_memory=0.02):
        panels = AdaptiveQuantizer(target_bits=3).fit(X)
        np.testing.assert_array_equal(panels.transform(X), whole.transform(X))
    np.testing.assert_array_equal(whole.scale_, panels.scale_)


@pytest.mark.edge
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", [1.6, 3.5, 8])
@pytest.mark.parametrize("levels", [LEVELS, (3, 15, 255)])
def test_awkward_columns_without_warnings(levels, target, dtype):
    info = np.finfo(dtype)
    # On five levels the scale may be twice the largest value.
    most = info.max / 4 if 5 in levels else info.max
    X = np.empty((6, 8), dtype=dtype)
    X[:] = [0, 3, -1, most, info.smallest_subnormal, info.tiny, -most, 0]
    X[2:4] = 0
    with np.errstate(all="raise"):
        quantizer = AdaptiveQuantizer(target_bits=target, levels=levels).fit(X)
        Xq = quantizer.transform(X)
    # Columns of {0, c} have no error on any levels.
    np.testing.assert_allclose(Xq, X, rtol=4e-6)
    assert quantizer.scale_[0] == 0


@pytest.mark.edge
@pytest.mark.parametrize("method", ["fit", "transform"])
def test_nonfinite_values_are_named(method):
    X = make_data()
    quantizer = AdaptiveQuantizer().fit(X)
    X[7, 2] = np.inf
    with pytest.raises(ValueError, match="row 7, column 2"):
        getattr(quantizer, method)(X)


@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_order_read_only_and_copy(dtype):
    X = make_data(dtype)
    expected = AdaptiveQuantizer(target_bits=3).fit_transform(X)
    read_only = X.copy()
    read_only.flags.writeable = False
    for variant in (np.asfortranarray(X), np.repeat(X, 2, 1)[:, ::2], read_only):
        for copy in (True, False):
            quantizer = AdaptiveQuantizer(target_bits=3, copy=copy).fit(variant)
            given = variant if not variant.flags.writeable else variant.copy("A")
            result = quantizer.transform(given)
            np.testing.assert_array_equal(result, expected)
            assert (result is given) == (not copy and given.flags.writeable)
    assert quantizer.transform(X.astype(np.float64)).dtype == np.float64
    assert quantizer.transform(X.astype(np.float32)).dtype == np.float32


def test_scales_beyond_the_dtype_transformed():
    X = np.array([[1e300], [-5e299]])
    for target in (1.6, 8):
        quantizer = AdaptiveQuantizer(target_bits=target).fit(X)
        with np.errstate(all="raise"):
            result = quantizer.transform(np.array([[3e38], [0]], dtype=np.float32))
        np.testing.assert_array_equal(result, np.zeros((2, 1), np.float32))


def test_data_frames_names_pickle_clone():
    X = make_data(n_features=3)
    names = ["a", "b", "c"]
    quantizer = AdaptiveQuantizer(target_bits=3)
    expected = quantizer.fit_transform(X)
    frames = {
        "pandas": pd.DataFrame(X, columns=names),
        "polars": pl.DataFrame(X, schema=names),
    }
    for kind, frame in frames.items():
        fitted = clone(quantizer).set_output(transform=kind).fit(frame)
        result = fitted.transform(frame)
        assert type(result) is type(frame)
        assert list(result.columns) == names
        assert list(fitted.get_feature_names_out()) == names
        np.testing.assert_array_equal(result.to_numpy(), expected)
    again = pickle.loads(pickle.dumps(quantizer))
    np.testing.assert_array_equal(again.transform(X), expected)


# -- named arrays ----------------------------------------------------------


def make_arrays(dtype=np.float32):
    rng = np.random.default_rng(0)
    shapes = {"conv": (8, 3, 5, 5), "dense": (40, 64), "bias": (40,), "head": (7, 33)}
    return {
        name: (rng.normal(size=shape) * 10 ** rng.uniform(-2, 1)).astype(dtype)
        for name, shape in shapes.items()
    }


def stored_bits(quantized):
    n_bytes = sum(A.nbytes for A in quantized.values())
    return 8 * n_bytes / sum(A.size for A in quantized.values())


def total_error(arrays, quantized):
    return sum(
        np.sum((W.astype(np.float64) - quantized[name].toarray()) ** 2)
        for name, W in arrays.items()
    )


@pytest.mark.parametrize(
    "grouping", [{}, {"axis": -1}, {"axis": 0}, {"block_size": 32}]
)
@pytest.mark.parametrize("target", [1.7, 2.6, 3.5, 5.0, 9.0])
def test_arrays_meet_the_target_and_uniform_is_never_better(target, grouping):
    arrays = make_arrays()
    if grouping.get("axis") is not None:
        del arrays["bias"], arrays["conv"]
    try:
        quantized = quantize_arrays(arrays, target, **grouping)
    except ValueError as error:
        minimum = stored_bits(quantize_arrays(arrays, 64, levels=(3,), **grouping))
        assert minimum > 1.02 * target
        assert f"minimum is {minimum:.4f}" in str(error)
        return
    assert list(quantized) == list(arrays)
    for name, A in quantized.items():
        assert isinstance(A, TernaryArray)
        assert A.shape == arrays[name].shape
        assert A.layout == {3: "t5", 5: "q3", 15: "i4", 255: "i8"}[A.n_levels]
    assert stored_bits(quantized) <= target * 1.02
    error = total_error(arrays, quantized)
    for n_levels in LEVELS:
        uniform = quantize_arrays(arrays, 64, levels=(n_levels,), **grouping)
        if stored_bits(uniform) <= target:
            assert error <= total_error(arrays, uniform) * (1 + 1e-9)
    allocation = {name: A.n_levels for name, A in quantized.items()}
    assert allocate_precision(arrays, target, **grouping) == allocation


def test_target_may_be_two_percent_below_the_minimum():
    W = {"w": np.random.default_rng(0).normal(size=(64, 1000))}
    assert allocate_precision(W, 1.58) == {"w": 3}
    with pytest.raises(ValueError, match=r"unreachable: the minimum is 1\.6010"):
        allocate_precision(W, 1.5)


def test_arrays_are_read_one_at_a_time():
    """A stream is consumed once, and no array is kept."""
    seen = []

    def stream():
        for name in make_arrays():
            # The consumer's loop variable may hold the one before.
            assert sum(reference() is not None for reference in seen) <= 1
            array = make_arrays()[name].copy()
            seen.append(weakref.ref(array))
            yield name, array
            del array

    expected = allocate_precision(make_arrays(), 3)
    assert allocate_precision(stream(), 3) == expected
    assert len(seen) == len(expected) == 4
    quantized = quantize_arrays(iter(make_arrays().items()), 3)
    assert {name: A.n_levels for name, A in quantized.items()} == expected


def test_streams_with_a_name_twice():
    W = np.ones((3, 4))
    with pytest.raises(ValueError, match="'w' twice"):
        allocate_precision([("w", W), ("w", W)], 64)


def test_no_arrays_and_empty_arrays():
    assert allocate_precision({}, 3) == {}
    assert quantize_arrays({}, 3) == {}
    arrays = {
        "full": np.random.default_rng(0).normal(size=(9, 50)),
        "no": np.ones((0, 3)),
    }
    quantized = quantize_arrays(arrays, 5)
    assert quantized["no"].shape == (0, 3)
    assert quantized["full"].n_levels > 3
    for n_levels in LEVELS:
        for shape in ((0,), (0, 3), (3, 0), (2, 0, 4)):
            for axis in (None, 0, -1) if len(shape) == 2 else (None,):
                A = quantize_array(np.ones(shape), n_levels, axis=axis)
                assert A.toarray().shape == shape
    with pytest.raises(ValueError, match="there are no values"):
        allocate_precision({"no": np.ones((0, 3)), "scale": np.ones(0)}, 5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_levels", [15, 255])
def test_array_of_15_and_255_levels_against_affine_quantizer(n_levels, dtype):
    W = np.random.default_rng(0).standard_t(3, size=(31, 18)).astype(dtype)
    n_bits = {15: 4, 255: 8}[n_levels]
    for axis, block_size, granularity, transposed in (
        (None, None, "tensor", False),
        (0, None, "feature", False),
        (-1, None, "feature", True),
    ):
        A = quantize_array(W, n_levels, axis=axis, block_size=block_size)
        quantizer = AffineQuantizer(n_bits, calibration="mse", granularity=granularity)
        X = W.T if transposed else W
        quantizer.fit(X)
        half = n_levels // 2
        np.testing.assert_allclose(
            A.scale.ravel() / half, quantizer.scale_, rtol=16 * np.finfo(dtype).eps
        )
        expected = quantizer.transform(X)
        np.testing.assert_allclose(
            A.toarray(), expected.T if transposed else expected, rtol=1e-6
        )
        assert A.dtype == dtype
    blocks = quantize_array(W, n_levels, block_size=5)
    assert blocks.scale.shape == (31, 4)
    alone = quantize_array(W[7, 15:], n_levels)
    np.testing.assert_array_equal(blocks.toarray()[7, 15:], alone.toarray())


@pytest.mark.edge
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_levels", LEVELS)
def test_array_of_awkward_values(n_levels, dtype):
    info = np.finfo(dtype)
    most = info.max / 4 if n_levels == 5 else info.max
    for value in (0, most, info.tiny, info.smallest_subnormal, -1.0):
        W = np.full((2, 5), value, dtype=dtype)
        with np.errstate(all="raise"):
            Wq = quantize_array(W, n_levels).toarray()
        # Subnormal scales have few digits.
        atol = n_levels * info.smallest_subnormal
        np.testing.assert_allclose(Wq, W, rtol=4e-6, atol=atol)


def test_errors_of_huge_and_tiny_arrays_are_compared():
    rng = np.random.default_rng(0)
    arrays = {
        "huge": rng.normal(size=1000) * 1e250,
        "tiny": rng.normal(size=1000) * 1e-250,
    }
    with np.errstate(all="raise"):
        assert allocate_precision(arrays, 4.9) == {"huge": 255, "tiny": 3}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nonfinite_arrays_are_named(bad):
    arrays = make_arrays()
    arrays["dense"][3, 5] = bad
    with pytest.raises(ValueError, match=r"dense contains .* row 3, column 5"):
        allocate_precision(arrays, 3)
    with pytest.raises(ValueError, match="dense"):
        quantize_arrays(arrays, 3)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"target_bits": 0}, "target_bits"),
        ({"target_bits": np.inf}, "target_bits"),
        ({"target_bits": "3"}, "target_bits"),
        ({"target_bits": True}, "target_bits"),
        ({"levels": (2,)}, "levels"),
        ({"levels": 3}, "levels"),
        ({"scale": "kl"}, "scale"),
        ({"scale": 0.5}, "scale"),
        ({"scale": "twn"}, "twn"),
        ({"axis": 5}, "axis"),
        ({"block_size": 0}, "block_size"),
    ],
)
def test_bad_options_of_arrays_are_named(options, name):
    with pytest.raises(ValueError, match=name):
        allocate_precision(make_arrays(), **{"target_bits": 3, **options})


def test_options_reach_the_scales():
    W = np.random.default_rng(0).normal(size=500)
    q = quantize_arrays({"w": W}, 2, levels=(3,), scale="absmean")["w"]
    assert q.scale[0, 0] == pytest.approx(np.abs(W).mean())
    twn = quantize_array(W, 3, scale="twn")
    above = np.abs(W)[np.abs(W) > 0.7 * np.abs(W).mean()]
    assert twn.scale[0, 0] == pytest.approx(above.mean())


def test_allocation_needs_no_scikit_learn(run_python):
    out = run_python(
        "import sys, numpy as np\n"
        "from sklearn_ternary.quantization import quantize_arrays\n"
        "quantize_arrays({'w': np.arange(9.0)}, 64)\n"
        "print('sklearn' in sys.modules)"
    )
    assert out.strip() == "False"
