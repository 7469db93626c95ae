"""Steps of optimizers: the kernels, their definition, and known methods."""

import numpy as np
import pytest

from sklearn_ternary import ternarize
from sklearn_ternary._cpu import steps as cpu
from sklearn_ternary._kernels._cpu_features import supported_isas
from sklearn_ternary._reference import steps as reference

N_THREADS = (1, 2, 5)
# A piece and more, no multiple of a block, and a few values.
SIZES = (16384 + 300, 257, 5, 2**18)


def problem(dtype, sizes=SIZES):
    rng = np.random.default_rng(0)
    n = sum(sizes)
    bounds = np.cumsum([0, *sizes])
    arrays = {
        name: rng.normal(size=n).astype(dtype)
        for name in ("gradient", "parameters", "first", "direction")
    }
    arrays["second"] = rng.random(n).astype(dtype)
    decay = rng.random(len(sizes)).astype(dtype)
    return arrays, bounds, decay


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("isa", supported_isas())
@pytest.mark.parametrize("name", ["adamw", "sgd", "shared", "ternary"])
def test_kernels_have_the_bits_of_the_definition(name, isa, dtype):
    arrays, bounds, decay = problem(dtype)
    # Rows that end within a vector or a block, short ones, and one as long as all.
    lengths = 97, 257, 1, 2**14
    starts = [
        np.arange(start, stop, length)
        for start, stop, length in zip(bounds[:-1], bounds[1:], lengths, strict=True)
    ]
    rows = np.append(np.concatenate(starts), bounds[-1])
    results = []
    for n_threads in (None, *N_THREADS):
        module, options = reference, {}
        if n_threads is not None:
            module, options = cpu, {"n_threads": n_threads, "isa": isa}
        work = {key: value.copy() for key, value in arrays.items()}
        g, p, s = work["gradient"], work["parameters"], work["direction"]
        if name == "adamw":
            sums = module.adamw_direction(
                *(g, p, work["first"], work["second"], s, bounds, decay),
                *(0.9, 0.99, 1.5, 1.7, 1e-8, 0.7),
                **options,
            )
        elif name == "sgd":
            sums = module.sgd_direction(
                g, p, work["first"], s, bounds, decay, 0.9, 0.7, **options
            )
        elif name == "ternary":
            sums = module.ternary_gradient(g, work["first"], rows, 0.7, **options)
        else:
            squares = module.square_sums(g, rows, **options)
            magnitudes = module.abs_sums(g, rows, **options)
            divisors = np.sqrt(squares + 1).astype(dtype)
            sums = module.shared_direction(
                *(g, p, work["first"], divisors, s, bounds, rows, decay),
                *(0.9, 1.5, 0.7),
                **options,
            )
            work |= {"squares": squares, "magnitudes": magnitudes}
        factors = np.linspace(0.1, 0.5, len(decay)).astype(dtype)
        module.apply_step(p, s, bounds, factors, **options)
        results.append([sums, *work.values()])
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert np.array_equal(one, two)


def test_ternary_gradients_and_what_they_leave_out(isa):
    rng = np.random.default_rng(0)
    gradient = rng.normal(size=(5, 37)).astype(np.float32)
    gradient[1] = 0
    gradient[2] = 3
    gradient[3, 7], gradient[4, 7] = np.nan, np.inf
    residual = rng.normal(size=gradient.shape).astype(np.float32)
    residual[1:3] = 0
    wanted = residual + np.float32(0.5) * gradient
    for module, options in ((reference, {}), (cpu, {"n_threads": 1, "isa": isa})):
        g, r = gradient.ravel().copy(), residual.ravel().copy()
        module.ternary_gradient(g, r, np.arange(6) * 37, 0.5, **options)
        g, r = g.reshape(gradient.shape), r.reshape(gradient.shape)
        twn = ternarize(wanted[:3], scale="twn", axis=1)
        level = (np.abs(wanted[:3]).mean(axis=1, keepdims=True) + twn.scale) / 2
        np.testing.assert_allclose(g[:3], twn.codes() * level, rtol=1e-6)
        assert np.array_equal(r[:3], wanted[:3] - g[:3])  # nothing is lost
        assert (g[2] == 1.5).all()
        # What is not finite is seen by those who look at the sums.
        assert not np.isfinite(g[3:]).all(axis=1).any()


def test_sums_are_those_of_exact_arithmetic():
    arrays, bounds, decay = problem(np.float32, (5000, 7))
    p, old = arrays["parameters"].copy(), arrays["direction"].copy()
    sums = reference.sgd_direction(
        arrays["gradient"],
        p,
        arrays["first"],
        arrays["direction"],
        bounds,
        decay,
        0.0,
        1.0,
    )
    wide = {k: v.astype(np.float64) for k, v in arrays.items()}
    pairs = [
        (wide["gradient"], wide["gradient"]),
        (wide["gradient"], old),
        (wide["direction"], wide["direction"]),
        (wide["gradient"], wide["direction"]),
        (p, p),
    ]
    for i, (a, b) in enumerate(pairs):
        exact = np.add.reduceat(a * b.astype(np.float64), bounds[:-1])
        size = np.add.reduceat(np.abs(a * b), bounds[:-1])
        assert (np.abs(sums[:, i] - exact) <= 1e-6 * size).all()


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_moments_that_fade_away_end_at_zero(name, isa):
    n = 40
    g, p = np.zeros(n, np.float32), np.ones(n, np.float32)
    first, second, s = (np.full(n, 1e-3, np.float32) for _ in range(3))
    bounds, decay = np.array([0, n]), np.zeros(1, np.float32)
    for module, options in (
        (reference, {}),
        (cpu, {"n_threads": 1, "isa": isa}),
    ):
        m, v = first.copy(), second.copy()
        for _ in range(400):
            if name == "adamw":
                module.adamw_direction(
                    *(g, p, m, v, s, bounds, decay, 0.9, 0.8, 1.0, 1.0, 1e-8, 1.0),
                    **options,
                )
            else:
                module.sgd_direction(g, p, m, s, bounds, decay, 0.9, 1.0, **options)
            for array in (m, v, s):
                tiny = np.abs(array) < np.finfo(np.float32).tiny
                assert not array[tiny].any()
        assert not m.any()
