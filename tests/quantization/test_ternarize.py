import math

import numpy as np
import pytest

import sklearn_ternary
from sklearn_ternary import TernaryArray, ternarize

SCALES = ["absmean", "twn", "mse", "absmax", "norm"]


def nearest(x, s, n_levels):
    """Nearest level by brute force, ties to the smaller magnitude."""
    half = n_levels // 2
    levels = np.array(sorted(range(-half, half + 1), key=abs)) / half * s
    return levels[np.argmin(np.abs(x[..., None] - levels), axis=-1)]


def best_squared_error(x):
    """Least squared error of {-s, 0, s}: every subset of largest magnitudes."""
    magnitude = np.sort(np.abs(x.astype(np.float64)).ravel())[::-1]
    errors = [np.sum(magnitude**2)]
    for k in range(1, magnitude.size + 1):
        s = magnitude[:k].mean()
        errors.append(np.sum((magnitude[:k] - s) ** 2) + np.sum(magnitude[k:] ** 2))
    return min(errors)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_absmean_is_bitnet(dtype):
    W = np.random.default_rng(0).normal(size=(64, 100)).astype(dtype)
    A = ternarize(W)
    s = np.abs(W.astype(np.float64)).mean()
    np.testing.assert_allclose(A.scale, [[s]], rtol=2 * np.finfo(dtype).eps)
    s = A.scale[0, 0]
    np.testing.assert_array_equal(A.codes(), np.clip(np.rint(W / s), -1, 1))
    assert A.toarray().dtype == dtype
    np.testing.assert_array_equal(A.toarray(), A.codes() * s)


@pytest.mark.parametrize("n_levels", [3, 5])
@pytest.mark.parametrize("scale", ["absmean", "mse", "absmax", 0.7])
def test_values_are_the_nearest_levels(scale, n_levels):
    W = np.random.default_rng(1).laplace(size=(7, 53))
    A = ternarize(W, scale=scale, n_levels=n_levels)
    np.testing.assert_allclose(
        A.toarray(), nearest(W, A.scale[0, 0], n_levels), rtol=1e-15
    )


def test_twn():
    W = np.random.default_rng(2).normal(size=999)
    A = ternarize(W, scale="twn")
    above = np.abs(W) > 0.7 * np.abs(W).mean()
    np.testing.assert_array_equal(A.codes(), np.where(above, np.sign(W), 0))
    np.testing.assert_allclose(A.scale[0, 0], np.abs(W[above]).mean(), rtol=1e-14)


@pytest.mark.parametrize("seed", range(20))
def test_mse_is_optimal(seed):
    rng = np.random.default_rng(seed)
    draw = [rng.standard_normal, rng.standard_cauchy, rng.standard_exponential][
        seed % 3
    ]
    W = draw(rng.integers(1, 200))
    if seed % 4 == 0:
        W = np.rint(3 * W)
    A = ternarize(W, scale="mse")
    error = np.sum((W - A.toarray()) ** 2)
    np.testing.assert_allclose(error, best_squared_error(W), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_mse_on_five_levels_beats_a_fine_grid(seed):
    W = np.random.default_rng(seed).normal(size=60)
    error = np.sum((W - ternarize(W, scale="mse", n_levels=5).toarray()) ** 2)
    grid = np.linspace(1e-3, np.abs(W).max() * 1.5, 4000)
    others = [np.sum((W - nearest(W, s, 5)) ** 2) for s in grid]
    assert error <= min(others) * (1 + 1e-12)


@pytest.mark.parametrize("n_levels", [3, 5])
def test_norm_keeps_the_norm_with_the_codes_of_mse(n_levels):
    W = np.random.default_rng(3).normal(size=(40, 70))
    A = ternarize(W, scale="norm", n_levels=n_levels)
    B = ternarize(W, scale="mse", n_levels=n_levels)
    np.testing.assert_array_equal(A.codes(), B.codes())
    np.testing.assert_allclose(
        np.linalg.norm(A.toarray()), np.linalg.norm(W), rtol=1e-12
    )


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_axis_quantizes_each_line_alone(scale, axis):
    W = np.random.default_rng(4).normal(size=(9, 31))
    A = ternarize(W, scale=scale, axis=axis).toarray()
    lines = W if axis else W.T
    for line, values in zip(lines, A if axis else A.T, strict=True):
        np.testing.assert_allclose(
            ternarize(line, scale=scale).toarray(), values, rtol=1e-14
        )


@pytest.mark.parametrize("block_size", [1, 5, 16, 31, 40])
def test_blocks(block_size):
    W = np.random.default_rng(5).normal(size=(4, 31))
    A = ternarize(W, scale="mse", block_size=block_size)
    assert A.scale.shape == (4, math.ceil(31 / block_size))
    for start in range(0, 31, block_size):
        part = slice(start, start + block_size)
        np.testing.assert_array_equal(
            A.toarray()[:, part], ternarize(W[:, part], scale="mse", axis=1).toarray()
        )


@pytest.mark.parametrize("axis", [1, (1, 2), (2, 1), -1, (0, 1, 2), None])
def test_three_dimensions(axis):
    W = np.random.default_rng(6).normal(size=(3, 4, 5))
    if axis == 1:
        with pytest.raises(ValueError, match="axis=1 cannot be stored"):
            ternarize(W, axis=axis)
        return
    s = np.abs(W).mean(axis=axis, keepdims=True)
    expected = np.clip(np.rint(W / s), -1, 1) * s
    np.testing.assert_allclose(ternarize(W, axis=axis).toarray(), expected, rtol=1e-14)


def test_given_scales():
    W = np.random.default_rng(7).normal(size=(4, 6))
    scale = np.array([0.5, 1.0, 0.0, 2.0])
    A = ternarize(W, scale=scale, axis=1)
    np.testing.assert_array_equal(A.scale[:, 0], scale)
    assert not A.toarray()[2].any()
    B = ternarize(W, scale=scale[:, None], axis=1)
    assert A == B


@pytest.mark.parametrize(
    "shape", [(), (0,), (1,), (0, 5), (5, 0), (1, 1), (3, 1), (2, 3, 0), (2, 2, 2, 2)]
)
@pytest.mark.parametrize("options", [{}, {"axis": 0}, {"axis": -1}, {"block_size": 3}])
def test_awkward_shapes(shape, options):
    if shape == () and "axis" in options:
        with pytest.raises(ValueError, match="out of bounds"):
            ternarize(np.ones(shape), **options)
        return
    W = np.ones(shape)
    A = ternarize(W, **options)
    assert A.shape == shape
    np.testing.assert_array_equal(A.toarray(), W)


@pytest.mark.parametrize("value", [0.0, -3.5, 1e-45, 5e-324, 1.5e-323, 3e38, 1e308])
@pytest.mark.parametrize("scale", SCALES)
def test_constant_input_quantizes_without_warnings(value, scale):
    W = np.full((5, 7), value)
    with np.errstate(all="raise"):
        A = ternarize(W, scale=scale)
    np.testing.assert_allclose(A.toarray(), W, rtol=1e-14)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("scale", [*SCALES, 1.0])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_nonfinite_values_are_named(bad, scale, axis):
    W = np.ones((6, 5))
    W[3, 2] = W[4, 4] = bad
    kind = "NaN" if np.isnan(bad) else "infinity"
    with pytest.raises(ValueError, match=f"contains {kind}.*row 3, column 2"):
        ternarize(W, scale=scale, axis=axis)


@pytest.mark.parametrize("scale", ["absmean", "absmax", "mse", 1.0])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_nonfinite_propagates_to_its_group(scale, axis):
    W = np.random.default_rng(8).normal(size=(6, 5))
    W[3, 2], W[3, 4] = np.nan, np.inf
    A = ternarize(W, scale=scale, axis=axis, on_nonfinite="propagate").toarray()
    expected = np.zeros(W.shape, dtype=bool)
    if axis is None:
        expected[:] = True
    elif axis == 0:
        expected[:, [2, 4]] = True
    else:
        expected[3] = True
    np.testing.assert_array_equal(np.isnan(A), expected)
    clean = ternarize(np.where(expected, 1.0, W), scale=scale, axis=axis).toarray()
    np.testing.assert_array_equal(A[~expected], clean[~expected])


def test_nonfinite_as_zero():
    W = np.array([1.0, np.nan, -2.0, np.inf])
    A = ternarize(W, on_nonfinite="zero")
    assert ternarize([1.0, 0.0, -2.0, 0.0]) == A


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": "median"}, "scale='median' is unknown"),
        ({"scale": -1.0}, "scale=-1.0 must be finite and not negative"),
        ({"scale": np.nan}, "must be finite"),
        ({"scale": [1.0, 2.0]}, "does not give one value to each of the 1 groups"),
        ({"n_levels": 4}, "n_levels=4 must be 3 or 5"),
        ({"n_levels": 5, "scale": "twn"}, "scale='twn' is defined for n_levels=3"),
        ({"layout": "t3"}, "layout='t3' is not a layout"),
        ({"layout": "t5", "n_levels": 5}, "layout='t5' is not a layout for 5 levels"),
        ({"layout": "i8"}, "layout='i8' is not a layout for 3 levels"),
        ({"axis": 2}, "axis=2 is out of bounds"),
        ({"axis": (0, 0)}, "names an axis twice"),
        ({"axis": "rows"}, "axis='rows' must be"),
        ({"axis": 0, "block_size": 4}, "exclude each other"),
        ({"block_size": 0}, "block_size=0 must be a positive integer"),
        ({"block_size": 2.5}, "block_size=2.5 must be a positive integer"),
        ({"block_size": True}, "block_size=True must be a positive integer"),
        ({"on_nonfinite": "ignore"}, "on_nonfinite='ignore' must be one of"),
    ],
)
def test_wrong_options_name_the_option(options, message):
    with pytest.raises(ValueError) as error:
        ternarize(np.ones((2, 3)), **options)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "data",
    [
        np.ones(3) * 1j,
        np.array(["a"]),
        [object()],
        np.zeros(3, [("a", "f4")]),
        [10**400],
    ],
)
def test_data_that_is_no_numbers(data):
    with pytest.raises(ValueError, match="W"):
        ternarize(data)


def test_sparse_input_is_refused():
    from scipy import sparse

    with pytest.raises(TypeError, match="toarray"):
        ternarize(sparse.eye(3))


@pytest.mark.parametrize(
    "dtype", [np.float16, np.int8, np.uint64, bool, ">f4", ">f8", object, np.longdouble]
)
def test_other_dtypes(dtype):
    W = np.array([[3, 0, 1], [1, 1, 0]]).astype(dtype)
    A = ternarize(W)
    small = np.dtype(dtype) in (np.float16, np.dtype(">f4"))
    assert A.dtype == (np.float32 if small else np.float64)
    np.testing.assert_array_equal(A.codes(), ternarize(W.astype(np.float64)).codes())


@pytest.mark.parametrize("order", ["F", "strided", "read-only", "unaligned"])
def test_memory_orders(order):
    W = np.random.default_rng(9).normal(size=(20, 30)).astype(np.float32)
    if order == "F":
        V = np.asfortranarray(W)
    elif order == "strided":
        V = np.zeros((40, 60), np.float32)[::2, ::2]
        V[:] = W
    elif order == "read-only":
        V = W.copy()
        V.flags.writeable = False
    else:
        V = np.zeros(W.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(W.shape)
        V[:] = W
    assert ternarize(V, axis=1) == ternarize(W, axis=1)


def test_the_input_is_left_alone():
    W = np.random.default_rng(10).normal(size=(20, 30))
    before = W.copy()
    ternarize(W, scale="mse", on_nonfinite="zero")
    np.testing.assert_array_equal(W, before)


@pytest.mark.parametrize("layout", ["t2", "t5"])
def test_layouts_hold_the_same_array(layout):
    W = np.random.default_rng(11).normal(size=(8, 777))
    A = ternarize(W, layout=layout)
    assert A.layout == layout
    assert ternarize(W) == A


def test_backends_agree():
    W = np.random.default_rng(12).normal(size=(33, 501)).astype(np.float32)
    with sklearn_ternary.config_context(backend="numpy"):
        expected = ternarize(W, scale="mse", block_size=100)
    A = ternarize(W, scale="mse", block_size=100)
    assert expected == A
    np.testing.assert_array_equal(A.packed, expected.packed)


def test_result_type():
    assert isinstance(ternarize([1.0]), TernaryArray)
