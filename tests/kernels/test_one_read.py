"""Absmean packing that reads its input once meets its definition bit for bit."""

import functools

import numpy as np
import pytest

from sklearn_ternary import _reference, ternarize
from sklearn_ternary._layouts import LAYOUTS

pytest.importorskip("sklearn_ternary._cpu", reason="the kernels are not built")

from sklearn_ternary._cpu import quantize as cpu
from sklearn_ternary._cpu.pack import LAYOUT_IDS
from sklearn_ternary._kernels import _one_read
from sklearn_ternary._kernels._cpu_features import ISA_LEVELS, supported_isas

pytestmark = [pytest.mark.backends, pytest.mark.threads]

BLOCK = 20480  # values
KINDS = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "sorted": lambda rng, n: np.sort(np.abs(rng.standard_normal(n))),
    "equal": lambda rng, n: np.full(n, -0.1),
    "zero": lambda rng, n: np.zeros(n),
    "zero at first": lambda rng, n: np.where(np.arange(n) < n // 2, 0, 1.0),
    # Of mean 1, so that half of the values lie on the threshold.
    "ties": lambda rng, n: np.resize([1.5, -0.5, -1.5, 0.5], n),
    "many near": lambda rng, n: rng.choice([0.5, 1.5], n),
    "heavy tails": lambda rng, n: rng.standard_cauchy(n) ** 3,
    "drift": lambda rng, n: rng.standard_normal(n) * np.linspace(0.01, 3, n),
    # What is read first tells nothing of the rest.
    "lie": lambda rng, n: (
        rng.standard_normal(n) * np.where(np.arange(n) < n // 2, 1, 9)
    ),
    "one giant": lambda rng, n: np.where(np.arange(n) == n - 7, 1e6, 0.25),
    "tiny": lambda rng, n: rng.standard_normal(n) * 1e-36,
    # Sums are of numbers whose exponents were shifted: to what has none, and past the
    # largest.
    "subnormal": lambda rng, n: rng.standard_normal(n) * rng.choice([1, 1e-40], n),
    "giants": lambda rng, n: np.where(np.arange(n) % 30000 > 29990, -3e38, 0.25),
}
CASES = [
    ((1, BLOCK - 1), "t5"),
    ((1, BLOCK), "t2"),
    # Codes go from registers to bytes.
    ((1, 7 * BLOCK + 4097), "t2"),
    ((1, 6 * BLOCK + 2), "t5"),
    ((4100, 40), "t2"),  # rows of whole units are as one row
    ((4100, 35), "t5"),
    ((1, 7 * BLOCK + 4097), "tq1_0"),
    ((3, 30001), "tq2_0"),  # rows end within units, chunks and blocks
    ((200, 301), "i2_s_x86"),
    ((15000, 4), "t5"),
    ((21000, 3), "t2"),
]


def make(kind, dtype, shape):
    rng = np.random.default_rng(0)
    n = shape[0] * shape[1]
    # Values that begin anywhere in a cache line.
    return np.append(7, KINDS[kind](rng, n)).astype(dtype)[1:].reshape(shape)


@functools.cache
def expected(kind, dtype, shape, layout):
    packed, scale = _reference.absmean_pack(make(kind, dtype, shape), 3, layout)
    return packed.tobytes(), scale.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_meets_the_definition(kind, dtype, isa):
    for shape, layout in CASES:
        X = make(kind, dtype, shape)
        for n_threads in (1, 3):
            options = {"n_threads": n_threads, "isa": isa}
            packed, scale, doubtful = cpu.read_once(X, layout, **options)
            if doubtful:
                assert kind in ("zero", "tiny", "giants")
                packed, scale = cpu.absmean_pack(X, 3, layout, **options)
            got = packed.tobytes(), scale.tobytes()
            assert got == expected(kind, dtype, shape, layout), (
                shape,
                layout,
                n_threads,
            )


def look(X, isa="avx2", room=65536):
    """What one thread noted of each block: whether it was packed ahead, whether the
    threshold is within its bounds, and how many values are noted.
    """
    if isa not in supported_isas():
        pytest.skip(f"no {isa} kernels on this machine")
    scratch = np.zeros(_one_read.scratch_size(X.size, X.itemsize, 1, room))
    scale = np.empty((1, 1), X.dtype)
    _one_read.absmean_pack(
        X,
        LAYOUT_IDS["t2"],
        np.empty((1, -(-X.size // 4)), np.uint8),
        scratch,
        room,
        scale,
        ISA_LEVELS[isa],
        1,
    )
    n_chunks, n_blocks = -(-X.size // 4096), -(-X.size // _one_read.BLOCK)
    blocks = scratch[n_chunks : n_chunks + 4 * n_blocks].reshape(-1, 4)
    low, high = blocks[:, 0], blocks[:, 1]
    within = (low <= scale[0] / 2) & (scale[0] / 2 <= high)
    return high >= 0, within, blocks[:, 3].view(np.int64)


def test_blocks_are_packed_ahead_where_the_estimate_is_good():
    ahead, within, notes = look(make("normal", np.float32, (1, 40 * BLOCK)))
    assert ahead.sum() >= 38
    assert within[ahead].mean() > 0.8
    assert 0 < notes.sum() < 40 * BLOCK // 100


def test_blocks_are_packed_again_where_it_is_not():
    X = make("normal", np.float32, (1, 40 * BLOCK))
    # The run of blocks that is taken first is what the others are judged by.
    X[:, BLOCK:] *= 3
    ahead, within, _ = look(X)
    assert (ahead & ~within).any()
    # Half of the values are near the threshold: none are packed ahead for long.
    ahead, _, notes = look(make("many near", np.float32, (1, 40 * BLOCK)))
    assert (~ahead).sum() > 20
    assert notes.sum() == 0
    # No room for notes.
    ahead, _, notes = look(make("normal", np.float32, (1, 40 * BLOCK)), room=100)
    assert (~ahead).sum() > 20
    assert notes.sum() <= 100


@pytest.mark.parametrize("more", [0, 1, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sizes_around_what_is_read_once(isa, dtype, more):
    for n in (1, 60, 4092, 2**21 // np.dtype(dtype).itemsize):
        X = make("normal", dtype, (1, n + more))
        for n_threads in (1, 2):
            packed, scale = cpu.absmean_pack(X, 3, "t2", n_threads=n_threads, isa=isa)
            assert (packed.tobytes(), scale.tobytes()) == expected(
                "normal", dtype, X.shape, "t2"
            )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", [0, BLOCK - 1, 7 * BLOCK + 4095, 9 * BLOCK + 16])
def test_values_that_are_not_finite_are_found(monkeypatch, value, position):
    monkeypatch.setattr(cpu, "ONE_READ_BYTES", dict.fromkeys(ISA_LEVELS, 0))
    W = make("normal", np.float32, (1, 9 * BLOCK + 17))[0].copy()
    W[position] = value
    with pytest.raises(ValueError, match=rf"the first is at index \({position},\)"):
        ternarize(W)
    A = ternarize(W, on_nonfinite="zero")
    W[position] = 0
    assert ternarize(W) == A


def test_blocks_suit_every_layout():
    assert _one_read.BLOCK == BLOCK
    for row in LAYOUTS.values():
        assert row.n_levels != 3 or BLOCK % row.unit_values == 0
