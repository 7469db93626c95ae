"""The public `save` and `load`."""

import os

import numpy as np
import pytest

import sklearn_ternary
from sklearn_ternary import TernaryArray, load, save, ternarize
from sklearn_ternary.persistence import (
    read_container,
    save_tensors,
    write_container,
)


@pytest.fixture
def array():
    return ternarize(np.random.default_rng(0).normal(size=(6, 5, 3)), block_size=4)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "saved.safetensors"


@pytest.mark.parametrize("layout", ["t2", "t5", "q3"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (7,), (6, 5), (2, 3, 4), (0, 3), (3, 0)])
def test_an_array_comes_back(path, shape, dtype, layout):
    W = np.random.default_rng(0).normal(size=shape).astype(dtype)
    A = ternarize(W, n_levels=5 if layout == "q3" else 3, layout=layout)
    save(A, path)
    B = load(path)
    assert type(B) is TernaryArray
    assert B == A
    assert (B.layout, B.shape, B.dtype) == (A.layout, A.shape, A.dtype)
    np.testing.assert_array_equal(B.scale, A.scale)
    np.testing.assert_array_equal(B.toarray(), A.toarray())


def test_a_dict_comes_back_in_order(path, array):
    obj = {
        "z": array,
        "a": np.arange(3),
        "array": np.float32([[1, 2]]),
        "z.packed": np.array(True),
        "packed": np.empty((0, 2)),
        "名前\n[b]": array[:2],
    }
    save(obj, path)
    back = load(path)
    assert list(back) == list(obj)
    for name, value in obj.items():
        if isinstance(value, TernaryArray):
            assert back[name] == value
        else:
            assert back[name].dtype == value.dtype
            np.testing.assert_array_equal(back[name], value)


def test_an_empty_dict_comes_back(path):
    save({}, path)
    assert load(path) == {}


def test_plain_arrays_keep_their_names_for_other_readers(path, array):
    from safetensors.numpy import load_file

    save({"bias": np.arange(3.0), "weight": array}, path)
    assert set(load_file(path)) == {"bias", "weight.packed", "weight.scale"}


def test_the_methods_of_the_array_use_the_same_file(path, array):
    array.save(path)
    assert load(path) == array
    save(array, path)
    assert TernaryArray.load(path) == array
    save({"a": array}, path)
    with pytest.raises(ValueError, match=rf"{path.name} does not hold a single"):
        TernaryArray.load(path)
    save_tensors(path, {"": ({"packed": np.zeros((1, 3), np.uint8)}, None)})
    with pytest.raises(ValueError, match=rf"{path.name}: the description None"):
        TernaryArray.load(path)


def test_nan_scales_are_kept(path):
    W = np.array([[1.0, np.nan], [1.0, 2.0]])
    A = ternarize(W, axis=1, on_nonfinite="propagate")
    save(A, path)
    assert load(path) == A
    assert np.isnan(load(path).scale[0, 0])


@pytest.mark.parametrize(
    ("obj", "problem"),
    [
        (np.zeros(3), "obj is a ndarray"),
        ([1], "obj is a list"),
        ({"a": [1]}, r"obj\['a'\] is a list"),
        ({1: np.zeros(3)}, "the name 1"),
        ({"": np.zeros(3)}, "the name ''"),
        ({"a": np.array(["x"])}, "dtype <U1"),
        ({"a": np.array([None])}, "dtype object"),
        ({"a": np.zeros(2, complex)}, "complex128"),
    ],
)
def test_what_cannot_be_saved_is_named(path, obj, problem):
    path.write_text("precious")
    with pytest.raises(ValueError, match=problem):
        save(obj, path)
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "an empty file"),
        (b"\x80\x04\x95", "a pickle"),
        (b"\x93NUMPY\1\0", r"numpy\.load reads it"),
        (b"PK\3\4", "npz"),
        (b"GGUF", "a GGUF file"),
        (b"\2\0\0\0\0\0\0\0{}", "safetensors file of another program"),
        (b"hello", "not known"),
    ],
)
def test_load_says_what_another_file_is(path, content, problem):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"saved.safetensors is .*{problem}"):
        load(path)


GOOD = {"tensors": {"packed": "p", "scale": "s"}}
INFO = {"shape": [2, 5], "layout": "t5", "group_size": 5}


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"parts": []},
        {"parts": {}},
        {"parts": {"a": None}},
        {"parts": {"a": GOOD}},
        {"parts": {"a": GOOD | {"info": INFO, "code": "x"}}},
        {"parts": {"a": {"tensors": ["p", "s"], "info": INFO}}},
        {"parts": {"a": {"tensors": {"packed": "p"}, "info": INFO}}},
        {"parts": {"a": {"tensors": {"packed": "p", "scale": "q"}, "info": INFO}}},
        {"parts": {"a": {"tensors": {"packed": "p", "scale": ["s"]}, "info": INFO}}},
        {"parts": {"a": {"tensors": {"packed": "s", "scale": "p"}, "info": INFO}}},
        {"parts": {"a": GOOD | {"info": None}}},
        {"parts": {"a": GOOD | {"info": 3}}},
        {"parts": {"a": GOOD | {"info": {}}}},
        *(
            {"parts": {"a": GOOD | {"info": INFO | change}}}
            for change in (
                {"shape": None},
                {"shape": 3},
                {"shape": [2]},
                {"shape": [2, 6]},
                {"shape": [5, 2]},
                {"shape": [-2, -5]},
                {"shape": [True, 5]},
                {"shape": [2.0, 5]},
                {"shape": [2**62, 5]},
                {"shape": ["2", 5]},
                {"shape": [2, 5] + [1] * 40},
                {"layout": "t2"},
                {"layout": "nope"},
                {"layout": ["t5"]},
                {"group_size": 0},
                {"group_size": 2},
                {"group_size": 5.0},
                {"group_size": True},
                {"more": 1},
            )
        ),
    ],
    ids=str,
)
def test_load_refuses_a_description_that_does_not_fit(path, content):
    tensors = {"p": np.zeros((2, 1), np.uint8), "s": np.ones((2, 1), np.float32)}
    write_container(path, tensors, content)
    with pytest.raises(ValueError, match=r"saved\.safetensors"):
        load(path)


def test_the_refused_descriptions_are_made_from_a_good_one(path):
    tensors = {"p": np.zeros((2, 1), np.uint8), "s": np.ones((2, 1), np.float32)}
    write_container(path, tensors, {"parts": {"a": GOOD | {"info": INFO}}})
    np.testing.assert_array_equal(load(path)["a"].toarray(), -np.ones((2, 5)))


@pytest.mark.parametrize("group_size", [6, 2**40, 2**70])
def test_a_group_longer_than_a_row_ends_with_it(path, group_size):
    tensors = {"p": np.zeros((2, 1), np.uint8), "s": np.ones((2, 1), np.float32)}
    info = INFO | {"group_size": group_size}
    write_container(path, tensors, {"parts": {"a": GOOD | {"info": info}}})
    np.testing.assert_array_equal(load(path)["a"].toarray(), -np.ones((2, 5)))


def test_invalid_codes_are_refused(path, array):
    save(array, path)
    tensors, content = read_container(path)
    tensors["packed"][0, 0] = 255
    write_container(path, tensors, content)
    with pytest.raises(ValueError, match=r"saved\.safetensors.*no codes"):
        load(path)


def test_missing_files_are_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "no")
    with pytest.raises(FileNotFoundError):
        save({}, tmp_path / "no" / "file")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)


def test_str_bytes_and_path_are_paths(tmp_path, array):
    for path in (str(tmp_path / "a"), os.fsencode(tmp_path / "b"), tmp_path / "c"):
        save(array, path)
        assert load(path) == array


def test_they_are_public():
    assert sklearn_ternary.save is save
    assert sklearn_ternary.load is load
