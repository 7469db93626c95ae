"""Labels on a device are those of the definition, ties and extremes included."""

import numpy as np
import pytest

from sklearn_ternary import _dispatch, _gpu, _reference, config_context
from sklearn_ternary._gpu import lloyd
from sklearn_ternary._gpu.blocks import Block
from sklearn_ternary._gpu.lanes import Lane
from sklearn_ternary.cluster._frame import make_frame

# Rows, features, centres.
SHAPES = [(1, 1, 1), (3, 5, 2), (129, 70, 130), (140, 300, 9), (130, 64, 129)]


def make(n, d, k):
    rng = np.random.default_rng(n + k)
    X = rng.standard_normal((n, d)).astype(np.float32)
    centers = rng.standard_normal((k, d)).astype(np.float32)
    if k > 4:
        centers[4] = centers[2]  # equally near
    return X, centers


@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
def test_labels(any_cupy, n, d, k, order):
    X, centers = make(n, d, k)
    expected = _reference.nearest_centers(X, centers, None)
    args = any_cupy.asarray(X), any_cupy.asarray(centers), None
    got = _gpu.nearest_centers(*args)
    assert isinstance(got, any_cupy.ndarray)
    np.testing.assert_array_equal(got.get(), expected)


@pytest.mark.parametrize("scale", [1e-42, 1e-20, 1e18, 1e38])
@pytest.mark.parametrize("shift", [0, 1])
def test_what_single_precision_cannot_tell(any_cupy, order, scale, shift):
    """Far from the origin or of unusual size: every row is done in float64."""
    X, centers = make(40, 20, 6)
    X, centers = (np.clip(a, -3, 3) * 1e-4 + shift for a in (X, centers))
    X, centers = (np.float32(a * scale) for a in (X, centers))
    expected = _reference.nearest_centers(X, centers, None)
    got = _gpu.nearest_centers(any_cupy.asarray(X), any_cupy.asarray(centers), None)
    np.testing.assert_array_equal(got.get(), expected)


def test_from_the_host_in_pieces(cupy, monkeypatch):
    X, centers = make(20, 6, 20)
    monkeypatch.setattr("sklearn_ternary._gpu.memory.PIECE_BYTES", 7 * X[0].nbytes)
    with config_context(backend="cuda", strict=True):
        got = _dispatch.nearest_centers(X, centers, None)
    np.testing.assert_array_equal(got, _reference.nearest_centers(X, centers, None))


@pytest.mark.parametrize("shared_memory", [100 * 1024, 164 * 1024, 227 * 1024])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_columns(cupy, monkeypatch, shared_memory, dtype):
    """Rows go by in slabs where they do not fit into shared memory."""
    monkeypatch.setattr(cupy, "shared_memory", shared_memory)
    X, centers = (a.astype(dtype) for a in make(130, 330, 129))
    got = _gpu.nearest_centers(cupy.asarray(X), cupy.asarray(centers), None)
    expected = _reference.nearest_centers(X, centers, None)
    np.testing.assert_array_equal(got.get(), expected)


def test_the_frame_spares_double_precision(cupy, monkeypatch):
    """Data far from the origin: the list stays short, and labels are the same."""
    X, centers = make(300, 20, 4)
    X, centers = X + 1000, centers + 1000
    lengths = []
    by_products = lloyd._find_by_products

    def counted(*args):
        by_products(*args)
        lengths.append(int(args[-2].get()[0]))

    monkeypatch.setattr(lloyd, "_find_by_products", counted)
    args = cupy.asarray(X), cupy.asarray(centers)
    expected = _reference.nearest_centers(X, centers, None)
    for frame in (None, make_frame(X.mean(axis=0), 10.0, X.dtype)):
        got = _gpu.nearest_centers(*args, frame)
        np.testing.assert_array_equal(got.get(), expected)
    assert lengths[0] == 300
    assert lengths[1] < 10


def test_a_coarse_look_where_it_pays(cupy, monkeypatch):
    """The first one of the rows says whether there are more; labels are the same."""
    launches = []
    launch = lloyd.launch
    monkeypatch.setattr(
        lloyd, "launch", lambda *a, **k: launches.append(a[2]) or launch(*a, **k)
    )
    X, centers = make(150, 20, 4)
    X += 20 * centers[np.arange(150) % 4]
    centers *= 20
    for origin, n_looks in ((0, 3), (1e4, 1)):
        rows, middles = (np.float32(a + origin) for a in (X, centers))
        block = Block(Lane(cupy, 0), cupy.asarray(rows))
        block.set_frame(make_frame(np.zeros(20), 1e5, X.dtype))
        expected = _reference.nearest_centers(rows, middles, None)
        launches.clear()
        for _ in range(3):
            got = block.nearest(cupy.asarray(middles)).get()
            np.testing.assert_array_equal(got, expected)
        assert launches.count("assign_coarsely") == n_looks
        assert launches.count("assign") == 3
