"""Arrays of more than 2**31 values."""

import numpy as np
import pytest

from sklearn_ternary import _reference
from sklearn_ternary._gpu import kernels

N_VALUES = 2**31 + 4096 + 8


@pytest.mark.huge
def test_indices_are_of_64_bits(emulator):
    """The kernels read and write what lies beyond; most of memory is never touched."""
    codec = emulator.EmulatedModule(kernels.source("codec"), ())
    codes = np.zeros((1, N_VALUES), np.int8)
    codes[0, -9:] = 1, -1, 0, 1, 1, -1, 0, 0, 1
    packed = np.zeros((1, N_VALUES // 4), np.uint8)
    sizes = np.int64(1), np.int64(N_VALUES)
    codec.get_function("pack_t2")((64,), (256,), [codes, *sizes, packed], 0)
    expected = _reference.pack(codes[:, -24:], "t2")
    np.testing.assert_array_equal(packed[:, -6:], expected)
    assert (packed[0, : -8 : 2**16 + 1] == 0x55).all()
    counts = np.zeros(3, np.int64)
    codec.get_function("count_codes_t2")((64,), (256,), [packed, *sizes, counts], 0)
    np.testing.assert_array_equal(counts, [2, N_VALUES - 6, 4])
