"""Arrays and estimators on a device: CuPy in, CuPy out, and the codes of the CPU."""

import pickle
import sys
import types

import numpy as np
import pytest
from sklearn.base import clone

from sklearn_ternary import TernaryArray, TernaryQuantizer, config_context, ternarize
from sklearn_ternary._gpu.arrays import from_device
from sklearn_ternary.exceptions import BackendFallbackWarning
from sklearn_ternary.quantization._percentiles import group_percentiles

X = np.random.default_rng(0).standard_normal((40, 30)).astype(np.float32)

WAYS = [
    {},
    {"axis": 0},
    {"axis": 1, "scale": "twn"},
    {"axis": 0, "scale": "mse"},
    {"axis": 0, "scale": "absmax"},
    {"block_size": 8, "layout": "t2"},
    {"scale": 0.5},
    {"axis": 1, "on_nonfinite": "propagate"},
    {"block_size": 8, "on_nonfinite": "zero"},
]


def is_on(cupy, A):
    return isinstance(A.packed, cupy.ndarray) and isinstance(A.scale, cupy.ndarray)


@pytest.mark.parametrize("options", WAYS)
def test_ternarize(cupy, options):
    W = X.copy()
    if "on_nonfinite" in options:
        W[3, 4] = np.nan
    expected = ternarize(W, **options)
    A = ternarize(cupy.asarray(W), **options)
    assert is_on(cupy, A)
    assert A.get() == A == expected
    np.testing.assert_array_equal(A.get().packed, expected.packed)
    assert isinstance(A.toarray(), cupy.ndarray)
    np.testing.assert_array_equal(A.toarray().get(), expected.toarray())
    np.testing.assert_array_equal(A.codes().get(), expected.codes())
    assert A.sparsity == expected.sparsity
    with config_context(backend="cuda", strict=True):
        from_host = ternarize(W, **options)
    assert isinstance(from_host.packed, np.ndarray)
    assert from_host == expected


def test_float64_and_one_dimension(cupy):
    W = X.astype(np.float64).ravel()
    assert ternarize(cupy.asarray(W)).get() == ternarize(W)
    assert ternarize(cupy.asarray(W[::2])).get() == ternarize(W[::2])


def test_arrays_of_other_libraries(cupy):
    """Those that tell where their memory is, as torch's do: it is not copied."""
    held = cupy.asarray(X)
    interface = held.__cuda_array_interface__
    tensor = types.SimpleNamespace(__cuda_array_interface__=interface)
    for found in (tensor, _Exporting(X, 2), _Exporting(X, 13)):
        assert is_on(cupy, ternarize(found))
        assert ternarize(found).get() == ternarize(X)
        assert isinstance(TernaryQuantizer().fit_transform(found), cupy.ndarray)
        address = from_device(found).__cuda_array_interface__["data"][0]
        expected = held if found is tensor else cupy.from_dlpack(found)
        assert address == expected.__cuda_array_interface__["data"][0]


def test_arrays_of_other_libraries_on_the_host(cupy):
    """Nothing moves to a device."""
    found = _Exporting(X, 1)
    assert from_device(found) is found
    torch = pytest.importorskip("torch", reason="pip install torch")
    tensor = torch.from_numpy(X)
    before = cupy.get_default_memory_pool().used_bytes()
    assert ternarize(tensor) == ternarize(X)
    out = TernaryQuantizer().fit_transform(tensor)
    np.testing.assert_array_equal(out, TernaryQuantizer().fit_transform(X))
    assert cupy.get_default_memory_pool().used_bytes() == before


class _Exporting:
    """An array that is known by DLPack alone, on a device of a kind."""

    def __init__(self, array, kind):
        self.array, self.kind = array, kind

    def __dlpack_device__(self):
        return self.kind, 0

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)


def test_packed_array_on_a_device(cupy):
    A, expected = ternarize(cupy.asarray(X), axis=1), ternarize(X, axis=1)
    assert A[3:9].get() == expected[3:9]
    assert A[2].get() == expected[2]
    rows = np.array([3, 1])
    for key in (rows, np.arange(len(X)) % 3 == 0, [3, 1]):
        assert A[key].get() == expected[key]
    for array in (A, expected):
        assert array[cupy.asarray(rows)].get() == expected[rows]
    deep = X[:, :24].reshape(-1, 4, 6)
    for options in ({"axis": (1, 2)}, {"block_size": 12}, {"axis": 2}):
        in_three = ternarize(deep, **options)
        assert ternarize(cupy.asarray(deep), **options)[2].get() == in_three[2]
    assert (A.tocsr() != expected.tocsr()).nnz == 0
    assert is_on(cupy, A.to_layout("t2"))
    assert A.to_layout("t2") == expected
    again = pickle.loads(pickle.dumps(A))
    assert isinstance(again.packed, np.ndarray)
    assert again == A
    made = TernaryArray(A.packed, A.scale, A.shape, "t5", group_size=30)
    assert is_on(cupy, made)
    with pytest.raises(TypeError, match=r"get\(\)"):
        np.asarray(A)
    with pytest.raises(ValueError, match="not both on a device"):
        TernaryArray(A.packed, expected.scale, A.shape, "t5", group_size=30)
    wrong = A.packed.copy()
    wrong[1, 1] = 255
    with pytest.raises(ValueError, match="no codes of layout"):
        TernaryArray(wrong, A.scale, A.shape, "t5", group_size=30)


def test_files_are_those_of_the_host(cupy, tmp_path):
    A, expected = ternarize(cupy.asarray(X)), ternarize(X)
    for array, name in ((A, "device"), (expected, "host")):
        array.save(tmp_path / name)
    files = [(tmp_path / name).read_bytes() for name in ("device", "host")]
    assert files[0] == files[1]


@pytest.mark.parametrize("output", ["values", "codes", "packed"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": "absmax", "n_levels": 3},
        {"granularity": "sample"},
        {"granularity": "block", "block_size": 8, "scale": "twn"},
        {"granularity": "tensor", "scale": 0.7},
    ],
)
def test_quantizer(cupy, options, output):
    quantizer = TernaryQuantizer(**options, output=output)
    on_host = clone(quantizer).fit(X)
    on_device = clone(quantizer).fit(cupy.asarray(X))
    for name in ("scale_", "threshold_", "levels_"):
        expected, got = getattr(on_host, name), getattr(on_device, name)
        if expected is not None:
            assert isinstance(got, cupy.ndarray)
            np.testing.assert_array_equal(got.get(), expected)
    assert on_device.sparsity_ == on_host.sparsity_
    out, expected = on_device.transform(cupy.asarray(X)), on_host.transform(X)
    if output == "packed":
        assert is_on(cupy, out)
        assert out == expected
    else:
        assert isinstance(out, cupy.ndarray)
        np.testing.assert_array_equal(out.get(), expected)
        if options.get("granularity") != "sample":
            back = on_device.inverse_transform(out)
            np.testing.assert_array_equal(
                back.get(), on_host.inverse_transform(expected)
            )
    # Data decide where; what is stored is NumPy's.
    again = pickle.loads(pickle.dumps(on_device))
    assert not any(isinstance(v, cupy.ndarray) for v in vars(again).values())
    for fitted in (again, on_device):
        result = fitted.transform(X)
        assert isinstance(result, (np.ndarray, TernaryArray))
        assert np.array_equal(np.asarray(result), np.asarray(expected))
    with config_context(backend="cuda", strict=True):
        moved = clone(quantizer).fit(X)
        assert not any(isinstance(v, cupy.ndarray) for v in vars(moved).values())
        result = moved.transform(X)
    assert np.array_equal(np.asarray(result), np.asarray(expected))


def test_quantizer_in_batches(cupy):
    quantizer = TernaryQuantizer().partial_fit(cupy.asarray(X[:7]))
    quantizer.partial_fit(cupy.asarray(X[7:]))
    np.testing.assert_array_equal(
        quantizer.scale_.get(), TernaryQuantizer().fit(X).scale_
    )


def test_quantizer_overwrites_where_it_may(cupy):
    on_device = cupy.asarray(X)
    quantizer = TernaryQuantizer(copy=False).fit(on_device)
    assert quantizer.transform(on_device) is on_device
    np.testing.assert_array_equal(on_device.get(), TernaryQuantizer().fit_transform(X))


def test_errors(cupy):
    bad = X.copy()
    bad[3, 4] = np.inf
    for function in (ternarize, TernaryQuantizer().fit):
        with pytest.raises(
            ValueError, match="infinity: the first is at row 3, column 4"
        ):
            function(cupy.asarray(bad))
    quantizer = TernaryQuantizer().fit(X)
    with pytest.raises(ValueError, match="29 features"):
        quantizer.transform(cupy.asarray(X[:, 1:]))
    for wrong in (X[0], X[:0], X[:, :0]):
        with pytest.raises(ValueError, match="array"):
            TernaryQuantizer().fit(cupy.asarray(wrong))
    with pytest.raises(ValueError, match="Complex"):
        ternarize(cupy.asarray(X.astype(np.complex64)))


@pytest.mark.parametrize("n_levels", [3, 5])
@pytest.mark.parametrize("scale", ["mse", "norm"])
def test_searched_scales(cupy, scale, n_levels):
    options = {"scale": scale, "n_levels": n_levels, "axis": 1}
    with config_context(strict=True):
        A = ternarize(cupy.asarray(X), **options)
    assert is_on(cupy, A)
    assert ternarize(X, **options) == A


def test_without_a_device(clean, monkeypatch):
    """One warning and the CPU, or an error."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    with config_context(backend="cuda"), pytest.warns(BackendFallbackWarning) as told:
        assert TernaryQuantizer(output="packed").fit_transform(X) == ternarize(
            X, axis=0
        )
    assert len(told) == 1
    strict = config_context(backend="cuda", strict=True)
    with strict, pytest.raises(RuntimeError, match="CuPy is not installed"):
        TernaryQuantizer().fit(X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("group_size", [1, 4, 30])
def test_percentiles(cupy, dtype, group_size, monkeypatch):
    """Those of NumPy to the bit, the largest numbers included; X stays as it is."""
    values = X.astype(dtype)
    values[:, 3] *= np.finfo(dtype).max / 8
    at = [0, 0.3, 50, 99.9, 100]
    for columns in (values, values[:, :1]):
        starts = range(0, columns.shape[1], group_size)
        groups = [columns[:, s : s + group_size] for s in starts]
        there = cupy.asarray(columns)
        for magnitudes in (False, True):
            found = group_percentiles(there, group_size, at, magnitudes=magnitudes)
            expected = [np.percentile(abs(g) if magnitudes else g, at) for g in groups]
            on_host = group_percentiles(columns, group_size, at, magnitudes=magnitudes)
            np.testing.assert_array_equal(found, np.transpose(expected))
            np.testing.assert_array_equal(found, on_host)
        np.testing.assert_array_equal(there.get(), columns)
    monkeypatch.setattr(np, "percentile", None)
    with config_context(backend="cuda:1", strict=True):
        again = group_percentiles(columns, group_size, at, magnitudes=True)
    np.testing.assert_array_equal(again, found)
