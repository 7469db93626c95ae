"""Norms of packed arrays beside those of NumPy."""

import numpy as np
import pytest

from sklearn_ternary import config_context, ternarize
from sklearn_ternary._layouts import LAYOUTS
from sklearn_ternary.linalg import ternary_norm
from sklearn_ternary.quantization._allocation import quantize_array

VECTOR_ORDS = (None, 1, 2, np.inf)
MATRIX_ORDS = (None, "fro", 1, np.inf)
GROUPS = ({}, {"axis": 0}, {"axis": 1}, {"block_size": 16})


def check(A, ord=None, axis=None):
    expected = np.linalg.norm(A.toarray(np.float64), ord, axis)
    found = ternary_norm(A, ord, axis)
    assert type(found) is (float if axis is None else np.ndarray)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
@pytest.mark.parametrize("working_memory", [64, 1e-3])
@pytest.mark.parametrize("groups", GROUPS, ids=str)
@pytest.mark.parametrize("n_levels", [3, 5, 15, 255])
def test_matrices(n_levels, groups, working_memory, backend):
    W = np.random.default_rng(0).normal(size=(37, 41))
    W[:, 5] = W[7] = 0
    if n_levels > 5:
        A = quantize_array(W, n_levels, scale="mse", **{"axis": None} | groups)
    else:
        A = ternarize(W, n_levels=n_levels, **groups)
    with config_context(backend=backend, working_memory=working_memory):
        for one in (A, A.T):
            for ord in MATRIX_ORDS:
                check(one, ord)
            for ord in VECTOR_ORDS:
                for axis in (0, 1, -1, -2):
                    check(one, ord, axis)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_vectors_of_every_layout(layout, isa):
    n_levels = LAYOUTS[layout].n_levels
    if n_levels > 5:
        pytest.skip("ternarize has three and five levels")
    x = np.random.default_rng(0).normal(size=70_001).astype(np.float32)
    A = ternarize(x, n_levels=n_levels, layout=layout, block_size=1000)
    with config_context(backend="cpu", isa=isa):
        for ord in VECTOR_ORDS:
            check(A, ord)
            expected = np.linalg.norm(A.toarray(np.float64), ord)
            np.testing.assert_allclose(ternary_norm(A, ord, axis=0), expected)


def test_counts_are_exact_and_scales_do_not_overflow():
    A = ternarize(np.ones(2**22), scale=1.0)
    assert ternary_norm(A) == 2**11
    assert ternary_norm(A, 1) == 2**22
    for scale in (2.0**600, 2.0**-600):
        A = ternarize(np.full((3, 48), scale), scale=scale)
        assert ternary_norm(A) == 12 * scale
        assert (ternary_norm(A, axis=0) == np.sqrt(3) * scale).all()


def test_shapes_at_the_edge():
    for shape in ((), (0,), (1,), (0, 3), (3, 0), (2, 3, 4)):
        A = ternarize(np.ones(shape), scale=0.5)
        check(A)
    A = ternarize(np.ones((3, 0)), scale=0.5)
    check(A, 1, axis=1)
    check(A, axis=0)


def test_wrong_use():
    A = ternarize(np.ones((2, 3)))
    with pytest.raises(TypeError, match="got ndarray"):
        ternary_norm(np.ones(3))
    for args, text in (
        ((A, 2), "ord=2 of an array of 2 dimensions must be None, 'fro', 1 or inf"),
        ((A, 3, 0), "ord=3 with an axis"),
        ((A, None, 2), "axis=2"),
        ((A.T, None, 2), "axis=2"),
        ((A, None, (0, 1)), r"axis=\(0, 1\)"),
        ((A, None, True), "axis=True"),
        ((ternarize(np.ones((2, 3, 4))), 1), "must be None"),
        ((ternarize(np.ones((2, 3, 4))), None, 0), "3 dimensions"),
        ((ternarize(np.ones((0, 3))), 1), "no value"),
    ):
        with pytest.raises(ValueError, match=text):
            ternary_norm(*args)
