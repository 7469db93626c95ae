import copy
import pickle

import numpy as np
import pytest

from sklearn_ternary import TernaryArray, config_context, ternarize
from sklearn_ternary._layouts import LAYOUTS
from sklearn_ternary.quantization._array import pack_codes


@pytest.fixture
def W():
    return np.random.default_rng(0).normal(size=(12, 50)).astype(np.float32)


def test_attributes(W):
    A = ternarize(W, axis=1)
    assert (A.shape, A.ndim, A.size, len(A)) == ((12, 50), 2, 600, 12)
    assert (A.layout, A.n_levels, A.dtype) == ("t5", 3, np.float32)
    assert A.scale.shape == (12, 1)
    assert A.nbytes == 12 * 10 + 12 * 4
    assert A.bits_per_value == 8 * A.nbytes / 600
    assert A.compression_ratio == pytest.approx(W.nbytes / A.nbytes)
    assert A.sparsity == (A.codes() == 0).mean()
    np.testing.assert_array_equal(
        A.code_counts(), [(A.codes() == c).sum() for c in (-1, 0, 1)]
    )


def test_advertised_ratios():
    W = np.random.default_rng(1).normal(size=(100, 3000)).astype(np.float32)
    assert ternarize(W, layout="t5").compression_ratio == pytest.approx(20.0, rel=1e-3)
    assert ternarize(W, layout="t2").compression_ratio == pytest.approx(16.0, rel=1e-3)
    assert ternarize(W, n_levels=5).compression_ratio == pytest.approx(13.71, rel=1e-3)


def test_immutable(W):
    A = ternarize(W)
    with pytest.raises(AttributeError, match="immutable"):
        A._layout = "t2"
    with pytest.raises(AttributeError, match="immutable"):
        del A._scale
    with pytest.raises(AttributeError):
        A.shape = (1,)
    for part in (A.packed, A.scale):
        with pytest.raises(ValueError, match="read-only"):
            part[:] = 0


def test_empty_arrays_have_no_ratios():
    A = ternarize(np.ones((0, 4)))
    assert np.isnan([A.bits_per_value, A.compression_ratio, A.sparsity]).all()
    assert "(0, 4)" in repr(A)


def test_repr(W):
    assert repr(ternarize(W, layout="t2")) == (
        "<TernaryArray of shape (12, 50), 3 levels, layout 't2', 2.13 bits per value>"
    )


@pytest.mark.parametrize("options", [{}, {"axis": 0}, {"axis": 1}, {"block_size": 7}])
@pytest.mark.parametrize(
    "key",
    [
        0,
        -1,
        np.int64(3),
        slice(2, 9),
        slice(None, None, -3),
        slice(5, 5),
        [0, 0, 11],
        np.arange(12) % 3 == 0,
        (slice(1, 4), ...),
        ([2, 1], slice(None)),
    ],
    ids=str,
)
def test_rows(W, options, key):
    A = ternarize(W, **options)
    np.testing.assert_array_equal(A[key].toarray(), A.toarray()[key])
    np.testing.assert_array_equal(A[key].codes(), A.codes()[key])


def test_row_slices_share_memory(W):
    A = ternarize(W)
    assert np.shares_memory(A[2:5].packed, A.packed)


@pytest.mark.parametrize("options", [{}, {"axis": -1}, {"axis": (1, 2)}, {"axis": 0}])
def test_rows_of_three_dimensions(options):
    A = ternarize(np.random.default_rng(2).normal(size=(4, 3, 11)), **options)
    np.testing.assert_array_equal(A[1:3].toarray(), A.toarray()[1:3])
    np.testing.assert_array_equal(A[2].toarray(), A.toarray()[2])
    np.testing.assert_array_equal(A[2][1].toarray(), A.toarray()[2, 1])


@pytest.mark.parametrize("block_size", [None, 4])
@pytest.mark.parametrize("key", [3, -1, slice(2, 9), [1, 1, 5]], ids=str)
def test_elements_of_one_dimension(key, block_size):
    A = ternarize(np.random.default_rng(3).normal(size=23), block_size=block_size)
    part = A[key]
    expected = A.toarray()[key]
    values = part.toarray() if isinstance(part, TernaryArray) else part
    np.testing.assert_array_equal(values, expected)
    assert np.shape(values) == np.shape(expected)


@pytest.mark.parametrize("key", [12, -13, 0.5, None, ..., "a", (0, 1), (), [[0, 1]]])
def test_wrong_indices(W, key):
    with pytest.raises(IndexError):
        ternarize(W)[key]


def test_no_dimensions():
    A = ternarize(2.0)
    assert A.toarray() == 2.0
    with pytest.raises(TypeError, match="len"):
        len(A)
    with pytest.raises(IndexError):
        A[0]


def test_layouts_round_trip(W):
    A = ternarize(W, block_size=9)
    B = A.to_layout("t2")
    assert B.layout == "t2"
    assert B == A
    assert B.to_layout("t5") == A
    assert A.to_layout("t5") is A
    with config_context(working_memory=1e-4):
        np.testing.assert_array_equal(A.to_layout("t2").packed, B.packed)
    with pytest.raises(ValueError, match="not a layout for 3 levels"):
        A.to_layout("i4")


def test_equality(W):
    A = ternarize(W)
    assert ternarize(W.copy()) == A
    assert A.to_layout("t2") == A
    assert ternarize(W, scale=np.full(12, A.scale[0, 0]), axis=1) == A
    assert ternarize(2 * W) != A
    assert ternarize(-W) != A
    assert ternarize(W.reshape(50, 12)) != A
    assert A.toarray().tolist() != A
    assert ternarize([np.nan], on_nonfinite="propagate") == ternarize(
        [np.nan], on_nonfinite="propagate"
    )
    with pytest.raises(TypeError, match="unhashable"):
        hash(A)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_and_copies(W, protocol):
    A = ternarize(W, axis=0)
    B = pickle.loads(pickle.dumps(A, protocol))
    assert A == B
    assert not B.packed.flags.writeable
    assert copy.copy(A) is A
    assert copy.deepcopy(A) is A


def test_a_state_that_does_not_fit_is_refused(W):
    """What skops.io hands over was read from a file of someone else."""
    A = ternarize(W, axis=0)
    state = A.__getstate__()
    for wrong in (
        {"shape": (1 << 40, *A.shape[1:])},
        {"packed": np.full_like(state["packed"], 255)},
        {"scale": state["scale"][:, :1]},
        {"group_size": 0},
        {"layout": "t2"},
    ):
        B = object.__new__(TernaryArray)
        with pytest.raises(ValueError):
            B.__setstate__(state | wrong)


def test_numpy_never_makes_it_dense_silently(W):
    A = ternarize(W)
    np.testing.assert_array_equal(np.asarray(A), A.toarray())
    assert np.asarray(A, dtype=np.float64).dtype == np.float64
    with pytest.raises(TypeError):
        W + A
    with pytest.raises(TypeError):
        np.add(W, A)
    with pytest.raises(ValueError, match="copy"):
        np.asarray(A, copy=False)


@pytest.mark.parametrize("dtype", [np.int8, "uint64", bool, "U4"])
def test_values_are_not_cut_to_integers(W, dtype):
    A = ternarize(W)
    for unpack in (A.toarray, A.T.toarray):
        with pytest.raises(ValueError, match=r"dtype=.*codes"):
            unpack(dtype)
    with pytest.raises(ValueError, match=r"dtype=.*codes"):
        np.asarray(A, dtype=dtype)


def test_save_and_load(W, tmp_path):
    A = ternarize(W, axis=1)
    A.save(tmp_path / "a.safetensors")
    B = TernaryArray.load(tmp_path / "a.safetensors")
    assert A == B
    assert B.layout == A.layout
    assert B.dtype == A.dtype


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_packs_and_multiplies_by_its_scale(layout):
    half = LAYOUTS[layout].n_levels // 2
    rng = np.random.default_rng(4)
    codes = rng.integers(-half, half + 1, size=(5, 77)).astype(np.int8)
    scale = rng.uniform(size=(5, 8))
    A = pack_codes(codes, scale, 10, codes.shape, layout)
    np.testing.assert_array_equal(A.codes(), codes)
    step = np.repeat(scale / half, 10, axis=1)[:, :77]
    np.testing.assert_array_equal(A.toarray(), codes * step)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"packed": np.zeros((2, 1), np.uint8)}, "stores shape"),
        ({"packed": np.zeros((2, 2))}, "packed is float64"),
        ({"packed": np.full((2, 2), 243, np.uint8)}, "no codes of layout 't5'"),
        ({"scale": np.ones((2, 2))}, "scale has shape"),
        ({"scale": np.ones((2, 1), int)}, "scale is int64"),
        ({"scale": -np.ones((2, 1))}, "infinite or negative"),
        ({"scale": np.full((2, 1), np.inf)}, "infinite or negative"),
        ({"layout": "t7"}, "layout='t7'"),
        ({"group_size": 0}, "group_size=0"),
        ({"group_size": True}, "group_size"),
        ({"shape": (2, -10)}, "not negative"),
        ({"shape": (2**40, 2**40)}, "too many"),
        ({"shape": "ab"}, "must be integers"),
        ({"shape": 3}, "tuple of integers"),
    ],
)
def test_parts_that_do_not_fit(change, message):
    parts = {
        "packed": np.full((2, 2), 121, np.uint8),
        "scale": np.ones((2, 1)),
        "shape": (2, 10),
        "layout": "t5",
        "group_size": 10,
    }
    assert not TernaryArray(**parts).toarray().any()
    with pytest.raises(ValueError) as error:
        TernaryArray(**(parts | change))
    assert message in str(error.value)


@pytest.mark.parametrize("shape", [(7, 12), (0, 5), (5, 0), (1, 1), (300, 40)])
@pytest.mark.parametrize(
    "options", [{}, {"axis": 0}, {"axis": 1, "n_levels": 5}, {"block_size": 7}]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tocsr(shape, options, dtype):
    X = np.random.default_rng(0).normal(size=shape).astype(dtype)
    A = ternarize(X, **options)
    with config_context(working_memory=0.001):  # panels of a few rows
        S = A.tocsr()
    assert S.shape == shape and S.dtype == dtype and S.format == "csr"
    np.testing.assert_array_equal(S.toarray(), A.toarray())
    assert S.nnz == np.count_nonzero(A.codes())


def test_only_matrices_become_sparse():
    with pytest.raises(ValueError, match=r"only matrices .* \(2, 3, 4\)"):
        ternarize(np.ones((2, 3, 4))).tocsr()
