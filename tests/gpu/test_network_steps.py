"""Steps of networks and optimizers on a device are those of the definitions."""

import numpy as np
import pytest

from sklearn_ternary._gpu.programs import Program
from sklearn_ternary._gpu.steps import make_steps
from sklearn_ternary._reference import steps as reference
from sklearn_ternary._reference.programs import Program as ReferenceProgram

SHAPES = [(1, 1), (5, 70), (37, 33)]
EPS = np.finfo(np.float32).eps


@pytest.fixture
def check(any_cupy, order):
    """Compare an operation with its definition: equal bits, or nearly equal values."""

    def run(operation, *args, bound=0):
        results = []
        for program in (ReferenceProgram(), Program()):
            mine = args
            if isinstance(program, Program):
                mine = [
                    any_cupy.asarray(a) if isinstance(a, np.ndarray) else a
                    for a in args
                ]
            else:
                mine = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
            program.add(operation, *mine)
            program.run()
            results.append(mine)
        for expected, got in zip(*results, strict=True):
            if isinstance(expected, np.ndarray):
                got = got.get()
                assert got.dtype == expected.dtype
                if bound:
                    limit = bound * max(np.abs(expected).max(), 1e-30)
                    assert np.abs(got - expected).max() <= limit, operation
                else:
                    np.testing.assert_array_equal(got, expected, err_msg=operation)

    return run


def rows(n, d, seed=0):
    x = np.random.RandomState(seed).standard_normal((n, d)).astype(np.float32)
    x[0] = 0
    x[-1, -1] = -3
    return x


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_steps_of_layers(check, shape):
    n, d = shape
    x, y, row = rows(n, d), rows(n, d, 1), rows(2, d, 2)[1]
    out, inverse, column = np.ones_like(x), np.ones(n, np.float32), np.ones_like(row)
    check("add", x, y, out)
    check("add_rows", x, row, out)
    check("relu", x, out)
    check("relu_gradient", np.maximum(x, 0), y, out)
    check("squared_relu", x, out)
    check("squared_relu_gradient", x, y, out)
    check("dropout", x, np.array([7, 2**32 - 5], np.uint32), 0.3, out)
    check("rms_norm", x, row, out, inverse)
    check("column_sum", x, column, bound=4 * EPS)
    inverse = np.abs(y[:, 0]) + 1
    args = x, row, inverse, y, out, column
    check("rms_norm_gradient", *args, bound=8 * EPS)
    q = np.zeros((n, d), np.int8)
    check("round_rows", x, out, q, inverse)
    for strange in (np.inf, np.nan):
        bad = x.copy()
        bad[n // 2, d // 2] = strange
        check("round_rows", bad, out, q, inverse)


@pytest.mark.parametrize("kind", ["absmean", "twn"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_ternary_weights_are_exact(check, shape, kind, monkeypatch, any_cupy):
    (m, d), rng = shape, np.random.RandomState(0)
    latent = rows(m, d) + np.float32(0.1)
    codes = rng.randint(-1, 2, (m, d)).astype(np.int8)
    scale, flips = np.zeros(1, np.float32), np.array([3], np.int64)
    check("ternary_weights", latent, kind, codes, scale, flips)
    scale[:] = 0.37
    check("scaled_codes", codes, scale, latent)
    q = rng.randint(-128, 128, (9, d)).astype(np.int8)
    step = rng.rand(9).astype(np.float32)
    expected = ((q.astype(int) @ codes.T.astype(int)).astype(np.float32) * scale) * (
        step[:, None]
    )
    for most in (2**17, 1):
        monkeypatch.setattr("sklearn_ternary._gpu.programs._EXACT_COLUMNS", most)
        program = Program()
        form, out = program.form(m, d), program.buffer(9, m)
        on_device = map(any_cupy.asarray, (codes, q, step, scale))
        codes_, q_, step_, scale_ = on_device
        program.add("pack_weights", codes_, form)
        program.add("multiply_codes", q_, step_, form, scale_, out)
        program.run()
        np.testing.assert_array_equal(out.get(), expected)


def test_float_products(check):
    A, B, C = rows(20, 30), rows(40, 30, 1), rows(20, 40, 2)
    out = [np.zeros(shape, np.float32) for shape in ((20, 40), (20, 30), (40, 30))]
    check("multiply_rows", A, B, out[0], bound=100 * EPS)
    check("multiply_weights", C, B, out[1], bound=100 * EPS)
    check("multiply_columns", C, A, out[2], bound=100 * EPS)


@pytest.mark.parametrize("d", [1, 45])
@pytest.mark.parametrize("weighted", [False, True])
def test_losses(check, d, weighted):
    n, rng = 37, np.random.RandomState(1)
    Z = (rows(n, d) * 30).astype(np.float32)
    labels = rng.randint(d, size=n).astype(np.int32)
    binary = (rows(n, d, 1) > 0).astype(np.float32)
    weights = [rng.rand(n).astype(np.float32), np.zeros(n, np.float32)]
    for weight in weights if weighted else [None]:
        outs = weight, np.ones_like(Z), np.ones(1)
        check("softmax_loss", Z, labels, *outs, bound=8 * EPS)
        check("sigmoid_loss", Z, binary, *outs, bound=8 * EPS)
        check("squared_loss", Z, binary, *outs, bound=8 * EPS)
        check("absolute_loss", Z, binary, *outs, bound=8 * EPS)
        check("huber_loss", Z, binary, 1.5, *outs, bound=8 * EPS)


def test_sparse_rows_are_not_done_here(any_cupy):
    with pytest.raises(NotImplementedError, match="multiply_csr"):
        Program().add("multiply_csr", None, None, None, None, None)


BOUNDS = np.array([0, 10, 300, 20_000, 20_007], np.int64)
ROWS = 10, 145, 1970, 1  # values of a row in each segment


@pytest.fixture
def arrays():
    rng = np.random.RandomState(0)
    made = rng.standard_normal((5, BOUNDS[-1])).astype(np.float32)
    made[0, 5:9] = 1e-20, 0, -1e-18, 1e3
    made[3] **= 2
    return made


def test_optimizers_have_the_bits_of_the_definitions(any_cupy, arrays, order):
    decay = np.array([0, 0.1, 0, 0.5], np.float32)
    rates = np.array([0.1, 0, -0.3, 2], np.float32)
    rows_ = map(np.arange, BOUNDS[:-1], BOUNDS[1:], ROWS)
    rows_ = np.append(np.concatenate(list(rows_)), BOUNDS[-1])
    divisors = np.linspace(1, 2, len(rows_) - 1).astype(np.float32)
    results = []
    for operations, held in (
        (reference, list(arrays.copy())),
        (make_steps(), [any_cupy.asarray(a) for a in arrays]),
    ):
        g, p, m, v, s = held
        cut = BOUNDS, decay
        sums = [
            operations.adamw_direction(
                g, p, m, v, s, *cut, 0.9, 0.99, 1.7, 1.3, 1e-8, 0.5
            ),
            operations.sgd_direction(g, p, m, s, *cut, 0.9, 0.5),
            operations.shared_direction(
                g, p, m, divisors, s, BOUNDS, rows_, decay, 0.9, 1.5, 0.5
            ),
        ]
        operations.apply_step(p, s, BOUNDS, rates)
        operations.ternary_gradient(g, m, rows_, 0.5)
        sums = operations.read(*sums)
        results.append(
            [*sums, *(a if operations is reference else a.get() for a in held)]
        )
    for expected, got in zip(*results, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_sums_of_parts(any_cupy, order, arrays):
    on_device = any_cupy.asarray(arrays[0])
    for name in ("square_sums", "abs_sums"):
        expected = getattr(reference, name)(arrays[0], BOUNDS)
        got = getattr(make_steps(), name)(on_device, BOUNDS)
        np.testing.assert_allclose(got, expected, rtol=1e-14)
