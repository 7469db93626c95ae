"""Packing, exhaustively: every word and every byte of every layout."""

import itertools

import numpy as np
import pytest

from sklearn_ternary import _reference
from sklearn_ternary._layouts import LAYOUTS

cpu = pytest.importorskip("sklearn_ternary._cpu", reason="the kernels are not built")

pytestmark = pytest.mark.codec


def words(n_levels, n_values):
    """Every sequence of `n_values` codes, one a row."""
    half = n_levels // 2
    levels = range(-half, half + 1)
    return np.array(list(itertools.product(levels, repeat=n_values)), dtype=np.int8)


def check_word_table(codes, layout, isa):
    """Pack and unpack `codes` as rows, and as one long row for the wide loops."""
    options = {"isa": isa, "n_threads": 1}
    for shaped in (codes, codes.reshape(1, -1)):
        packed = cpu.pack(shaped, layout, **options)
        np.testing.assert_array_equal(packed, _reference.pack(shaped, layout))
        back = cpu.unpack(packed, shaped.shape[1], layout, **options)
        np.testing.assert_array_equal(back, shaped)
        assert cpu.find_invalid(packed, layout, **options) == -1
        counts = cpu.count_codes(packed, shaped.shape[1], layout, **options)
        expected = _reference.count_codes(packed, shaped.shape[1], layout)
        np.testing.assert_array_equal(counts, expected)
        for group_size in {1, 7, shaped.shape[1]}:
            args = packed, shaped.shape[1], layout, group_size
            sums = cpu.code_sums(*args, **options)
            np.testing.assert_array_equal(sums, _reference.code_sums(*args))


@pytest.mark.parametrize("layout", ["t2", "t5"])
def test_all_words_of_ten_ternary_codes(layout, isa):
    check_word_table(words(3, 10), layout, isa)


def test_all_words_of_six_quinary_codes(isa):
    check_word_table(words(5, 6), "q3", isa)


def test_all_pairs_of_i4(isa):
    check_word_table(words(15, 2), "i4", isa)


def test_all_codes_of_i8(isa):
    check_word_table(words(255, 1), "i8", isa)


def test_definition_by_hand():
    """The table of layouts, once without any code of the package."""
    codes = np.array([[1, -1, 0, 1, -1, 1]], dtype=np.int8)
    digits = [2, 0, 1, 2, 0, 2]
    t2 = [
        sum(d << 2 * i for i, d in enumerate(digits[:4])),
        sum(d << 2 * i for i, d in enumerate([0, 2, 1, 1])),
    ]
    t5 = [
        sum(d * 3**i for i, d in enumerate(digits[:5])),
        sum(d * 3**i for i, d in enumerate([2, 1, 1, 1, 1])),
    ]
    assert _reference.pack(codes, "t2").tolist() == [t2]
    assert _reference.pack(codes, "t5").tolist() == [t5]
    fields = [
        sum((d + 1) * 5**i for i, d in enumerate(digits[j : j + 3])) for j in (0, 3)
    ]
    word = sum(f << 7 * j for j, f in enumerate([*fields, *[62] * 6]))
    assert _reference.pack(codes, "q3").tobytes() == word.to_bytes(7, "little")
    i4 = [(c0 + 8) | (c1 + 8) << 4 for c0, c1 in codes.reshape(3, 2).tolist()]
    assert _reference.pack(codes, "i4").tolist() == [i4]
    assert _reference.pack(codes, "i8").tobytes() == codes.tobytes()


# ---- every byte ----------------------------------------------------------

VALID_BYTE = {"t2": 0b01100010, "t5": 242, "i4": 0xF1, "i8": 127}


def is_valid(byte, layout):
    """Whether codes pack to a byte, by the description of the layout."""
    if layout == "t2":
        return all(byte >> shift & 3 != 3 for shift in (0, 2, 4, 6))
    if layout == "t5":
        return byte < 3**5
    if layout == "i4":
        return byte & 15 != 0 and byte >> 4 != 0
    return byte != 128  # i8: -128


@pytest.mark.parametrize("layout", VALID_BYTE)
def test_all_bytes_checked(layout, isa):
    """Every byte at several places of a long row, threads or not."""
    n = 1000
    for byte in range(256):
        where = byte * 37 % n
        packed = np.full((2, n // 2), VALID_BYTE[layout], dtype=np.uint8)
        packed.flat[where] = byte
        packed.setflags(write=False)
        expected = -1 if is_valid(byte, layout) else where
        assert _reference.find_invalid(packed, layout) == expected
        assert cpu.find_invalid(packed, layout, isa=isa, n_threads=1) == expected


@pytest.mark.parametrize("layout", VALID_BYTE)
def test_first_invalid_byte_is_found(layout, isa, n_threads):
    invalid = {"t2": 0b00001100, "t5": 243, "i4": 0x70, "i8": 128}[layout]
    packed = np.full((3, 20_000), VALID_BYTE[layout], dtype=np.uint8)
    packed.flat[[33_333, 33_334, 59_999]] = invalid
    options = {"isa": isa, "n_threads": n_threads}
    assert cpu.find_invalid(packed, layout, **options) == 33_333
    assert cpu.find_invalid(packed[:1], layout, **options) == -1


def test_all_fields_of_q3_checked(isa):
    """Every value of every 7-bit field, in units early and late in the row."""
    for field, value in itertools.product(range(8), range(128)):
        unit = (field * 128 + value) % 50
        packed = np.full((2, 25 * 7), 0, dtype=np.uint8)
        word = value << 7 * field
        packed.reshape(50, 7)[unit] = list(word.to_bytes(7, "little"))
        expected = -1 if value < 125 else unit
        assert _reference.find_invalid(packed, "q3") == expected
        assert cpu.find_invalid(packed, "q3", isa=isa, n_threads=1) == expected


def test_q3_first_invalid_unit_is_found(isa, n_threads):
    packed = np.zeros((3, 7 * 3000), dtype=np.uint8)
    packed[1, 700:707] = 255
    packed[2, 707:714] = 255
    assert cpu.find_invalid(packed, "q3", isa=isa, n_threads=n_threads) == 3100


@pytest.mark.parametrize("layout", ["t2", "t5", "i4", "i8"])
def test_all_valid_bytes_unpack(layout, isa):
    """Each valid byte, alone in a row and at every place of a long row."""
    valid = [b for b in range(256) if is_valid(b, layout)]
    per_byte = LAYOUTS[layout].unit_values
    options = {"isa": isa, "n_threads": 1}
    for packed in (np.array(valid, np.uint8)[:, None], np.array([valid * 7], np.uint8)):
        n = packed.shape[1] * per_byte
        for n_values in {n, n - 1, max(1, n - per_byte + 1)} - {0}:
            got = cpu.unpack(packed, n_values, layout, **options)
            np.testing.assert_array_equal(
                got, _reference.unpack(packed, n_values, layout)
            )
            scale = np.array([[0.3]], dtype=np.float32)
            args = packed, n_values, layout, scale, n_values
            np.testing.assert_array_equal(
                cpu.unpack_values(*args, **options), _reference.unpack_values(*args)
            )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_byte_beyond_the_row_is_written(layout, isa):
    """Rows of every length up to a few units: neighbours stay what they are."""
    rng = np.random.default_rng(0)
    half = LAYOUTS[layout].n_levels // 2
    options = {"isa": isa, "n_threads": 1}
    for n in (*range(1, 75), *range(310, 345), 639, 641):
        codes = rng.integers(-half, half + 1, size=(3, n)).astype(np.int8)
        packed = cpu.pack(codes, layout, **options)
        np.testing.assert_array_equal(packed, _reference.pack(codes, layout))
        np.testing.assert_array_equal(cpu.unpack(packed, n, layout, **options), codes)
