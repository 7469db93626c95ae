"""Every backend meets the NumPy definitions bit for bit."""

import functools
import itertools
import warnings

import numpy as np
import pytest

from sklearn_ternary import _reference
from sklearn_ternary._layouts import LAYOUTS
from sklearn_ternary._reference.sums import ordered_sum

cpu = pytest.importorskip("sklearn_ternary._cpu", reason="the kernels are not built")

pytestmark = [pytest.mark.backends, pytest.mark.threads]

SHAPES = [
    (0, 0),
    (0, 5),
    (3, 0),
    (1, 1),
    (1, 7),
    (5, 3),
    (30, 7),
    (7, 300),
    (2, 4095),
    (2, 4097),
    (1, 7681),
    (1, 40003),
]
# Where several threads have something to share.
SHARED_SHAPES = [(30, 7), (7, 300), (2, 4097), (1, 40003)]
GROUP_SIZES = [1, 2, 7, 64, 100, None]  # None: the whole row
# The reference takes a Python step for each group.
MOST_GROUPS = 200

SCALES = [(kind, 3) for kind in ("absmean", "twn", "mse", "absmax", "norm")]
SCALES += [(kind, 5) for kind in ("absmean", "mse", "absmax", "norm")]


def same_bits(got, expected):
    """Fail unless type, shape and bits agree; NaN equals NaN."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    if expected.dtype.kind == "f":
        bits = f"u{expected.itemsize}"
        numbers = ~np.isnan(expected)
        np.testing.assert_array_equal(np.isnan(got), ~numbers)
        got, expected = got[numbers].view(bits), expected[numbers].view(bits)
    np.testing.assert_array_equal(got, expected)


def check(operation, args, **options):
    """Compare an operation of the cpu backend with its definition."""
    expected = call(_reference, operation, args)
    got = call(cpu, operation, args, **options)
    same(got, expected)


def same(got, expected):
    assert isinstance(got, tuple) == isinstance(expected, tuple)
    if not isinstance(expected, tuple):
        got, expected = (got,), (expected,)
    for one, other in zip(got, expected, strict=True):
        same_bits(one, other)


def call(backend, operation, args, **options):
    """Call an operation; return what it returns, or what it adds to."""
    function = getattr(backend, operation)
    if operation.startswith("column_"):
        X, total = args[0], args[1].copy()
        assert function(X, total, **options) is None
        return total
    return function(*args, **options)


# ---- inputs ------------------------------------------------------------


def values(shape, dtype, seed=0):
    """Normal values with zeros of both signs, ties and denormals among them."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal(shape).astype(dtype)
    tiny = np.finfo(dtype).smallest_subnormal
    for special in (0.0, -0.0, 0.5, -0.5, 1.5, tiny, -3 * tiny):
        X[rng.random(shape) < 0.03] = special
    return X


def parameters(shape, group_size, dtype, broadcast, seed=1):
    """One positive number a group; a few are 0 and a few infinite."""
    n_groups = -(-shape[1] // group_size)
    rng = np.random.default_rng(seed)
    p = rng.choice(
        [0.25, 0.5, 0.7, 1.0, 0.0, np.inf],
        size=(1 if broadcast else shape[0], n_groups),
        p=[0.2, 0.3, 0.2, 0.2, 0.05, 0.05],
    )
    return p.astype(dtype)


def random_codes(shape, n_levels, seed=2):
    half = n_levels // 2
    rng = np.random.default_rng(seed)
    return rng.integers(-half, half + 1, size=shape).astype(np.int8)


def finite(p):
    return np.where(np.isinf(p), p.dtype.type(3), p)


def grouped_args(name, X, group_size, broadcast):
    """Arguments of the operation `name`, "operation-option"."""
    operation, _, option = name.partition("-")
    t = parameters(X.shape, group_size, X.dtype, broadcast)
    s = finite(parameters(X.shape, group_size, X.dtype, broadcast, seed=3))
    if operation == "quantize_codes":
        return X, t, group_size, int(option)
    if operation == "quantize_values":
        return X, t, s, group_size, int(option)
    if operation == "quantize_pack":
        return X, t, group_size, LAYOUTS[option].n_levels, option
    if operation == "code_values":
        return random_codes(X.shape, int(option)), s, group_size, int(option)
    if operation == "unpack_values":
        codes = random_codes(X.shape, LAYOUTS[option].n_levels)
        return _reference.pack(codes, option), X.shape[1], option, s, group_size
    z = np.rint(20 * s - 7)
    if operation == "affine_codes":
        return X, s / 16, z, group_size, -100, 127
    return random_codes(X.shape, 255), s, z, group_size  # affine_values


GROUPED = [
    "quantize_codes-3",
    "quantize_codes-5",
    "quantize_values-3",
    "quantize_values-5",
    "code_values-3",
    "code_values-5",
    "affine_codes",
    "affine_values",
    *(f"quantize_pack-{name}" for name in ("t2", "t5", "q3")),
    *(f"unpack_values-{name}" for name in LAYOUTS),
]


def plain_args(name, X):
    operation, _, option = name.partition("-")
    if operation == "column_abs_sum":
        return X, np.arange(X.shape[1], dtype=np.float64)
    if operation == "column_abs_max":
        return X, np.abs(values((1, X.shape[1]), X.dtype, seed=9)[0])
    if operation == "find_nonfinite":
        return (X,)
    codes = random_codes(X.shape, LAYOUTS[option].n_levels)
    if operation == "pack":
        return codes, option
    packed = _reference.pack(codes, option)
    if operation == "find_invalid":
        return packed, option
    return packed, X.shape[1], option  # unpack, count_codes


PLAIN = [
    "column_abs_sum",
    "column_abs_max",
    "find_nonfinite",
    *(
        f"{operation}-{name}"
        for operation in ("pack", "unpack", "count_codes", "find_invalid")
        for name in LAYOUTS
    ),
]


def sizes(shape, groups):
    chosen = {min(g or shape[1], max(shape[1], 1)) or 1 for g in groups}
    return sorted(chosen)


# ---- all operations ----------------------------------------------------


@functools.cache
def cases(name, dtype, shared):
    """Arguments and expected results of the operation `name`."""
    done = []
    operation = name.partition("-")[0]
    for shape in SHARED_SHAPES if shared else SHAPES:
        X = values(shape, dtype)
        X.setflags(write=False)
        if name in PLAIN:
            done.append(plain_args(name, X))
            continue
        groups = [1, 64, None] if shared else GROUP_SIZES
        for group_size, broadcast in itertools.product(
            sizes(shape, groups), (False, True)
        ):
            if broadcast and shape[0] == 0:
                continue
            done.append(grouped_args(name, X, group_size, broadcast))
    for args in done:
        for arg in args:
            if isinstance(arg, np.ndarray):
                arg.setflags(write=False)
    return [(args, call(_reference, operation, args)) for args in done]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [*PLAIN, *GROUPED])
def test_operation(name, dtype, isa, n_threads):
    operation = name.partition("-")[0]
    for args, expected in cases(name, dtype, n_threads > 1):
        same(call(cpu, operation, args, isa=isa, n_threads=n_threads), expected)


@functools.cache
def scale_cases(kind, n_levels, dtype, shared):
    done = []
    for shape in SHARED_SHAPES if shared else SHAPES:
        X = values(shape, dtype)
        X.setflags(write=False)
        for group_size in sizes(shape, GROUP_SIZES):
            if X.size // group_size <= MOST_GROUPS // (4 if shared else 1):
                args = X, group_size, kind, n_levels
                done.append((args, _reference.group_scale(*args)))
    return done


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("kind", "n_levels"), SCALES)
def test_group_scale(kind, n_levels, dtype, isa, n_threads):
    for args, expected in scale_cases(kind, n_levels, dtype, n_threads > 1):
        same(cpu.group_scale(*args, isa=isa, n_threads=n_threads), expected)


# ---- distributions, mostly for the search of the least squared error ----

DISTRIBUTIONS = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "laplace": lambda rng, n: rng.laplace(size=n),
    "uniform": lambda rng, n: rng.uniform(-1, 1, n),
    "lognormal": lambda rng, n: rng.lognormal(sigma=3, size=n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
    "two optima": lambda rng, n: np.where(
        rng.random(n) < 0.1, rng.normal(8.5, 0.1, n), rng.normal(1, 0.05, n)
    ),
    "equal optima": lambda rng, n: np.where(np.arange(n) % 9, 1.0, 4.0),
    "integers": lambda rng, n: rng.integers(-5, 6, n),
    "few integers": lambda rng, n: rng.integers(-1, 2, n),
    "constant": lambda rng, n: np.full(n, 0.1),
    "zeros": lambda rng, n: np.zeros(n),
    "sparse": lambda rng, n: rng.standard_normal(n) * (rng.random(n) < 0.01),
    "outlier": lambda rng, n: np.append(rng.standard_normal(n - 1), 1e6),
    "huge outlier": lambda rng, n: np.append(rng.standard_normal(n - 1), 1e30),
    "geometric": lambda rng, n: 2.0 ** -rng.integers(0, 120, n),
    "ascending": lambda rng, n: np.arange(n),
}


@functools.cache
def distribution(name, n, dtype, seed):
    rng = np.random.default_rng(seed)
    X = DISTRIBUTIONS[name](rng, n).astype(dtype)[None]
    X.setflags(write=False)
    return X


@functools.cache
def expected_scale(name, n, dtype, seed, kind, n_levels):
    X = distribution(name, n, dtype, seed)
    return _reference.group_scale(X, n, kind, n_levels)


# The last two are beyond what one thread copies aside.
@pytest.mark.parametrize("n", [1, 2, 5, 31, 32, 33, 100, 4096, 5000, 32769, 100_000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("n_levels", [3, 5])
def test_scale_of_distribution(name, n_levels, dtype, n, isa):
    for seed in range(5 if n <= 5000 else 1):
        X = distribution(name, n, dtype, seed)
        for kind in ("mse", "norm") if n < 100_000 else ("mse",):
            expected = expected_scale(name, n, dtype, seed, kind, n_levels)
            args = X, n, kind, n_levels
            same(cpu.group_scale(*args, isa=isa, n_threads=1), expected)
    if n > 5000:
        same(cpu.group_scale(*args, isa=isa, n_threads=3), expected)


@pytest.mark.parametrize("n_levels", [3, 5])
def test_scale_of_a_large_group_whose_dtype_names_its_byte_order(n_levels, isa):
    X = distribution(next(iter(DISTRIBUTIONS)), 100_000, np.float32, 0)
    named = X.view(X.dtype.newbyteorder().newbyteorder())
    options = {"isa": isa, "n_threads": 1}
    same(
        cpu.group_scale(named, 100_000, "mse", n_levels, **options),
        cpu.group_scale(X, 100_000, "mse", n_levels, **options),
    )


@pytest.mark.parametrize("kind", ["absmean", "twn", "mse", "absmax", "norm"])
@pytest.mark.parametrize("largest", ["huge", "denormal", "mixed", "nonfinite"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [70, 33_000])
def test_extreme_scale(kind, largest, dtype, n, isa):
    """Overflow, underflow and values that are not finite."""
    info = np.finfo(dtype)
    X = np.random.default_rng(5).uniform(-1, 1, (7, n)).astype(dtype)
    if largest == "huge":
        X *= info.max
    elif largest == "denormal":
        X *= 100 * info.smallest_subnormal
    elif largest == "mixed":
        X *= np.array([[0], [1], [info.max], [info.tiny], [1], [0], [1]], dtype)
        X[4, 3] = info.max
    else:
        X[1, 5] = np.nan
        X[2, -1] = np.inf
        X[3] = -np.inf
        X[5, [0, -1]] = np.nan, np.inf
    for group_size in (33, n) if n == 70 else (n,):
        check("group_scale", (X, group_size, kind, 3), isa=isa, n_threads=2)
    if n == 70 and kind != "twn":
        check("group_scale", (X, 33, kind, 5), isa=isa, n_threads=1)


# ---- values at and beyond the edges --------------------------------------


def edges(dtype):
    """Each threshold and the numbers next to it, many times over."""
    t = np.array([0.5, 0.3, np.finfo(dtype).tiny, np.finfo(dtype).max / 4], dtype)
    near = [t, np.nextafter(t, dtype(0)), np.nextafter(t, dtype(np.inf)), 3 * t]
    near += [np.nextafter(near[3], dtype(0)), np.nextafter(near[3], dtype(np.inf))]
    near += [0 * t, np.full_like(t, np.inf), np.full_like(t, np.nan)]
    X = np.concatenate([np.array(near).T, -np.array(near).T], axis=1)
    return np.ascontiguousarray(np.tile(X, (1, 12))), t[:, None]


@pytest.mark.parametrize("n_levels", [3, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exactly_at_threshold(n_levels, dtype, isa):
    X, t = edges(dtype)
    layout = {3: "t5", 5: "q3"}[n_levels]
    options = {"isa": isa, "n_threads": 1}
    for threshold in (t, t[:1], np.full_like(t, np.inf), np.zeros_like(t)):
        args = X, threshold, X.shape[1], n_levels
        check("quantize_codes", args, **options)
        check("quantize_pack", (*args, layout), **options)
    each = np.repeat(t, X.shape[1], axis=1)
    check("quantize_codes", (X, each, 1, n_levels), **options)
    wide = dict.fromkeys(["X", "threshold", "scale"])
    wide["X"], wide["threshold"], wide["scale"] = X, t, np.full_like(t, 3e38)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check("quantize_values", (*wide.values(), X.shape[1], n_levels), **options)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_affine_extremes(dtype, isa):
    X, t = edges(dtype)
    zero_point = np.array([[-128], [0], [127], [3]], dtype)
    for scale in (t, np.full_like(t, np.finfo(dtype).tiny), 0 * t):
        X_finite = np.nan_to_num(X, nan=0)
        args = X_finite, scale, zero_point, X.shape[1], -128, 127
        check("affine_codes", args, isa=isa, n_threads=1)
    codes = np.arange(-128, 128).astype(np.int8)[None]
    for z in (-128, 0, 255):
        args = codes, np.array([[0.1]], dtype), np.array([[z]], dtype), 256
        check("affine_values", args, isa=isa, n_threads=1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_find_nonfinite_everywhere(dtype, isa):
    """Found wherever it is, and huge finite values are none."""
    info = np.finfo(dtype)
    X = np.random.default_rng(0).uniform(-1, 1, (2, 600)).astype(dtype) * info.max
    for where in (*range(0, 1200, 7), 1199):
        Y = X.copy()
        Y.flat[where] = [np.nan, np.inf, -np.inf][where % 3]
        Y.flat[1199] = np.nan
        assert cpu.find_nonfinite(Y, isa=isa, n_threads=1) == where
        assert _reference.find_nonfinite(Y) == where
    assert cpu.find_nonfinite(X, isa=isa, n_threads=1) == -1


def test_find_nonfinite_first_of_threads(isa, n_threads):
    X = np.zeros((3, 5000), dtype=np.float32)
    X.flat[[4999, 5001, 14000]] = np.inf, np.nan, np.nan
    assert cpu.find_nonfinite(X, isa=isa, n_threads=n_threads) == 4999


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_with_extremes(dtype, isa, n_threads):
    """Sums overflow silently; a NaN stays."""
    X = np.zeros((4, 1100), dtype=dtype)
    X[:, 3] = np.finfo(dtype).max
    X[1, 700], X[2, 701], X[3, 1099] = np.nan, np.inf, -0.0
    for operation, total in (
        ("column_abs_sum", np.zeros(1100)),
        ("column_abs_max", np.zeros(1100, dtype)),
    ):
        check(operation, (X, total), isa=isa, n_threads=n_threads)


def test_wider_group_than_row(isa):
    """A group may be declared wider than the row; nothing that large is made."""
    X = values((3, 10), np.float32)
    t = parameters((3, 10), 10, np.float32, False)
    options = {"isa": isa, "n_threads": 1}
    for group_size in (11, 2**33, 2**62):
        check("quantize_pack", (X, t, group_size, 3, "t2"), **options)
        check("group_scale", (X, group_size, "mse", 3), **options)
        check("affine_values", (random_codes((3, 10), 3), t, t, group_size), **options)


# ---- the definitions themselves ------------------------------------------


def squared_error(x, scale, threshold, n_levels):
    scale, threshold = np.array([[scale]]), np.array([[threshold]])
    rounded = _reference.quantize_values(x, threshold, scale, x.size, n_levels)
    return np.sum((x - rounded) ** 2)


@pytest.mark.parametrize("n_levels", [3, 5])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_mse_is_the_least_error_of_all_assignments(name, n_levels):
    """Against every assignment of codes to five magnitudes, each with its best step."""
    codes = np.array(list(itertools.product(range(n_levels // 2 + 1), repeat=5)))[1:]
    for seed in range(20):
        x = np.abs(distribution(name, 5, np.float64, seed))
        steps = codes @ x[0] / np.sum(codes**2, axis=1)
        least = np.min(np.sum((x - codes * steps[:, None]) ** 2, axis=1))
        scale, threshold = _reference.group_scale(x, 5, "mse", n_levels)
        error = squared_error(x, scale[0, 0], threshold[0, 0], n_levels)
        assert error <= least + 1e-12 * np.sum(x**2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_group_has_its_value_as_scale(dtype):
    """Of the equal assignments to five levels, the one that cannot overflow."""
    for value in (1.0, 0.1, np.finfo(dtype).max):
        x = np.full((1, 9), value, dtype=dtype)
        scale, threshold = _reference.group_scale(x, 9, "mse", 5)
        np.testing.assert_allclose(scale, value, rtol=4 * np.finfo(dtype).eps)
        assert (_reference.quantize_codes(x, threshold, 9, 5) == 2).all()


@pytest.mark.parametrize(
    ("kind", "n_levels", "smaller"),
    [("norm", 3, 0.4), ("mse", 5, 0.56), ("norm", 5, 0.56)],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scale_is_finite_where_the_best_is_not(kind, n_levels, smaller, dtype, isa):
    """The best scale of these is beyond the largest number."""
    x = np.zeros((1, 40))
    x[0, : 1 + 3 ** (n_levels == 5)] = smaller
    x[0, 0] = 1
    best, _ = _reference.group_scale(x, 40, kind, n_levels)
    assert best > 1.01
    largest = np.finfo(dtype).max
    x = (x * largest).astype(dtype)
    scale, _ = _reference.group_scale(x, 40, kind, n_levels)
    assert scale == largest
    check("group_scale", (x, 40, kind, n_levels), isa=isa, n_threads=1)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (63, 15), (64, 16), (65, 17), (200, 70)])
def test_columns(shape, dtype, n_threads):
    X = values(shape, dtype)
    X.flags.writeable = False
    for start, stop in {(0, shape[1]), (shape[1] // 3, shape[1]), (0, 0), (0, 1)}:
        check("columns", (X, start, stop), n_threads=n_threads, isa="generic")


def test_columns_of_nothing():
    check("columns", (np.empty((0, 5)), 1, 4), n_threads=2, isa="generic")


@pytest.mark.parametrize("n", [1, 31, 33, 4096, 4097, 9000])
def test_sums_along_the_last_axis_are_those_of_each_row(n):
    X = np.abs(np.random.default_rng(n).standard_cauchy((3, n)))
    # The order of `_reference.sums`, a chunk and a lane at a time.
    expected = []
    for x in X:
        total = 0.0
        for start in range(0, n, 4096):
            lanes = [0.0] * 32
            for i, value in enumerate(x[start : start + 4096]):
                lanes[i % 32] += value
            while len(lanes) > 1:
                half = len(lanes) // 2
                lanes = [a + b for a, b in zip(lanes[:half], lanes[half:], strict=True)]
            total += lanes[0]
        expected.append(total)
    assert ordered_sum(X).tolist() == expected
    assert ordered_sum(X[0]) == expected[0]
