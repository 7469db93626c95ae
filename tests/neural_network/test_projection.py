"""The projection onto a ball, against exact arithmetic and its definition."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sklearn_ternary.neural_network import project_l2_ball

VALUES = {
    np.float32: st.floats(width=32, allow_nan=False, allow_infinity=False),
    np.float64: st.floats(allow_nan=False, allow_infinity=False),
}


@pytest.mark.parametrize("dtype", VALUES)
@settings(max_examples=60, deadline=None)
@given(data=st.data(), radius=st.floats(0, 1e308))
def test_no_projection_is_longer_than_the_radius(dtype, data, radius):
    shape = hnp.array_shapes(max_dims=2, max_side=5)
    delta = data.draw(hnp.arrays(dtype, shape, elements=VALUES[dtype]))
    found = project_l2_ball(delta, radius)
    assert found.dtype == dtype
    assert found.shape == delta.shape
    square = sum(Fraction(float(x)) ** 2 for x in found.ravel())
    limit = Fraction(radius) * (1 + 4 * Fraction(float(np.finfo(dtype).eps)))
    assert square <= limit**2
    if sum(Fraction(float(x)) ** 2 for x in delta.ravel()) <= Fraction(radius) ** 2 * (
        1 - Fraction(1, 10**14)
    ):
        assert np.array_equal(found, delta)


def test_a_million_steps():
    """As the formula says, over 60 orders of magnitude."""
    rng = np.random.default_rng(0)
    deltas = rng.normal(size=(1000, 1000)) * 10.0 ** rng.uniform(-30, 30, (1000, 1))
    for delta in deltas:
        norm = math.sqrt(math.fsum(x * x for x in delta.tolist()))
        radius = norm * 10.0 ** rng.uniform(-3, 1)
        expected = delta * min(1.0, radius / norm)
        assert np.allclose(project_l2_ball(delta, radius), expected, rtol=1e-12, atol=0)


def test_edges():
    assert np.array_equal(project_l2_ball(np.ones(3), 0), np.zeros(3))
    assert np.array_equal(project_l2_ball(np.zeros((2, 0)), 1), np.zeros((2, 0)))
    assert np.array_equal(project_l2_ball([3, 4], np.inf), [3.0, 4.0])
    assert np.allclose(project_l2_ball([1e308, 1e308], 1), 0.5**0.5)
    for delta in ([np.inf, 1], [np.nan], [-np.inf]):
        with pytest.raises(ValueError, match="delta"):
            project_l2_ball(delta, 1)
    for radius in (-1, np.nan):
        with pytest.raises(ValueError, match="radius"):
            project_l2_ball([1.0], radius)
