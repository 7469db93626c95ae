"""The layouts of ggml and bitnet.cpp, and tensors of their files.

The oracles are the descriptions of the formats, written once more value by value;
bytes written down by hand; and gguf, which llama.cpp's converter uses.
"""

import functools
import hashlib
import importlib
import itertools

import numpy as np
import pytest

from sklearn_ternary import TernaryArray, _reference, config_context, load, ternarize
from sklearn_ternary._layouts import LAYOUTS, get_layout
from sklearn_ternary.quantization._array import pack_codes
from sklearn_ternary.quantization._ggml import from_ggml, to_ggml

pytestmark = pytest.mark.codec

FOREIGN = ["tq1_0", "tq2_0", "i2_s_x86", "i2_s_arm"]
BLOCKS = ["tq1_0", "tq2_0"]
THREE_LEVELS = [row.name for row in LAYOUTS.values() if row.n_levels == 3]


def skip_without_kernels():
    pytest.importorskip(
        "sklearn_ternary._kernels._codec", reason="no kernels are built"
    )


@pytest.fixture
def cpu():
    skip_without_kernels()
    return importlib.import_module("sklearn_ternary._cpu")


@pytest.fixture
def gguf():
    return pytest.importorskip("gguf", reason="gguf is not installed")


# ---- the formats, value by value -------------------------------------------

# The byte of a unit that holds value e, and the place of the value in it.


def tq1_0_place(e):
    if e < 160:
        return e % 32, e // 32
    if e < 240:
        return 32 + (e - 160) % 16, (e - 160) // 16
    return 48 + (e - 240) % 4, (e - 240) // 4


def tq2_0_place(e):
    return 32 * (e // 128) + e % 32, e % 128 // 32


def i2_s_x86_place(e):
    return e % 32, e // 32


def i2_s_arm_place(e):
    return e % 16, e // 16


PLACE = {
    "tq1_0": tq1_0_place,
    "tq2_0": tq2_0_place,
    "i2_s_x86": i2_s_x86_place,
    "i2_s_arm": i2_s_arm_place,
}


def byte_of(digits, layout):
    """The byte of these digits (code + 1), in the order of their places."""
    if layout == "tq2_0":
        return sum(d << 2 * i for i, d in enumerate(digits))
    if layout != "tq1_0":
        return sum(d << (6 - 2 * i) for i, d in enumerate(digits))
    number = sum(d * 3 ** (4 - i) for i, d in enumerate(digits))
    return -(-number * 256 // 243)


def packed_by_hand(codes, layout):
    """Bytes of one row of codes."""
    row = LAYOUTS[layout]
    packed = []
    for start in range(0, len(codes), row.unit_values):
        unit = [int(c) + 1 for c in codes[start : start + row.unit_values]]
        unit += [1] * (row.unit_values - len(unit))
        digits = [{} for _ in range(row.unit_bytes)]
        for e, d in enumerate(unit):
            byte, place = PLACE[layout](e)
            digits[byte][place] = d
        packed += [byte_of([d[i] for i in range(len(d))], layout) for d in digits]
    return packed


def digits_of_byte(layout, position):
    """How many values byte `position` of a unit holds."""
    places = map(PLACE[layout], range(LAYOUTS[layout].unit_values))
    return sum(byte == position for byte, _ in places)


@functools.cache
def valid_bytes(layout, position):
    n = digits_of_byte(layout, position)
    return {byte_of(d, layout) for d in itertools.product(range(3), repeat=n)}


# ---- worked examples --------------------------------------------------------

EXAMPLE = np.array([[(e * e + e // 7) % 3 - 1 for e in range(256)]], dtype=np.int8)
TQ2_0_EXAMPLE = (
    "589509901901a02a122162562542640680a84a8488589509901901a02a122162"
    "09901901a02a122162562542640680a84a8488589509901901a02a1221625625"
)
TQ1_0_EXAMPLE = (
    "4782901198581cf8b76bc2d685b033c80953e723414782901198581cf8b76bc2"
    "e429ee3d35f70d501567a805705c22e38fc1e756"
)
HALF_AS_FLOAT16, HALF_AS_FLOAT32 = "0038", "0000003f"
START_OF_EXAMPLE = {
    "tq2_0": TQ2_0_EXAMPLE,
    "tq1_0": TQ1_0_EXAMPLE,
    "i2_s_x86": "2556600664400aa88448899558811990022aa112222556",
    "i2_s_arm": "08466a014a42119a8052908466a014a4",
}


@pytest.mark.parametrize("layout", FOREIGN)
def test_worked_example(layout):
    packed = _reference.pack(EXAMPLE, layout)
    assert packed.tobytes().hex().startswith(START_OF_EXAMPLE[layout])
    np.testing.assert_array_equal(_reference.unpack(packed, 256, layout), EXAMPLE)


@pytest.mark.parametrize("layout", FOREIGN)
def test_worked_example_of_a_file(layout):
    A = pack_codes(EXAMPLE, np.full((1, 1), 0.5, np.float32), 256, (1, 256), "t5")
    data = to_ggml(A, layout).tobytes()
    start = bytes.fromhex(START_OF_EXAMPLE[layout])
    assert data.startswith(start)
    if layout in BLOCKS:
        assert data == start + bytes.fromhex(HALF_AS_FLOAT16)
    else:
        assert data[64:] == bytes.fromhex(HALF_AS_FLOAT32) + bytes(28)
    B = from_ggml(data, (1, 256), layout)
    assert A == B
    assert B.layout == layout


# ---- packing ----------------------------------------------------------------


@pytest.mark.parametrize("layout", FOREIGN)
def test_definition_by_hand(layout):
    rng = np.random.default_rng(0)
    unit = LAYOUTS[layout].unit_values
    for n in (1, 2, 15, unit - 1, unit, unit + 1, 2 * unit + 33, 0):
        codes = rng.integers(-1, 2, size=(3, n)).astype(np.int8)
        packed = _reference.pack(codes, layout)
        assert packed.dtype == np.uint8
        assert packed.tolist() == [packed_by_hand(row, layout) for row in codes]
        np.testing.assert_array_equal(_reference.unpack(packed, n, layout), codes)
        assert _reference.find_invalid(packed, layout) == -1


@functools.cache
def all_words(layout):
    """Rows of one unit in which every byte takes each of its values."""
    row = LAYOUTS[layout]
    words = list(itertools.product(range(-1, 2), repeat=5))
    codes = np.empty((len(words), row.unit_values), dtype=np.int8)
    for e in range(row.unit_values):
        byte, place = PLACE[layout](e)
        codes[:, e] = [words[(v + 7 * byte) % len(words)][place] for v in range(243)]
    return codes


@pytest.mark.backends
@pytest.mark.parametrize("layout", FOREIGN)
def test_every_value_of_every_byte(layout, cpu, isa):
    options = {"isa": isa, "n_threads": 1}
    codes = all_words(layout)
    expected = np.array([packed_by_hand(row, layout) for row in codes], dtype=np.uint8)
    for byte in range(expected.shape[1]):
        assert set(expected[:, byte].tolist()) == valid_bytes(layout, byte)
    packed = cpu.pack(codes, layout, **options)
    np.testing.assert_array_equal(packed, expected)
    for rows in (packed, packed.reshape(1, -1)):
        n = codes.size // rows.shape[0]
        got = cpu.unpack(rows, n, layout, **options)
        np.testing.assert_array_equal(got.reshape(codes.shape), codes)
        assert cpu.find_invalid(rows, layout, **options) == -1
        counts = cpu.count_codes(rows, n, layout, **options)
        assert counts.tolist() == [np.sum(codes == c) for c in (-1, 0, 1)]


@pytest.mark.backends
@pytest.mark.parametrize("layout", FOREIGN)
def test_every_single_code(layout, cpu, isa):
    """One code that is not 0 at each place of a unit."""
    n = LAYOUTS[layout].unit_values
    codes = np.concatenate([np.eye(n, dtype=np.int8), -np.eye(n, dtype=np.int8)])
    packed = cpu.pack(codes, layout, isa=isa, n_threads=1)
    np.testing.assert_array_equal(packed, _reference.pack(codes, layout))
    back = cpu.unpack(packed, n, layout, isa=isa, n_threads=1)
    np.testing.assert_array_equal(back, codes)


@pytest.mark.backends
@pytest.mark.parametrize("layout", FOREIGN)
def test_awkward_lengths(layout, cpu, isa, n_threads):
    """Rows that end anywhere in a unit, and rows longer than what a thread takes."""
    rng = np.random.default_rng(1)
    options = {"isa": isa, "n_threads": n_threads}
    lengths = [0, 1, 5, 63, 64, 65, 127, 129, 159, 161, 239, 241, 255, 257, 511]
    for n_rows, n in [(0, 300), *((3, n) for n in lengths), (2, 7680), (2, 23_333)]:
        codes = rng.integers(-1, 2, size=(n_rows, n)).astype(np.int8)
        packed = cpu.pack(codes, layout, **options)
        np.testing.assert_array_equal(packed, _reference.pack(codes, layout))
        args = packed, n, layout
        np.testing.assert_array_equal(cpu.unpack(*args, **options), codes)
        np.testing.assert_array_equal(
            cpu.count_codes(*args, **options), _reference.count_codes(*args)
        )
        for dtype, size in itertools.product((np.float32, np.float64), (1, 7, 256)):
            scale = rng.uniform(size=(max(n_rows, 1), -(-n // size))).astype(dtype)
            got = cpu.unpack_values(*args, scale, size, **options)
            expected = _reference.unpack_values(*args, scale, size)
            assert got.dtype == dtype
            np.testing.assert_array_equal(got, expected)


@pytest.mark.backends
@pytest.mark.parametrize("layout", FOREIGN)
def test_quantized_straight_into_the_layout(layout, cpu, isa, n_threads):
    X = np.random.default_rng(2).normal(size=(3, 8000)).astype(np.float32)
    for n, size in itertools.product((77, 256, 8000), (8000, 100, 1)):
        x = np.ascontiguousarray(X[:, :n])
        groups = -(-n // size)
        threshold = np.linspace(0.2, 1, groups, dtype=np.float32).reshape(1, -1)
        got = cpu.quantize_pack(
            x, threshold, size, 3, layout, isa=isa, n_threads=n_threads
        )
        expected = _reference.quantize_pack(x, threshold, size, 3, layout)
        np.testing.assert_array_equal(got, expected)


@pytest.mark.backends
@pytest.mark.parametrize("layout", FOREIGN)
def test_nothing_beside_the_result_is_written(layout, cpu, isa):
    """Kernels write into the middle of a buffer whose ends stay what they are."""
    codec = importlib.import_module("sklearn_ternary._kernels._codec")
    levels = importlib.import_module(
        "sklearn_ternary._kernels._cpu_features"
    ).ISA_LEVELS
    ids = importlib.import_module("sklearn_ternary._cpu.pack").LAYOUT_IDS
    row, margin = LAYOUTS[layout], 512
    rng = np.random.default_rng(3)
    for n in (1, 16, 100, row.unit_values - 1, row.unit_values, row.unit_values + 31):
        codes = rng.integers(-1, 2, size=(2, n)).astype(np.int8)
        size = 2 * row.row_bytes(n)
        wide = np.full(size + 2 * margin, 77, dtype=np.uint8)
        packed = wide[margin : margin + size].reshape(2, -1)
        codec.pack(codes, ids[layout], packed, levels[isa], 1)
        np.testing.assert_array_equal(packed, _reference.pack(codes, layout))
        assert (wide[:margin] == 77).all()
        assert (wide[margin + size :] == 77).all()
        wide = np.full(2 * n + 2 * margin, 77, dtype=np.int8)
        back = wide[margin : margin + 2 * n].reshape(2, n)
        codec.unpack(packed, ids[layout], back, levels[isa], 1)
        np.testing.assert_array_equal(back, codes)
        assert (wide[:margin] == 77).all()
        assert (wide[margin + 2 * n :] == 77).all()


# ---- bytes that no codes pack to --------------------------------------------


def test_how_many_bytes_are_valid():
    """243 of five codes, 81 of four; a field of two bits is never 3."""
    assert [len(valid_bytes("tq1_0", m)) for m in range(52)] == [243] * 48 + [81] * 4
    for layout in ("tq2_0", "i2_s_x86", "i2_s_arm"):
        expected = {b for b in range(256) if all(b >> s & 3 != 3 for s in (0, 2, 4, 6))}
        assert valid_bytes(layout, 0) == expected
    # One byte is left out wherever rounding up 256 / 243 of a number skips one.
    assert set(range(256)) - valid_bytes("tq1_0", 0) == {
        1, 20, 40, 60, 79, 99, 119, 138, 158, 178, 197, 217, 237
    }  # fmt: skip


@pytest.mark.backends
@pytest.mark.parametrize("layout", FOREIGN)
def test_all_bytes_checked(layout, cpu, isa):
    size = LAYOUTS[layout].unit_bytes
    zeros = _reference.pack(np.zeros((2, 40 * LAYOUTS[layout].unit_values)), layout)
    positions = {0, 15, size - 1} | {p for p in (31, 32, 47, 48) if p < size}
    for position, byte in itertools.product(sorted(positions), range(256)):
        unit = (position * 7 + byte) % 80
        packed = zeros.copy()
        packed.reshape(80, size)[unit, position] = byte
        expected = -1 if byte in valid_bytes(layout, position) else unit
        assert _reference.find_invalid(packed, layout) == expected
        assert cpu.find_invalid(packed, layout, isa=isa, n_threads=1) == expected


@pytest.mark.backends
@pytest.mark.parametrize("layout", FOREIGN)
def test_first_invalid_unit_is_found(layout, cpu, isa, n_threads):
    row = LAYOUTS[layout]
    packed = _reference.pack(np.zeros((3, 1000 * row.unit_values), np.int8), layout)
    packed.reshape(3000, row.unit_bytes)[[2222, 2223, 2999], -1] = 255
    options = {"isa": isa, "n_threads": n_threads}
    assert cpu.find_invalid(packed, layout, **options) == 2222
    assert cpu.find_invalid(packed[:2], layout, **options) == -1


@pytest.mark.parametrize("layout", FOREIGN)
def test_arrays_refuse_invalid_bytes(layout):
    packed = np.full((2, LAYOUTS[layout].unit_bytes), 255, dtype=np.uint8)
    with pytest.raises(ValueError, match=f"no codes of layout '{layout}'"):
        TernaryArray(packed, np.ones((1, 1)), (2, 20), layout, group_size=20)


# ---- arrays -----------------------------------------------------------------


@pytest.mark.parametrize("layout", FOREIGN)
def test_bits(layout):
    expected = 1.625 if layout == "tq1_0" else 2.0
    assert LAYOUTS[layout].bits == expected
    assert ternarize(np.ones((4, 512)), layout=layout).packed.nbytes == 256 * expected


@pytest.mark.backends
@pytest.mark.parametrize("backend", ["numpy", "cpu"])
@pytest.mark.parametrize(
    ("one", "other"), list(itertools.permutations(THREE_LEVELS, 2))
)
def test_repacking_keeps_codes_and_values(one, other, backend):
    if backend == "cpu":
        skip_without_kernels()
    W = np.random.default_rng(4).normal(size=(7, 13, 59))
    with config_context(backend=backend):
        A = ternarize(W, scale="mse", block_size=100, layout=one)
        B = A.to_layout(other)
        assert B.layout == other
        assert A == B
        np.testing.assert_array_equal(B.codes(), A.codes())
        np.testing.assert_array_equal(B.toarray(), A.toarray())
        np.testing.assert_array_equal(B.to_layout(one).packed, A.packed)
        assert A.sparsity == B.sparsity


@pytest.mark.parametrize("layout", FOREIGN)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (300,), (0, 5), (5, 0), (3, 2, 70)])
def test_awkward_shapes(shape, layout):
    W = np.random.default_rng(5).normal(size=shape)
    A = ternarize(W, layout=layout)
    expected = ternarize(W, layout="t2")
    assert expected == A
    np.testing.assert_array_equal(A.toarray(), expected.toarray())


@pytest.mark.parametrize("layout", FOREIGN)
def test_rows_slices_and_files(layout, tmp_path):
    W = np.random.default_rng(6).normal(size=(9, 300))
    A = ternarize(W, axis=1, layout=layout)
    np.testing.assert_array_equal(A[2:7:2].toarray(), A.toarray()[2:7:2])
    np.testing.assert_array_equal(A[3].toarray(), A.toarray()[3])
    np.testing.assert_array_equal(A[3][5:290].toarray(), A.toarray()[3, 5:290])
    A.save(tmp_path / "a.safetensors")
    B = load(tmp_path / "a.safetensors")
    assert A == B
    assert B.layout == layout


@pytest.mark.parametrize("layout", ["tl1", "tl2"])
def test_lookup_table_layouts_are_refused_with_the_reason(layout):
    with pytest.raises(ValueError, match=r"when bitnet\.cpp is built.*I2_S"):
        get_layout(layout)
    A = ternarize(np.ones((2, 256)))
    with pytest.raises(ValueError, match=f"layout='{layout}' is not supported"):
        A.to_layout(layout)
    with pytest.raises(ValueError, match=f"layout='{layout}' is not supported"):
        to_ggml(A, layout)


# ---- tensors of files: against gguf -----------------------------------------

SCALES = [np.float16(0.5), np.float16(0.3), np.float16(65504), np.float16(6e-8)]


def random_array(shape, scale2d, group_size, seed=7, dtype=np.float32):
    """Codes of which every 256 in a row have one that is not 0."""
    codes = np.random.default_rng(seed).integers(-1, 2, size=shape).astype(np.int8)
    codes[..., ::256] = 1
    scale2d = np.asarray(scale2d, dtype=dtype)
    return pack_codes(codes, scale2d, group_size, shape, "t5")


def cases():
    rng = np.random.default_rng(8)
    for scale in SCALES:
        yield random_array((3, 512), [[scale]], 512)
    half = rng.uniform(0.01, 2, size=(4, 4)).astype(np.float16)
    yield random_array((4, 1024), half[:, :1], 1024)
    yield random_array((4, 1024), half[:, :1], 1024, dtype=np.float64)
    yield random_array((4, 1024), half, 256)
    yield random_array((4, 1024), half[:, :2], 512)
    yield random_array((4, 1024), half[:, :2], 768)
    yield random_array((4, 1024), half[:1], 256)
    yield random_array((256,), [[0.25]], 256)
    yield random_array((2, 3, 512), [[0.5]], 1536)
    yield random_array((2, 3, 512), half[:2, :3], 512)
    yield random_array((1, 20 * 256), [[1.0]], 20 * 256)


CASES = list(cases())


def qtype(gguf, layout):
    return getattr(gguf.GGMLQuantizationType, layout.upper())


@pytest.mark.parametrize("layout", BLOCKS)
@pytest.mark.parametrize("A", CASES, ids=repr)
def test_blocks_equal_those_of_gguf(A, layout, gguf):
    values = A.toarray(np.float32)
    expected = gguf.quants.quantize(values, qtype(gguf, layout))
    data = to_ggml(A, layout)
    assert data.shape == expected.shape
    np.testing.assert_array_equal(data, expected)
    back = gguf.quants.dequantize(data, qtype(gguf, layout))
    np.testing.assert_array_equal(back, values)
    B = from_ggml(expected, A.shape, layout)
    np.testing.assert_array_equal(B.codes(), A.codes())
    np.testing.assert_array_equal(B.toarray(), values)
    np.testing.assert_array_equal(to_ggml(B, layout), expected)


@pytest.mark.parametrize("layout", BLOCKS)
def test_blocks_of_gguf_of_any_weights(layout, gguf):
    """What gguf makes of weights that are not ternary, zeros among them."""
    rng = np.random.default_rng(9)
    W = rng.normal(size=(6, 1024)).astype(np.float32)
    W[2] = 0
    W[3, 256:512] = 0
    W[4, 10] = 1000
    data = gguf.quants.quantize(W, qtype(gguf, layout))
    A = from_ggml(data, W.shape, layout)
    expected = gguf.quants.dequantize(data, qtype(gguf, layout))
    np.testing.assert_array_equal(A.toarray(), expected)
    np.testing.assert_array_equal(to_ggml(A, layout), data)
    A = ternarize(np.where(W == 0, 0, np.sign(W)), scale=0.5)
    np.testing.assert_array_equal(
        to_ggml(A, layout),
        gguf.quants.quantize(A.toarray(np.float32), qtype(gguf, layout)),
    )


# ---- tensors of files -------------------------------------------------------


@pytest.mark.parametrize("layout", BLOCKS)
def test_scales_are_shared_as_widely_as_they_are(layout):
    for A in CASES:
        B = from_ggml(to_ggml(A, layout), A.shape, layout)
        assert B.scale.dtype == np.float32
        if A.scale.shape[1] == 1 and len(np.unique(A.scale)) == A.scale.size:
            assert B.scale.shape == A.scale.shape
            assert B.group_size == A.group_size
            assert A == B
        np.testing.assert_array_equal(B.toarray(), A.toarray(np.float32))


@pytest.mark.parametrize("layout", BLOCKS)
def test_blocks_of_zeros(layout):
    codes = np.random.default_rng(10).integers(-1, 2, size=(3, 512)).astype(np.int8)
    codes[1, :256] = 0
    A = pack_codes(codes, np.full((1, 1), 0.5), 512, codes.shape, "t2")
    data = to_ggml(A, layout)
    unit = LAYOUTS[layout].unit_bytes
    scales = data.reshape(6, unit + 2)[:, unit:].copy().view("<f2").ravel()
    assert scales.tolist() == [0.5, 0.5, 0, 0.5, 0.5, 0.5]
    B = from_ggml(data, codes.shape, layout)
    assert B.scale.tolist() == [[0.5]]
    np.testing.assert_array_equal(B.toarray(), A.toarray())
    zero = from_ggml(to_ggml(ternarize(np.zeros((2, 256))), layout), (2, 256), layout)
    assert zero.scale.tolist() == [[0.0]]
    assert not zero.toarray().any()


@pytest.mark.parametrize("layout", FOREIGN)
def test_any_layout_gives_the_same_tensor(layout):
    A = random_array((4, 512), [[0.25]], 512)
    expected = to_ggml(A, layout)
    for name in THREE_LEVELS:
        np.testing.assert_array_equal(to_ggml(A.to_layout(name), layout), expected)


@pytest.mark.parametrize(("layout", "n"), [("i2_s_x86", 384), ("i2_s_arm", 192)])
def test_tensor_with_one_scale(layout, n):
    rng = np.random.default_rng(11)
    codes = rng.integers(-1, 2, size=(2, 5, n)).astype(np.int8)
    scale = np.float32(0.1)
    A = pack_codes(codes, np.full((2, 1), scale), 5 * n, codes.shape, "t5")
    data = to_ggml(A, layout)
    by_hand = packed_by_hand(codes.ravel(), layout)
    assert data.tobytes() == bytes(by_hand) + scale.tobytes() + bytes(28)
    B = from_ggml(data, codes.shape, layout)
    assert B.scale.tolist() == [[scale]]
    assert A == B
    data[-28:] = 7  # other programs may leave anything there
    assert from_ggml(bytes(data), codes.shape, layout) == A


def test_the_two_orders_differ():
    A = random_array((2, 256), [[1.0]], 256)
    x86 = to_ggml(A, "i2_s_x86")
    wrong = from_ggml(x86, A.shape, "i2_s_arm")
    assert not np.array_equal(wrong.codes(), A.codes())


@pytest.mark.parametrize("layout", FOREIGN)
@pytest.mark.parametrize("shape", [(0, 256), (3, 0), (0,), (2, 0, 256)])
def test_empty_tensors(layout, shape):
    A = ternarize(np.empty(shape), scale=1.0)
    data = to_ggml(A, layout)
    assert data.size == (0 if layout in BLOCKS else 32)
    assert from_ggml(data, shape, layout).shape == shape


def test_scales_are_rounded_on_demand():
    A = random_array((2, 512), [[0.1], [0.7]], 512)
    with pytest.raises(ValueError, match=r"scale 0\.1.*float16.*round_scale=True"):
        to_ggml(A, "tq2_0")
    B = from_ggml(to_ggml(A, "tq2_0", round_scale=True), A.shape, "tq2_0")
    expected = np.float32([[0.1], [0.7]]).astype(np.float16)
    np.testing.assert_array_equal(B.scale, expected)
    np.testing.assert_array_equal(B.codes(), A.codes())
    A = random_array((2, 512), [[0.1]], 512, dtype=np.float64)
    with pytest.raises(ValueError, match="float32"):
        to_ggml(A, "i2_s_x86")
    B = from_ggml(to_ggml(A, "i2_s_x86", round_scale=True), A.shape, "i2_s_x86")
    assert B.scale == np.float32(0.1)


@pytest.mark.parametrize("scale", [np.nan, 65_520.0, 1e-8, 1e30])
def test_scales_that_no_rounding_can_hold(scale):
    A = random_array((2, 256), [[scale]], 256)
    with pytest.raises(ValueError, match="cannot hold"):
        to_ggml(A, "tq1_0", round_scale=True)


@pytest.mark.parametrize(
    ("A", "layout", "message"),
    [
        (np.ones((2, 256)), "tq2_0", "A is a ndarray"),
        (ternarize(np.ones((2, 256))), "t5", "layout='t5' is not one of ggml"),
        (ternarize(np.ones((2, 256))), "q4_0", "layout='q4_0'"),
        (ternarize(np.ones((2, 256)), n_levels=5), "tq2_0", "A has 5 levels"),
        (ternarize(np.ones((2, 255))), "tq1_0", "multiple of 256"),
        (ternarize(np.ones((2, 128, 2))), "tq2_0", "multiple of 256"),
        (ternarize(np.ones((2, 64))), "i2_s_x86", "multiple of 128"),
        (ternarize(np.ones((2, 32))), "i2_s_arm", "multiple of 64"),
        (ternarize(1.0), "tq2_0", r"shape \(\) does not fit"),
        (ternarize(np.ones((2, 512)), block_size=128), "tq2_0", "groups of 128 values"),
        (ternarize(np.ones((2, 512)), axis=0), "tq2_0", "groups of 1 values"),
        (ternarize([[1.0] * 128, [2.0] * 128], axis=1), "i2_s_x86", "2 different"),
    ],
)
def test_arrays_that_do_not_fit(A, layout, message):
    with pytest.raises(ValueError, match=message):
        to_ggml(A, layout)


def tensor(layout="tq2_0"):
    return to_ggml(random_array((2, 512), [[0.5]], 512), layout).ravel()


@pytest.mark.parametrize(
    ("data", "shape", "layout", "message"),
    [
        (tensor()[:-1], (2, 512), "tq2_0", "263 bytes; layout 'tq2_0'.* in 264"),
        (np.append(tensor(), np.uint8(0)), (2, 512), "tq2_0", "265 bytes"),
        (tensor(), (2, 256), "tq2_0", "264 bytes"),
        (tensor("i2_s_x86")[:-28], (2, 512), "i2_s_x86", "260 bytes.* in 288"),
        (tensor().view(np.int8), (2, 512), "tq2_0", "data is int8"),
        (tensor(), (4, 255), "tq2_0", "multiple of 256"),
        (tensor(), (-2, -512), "tq2_0", "not negative"),
        (tensor(), (), "tq2_0", r"shape \(\)"),
        (tensor(), 1024, "tq2_0", "shape=1024"),
        (tensor(), (2, 2**60), "tq2_0", "264 bytes"),
        (tensor(), (2, 512), "t2", "layout='t2' is not one of ggml"),
        (tensor(), (2, 512), "tl2", "when bitnet.cpp is built"),
    ],
)  # fmt: skip
def test_bytes_that_do_not_fit(data, shape, layout, message):
    with pytest.raises(ValueError, match=message):
        from_ggml(data, shape, layout)


@pytest.mark.parametrize("layout", FOREIGN)
@pytest.mark.parametrize("scale", [-0.5, np.nan, np.inf, -np.inf])
def test_scales_of_damaged_tensors(layout, scale):
    data = tensor(layout)
    if layout in BLOCKS:
        size, block = LAYOUTS[layout].unit_bytes, 3
        data.reshape(4, -1)[3, size:] = np.array([scale], "<f2").view(np.uint8)
    else:
        block = 0
        data[-32:-28] = np.array([scale], "<f4").view(np.uint8)
    with pytest.raises(ValueError, match=f"in block {block}; a scale is finite"):
        from_ggml(data, (2, 512), layout)


@pytest.mark.parametrize("layout", FOREIGN)
def test_codes_of_damaged_tensors(layout):
    data = tensor(layout)
    data[70] = 237  # skipped by rounding up, and a field of 3
    unit = 70 // (LAYOUTS[layout].unit_bytes + 2 * (layout in BLOCKS))
    with pytest.raises(ValueError, match=f"no codes.*unit {unit}$"):
        from_ggml(data, (2, 512), layout)


# SHA-256 of codes and scale as the function quantize_i2_s of bitnet.cpp
# (github.com/microsoft/BitNet, commit 16da220, src/ggml-bitnet-mad.cpp) wrote them,
# compiled for each of the two orders with ACT_PARALLEL, as the project sets it.
WRITTEN_BY_BITNET = {
    ("x86", (4, 256), 0.5): (
        "a18d51160f23bf5a678f76ee4b8fb3627058dc74b376620faa2a86646e34f164"
    ),
    ("x86", (3, 384), 0.037109375): (
        "1c7f402f727f7a267978d48142eac2b72ab846de29e769da664a16cb712d23c0"
    ),
    ("x86", (2, 2560), 1.25): (
        "349dcac32320b7e46bf7b61f9e6e09d671b145525e3775cf60afc5fb03f8c207"
    ),
    ("arm", (4, 256), 0.5): (
        "1ff892e9629b35ef45319f18287587e6f3b73ab2b50b625ddf5f639715f19333"
    ),
    ("arm", (3, 384), 0.037109375): (
        "fa87ad2a3cfcf49d331b7f1f3bac468a479352d16039fc54b3503d7498e5908b"
    ),
    ("arm", (2, 2560), 1.25): (
        "ac7e2ec66504f6293c58f924de17426d3f0c202f8660e3ae62f462cfb5aea771"
    ),
}


@pytest.mark.parametrize(("order", "shape", "scale"), WRITTEN_BY_BITNET, ids=str)
def test_bytes_are_those_of_bitnet_cpp(order, shape, scale):
    i = np.arange(shape[0] * shape[1])
    codes = ((i * i + i // 5) % 3 - 1).reshape(shape)
    A = ternarize(codes * np.float32(scale), scale=scale)
    data = bytes(to_ggml(A, f"i2_s_{order}"))
    # What follows the scale is padding, which bitnet.cpp does not write.
    written = data[: A.size // 4 + 4]
    digest = hashlib.sha256(written).hexdigest()
    assert digest == WRITTEN_BY_BITNET[order, shape, scale]
    B = from_ggml(np.frombuffer(data, np.uint8), shape, f"i2_s_{order}")
    np.testing.assert_array_equal(B.codes(), codes)
