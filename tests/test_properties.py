"""What must hold for every array, tried on many."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sklearn_ternary import ternarize
from sklearn_ternary._layouts import LAYOUTS
from sklearn_ternary.quantization._array import pack_codes

pytestmark = pytest.mark.properties

SCALES = ["absmean", "twn", "mse", "absmax", "norm"]
# SKLEARN_TERNARY_TEST_EXAMPLES=10000 is for a long, thorough run.
many = settings(
    max_examples=int(os.environ.get("SKLEARN_TERNARY_TEST_EXAMPLES", 300)),
    deadline=None,
    derandomize=True,
)
shapes = hnp.array_shapes(min_dims=1, max_dims=2, max_side=40)


def matrices(dtype=np.float64, shape=shapes):
    width = np.dtype(dtype).itemsize * 8
    values = st.floats(-(2.0**50), 2.0**50, width=width, allow_subnormal=False).map(
        lambda x: 0.0 if abs(x) < 1e-15 else x
    )
    return hnp.arrays(dtype, shape, elements=values)


@many
@given(matrices(), st.sampled_from(SCALES), st.integers(-60, 60))
def test_powers_of_two_pass_through(W, scale, exponent):
    A, B = ternarize(W, scale=scale), ternarize(np.ldexp(W, exponent), scale=scale)
    np.testing.assert_array_equal(B.codes(), A.codes())
    np.testing.assert_array_equal(B.scale, np.ldexp(A.scale, exponent))


@many
@given(matrices(np.float32), st.sampled_from(SCALES), st.sampled_from([3, 5]))
def test_signs_are_symmetric(W, scale, n_levels):
    if scale == "twn":
        n_levels = 3
    A = ternarize(W, scale=scale, n_levels=n_levels)
    B = ternarize(-W, scale=scale, n_levels=n_levels)
    np.testing.assert_array_equal(B.codes(), -A.codes())
    np.testing.assert_array_equal(B.scale, A.scale)


@many
@given(
    matrices(np.float64, (7, 12)), st.sampled_from(SCALES), st.permutations(range(7))
)
def test_rows_permute(W, scale, order):
    A = ternarize(W, scale=scale, axis=1)
    assert ternarize(W[order], scale=scale, axis=1) == A[order]


@many
@given(matrices(shape=(9, 5)), st.sampled_from(SCALES), st.permutations(range(5)))
def test_columns_permute(W, scale, order):
    A = ternarize(W, scale=scale, axis=0)
    B = ternarize(W[:, order], scale=scale, axis=0)
    np.testing.assert_array_equal(B.toarray(), A.toarray()[:, order])


@many
@given(matrices(np.float32), st.sampled_from(SCALES))
def test_mse_has_the_least_error(W, scale):
    wide = W.astype(np.float64)
    error = np.sum((wide - ternarize(W, scale=scale).toarray(np.float64)) ** 2)
    least = np.sum((wide - ternarize(W, scale="mse").toarray(np.float64)) ** 2)
    assert least <= error + 1e-6 * np.sum(wide**2)


@many
@given(matrices(), st.sampled_from(["absmean", "mse"]), st.sampled_from([3, 5]))
def test_levels_stay_where_they_are(W, scale, n_levels):
    A = ternarize(W, scale=scale, n_levels=n_levels)
    again = ternarize(A.toarray(), scale=A.scale[0, 0], n_levels=n_levels)
    np.testing.assert_array_equal(again.codes(), A.codes())


@many
@given(st.data(), st.sampled_from(sorted(LAYOUTS)))
def test_packing_is_lossless(data, layout):
    half = LAYOUTS[layout].n_levels // 2
    codes = data.draw(
        hnp.arrays(np.int8, shapes, elements=st.integers(-half, half)), label="codes"
    )
    A = pack_codes(codes, np.ones((1, 1)), max(codes.size, 1), codes.shape, layout)
    np.testing.assert_array_equal(A.codes(), codes)
    assert A.packed.shape[-1] == LAYOUTS[layout].row_bytes(
        codes.shape[-1] if codes.ndim == 2 else codes.size
    )
