"""Compiled steps of networks against their definitions."""

import numpy as np
import pytest
from scipy import sparse

from sklearn_ternary._cpu.programs import Program
from sklearn_ternary._kernels._cpu_features import supported_isas
from sklearn_ternary._reference.programs import Program as ReferenceProgram

SHAPES = [(1, 1), (3, 10), (33, 31), (70, 100), (130, 530)]
EPS = np.finfo(np.float32).eps


def rows(n, d, seed=0):
    x = np.random.RandomState(seed).standard_normal((n, d)).astype(np.float32)
    x[0] = 0
    x[-1, -1] = -3
    return x


def both(operation, args, outs, isa, n_threads):
    """Results of the definition and of the compiled step."""
    results = []
    for program in (ReferenceProgram(), Program(n_threads=n_threads, isa=isa)):
        mine = [out.copy() for out in outs]
        program.add(operation, *args(*mine))
        program.run()
        results.append(mine)
    return results


def check(operation, args, outs, isa, n_threads, bound=0.0):
    """Equal bits, or values within `bound` of the largest."""
    results = both(operation, args, outs, isa, n_threads)
    for expected, found in zip(*results, strict=True):
        if bound:
            limit = bound * max(np.abs(expected).max(), 1e-30)
            assert np.abs(found - expected).max() <= limit, operation
        else:
            np.testing.assert_array_equal(found, expected, err_msg=operation)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_steps_of_layers_are_their_definitions(shape, isa, n_threads):
    n, d = shape
    x, y = rows(n, d), rows(n, d, 1)
    row, out = rows(2, d)[1], np.ones((n, d), np.float32)
    inverse = np.zeros(n, np.float32)
    options = isa, n_threads
    check("add", lambda o: (x, y, o), [out], *options)
    check("add_rows", lambda o: (x, row, o), [out], *options)
    check("column_sum", lambda o: (x, o), [row], *options)
    check("relu", lambda o: (x, o), [out], *options)
    positive = np.maximum(x, 0)
    check("relu_gradient", lambda o: (positive, y, o), [out], *options)
    check("squared_relu", lambda o: (x, o), [out], *options)
    check("squared_relu_gradient", lambda o: (x, y, o), [out], *options)
    key = np.array([7, 2**32 - 5], dtype=np.uint32)
    check("dropout", lambda o: (x, key, 0.3, o), [out], *options)
    check("rms_norm", lambda o, i: (x, row, o, i), [out, inverse], *options)
    _, (_, inverse) = both(
        "rms_norm", lambda o, i: (x, row, o, i), [out, inverse], *options
    )
    args = lambda dx, dgain: (x, row, inverse, y, dx, dgain)  # noqa: E731
    check("rms_norm_gradient", args, [out, row], *options)
    q = np.zeros((n, d), np.int8)
    check("round_rows", lambda o, q, s: (x, o, q, s), [out, q, inverse], *options)


@pytest.mark.parametrize("kind", ["absmean", "twn"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_ternary_products_are_exact(shape, kind, isa, n_threads):
    m, d = shape
    latent = rows(m, d) + np.float32(0.1)
    codes = np.random.RandomState(0).randint(-1, 2, (m, d)).astype(np.int8)
    scale, flips = np.zeros(1, np.float32), np.zeros(1, np.int64)
    args = lambda *outs: (latent, kind, *outs)  # noqa: E731
    options = isa, n_threads
    check("ternary_weights", args, [codes, scale, flips], *options)
    _, (codes, scale, _) = both(
        "ternary_weights", args, [codes, scale, flips], *options
    )
    out = np.zeros((m, d), np.float32)
    check("scaled_codes", lambda o: (codes, scale, o), [out], *options)
    for n in (1, 5, 12, 40):
        check_codes(n, m, d, isa, n_threads)


def check_codes(n, m, d, isa, n_threads):
    """Products of rounded rows and ternary codes have the bits of the definition."""
    rng = np.random.RandomState(n)
    codes = rng.randint(-1, 2, (m, d)).astype(np.int8)
    scale = rng.rand(1).astype(np.float32)
    q = rng.randint(-128, 128, (n, d)).astype(np.int8)
    step = rng.rand(n).astype(np.float32)
    results = []
    for program in (ReferenceProgram(), Program(n_threads=n_threads, isa=isa)):
        form, out = program.form(m, d), np.zeros((n, m), np.float32)
        program.add("pack_weights", codes, form)
        program.add("multiply_codes", q, step, form, scale, out)
        program.run()
        results.append(out)
    np.testing.assert_array_equal(*results)


def test_float_products(isa):
    A, B, C = rows(20, 30), rows(40, 30, 1), rows(20, 40, 2)
    out = [np.zeros(shape, np.float32) for shape in ((20, 40), (20, 30), (40, 30))]
    bound = 100 * EPS
    check("multiply_rows", lambda o: (A, B, o), out[:1], isa, 1, bound)
    check("multiply_weights", lambda o: (C, B, o), out[1:2], isa, 1, bound)
    check("multiply_columns", lambda o: (C, A, o), out[2:], isa, 1, bound)


@pytest.mark.parametrize("n_threads", [2, 3])
def test_large_steps_are_shared_out(n_threads):
    """Values and multiply-adds above the thresholds of `_network`."""
    n, d, m, bound = 257, 1030, 260, 100 * EPS
    x, B, C = rows(n, d), rows(m, d, 1), rows(n, m, 2)
    out, column = np.ones_like(x), np.ones(n, np.float32)
    isa = supported_isas()[0]
    options = isa, n_threads
    check("relu", lambda o: (x, o), [out], *options)
    check("rms_norm", lambda o, i: (x, B[1], o, i), [out, column], *options)
    q = np.zeros(x.shape, np.int8)
    outs = [out, q, column]
    check("round_rows", lambda o, q, s: (x, o, q, s), outs, *options)
    for name, pair, shape in (
        ("multiply_rows", (x, B), (n, m)),
        ("multiply_weights", (C, B), (n, d)),
        ("multiply_columns", (C, x), (m, d)),
    ):
        outs = [np.zeros(shape, np.float32)]
        check(name, lambda o, pair=pair: (*pair, o), outs, *options, bound)
    check_codes(n, m, d, isa, n_threads)


def test_sparse_products(isa):
    X = sparse.random_array((30, 50), density=0.2, format="csr", random_state=0)
    X = X.astype(np.float32)
    X.indices, X.indptr = X.indices.astype(np.int32), X.indptr.astype(np.int32)
    parts = X.data, X.indices, X.indptr
    W, A = rows(20, 50), rows(30, 20)
    rounded = np.zeros_like(X.data)
    check("round_rows_csr", lambda o: (*parts, o), [rounded], isa, 1)
    out = np.zeros((30, 20), np.float32)
    check("multiply_csr", lambda o: (*parts, W, o), [out], isa, 1)
    check("multiply_columns_csr", lambda o: (A, *parts, o), [np.zeros_like(W)], isa, 1)


@pytest.mark.parametrize("d", [1, 3, 10, 45])
@pytest.mark.parametrize("weighted", [False, True])
def test_losses(d, weighted, isa):
    n = 37
    Z = (rows(n, d) * 30).astype(np.float32)
    weight = np.random.RandomState(0).rand(n).astype(np.float32) if weighted else None
    labels = np.random.RandomState(1).randint(d, size=n).astype(np.int32)
    binary = (rows(n, d, 1) > 0).astype(np.float32)
    outs = [np.zeros_like(Z), np.zeros(1)]
    for operation, args in {
        "softmax_loss": (Z, labels),
        "sigmoid_loss": (Z, binary),
        "squared_loss": (Z, rows(n, d, 2)),
        "absolute_loss": (Z, rows(n, d, 2)),
        "huber_loss": (Z, rows(n, d, 2), 1.5),
    }.items():
        all_of = lambda dZ, value, args=args: (*args, weight, dZ, value)  # noqa: E731
        check(operation, all_of, outs, isa, 1, 8 * EPS)


def test_levels_and_threads_agree_on_losses(isa):
    Z, labels = rows(50, 10) * 5, np.zeros(50, np.int32)
    args = lambda dZ, value: (Z, labels, None, dZ, value)  # noqa: E731
    outs = [np.zeros_like(Z), np.zeros(1)]
    _, first = both("softmax_loss", args, outs, "generic", 1)
    _, other = both("softmax_loss", args, outs, isa, 1)
    for a, b in zip(first, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_nan_reaches_the_loss(isa):
    for where in ("x", "weight"):
        program = Program(n_threads=1, isa=isa)
        x, latent = rows(4, 20), rows(6, 20, 1)
        (x if where == "x" else latent)[1, 3] = np.nan
        rounded, q, step = (
            program.buffer(4, 20),
            np.zeros((4, 20), np.int8),
            program.buffer(4),
        )
        codes, scale = np.zeros((6, 20), np.int8), program.buffer(1)
        form, Z, dZ = program.form(6, 20), program.buffer(4, 6), program.buffer(4, 6)
        value = np.zeros(1)
        flips = np.zeros(1, np.int64)
        program.add("ternary_weights", latent, "absmean", codes, scale, flips)
        program.add("pack_weights", codes, form)
        program.add("round_rows", x, rounded, q, step)
        program.add("multiply_codes", q, step, form, scale, Z)
        program.add("softmax_loss", Z, np.zeros(4, np.int32), None, dZ, value)
        program.run()
        assert np.isnan(value[0]), where


def test_programs_check_their_arrays():
    program = Program(n_threads=1, isa="generic")
    x = np.zeros((4, 6), np.float32)
    with pytest.raises(ValueError, match="relu: an array is not contiguous"):
        program.add("relu", x[:, ::2], x)
    with pytest.raises(ValueError, match="relu: an array is float64"):
        program.add("relu", x.astype(np.float64), x)
    with pytest.raises(ValueError, match=r"relu: an array has the shape \(0, 6\)"):
        program.add("relu", x[:0], x)


def test_programs_call_functions_in_between(isa):
    program = Program(n_threads=1, isa=isa)
    x, y = rows(3, 5), np.zeros((3, 5), np.float32)
    program.add("relu", x, y)
    program.call(np.negative, y, y)
    program.add("relu", y, y)
    program.run()
    assert not y.any()
