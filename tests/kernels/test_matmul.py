"""Products with packed matrices against NumPy's integers and float64."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_ternary._layouts import LAYOUTS
from sklearn_ternary._reference import matmul as reference
from sklearn_ternary._reference.pack import pack
from sklearn_ternary._reference.products import StoredMatrix

pytestmark = pytest.mark.backends

if importlib.util.find_spec("sklearn_ternary._kernels._matmul"):
    from sklearn_ternary._cpu import matmul as cpu
    from sklearn_ternary._cpu import products
    from sklearn_ternary._cpu.product_levels import VARIANTS, can_run
    from sklearn_ternary._kernels._cpu_features import supported_isas

    # Every variant that can run here, so that each is tested by itself.
    LEVELS = [variant for variant in VARIANTS if can_run(variant)]
    ISAS = supported_isas()
else:
    LEVELS, ISAS = [], []
needs_kernels = pytest.mark.skipif(not LEVELS, reason="no compiled kernels")
TERNARY = [name for name, layout in LAYOUTS.items() if layout.n_levels == 3]
FORMATS = ["t2", "t5", "r2"]


def make(codes, scale, group_size, *, layout="t5", transposed=False, **options):
    """A packed matrix of the cpu backend."""
    options = {"n_threads": 1, "isa": "generic", **options}
    return cpu.PackedMatrix(
        pack(codes, layout),
        codes.shape[1],
        layout,
        scale,
        group_size,
        transposed,
        **options,
    )


def ones(codes):
    return np.ones((1, 1), dtype=np.float32), max(codes.shape[1], 1)


def random_codes(rng, shape):
    return rng.integers(-1, 2, shape).astype(np.int8)


def random_q(rng, shape):
    """All values of int8, -128 included."""
    return rng.integers(-128, 128, shape).astype(np.int8)


def integer_sums(q, codes):
    return q.astype(np.int64) @ codes.astype(np.int64).T


def assert_exact(codes, q, level, n_threads=1, **options):
    """With scales and steps 1 the results are the sums, rounded to float32 once."""
    step = np.ones(q.shape[0], dtype=np.float32)
    A = make(codes, *ones(codes), **options)
    y = A.matmul_quantized(q, step, n_threads=n_threads, isa=level)
    np.testing.assert_array_equal(y, integer_sums(q, codes).astype(np.float32))


# -- the definition ----------------------------------------------------------


def test_quantize_activations_by_hand():
    X = np.array([[127, -63.5, 0.5, 1.5], [0, 0, 0, 0], [-1e-6, 0, 1e-6, 0]], "f4")
    q, step = reference.quantize_activations(X)
    np.testing.assert_array_equal(q[0], [127, -64, 0, 2])  # ties to even
    np.testing.assert_array_equal(q[1], 0)
    np.testing.assert_array_equal(q[2], [-13, 0, 13, 0])
    np.testing.assert_array_equal(step, np.float32([127, 1e-5, 1e-5]) / np.float32(127))


def test_product_by_hand():
    codes = np.array([[1, -1, 0, 1], [0, 1, 1, -1]], dtype=np.int8)
    scale = np.array([[2.0, 0.5], [1.0, 4.0]], dtype=np.float32)
    q = np.array([[10, 3, 7, -2]], dtype=np.int8)
    # Groups of two: 2 * (10 - 3) + 0.5 * (0 - 2), 1 * 3 + 4 * (7 + 2).
    y = reference.matmul_int8(codes, scale, 2, q, np.float32([0.5]))
    np.testing.assert_array_equal(y, [[6.5, 19.5]])
    X = q.astype(np.float64)
    np.testing.assert_array_equal(
        reference.matmul_float(codes, scale, 2, X), [[13.0, 39.0]]
    )


def scale_cases(rng, M, K):
    """Every way in which scales can lie, with the group size."""
    for rows in (1, M):
        for size in (K, -(-K // 2), *((3, 1) if K <= 100 else (90,))):
            scale = rng.uniform(0.5, 2, (rows, -(-K // size))).astype(np.float32)
            yield scale, size


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("M, K", [(1, 1), (1, 7), (5, 1), (6, 11)])
def test_packed_matrix_is_the_dense_product(M, K, transposed):
    rng = np.random.default_rng(0)
    codes = random_codes(rng, (M, K))
    for scale, size in scale_cases(rng, M, K):
        weights = codes * np.repeat(scale, size, axis=1)[:, :K].astype(np.float64)
        weights = weights if transposed else weights.T
        X = rng.normal(size=(3, weights.shape[0]))
        A = reference.PackedMatrix(pack(codes, "t2"), K, "t2", scale, size, transposed)
        assert A.shape == weights.shape[::-1]
        np.testing.assert_allclose(A.matmul_float(X), X @ weights, rtol=1e-6, atol=1e-6)
        rounded = A.matmul_int8(X.astype(np.float32))
        atol = 2 * np.abs(X).max() / 127 * np.abs(weights).sum(axis=0).max()
        np.testing.assert_allclose(rounded, X @ weights, atol=atol)


# -- the kernels: 8 bits ----------------------------------------------------


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("n", [0, 1, 2, 15, 16, 17, 333])
def test_quantized_activations_are_the_same_bits(level, n):
    rng = np.random.default_rng(n)
    X = rng.normal(size=(40, n)).astype(np.float32)
    X *= np.ldexp(1.0, rng.integers(-140, 120, (40, 1))).astype(np.float32)
    X[0], X[1] = 0, np.round(X[1])
    # Rows of ties.
    X[2] = rng.integers(-127, 127, n) + np.float32(0.5)
    if n:
        X[2, 0] = 127
        X[3, -1], X[4, 0], X[5, n // 2] = np.nan, np.inf, -np.inf
    expected = reference.quantize_activations(X)
    found = cpu.quantize_activations(X, n_threads=2, isa=level)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("format", FORMATS)
def test_every_number_of_activations(level, format):
    rng = np.random.default_rng(0)
    codes = random_codes(rng, (70, 203))
    for n in [*range(1, 18), 24, 25, 33, 300]:
        assert_exact(codes, random_q(rng, (n, 203)), level, format=format)


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_every_number_of_rows(level, format, n):
    rng = np.random.default_rng(n)
    q = random_q(rng, (n, 97))
    for M in [*range(1, 34), 63, 64, 65, 111, 128, 129]:
        assert_exact(random_codes(rng, (M, 97)), q, level, format=format)


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("format", FORMATS)
def test_every_number_of_columns(level, format):
    rng = np.random.default_rng(0)
    for K in [*range(36), 79, 80, 81, 159, 160, 161, 959, 960, 961, 1921, 2560]:
        for n in (1, 4):
            codes, q = random_codes(rng, (17, K)), random_q(rng, (n, K))
            assert_exact(codes, q, level, format=format)


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("code", [1, -1])
def test_largest_sums(level, format, code):
    K = 2**17 + 5
    codes = np.full((18, K), code, dtype=np.int8)
    A = make(codes, *ones(codes), layout="t2", format=format)
    for value in (127, -128):
        for n in (1, 2, 3, 12):
            q, step = np.full((n, K), value, dtype=np.int8), np.ones(n, np.float32)
            y = A.matmul_quantized(q, step, n_threads=1, isa=level)
            np.testing.assert_array_equal(y, np.float32(code * value * K))


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("format", FORMATS)
def test_sums_beyond_32_bits(level, format):
    K = 2**24 + 2**18 + 3
    codes = np.full((1, K), -1, dtype=np.int8)
    q = np.full((1, K), -128, dtype=np.int8)
    A = make(codes, *ones(codes), layout="t2", format=format)
    y = A.matmul_quantized(q, np.ones(1, np.float32), n_threads=2, isa=level)
    assert 128 * K > 2**31
    assert y[0, 0] == np.float32(128 * K)


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("format", FORMATS)
def test_rows_of_several_segments(level, format):
    rng = np.random.default_rng(0)
    codes, q = random_codes(rng, (1, 2**22 + 999)), random_q(rng, (1, 2**22 + 999))
    assert_exact(codes, q, level, format=format)


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("M, K", [(1, 1), (1, 90), (33, 1), (70, 203), (37, 1000)])
def test_all_scales_and_threads_give_the_same_bits(level, format, transposed, M, K):
    rng = np.random.default_rng(M)
    codes = random_codes(rng, (M, K))
    for i, (scale, size) in enumerate(scale_cases(rng, M, K)):
        X = rng.normal(size=(5, M if transposed else K)).astype(np.float32)
        parts = (pack(codes, "t2"), K, "t2", scale, size, transposed)
        expected = reference.PackedMatrix(*parts).matmul_int8(X)
        A = cpu.PackedMatrix(*parts, format=format, n_threads=2, isa="generic")
        for n_threads in (1, 2, 3) if i % 3 == 0 else (1,):
            y = A.matmul_int8(X, n_threads=n_threads, isa=level)
            np.testing.assert_array_equal(y, expected)


@needs_kernels
@pytest.mark.parametrize("layout", TERNARY)
@pytest.mark.parametrize("transposed", [False, True])
def test_all_layouts_give_the_same_bits(layout, transposed):
    rng = np.random.default_rng(0)
    # Wide enough for the columns to be unpacked in more than one piece.
    codes = random_codes(rng, (83, 30_000) if not transposed else (100, 30_000))
    scale = rng.uniform(0.5, 2, (len(codes), 1)).astype(np.float32)
    X = rng.normal(size=(2, codes.shape[not transposed])).astype(np.float32)
    options = {"n_threads": 2, "isa": "generic"}
    parts = (pack(codes, layout), codes.shape[1], layout, scale, codes.shape[1])
    y = cpu.PackedMatrix(*parts, transposed, **options).matmul_int8(X, **options)
    expected = reference.PackedMatrix(*parts, transposed).matmul_int8(X)
    np.testing.assert_array_equal(y, expected)


@needs_kernels
@pytest.mark.parametrize("layout", ["q3", "i4", "i8"])
def test_more_levels_are_refused(layout):
    packed = pack(np.zeros((2, 24), dtype=np.int8), layout)
    for matrix, options in (
        (reference.PackedMatrix, {}),
        (cpu.PackedMatrix, {"n_threads": 1, "isa": "generic"}),
    ):
        with pytest.raises(ValueError, match=layout):
            matrix(packed, 24, layout, np.ones((1, 1), np.float32), 24, **options)


@needs_kernels
def test_quantized_activations_need_scales_that_come_last():
    codes = np.ones((3, 4), dtype=np.int8)
    q, step = np.ones((1, 3), dtype=np.int8), np.ones(1, dtype=np.float32)
    A = make(codes, np.ones((3, 1), np.float32), 4, transposed=True)
    assert A.needs_float
    with pytest.raises(ValueError, match="differ along the activations"):
        A.matmul_quantized(q, step, n_threads=1, isa="generic")


# -- the kernels: floats -----------------------------------------------------


def error_bound(codes, scale, group_size, X):
    """What matmul_float.h promises, and one rounding of scale or activations more."""
    K, u = codes.shape[1], np.finfo(X.dtype).eps / 2
    weights = np.abs(codes * np.repeat(scale, group_size, axis=1)[:, :K])
    magnitudes = np.abs(X).astype(np.float64) @ weights.T.astype(np.float64)
    n = min(K, 1920) + K / 1920 + scale.shape[1] + 5
    return n * u / (1 - n * u) * magnitudes


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("M, K", [(1, 1), (16, 16), (33, 203), (70, 4003)])
def test_float_product_within_its_bound(level, format, dtype, M, K):
    rng = np.random.default_rng(K)
    codes = random_codes(rng, (M, K))
    for scale, size in list(scale_cases(rng, M, K))[1::2]:
        A = make(codes, scale, size, format=format)
        for n in (1, 2, 3, 13):
            X = rng.normal(size=(n, K)).astype(dtype)
            exact = reference.matmul_float(codes, scale, size, X.astype(np.float64))
            y = A.matmul_float(X, n_threads=1, isa=level)
            assert y.dtype == dtype and y.shape == (n, M)
            assert (np.abs(y - exact) <= error_bound(codes, scale, size, X)).all()
        for n_threads in (2, 3):
            again = A.matmul_float(X, n_threads=n_threads, isa=level)
            np.testing.assert_array_equal(again, y)


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_product_adds_badly_scaled_values(level, dtype):
    """All of one sign and of many sizes, where an order of summation shows."""
    rng = np.random.default_rng(0)
    K = 20_000
    codes = np.ones((17, K), dtype=np.int8)
    X = np.ldexp(rng.uniform(1, 2, (2, K)), rng.integers(-12, 12, (2, K)))
    X = X.astype(dtype)
    exact = X.astype(np.longdouble).sum(axis=1)[:, None]
    y = make(codes, *ones(codes)).matmul_float(X, n_threads=2, isa=level)
    assert (np.abs(y - exact) <= error_bound(codes, *ones(codes), X)).all()


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_of_activations_do_not_influence_each_other(level, dtype):
    rng = np.random.default_rng(0)
    codes = random_codes(rng, (75, 4000))
    X = rng.normal(size=(29, 4000)).astype(dtype)
    A = make(codes, *ones(codes))
    together = A.matmul_float(X, n_threads=2, isa=level)
    alone = [A.matmul_float(x[None], n_threads=1, isa=level)[0] for x in X]
    np.testing.assert_array_equal(together, alone)


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n", [1, 3])
def test_nonfinite_activations_propagate(level, dtype, bad, n):
    rng = np.random.default_rng(0)
    codes = random_codes(rng, (20, 50))
    X = np.ones((n, 50), dtype=dtype)
    X[0, 7] = bad
    y = make(codes, *ones(codes)).matmul_float(X, n_threads=1, isa=level)
    # As in a product of floats: 0 times infinity is NaN.
    with np.errstate(invalid="ignore"):
        expected = X[0, 7] * codes[:, 7].astype(dtype)
    np.testing.assert_array_equal(y[0], expected)
    np.testing.assert_array_equal(y[1:], codes.sum(axis=1) * np.ones((n - 1, 1)))


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("M, K, n", [(0, 5, 2), (5, 0, 2), (5, 3, 0), (0, 0, 0)])
def test_empty(level, transposed, M, K, n):
    codes = np.zeros((M, K), dtype=np.int8)
    results, activations = (K, M) if transposed else (M, K)
    for groups in {0, 1} if K == 0 else {1}:
        scale = np.ones((1, groups), dtype=np.float32)
        A = make(codes, scale, max(K, 1), transposed=transposed)
        X = np.ones((n, activations), dtype=np.float32)
        for y in (
            A.matmul_float(X, n_threads=2, isa=level),
            A.matmul_int8(X, n_threads=2, isa=level),
        ):
            np.testing.assert_array_equal(y, np.zeros((n, results)))


@needs_kernels
def test_storage():
    codes = np.zeros((640, 1600), dtype=np.int8)
    t2, t5, _ = (make(codes, *ones(codes), format=format) for format in FORMATS)
    assert t2.format == "t2" and t5.format == "t5"
    assert make(codes, *ones(codes)).format == "t2"
    assert make(codes[:1], *ones(codes)).format == "r2"
    assert abs(8 * t2.nbytes / codes.size - 2.0) < 0.03
    assert abs(8 * t5.nbytes / codes.size - 1.6) < 0.03
    with pytest.raises(ValueError, match="format='t3'"):
        make(codes, *ones(codes), format="t3")


@needs_kernels
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("transposed", [False, True])
def test_large_matrices_are_denser_for_8_bit_activations(monkeypatch, isa, transposed):
    monkeypatch.setattr(products, "_CACHED_CODES", 10_000)
    rng = np.random.default_rng(0)
    for shape, is_large in (
        ((80, 90), False),
        ((90, 160), True),
        ((12, 999), transposed),
    ):
        codes = random_codes(rng, shape)
        parts = (pack(codes, "t2"), shape[1], "t2", *ones(codes), transposed)
        X = rng.normal(size=(2, shape[not transposed])).astype(np.float32)
        matrix = StoredMatrix(*parts)
        y = products.multiply_int8(matrix, X, n_threads=2, isa=isa)
        expected = reference.PackedMatrix(*parts).matmul_int8(X)
        np.testing.assert_array_equal(y, expected)
        (form,) = matrix.forms.values()
        assert (form.format == "t5") == (is_large and isa == "avx512")


# -- properties ----------------------------------------------------------------

some = settings(max_examples=60, deadline=None, derandomize=True)
shapes = st.tuples(st.integers(1, 40), st.integers(1, 60), st.integers(1, 5))


@needs_kernels
@some
@given(shapes, st.integers(0, 2**32 - 1), st.integers(-20, 20), st.sampled_from(LEVELS))
def test_powers_of_two_pass_through(shape, seed, exponent, level):
    M, K, n = shape
    rng = np.random.default_rng(seed)
    codes = random_codes(rng, (M, K))
    scale = rng.uniform(0.5, 2, (M, 1)).astype(np.float32)
    X = rng.normal(size=(n, K)).astype(np.float32)
    options = {"n_threads": 1, "isa": level}
    for name in ("matmul_float", "matmul_int8"):
        y = getattr(make(codes, scale, K), name)(X, **options)
        scaled = make(codes, np.ldexp(scale, exponent), K)
        np.testing.assert_array_equal(
            getattr(scaled, name)(X, **options), np.ldexp(y, exponent)
        )


@needs_kernels
@some
@given(shapes, st.integers(0, 2**32 - 1), st.sampled_from(LEVELS))
def test_rows_permute(shape, seed, level):
    M, K, n = shape
    rng = np.random.default_rng(seed)
    codes, order = random_codes(rng, (M, K)), rng.permutation(M)
    scale = rng.uniform(0.5, 2, (M, 1)).astype(np.float32)
    X = rng.normal(size=(n, K)).astype(np.float32)
    options = {"n_threads": 1, "isa": level}
    for name in ("matmul_float", "matmul_int8"):
        y = getattr(make(codes, scale, K), name)(X, **options)
        permuted = make(codes[order], scale[order], K)
        np.testing.assert_array_equal(
            getattr(permuted, name)(X, **options), y[:, order]
        )


@needs_kernels
@some
@given(shapes, st.integers(0, 2**32 - 1), st.sampled_from(LEVELS))
def test_transposition(shape, seed, level):
    M, K, n = shape
    rng = np.random.default_rng(seed)
    codes = random_codes(rng, (M, K))
    X = rng.normal(size=(n, M)).astype(np.float32)
    options = {"n_threads": 1, "isa": level}
    for name in ("matmul_float", "matmul_int8"):
        transposed = make(codes, *ones(codes), transposed=True)
        copied = np.ascontiguousarray(codes.T)
        plain = make(copied, *ones(copied))
        np.testing.assert_array_equal(
            getattr(transposed, name)(X, **options), getattr(plain, name)(X, **options)
        )


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
def test_one_product_after_the_other(level):
    """Panels are gone through to and fro, whatever the number of threads."""
    rng = np.random.default_rng(11)
    codes = random_codes(rng, (64 * 5 + 3, 2**14))
    A = make(codes, *ones(codes))
    q, step = random_q(rng, (3, 2**14)), np.ones(3, dtype=np.float32)
    expected = integer_sums(q, codes).astype(np.float32)
    for n_threads in (1, 2, 2, 3, 1, 3):
        y = A.matmul_quantized(q, step, n_threads=n_threads, isa=level)
        np.testing.assert_array_equal(y, expected)


@needs_kernels
@pytest.mark.parametrize(("n_rows", "format"), [(70, "t2"), (70, "t5"), (5, "r2")])
def test_more_rows_than_are_prepared_at_a_time(n_rows, format):
    """2**20 bytes of 8-bit activations are prepared, so here 12 rows or fewer."""
    rng = np.random.default_rng(12)
    codes = random_codes(rng, (n_rows, 90_000))
    options = {"n_threads": 2, "isa": LEVELS[-1]}
    A = make(codes, *ones(codes), format=format)
    q, step = random_q(rng, (29, 90_000)), np.ones(29, dtype=np.float32)
    y = A.matmul_quantized(q, step, **options)
    np.testing.assert_array_equal(y, integer_sums(q, codes).astype(np.float32))
    X = q.astype(np.float32)
    rounded = reference.quantize_activations(X)
    y = A.matmul_int8(X, **options)
    np.testing.assert_array_equal(y, A.matmul_quantized(*rounded, **options))
    for dtype in (np.float32, np.float64):
        y = A.matmul_float(X.astype(dtype), **options)
        np.testing.assert_allclose(y, integer_sums(q, codes), rtol=0, atol=2)
