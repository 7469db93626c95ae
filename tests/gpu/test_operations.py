"""Every operation on a device gives the bits of its definition."""

import numpy as np
import pytest

from sklearn_ternary import _gpu, _reference
from sklearn_ternary._gpu import memory, scales, searches
from sklearn_ternary._gpu.expressions import panels
from sklearn_ternary._layouts import LAYOUTS

# (rows, columns), size of groups
CASES = [
    ((0, 5), 2),
    ((3, 0), 1),
    ((1, 1), 1),
    ((5, 3), 7),
    ((30, 7), 2),
    ((3, 2048), 64),
    ((2, 4097), 4097),
    ((2, 2600), 1300),
    ((1, 9001), 9001),
]
DTYPES = [np.float32, np.float64]
SEARCHED = [("mse", 3), ("mse", 5), ("norm", 3), ("norm", 5)]


@pytest.fixture
def on_device(order, any_cupy):
    """A function that calls an operation on CuPy arrays and returns NumPy ones."""

    def call(operation, *args):
        args = [any_cupy.asarray(a) if isinstance(a, np.ndarray) else a for a in args]
        result = getattr(_gpu, operation)(*args)
        if result is None:
            return args[-1].get()
        several = result if isinstance(result, tuple) else (result,)
        assert all(isinstance(r, (int, any_cupy.ndarray)) for r in several)
        found = tuple(r if isinstance(r, int) else r.get() for r in several)
        return found if isinstance(result, tuple) else found[0]

    return call


def _skip_searches(order, kind):
    if order == "expressions" and (kind, 3) in SEARCHED:
        pytest.skip("its kernels are those of all devices")


def same_bits(got, expected):
    if isinstance(expected, tuple):
        for g, e in zip(got, expected, strict=True):
            same_bits(g, e)
        return
    got, expected = np.asarray(got), np.asarray(expected)
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(got, expected)
    numbers = ~np.isnan(expected)
    signs = np.signbit(got[numbers]), np.signbit(expected[numbers])
    np.testing.assert_array_equal(*signs)


def make(shape, dtype):
    rng = np.random.default_rng(sum(shape))
    X = rng.standard_normal(shape).astype(dtype)
    X[rng.random(shape) < 0.1] = 0
    return X


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "group_size"), CASES)
def test_scales_and_codes(on_device, order, shape, group_size, dtype):
    X = make(shape, dtype)

    def check(operation, *args):
        expected = getattr(_reference, operation)(*args)
        same_bits(on_device(operation, *args), expected)
        return expected

    kinds = ("twn", 3), ("absmax", 3), ("absmean", 5), ("absmean", 3)
    # The kernels of others are those of all devices.
    of_columns = ("column_abs_sum", float), ("column_abs_max", dtype)
    if order == "expressions":
        of_columns = ()
    else:
        kinds = *SEARCHED, *kinds
    for kind, n_levels in kinds:
        scale, threshold = check("group_scale", X, group_size, kind, n_levels)
    for n_levels in (3, 5):
        codes = check("quantize_codes", X, threshold, group_size, n_levels)
        check("quantize_values", X, threshold, scale, group_size, n_levels)
        check("code_values", codes, scale, group_size, n_levels)
        # Parameters that all rows share.
        check("quantize_codes", X, threshold[:1], group_size, n_levels)
    codes = _reference.quantize_codes(X, threshold, group_size, 3)
    for layout in ("t2", "t5"):
        packed = check("quantize_pack", X, threshold, group_size, 3, layout)
        check("pack", codes, layout)
        check("unpack", packed, shape[1], layout)
        check("unpack_values", packed, shape[1], layout, scale, group_size)
        check("count_codes", packed, shape[1], layout)
        check("code_sums", packed, shape[1], layout, group_size)
        check("find_invalid", packed, layout)
        if packed.size:
            packed[-1, -1] = packed[-1, 0] = 255
            check("find_invalid", packed, layout)
    for name, result_dtype in of_columns:
        before = make((1, shape[1]), result_dtype)[0] ** 2
        expected = before.copy()
        getattr(_reference, name)(X, expected)
        same_bits(on_device(name, X, before), expected)
    check("find_nonfinite", X)
    if X.size:
        X.flat[-1] = np.inf
        X.flat[X.size // 2] = np.nan
        check("find_nonfinite", X)
        check("group_scale", X, group_size, "absmean", 3)
        check("group_scale", X, group_size, "absmax", 3)


def test_every_byte(on_device):
    """Codes of all bytes, in rows that are and are not whole bytes."""
    for layout, unit in (("t2", 4), ("t5", 5)):
        every = np.arange(256, dtype=np.uint8)[:, None, None]
        valid = [byte for byte in every if _reference.find_invalid(byte, layout) < 0]
        packed = np.concatenate(valid, axis=1)
        for n_values in (unit * packed.shape[1], unit * packed.shape[1] - 1):
            expected = _reference.unpack(packed, n_values, layout)
            same_bits(on_device("unpack", packed, n_values, layout), expected)


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"t2", "t5"}))
def test_layouts_without_kernels(on_device, layout, monkeypatch):
    """Written as expressions, a panel of rows at a time."""
    monkeypatch.setattr(panels, "_PANEL", 600)
    half = LAYOUTS[layout].n_levels // 2
    codes = np.random.default_rng(0).integers(-half, half + 1, (5, 300)).astype(np.int8)
    packed = _reference.pack(codes, layout)
    same_bits(on_device("pack", codes, layout), packed)
    same_bits(on_device("unpack", packed, 300, layout), codes)
    args = packed, 300, layout, np.float32([[0.7]]), 300
    same_bits(on_device("unpack_values", *args), _reference.unpack_values(*args))
    counts = _reference.count_codes(packed, 300, layout)
    same_bits(on_device("count_codes", packed, 300, layout), counts)
    sums = _reference.code_sums(packed, 300, layout, 7)
    same_bits(on_device("code_sums", packed, 300, layout, 7), sums)
    assert on_device("find_invalid", packed, layout) == -1
    packed[3] = packed[4] = {"i8": 0x80, "i4": 0}.get(layout, 0xFF)
    expected = _reference.find_invalid(packed, layout)
    assert on_device("find_invalid", packed, layout) == expected >= 0
    # Pieces of arrays of the host are counted in the units of the layout, too.
    monkeypatch.setattr(memory, "PIECE_BYTES", 2 * packed[0].nbytes)
    assert _gpu.find_invalid(packed, layout) == expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormal_levels(on_device, dtype):
    """CuPy's own expressions make 0 of them."""
    scale = np.finfo(dtype).smallest_subnormal * np.array([[7], [1 << 20]], dtype)
    X = make((2, 40), dtype) * scale
    threshold = _reference.quantize.threshold_of(scale, 5)
    args = X, threshold, scale, 40, 5
    same_bits(on_device("quantize_values", *args), _reference.quantize_values(*args))
    codes = _reference.quantize_codes(X, threshold, 40, 5)
    same_bits(
        on_device("code_values", codes, scale, 40, 5),
        _reference.code_values(codes, scale, 40, 5),
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_affine(on_device, dtype):
    X = make((9, 40), dtype)
    for rows in (1, 9):
        scale = np.abs(make((rows, 6), dtype))
        zero = np.rint(make((rows, 6), dtype) * 9)
        scale[0, 1] = 0
        scale[0, 2] = X[0, 14] = np.finfo(dtype).smallest_subnormal
        args = X, scale, zero, 7, -128, 127
        codes = _reference.affine_codes(*args)
        same_bits(on_device("affine_codes", *args), codes)
        args = codes, scale, zero, 7
        same_bits(on_device("affine_values", *args), _reference.affine_values(*args))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["absmean", "twn"])
def test_groups_of_many_chunks(on_device, dtype, kind, monkeypatch):
    """Sums of chunks side by side, and one after another where that decides."""
    monkeypatch.setattr(scales, "_FEW_CHUNKS", 0)
    rng = np.random.default_rng(0)
    X = rng.lognormal(0, 3, (3, 30_000)).astype(dtype)
    # A mean half-way between two numbers of single precision.
    X[1, ::2], X[1, 1::2] = 1, 1 + 2.0**-23
    X[2, 5] = np.nan
    args = X, X.shape[1], kind, 3
    same_bits(on_device("group_scale", *args), _reference.group_scale(*args))


@pytest.mark.parametrize(
    ("kind", "n_levels"),
    [("absmean", 3), ("twn", 3), ("absmax", 3), *SEARCHED],
)
def test_extreme_doubles(on_device, order, kind, n_levels):
    """Sums beyond the range, and magnitudes at its ends."""
    _skip_searches(order, kind)
    X = make((6, 5000), np.float64)
    X = np.clip(X, -1.7, 1.7) * np.array([1e308, 1e-300, 5e-324, 0, 1e160, 1])[:, None]
    args = X, X.shape[1], kind, n_levels
    same_bits(on_device("group_scale", *args), _reference.group_scale(*args))


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_that_are_not_aligned(any_cupy, dtype):
    """Views at an odd offset are not read four values at a time."""
    X = make((4, 64), dtype)
    flat = any_cupy.empty(X.size + 1, dtype)
    flat[1:] = any_cupy.asarray(X.ravel())
    view = flat[1:].reshape(X.shape)
    threshold = np.full((1, 1), 0.5, dtype)
    got = _gpu.quantize_codes(view, any_cupy.asarray(threshold), 64, 3)
    same_bits(got.get(), _reference.quantize_codes(X, threshold, 64, 3))


@pytest.mark.parametrize(("kind", "n_levels"), SEARCHED)
@pytest.mark.parametrize("dtype", DTYPES)
def test_searched_scales(on_device, order, dtype, kind, n_levels, monkeypatch):
    """Zeros, one value, ties, NaN, and groups that are shorter or larger."""
    _skip_searches(order, kind)
    monkeypatch.setattr(searches, "_SORTED_VALUES", 200)
    X = make((7, 90), dtype)
    X[0], X[1], X[2, :40] = 0, 3, 0
    X[3, ::2], X[3, 1::2] = 1, -1
    X[4, 7] = np.nan
    X[5, 8] = np.inf
    X[6] = np.finfo(dtype).smallest_subnormal * np.arange(90)
    for group_size in (1, 40, 90):
        args = X, group_size, kind, n_levels
        same_bits(on_device("group_scale", *args), _reference.group_scale(*args))
