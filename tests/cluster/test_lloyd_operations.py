"""The steps of k-means: kernels against the NumPy definition, bit for bit."""

import signal
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from sklearn_ternary import _reference, config_context
from sklearn_ternary._dispatch.clustering import iterates
from sklearn_ternary._reference.lloyd import Frame, group_size, n_slices
from sklearn_ternary._reference.lloyd_codes import Codes, rotated
from sklearn_ternary.cluster._dense_rows import moves, no_bounds
from sklearn_ternary.cluster._frame import make_frame

cpu = pytest.importorskip("sklearn_ternary._cpu", reason="the kernels are not built")

# Around the sizes of vectors, tiles (32), groups (5, 6, 13) and blocks (256, 1024).
SHAPES = [
    (1, 1, 1),
    (5, 3, 2),
    (33, 7, 5),
    (100, 16, 16),
    (257, 33, 14),
    (1030, 20, 27),
    (500, 70, 40),
    (300, 19, 75),
]
DTYPES = [np.float32, np.float64]


def make(n, d, k, dtype, seed=0):
    """Rows away from the origin, centres near some of them, two of them equal."""
    rng = np.random.default_rng(seed)
    X = (rng.normal(size=(n, d)) * 3 + 5).astype(dtype)
    centers = X[rng.integers(0, n, k)] + rng.normal(size=(k, d)).astype(dtype) / 8
    centers[-1] = centers[0]
    return X, centers, frame_of(X)


def frame_of(X):
    mean = X.mean(axis=0, dtype=np.float64)
    radius = np.sqrt(((X - mean) ** 2).sum(axis=1).max())
    return make_frame(mean, radius, X.dtype)


def zero_sums(k, d, slices=1):
    return (
        np.zeros((slices, k, d)),
        np.zeros((slices, k)),
        np.zeros((slices, k), dtype=np.int64),
    )


@pytest.fixture(params=SHAPES, ids=str)
def shape(request):
    return request.param


@pytest.fixture
def options(isa):
    return {"n_threads": 3, "isa": isa}


@pytest.mark.backends
def test_tiles_and_labels(shape, dtype, options):
    X, centers, frame = make(*shape, dtype)
    tiles = cpu.row_tiles(X, frame, **options)
    np.testing.assert_array_equal(tiles, _reference.row_tiles(X, frame))
    labels = _reference.nearest_centers(X, centers, frame)
    for given_tiles in (None, tiles):
        found = cpu.nearest_centers(X, centers, frame, given_tiles, **options)
        np.testing.assert_array_equal(found, labels)
    np.testing.assert_array_equal(
        cpu.label_distances(X, centers, labels, **options),
        _reference.label_distances(X, centers, labels),
    )


@pytest.mark.backends
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (2, 256), (7, 1000), (40, 33)])
def test_where_rows_go_at_prices(shape, dtype, options):
    rng = np.random.default_rng(0)
    # Of a few values, so that many are equal.
    costs = rng.integers(0, 9, shape).astype(dtype)
    prices = rng.integers(-4, 4, shape[0]) / 2
    found = cpu.cheapest(costs, prices, **options)
    for ours, expected in zip(found, _reference.cheapest(costs, prices), strict=True):
        np.testing.assert_array_equal(ours, expected)
        assert ours.dtype == expected.dtype


def start_bounds(n, n_groups):
    upper = np.full(n, np.inf, dtype=np.float32)
    return np.zeros(n, dtype=np.int32), upper, np.zeros((n_groups, n), np.float32)


def codes_of(X, frame, kept=True):
    """Codes with a step that cuts the largest off, or that step alone."""
    tiles = rotated(_reference.row_tiles(X, frame))
    step = X.dtype.type(np.abs(tiles[:, :-1]).max() / 100) or X.dtype.type(1)
    return _reference.row_codes(X, frame, step) if kept else Codes(step, None, None)


@pytest.mark.backends
def test_codes(shape, dtype, options):
    X, centers, frame = make(*shape, dtype)
    step = codes_of(X, frame, kept=False).step
    expected = _reference.row_codes(X, frame, step)
    found = cpu.row_codes(X, frame, step, **options)
    np.testing.assert_array_equal(found.codes, expected.codes)
    np.testing.assert_array_equal(found.lengths, expected.lengths)
    labels = _reference.nearest_centers(X, centers, frame)
    for codes in (found, Codes(step, None, None)):
        np.testing.assert_array_equal(
            cpu.nearest_centers(X, centers, frame, None, codes, **options), labels
        )


def variants():
    """Those of level avx512 that can run here."""
    from sklearn_ternary._kernels._cpu_features import supported_isas

    amx = cpu.lloyd._lloyd_codes.has_amx()
    names = cpu.lloyd.VARIANTS if "avx512" in supported_isas() else ()
    return [name for name in names if amx or not name.endswith("amx")]


@pytest.mark.backends
@pytest.mark.parametrize("variant", cpu.lloyd.VARIANTS)
def test_variants_of_products(variant, dtype):
    if variant not in variants():
        pytest.skip(f"this processor, or this build, has no {variant}")
    options = {"n_threads": 2, "isa": variant}
    for d in (3, 15, 16, 17, 31, 64, 70, 128, 200):
        X, centers, frame = make(300, d, 50, dtype)
        codes, tiles = codes_of(X, frame), cpu.row_tiles(X, frame, **options)
        expected = _reference.nearest_centers(X, centers, frame)
        moved = np.zeros(50, np.float32)
        for given_tiles, given_codes in ((None, codes), (tiles, None), (None, None)):
            rows = X, centers, frame, given_tiles
            found = cpu.nearest_centers(*rows, given_codes, **options)
            np.testing.assert_array_equal(found, expected)
            state = start_bounds(300, 4)
            cpu.update_labels(*rows, *state, moved, given_codes, **options)
            np.testing.assert_array_equal(state[0], expected)


def test_rotation_is_one(dtype):
    for d in (1, 2, 3, 16, 100, 384):
        X = np.eye(d, dtype=dtype)
        X[0, 0] = -3
        frame = Frame(np.zeros(d, dtype), dtype(1))
        tiles = rotated(_reference.row_tiles(X, frame))
        Y = tiles[:, :d].transpose(0, 2, 1).reshape(-1, d)[:d].astype(np.float64)
        tolerance = 32 * np.finfo(dtype).eps
        np.testing.assert_allclose(Y @ Y.T, X @ X.T, atol=9 * tolerance)
        # Spread over at least half of the columns.
        assert (np.abs(Y) > tolerance).sum(axis=1).min() >= d / 2


@pytest.mark.backends
@pytest.mark.parametrize("how", ["one", "tiled", "grouped", "kept", "anew"])
def test_labels_with_bounds(shape, dtype, how, options):
    X, centers, frame = make(*shape, dtype)
    k = len(centers)
    for j in range(1, k // 3):
        # No centre twice but the last, and none where there are many.
        centers[-1 - j] += j
    if k > 30:
        centers[-1] += 1
    rng = np.random.default_rng(1)
    tiles = cpu.row_tiles(X, frame, **options) if how == "tiled" else None
    codes = codes_of(X, frame, how == "kept") if how in ("kept", "anew") else None
    state = start_bounds(len(X), 1 if how in ("one", "tiled") else -(-k // 16))
    previous = centers
    # Large steps leave most rows open, small ones few.
    for size in (1, 0.5, 1e-2, 1e-3, 1e-3, 0, 1e-2):
        moved = moves(previous, centers, frame)
        cpu.update_labels(X, centers, frame, tiles, *state, moved, codes, **options)
        expected = _reference.nearest_centers(X, centers, frame)
        np.testing.assert_array_equal(state[0], expected)
        previous = centers
        centers = centers + (rng.normal(size=centers.shape) * size).astype(dtype)


@pytest.mark.backends
@pytest.mark.parametrize("n_groups", [1, 2, 3])
@pytest.mark.parametrize("coded", [False, True])
def test_bounds_hold(dtype, n_groups, coded, isa):
    X, centers, frame = make(700, 11, 41, dtype)
    centers = centers[:40]
    size = group_size(40, n_groups)
    codes = codes_of(X, frame) if coded else None
    state = start_bounds(len(X), n_groups)
    rng = np.random.default_rng(0)
    previous = centers
    for step in range(5):
        moved = moves(previous, centers, frame)
        cpu.update_labels(
            X, centers, frame, None, *state, moved, codes, n_threads=1, isa=isa
        )
        labels, upper, lower = state
        wide = X.astype(np.longdouble)[:, None] - centers
        distances = np.sqrt((wide**2).sum(axis=2)) * float(frame.scale)
        own = np.take_along_axis(distances, labels[:, None], 1)[:, 0]
        np.put_along_axis(distances, labels[:, None], np.inf, 1)
        assert (upper >= own).all()
        for g in range(n_groups):
            others = distances[:, g * size : (g + 1) * size].min(axis=1)
            assert (lower[g] <= others).all()
        if step == 0:
            # And they are of use.
            least = 0.9 if coded else 0.99
            assert np.median(own / upper) > least
            assert np.median(lower.min(axis=0) / distances.min(axis=1)) > least
        previous = centers
        centers = centers + (rng.normal(size=centers.shape) / 30).astype(dtype)


@pytest.mark.backends
@pytest.mark.parametrize("how", ["alone", "one", "tiled", "grouped", "anew"])
@pytest.mark.parametrize("shape", [(257, 33, 14), (2100, 9, 40)])
def test_iterations(shape, dtype, how, options):
    X, centers, frame = make(*shape, dtype)
    n, d, k = shape
    centers = X[: n : n // k][:k].copy()
    rng = np.random.default_rng(5)
    weight = rng.random(n).astype(dtype) if how == "tiled" else None
    tiles = cpu.row_tiles(X, frame, **options) if how == "tiled" else None
    codes = codes_of(X, frame, kept=False) if how == "anew" else None
    groups = -(-k // 16) if how in ("grouped", "anew") else 1
    slices = n_slices(n, k, d)
    found = []
    for iterate in (partial(cpu.iterate, **options), _reference.iterate):
        state = start_bounds(n, groups)
        if how == "alone":
            state = state[0], *no_bounds()
        sums = zero_sums(k, d, slices)
        first = iterate(
            *(X, weight, centers, None, frame, tiles, *state, *sums, 3, 0, codes)
        )
        then = iterate(
            *(X, weight, *first[:2], frame, tiles, *state, *sums, 5, 0, codes)
        )
        found.append((*first[:4], *then[:4], state[0], *sums))
        assert first[2:4] == (3, False)
        assert then[4] == pytest.approx(np.sum((then[0] - then[1]) ** 2.0), rel=1e-4)
    for ours, expected in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.backends
def test_iterations_end(dtype, options):
    """At a cluster without rows, by the tolerance, and where labels stay."""
    X = np.array([[0], [1], [2], [10], [11]], dtype=dtype)
    frame = frame_of(X)

    def run(centers, **ends):
        state = np.zeros(5, np.int32), *no_bounds()
        sums = zero_sums(len(centers), 1)
        centers = np.array(centers, dtype)[:, None]
        ends = {"max_iter": 9, "tol": 0} | ends
        parts = X, None, centers, None, frame, None, *state, *sums
        return cpu.iterate(*parts, **ends, **options), state[0]

    (means, previous, n_iter, *_), labels = run([0, 10, 30])
    assert means is None and n_iter == 1
    np.testing.assert_array_equal(previous, [[0], [10], [30]])
    np.testing.assert_array_equal(labels, [0, 0, 0, 1, 1])
    (means, previous, n_iter, strict, shift), _ = run([0, 10])
    np.testing.assert_array_equal(means, [[1], [10.5]])
    np.testing.assert_array_equal(previous, means)
    assert (n_iter, strict, shift) == (2, True, 0)
    (_, previous, n_iter, strict, shift), _ = run([0, 10], tol=1.25)
    np.testing.assert_array_equal(previous, [[0], [10]])
    assert (n_iter, strict, shift) == (1, False, 1.25)


def test_iterations_can_be_interrupted(dtype, options, monkeypatch):
    """Iterations come back to Python from time to time: here after each of them."""
    X, centers, frame = make(600, 20, 9, dtype)
    centers = X[:9].copy()

    def run():
        state = start_bounds(len(X), 1)
        parts = X, None, centers, None, frame, None, *state, *zero_sums(9, 20)
        return *cpu.iterate(*parts, 6, 0, **options), *state

    whole, stops = run(), []
    monkeypatch.setattr(cpu.lloyd, "_STRETCH", 0)
    monkeypatch.setattr(cpu.lloyd, "_come_back", lambda: stops.append(None))
    for found, expected in zip(run(), whole, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert len(stops) == whole[2] - 1 > 1

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        stop = partial(signal.raise_signal, signal.SIGINT)
        monkeypatch.setattr(cpu.lloyd, "_come_back", stop)
        with pytest.raises(KeyboardInterrupt):
            run()
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("n_groups", [1, 3])
def test_bounds_of_iterations_hold(n_groups, isa):
    """Those from first parts too, which the tile unit screens rows by."""
    k = 40
    X, _, frame = make(700, 35, k, np.float32)
    centers, previous = X[:k] + np.float32(0.01), None
    size = group_size(k, n_groups)
    state, sums = start_bounds(len(X), n_groups), zero_sums(k, 35)
    for _ in range(4):
        parts = X, None, centers, previous, frame, None, *state, *sums
        means, previous, *_ = cpu.iterate(*parts, 1, 0, n_threads=1, isa=isa)
        labels, upper, lower = state
        expected = _reference.nearest_centers(X, previous, frame)
        np.testing.assert_array_equal(labels, expected)
        wide = X.astype(np.longdouble)[:, None] - previous
        distances = np.sqrt((wide**2).sum(axis=2)) * float(frame.scale)
        own = np.take_along_axis(distances, labels[:, None], 1)[:, 0]
        np.put_along_axis(distances, labels[:, None], np.inf, 1)
        assert (upper >= own).all()
        assert np.median(own / upper) > 0.97
        for g in range(n_groups):
            others = distances[:, g * size : (g + 1) * size].min(axis=1)
            assert (lower[g] <= others).all()
        centers = means


@pytest.mark.backends
@pytest.mark.parametrize("weighted", [False, True])
def test_sums(shape, dtype, weighted, options):
    n, d, k = shape
    X, _, _ = make(n, d, k, dtype)
    rng = np.random.default_rng(2)
    weight = rng.random(n).astype(dtype) * (rng.random(n) < 0.8) if weighted else None
    slices = min(3, n)
    ours, expected = zero_sums(k, d, slices), zero_sums(k, d, slices)
    labels = np.full(n, -1, dtype=np.int32)
    for _ in range(3):
        new = rng.integers(0, k, n, dtype=np.int32)
        cpu.move_rows(X, weight, labels, new, *ours, **options)
        _reference.move_rows(X, weight, labels, new, *expected)
        labels = new
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    w = np.ones(n) if weight is None else weight
    for j in range(k):
        mine = labels == j
        total = (w[mine, None] * X[mine].astype(np.float64)).sum(axis=0)
        np.testing.assert_allclose(ours[0].sum(axis=0)[j], total, atol=1e-9)
        assert ours[2].sum(axis=0)[j] == np.count_nonzero(w[mine])


@pytest.mark.backends
@pytest.mark.parametrize("weighted", [False, True])
def test_potentials(shape, dtype, weighted, options):
    X, centers, frame = make(*shape, dtype)
    rng = np.random.default_rng(3)
    weight = rng.random(len(X)).astype(dtype) if weighted else None
    tiles = cpu.row_tiles(X, frame, **options)
    ours = np.full(len(X), np.inf, dtype=dtype)
    expected = ours.copy()
    for row in (0, len(X) // 2):
        c = X[row : row + 1]
        np.testing.assert_array_equal(
            cpu.potentials(X, frame, tiles, c, ours, weight, ours[None], **options),
            _reference.potentials(X, frame, None, c, expected, weight, expected[None]),
        )
        np.testing.assert_array_equal(ours, expected)
        assert ours[row] == 0
    kept = np.empty((len(centers), len(X)), dtype=dtype)
    cpu.potentials(X, frame, tiles, centers, ours, weight, kept, **options)
    expected_kept = np.empty_like(kept)
    _reference.potentials(X, frame, None, centers, ours, weight, expected_kept)
    np.testing.assert_array_equal(kept, expected_kept)
    np.testing.assert_array_equal(
        cpu.potentials(X, frame, None, centers, ours, weight, **options),
        _reference.potentials(X, frame, None, centers, ours, weight),
    )
    # In the units of the data, these are squared distances.
    unit = np.ldexp(1.0, -2 * int(np.log2(frame.scale)))
    direct = ((X[:, None].astype(np.float64) - X[[0, len(X) // 2]]) ** 2).sum(axis=2)
    tolerance = 1e-4 if dtype == np.float32 else 1e-11
    np.testing.assert_allclose(
        ours.astype(np.float64) * unit, direct.min(axis=1), rtol=tolerance, atol=1e-12
    )


@pytest.mark.backends
def test_sparse(shape, dtype, options):
    n, d, k = shape
    _, centers, _ = make(*shape, dtype)
    X = sparse.random(n, d, 0.3, format="csr", random_state=0, dtype=dtype)
    parts = X.data, X.indices.astype(np.int32), X.indptr.astype(np.int32)
    labels = _reference.nearest_centers_csr(*parts, centers)
    np.testing.assert_array_equal(
        cpu.nearest_centers_csr(*parts, centers, **options), labels
    )
    found = cpu.label_distances_csr(*parts, centers, labels, **options)
    np.testing.assert_array_equal(
        found, _reference.label_distances_csr(*parts, centers, labels)
    )
    dense = X.toarray()
    np.testing.assert_allclose(
        found, _reference.label_distances(dense, centers, labels), rtol=1e-9
    )
    direct = _reference.nearest_centers(dense, centers, None)
    np.testing.assert_allclose(
        found, _reference.label_distances(dense, centers, direct), rtol=1e-9
    )
    ours, expected = zero_sums(k, d), zero_sums(k, d)
    old = np.full(n, -1, dtype=np.int32)
    new = np.random.default_rng(4).integers(0, k, n, dtype=np.int32)
    weight = np.linspace(0, 1, n).astype(dtype)
    for a, b in ((old, labels), (labels, new)):
        cpu.move_rows_csr(*parts, weight, a, b, *ours, **options)
        _reference.move_rows_csr(*parts, weight, a, b, *expected)
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.threads
def test_threads_do_not_change_a_bit(dtype, n_threads):
    X, centers, frame = make(3000, 37, 29, dtype)
    one, many = ({"n_threads": n, "isa": "generic"} for n in (1, n_threads))
    labels = cpu.nearest_centers(X, centers, frame, **one)
    np.testing.assert_array_equal(
        cpu.nearest_centers(X, centers, frame, **many), labels
    )
    closest = np.full(len(X), np.inf, dtype=dtype)
    np.testing.assert_array_equal(
        cpu.potentials(X, frame, None, centers, closest, None, **many),
        cpu.potentials(X, frame, None, centers, closest, None, **one),
    )
    old = np.full(len(X), -1, dtype=np.int32)
    a, b = zero_sums(29, 37, 3), zero_sums(29, 37, 3)
    cpu.move_rows(X, None, old, labels, *a, **one)
    cpu.move_rows(X, None, old, labels, *b, **many)
    np.testing.assert_array_equal(a[0], b[0])
    found = []
    for options in (one, many):
        state, sums = start_bounds(len(X), 2), zero_sums(29, 37, 3)
        parts = X, None, centers[:29], None, frame, None, *state, *sums, 9, 0
        found.append((*cpu.iterate(*parts, **options), *state, *sums))
    for ours, expected in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, expected)


# Rows between centres: what single precision cannot tell apart.


def near_ties(rng, n, d, k, dtype, gap):
    """Rows on the bisector of two centres, `gap` units in the last place aside."""
    centers = rng.normal(size=(k, d)).astype(dtype)
    pairs = np.sort(rng.permuted(np.tile(np.arange(k), (n, 1)), axis=1)[:, :2], axis=1)
    a, b = centers[pairs[:, 0]], centers[pairs[:, 1]]
    X = ((a.astype(np.float64) + b) / 2).astype(dtype)
    return X + gap * np.finfo(dtype).eps * (a - b), centers


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.integers(1, 40),
    k=st.integers(2, 30),
    gap=st.sampled_from([0, 1, -1, 3, -8, 100, 900, -5000]),
    offset=st.sampled_from([0, 1, 1e3, 1e6]),
    power=st.sampled_from([-120, -40, 0, 40]),
    dtype=st.sampled_from(DTYPES),
)
def test_near_ties_are_decided_in_double(seed, d, k, gap, offset, power, dtype):
    from sklearn_ternary._kernels._cpu_features import supported_isas

    rng = np.random.default_rng(seed)
    X, centers = near_ties(rng, 40, d, k, dtype, gap)
    X = np.ldexp((X + dtype(offset)), power).astype(dtype)
    centers = np.ldexp((centers + dtype(offset)), power).astype(dtype)
    expected = _reference.nearest_centers(X, centers, None)
    for frame in (frame_of(X), Frame(np.zeros(d, dtype=dtype), dtype(1))):
        # With the tile unit, where there is one, and without it.
        for isa in [*supported_isas(), *variants()]:
            with np.errstate(all="ignore"):
                options = {"n_threads": 1, "isa": isa}
                found = cpu.nearest_centers(X, centers, frame, **options)
                np.testing.assert_array_equal(found, expected)
                # Screened by first parts that are kept.
                for bounded in (False, True):
                    state = start_bounds(len(X), -(-k // 16))
                    if not bounded:
                        state = state[0], *no_bounds()
                    parts = X, None, centers, None, frame, None, *state
                    cpu.iterate(*parts, *zero_sums(k, d), 1, 0, **options)
                    np.testing.assert_array_equal(state[0], expected)
                codes = codes_of(X, frame, kept=False)
                for used in (codes, None):
                    state = start_bounds(len(X), -(-k // 16))
                    moved = np.zeros(k, np.float32)
                    rows = X, centers, frame, None
                    # All by codes; then by groups, and by codes again.
                    for opened in (np.inf, 0, 1e30):
                        state[1][:] = np.maximum(state[1], opened)
                        cpu.update_labels(*rows, *state, moved, used, **options)
                        np.testing.assert_array_equal(state[0], expected)


@pytest.mark.parametrize(
    "shape", [(1, 17, 5), (33, 16, 100), (4140, 16, 64), (700, 32, 130), (530, 31, 50)]
)
def test_near_ties_of_rows_that_a_step_of_the_tile_unit_takes(shape, isa):
    """Around its panels (16 centres, 4 at a time) and 16, 512 and 4096 rows."""
    n, d, k = shape
    for gap in (0, -5000):
        X, centers = near_ties(np.random.default_rng(n), n, d, k, np.float32, gap)
        # Some rows are as far from the others as some of these are long.
        X[:: n // 7 + 1] *= 4
        expected = _reference.nearest_centers(X, centers, None)
        labels = start_bounds(n, 1)[0]
        parts = X, None, centers, None, frame_of(X), None, labels, *no_bounds()
        sums = zero_sums(k, d, n_slices(n, k, d))
        cpu.iterate(*parts, *sums, 1, 0, n_threads=1, isa=isa)
        np.testing.assert_array_equal(labels, expected)


def test_score_errors_stay_within_their_bound(isa):
    """The rounding of scores in single precision, against what certainty allows."""
    rng = np.random.default_rng(0)
    for d in (3, 64, 500):
        # All of one sign: errors add up instead of cancelling.
        X = rng.random((64, d), dtype=np.float32)
        centers = rng.random((13, d), dtype=np.float32)
        frame = Frame(np.zeros(d, dtype=np.float32), np.float32(1))
        largest = float((centers.astype(np.float64) ** 2).sum(axis=1).max())
        alpha, beta = cpu.lloyd._lloyd.certainty(d, largest, 32)
        norms = (X.astype(np.float64) ** 2).sum(axis=1)
        allowed = (float(alpha) * norms + float(beta)) / 2
        score = np.zeros((64, 13), dtype=np.float32)
        score -= ((centers.astype(np.float64) ** 2).sum(axis=1) / 2).astype(np.float32)
        for t in range(d):
            score += X[:, t, None] * centers[:, t]
        wide = X.astype(np.float64) @ centers.T.astype(np.float64)
        wide -= (centers.astype(np.float64) ** 2).sum(axis=1) / 2
        assert (np.abs(score - wide) <= allowed[:, None]).all()
        expected = _reference.nearest_centers(X, centers, frame)
        found = cpu.nearest_centers(X, centers, frame, n_threads=1, isa=isa)
        np.testing.assert_array_equal(found, expected)


def bfloat16(x):
    """Values rounded to bfloat16, to the nearest and of two such to the even one."""
    bits = x.astype(np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return rounded.astype(np.uint32).view(np.float32)


@given(seed=st.integers(0, 2**32 - 1), ends=st.sampled_from([0xFFFF, 0x7FFF, 0x8000]))
def test_products_of_two_parts_stay_within_their_bound(seed, ends):
    """What lloyd_split.h says three products of parts miss, bits at their worst too."""
    rng = np.random.default_rng(seed)
    x, c = rng.normal(size=(2, 1000)).astype(np.float32)
    worst = (x.view(np.uint32) & 0xFFFF0000 | ends).view(np.float32)
    for a, b in ((x, c), (worst, c), (worst, worst), (x, x)):
        high, other_high = bfloat16(a), bfloat16(b)
        low, other_low = bfloat16(a - high), bfloat16(b - other_high)
        parts = (high, other_high), (high, other_low), (low, other_high)
        found = sum(left.astype(np.float64) * right for left, right in parts)
        exact = a.astype(np.float64) * b
        assert (np.abs(found - exact) <= 3.02 * 2.0**-16 * np.abs(exact)).all()


@given(seed=st.integers(0, 2**32 - 1), ends=st.sampled_from([0xFFFF, 0x7FFF, 0x8000]))
def test_scores_by_first_parts_stay_within_their_bound(seed, ends):
    """What lloyd_split.h says the difference of two such scores misses."""
    rng = np.random.default_rng(seed)
    x, a, b = rng.normal(size=(3, 50)).astype(np.float32)
    # Bits at their worst, and what is missed all of one sign.
    worst = (x.view(np.uint32) & 0xFFFF0000 | ends).view(np.float32)
    length = np.linalg.norm
    for row in (x, worst, np.abs(worst)):
        for one, other in ((a, b), (row, -row), (np.abs(worst), worst)):
            one, other = one.astype(np.float64), other.astype(np.float64)
            high, first, second = map(bfloat16, (row, one, other))
            wide = row.astype(np.float64)
            found = high.astype(np.float64) @ (first.astype(np.float64) - second)
            missed, lost = (
                length(wide - high),
                max(length(one - first), length(other - second)),
            )
            largest = max(length(one), length(other))
            bound = 2 * (missed * largest + (length(wide) + missed) * lost)
            assert abs(found - wide @ (one - other)) <= bound * (1 + 1e-12)


@pytest.mark.edge
@pytest.mark.parametrize("value", [1e-45, 1e-30, 1e30, 3e38])
def test_extreme_rows_have_the_labels_of_the_definition(value, isa):
    rng = np.random.default_rng(0)
    X = (rng.integers(-1, 2, (50, 5)) * value).astype(np.float32)
    centers = X[:7].copy()
    for frame in (frame_of(X), Frame(np.zeros(5, np.float32), np.float32(1))):
        found = cpu.nearest_centers(X, centers, frame, n_threads=2, isa=isa)
        expected = _reference.nearest_centers(X, centers, frame)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("backend", ["cuda", "cuda:1", "cuda:0,1"])
def test_wherever_devices_are_asked_for_a_step_follows_another(backend):
    for other in ("auto", "cpu", "numpy"):
        with config_context(backend=other):
            assert iterates()
    with config_context(backend=backend):
        assert not iterates()
