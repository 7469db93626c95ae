"""Entropy coding against its definition, the entropy, and damage."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_ternary import (
    ConstrainedTrainer,
    TernaryArray,
    _reference,
    config_context,
    load,
    save,
    ternarize,
)
from sklearn_ternary._reference.entropy import BLOCK, MOST, MOST_A_BYTE, TOTAL
from sklearn_ternary.cli import main
from sklearn_ternary.quantization._entropy_coding import (
    entropy_coded,
    entropy_decoded,
    whole_frequencies,
)


def drawn(n, shares, seed=0):
    """Codes with about these shares, from the smallest."""
    rng = np.random.default_rng(seed)
    p = np.array(shares) / np.sum(shares)
    return (rng.choice(len(p), size=n, p=p) - len(p) // 2).astype(np.int8)


def frequencies_of(codes, n_levels):
    counts = np.bincount(codes.astype(np.int64) + n_levels // 2, minlength=n_levels)
    return whole_frequencies(counts)


def entropy_bits(codes):
    shares = np.unique(codes, return_counts=True)[1] / codes.size
    return float(-(shares * np.log2(shares)).sum())


SHARES = [(1, 1, 1), (1, 3, 1), (0, 1, 0), (1, 500, 2), (1, 2, 0), (3, 1, 4, 1, 5)]
SHARES += [tuple(np.exp(-np.abs(np.arange(-127, 128)) / 20))]


@pytest.mark.parametrize("shares", SHARES, ids=lambda s: f"{len(s)}-{s[0]:.0f}")
@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 4001])
def test_definition(shares, n):
    codes = drawn(n, shares)
    frequencies = frequencies_of(codes, len(shares))
    coded = _reference.encode_codes(codes, frequencies)
    decoded = _reference.decode_codes(coded, n, frequencies)
    np.testing.assert_array_equal(decoded, codes)
    assert decoded.dtype == np.int8


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("shares", SHARES, ids=lambda s: f"{len(s)}-{s[0]:.0f}")
@pytest.mark.parametrize("n", [0, 1, 9, 4001])
def test_kernels(shares, n, n_threads):
    cpu = pytest.importorskip("sklearn_ternary._cpu", reason="no compiled kernels")
    options = {"n_threads": n_threads, "isa": "generic"}
    codes = drawn(n, shares)
    frequencies = frequencies_of(codes, len(shares))
    coded = cpu.encode_codes(codes, frequencies, **options)
    expected = _reference.encode_codes(codes, frequencies)
    np.testing.assert_array_equal(coded, expected)
    decoded = cpu.decode_codes(coded, n, frequencies, **options)
    np.testing.assert_array_equal(decoded, codes)


def test_several_blocks():
    cpu = pytest.importorskip("sklearn_ternary._cpu", reason="no compiled kernels")
    codes = drawn(9 * BLOCK + 5, (1, 2, 1))
    frequencies = frequencies_of(codes, 3)
    coded = cpu.encode_codes(codes, frequencies, n_threads=1, isa="generic")
    again = cpu.encode_codes(codes, frequencies, n_threads=2, isa="generic")
    np.testing.assert_array_equal(coded, again)
    decoded = cpu.decode_codes(
        coded, len(codes), frequencies, n_threads=2, isa="generic"
    )
    np.testing.assert_array_equal(decoded, codes)
    # A block is coded by itself.
    head = _reference.encode_codes(codes[-5:], frequencies)
    np.testing.assert_array_equal(coded[-len(head) :], head)


@given(counts=st.lists(st.integers(0, 2**40), min_size=3, max_size=255))
@settings(deadline=None, max_examples=200)
def test_frequencies(counts):
    counts = np.array(counts, dtype=np.int64)
    frequencies = whole_frequencies(counts)
    assert frequencies.sum() == TOTAL
    assert frequencies.min() >= 0 and frequencies.max() <= MOST
    assert (frequencies[counts > 0] > 0).all()


def test_frequencies_of_many_rare_codes():
    for n_rare in range(1, 255):
        counts = np.array([10**9] * (255 - n_rare) + [1] * n_rare)
        assert whole_frequencies(counts).min() > 0


@pytest.mark.parametrize("scale", ["absmean", "twn", "mse"])
def test_size_is_the_entropy(tmp_path, scale):
    W = np.random.default_rng(0).normal(size=(512, 2048)).astype(np.float32)
    A = ternarize(W, scale=scale)
    A.save(tmp_path / "A", entropy_code=True)
    bits = 8 * (tmp_path / "A").stat().st_size / W.size
    bound = entropy_bits(A.codes())
    assert bound < bits < 1.01 * bound
    loaded = TernaryArray.load(tmp_path / "A")
    assert loaded == A and loaded.layout == A.layout
    np.testing.assert_array_equal(loaded.packed, A.packed)


@pytest.mark.parametrize("shape", [(), (0,), (5, 0), (0, 3), (1,), (3, 4, 5), (700,)])
@pytest.mark.parametrize("layout", ["t2", "t5", "tq1_0", "i2_s_arm"])
def test_shapes_and_layouts(tmp_path, shape, layout):
    A = ternarize(np.random.default_rng(0).normal(size=shape), layout=layout)
    save({"A": A, "b": np.ones(2)}, tmp_path / "file", entropy_code=True)
    loaded = load(tmp_path / "file")
    assert loaded["A"] == A and loaded["A"].layout == layout
    np.testing.assert_array_equal(loaded["b"], np.ones(2))


def test_all_codes_alike_are_bounded():
    codes = np.zeros(10**6, dtype=np.int8)
    coded = _reference.encode_codes(codes, frequencies_of(codes, 3))
    assert len(codes) / MOST_A_BYTE <= len(coded) < 0.003 * len(codes) + 200


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_damage_is_found(backend):
    if backend == "cpu":
        pytest.importorskip("sklearn_ternary._cpu", reason="no compiled kernels")
    A = ternarize(np.random.default_rng(0).normal(size=(5, 41)))
    tensors, info = entropy_coded(*A._to_parts())
    coded = tensors["coded"]
    with config_context(backend=backend):
        for n in range(len(coded)):
            with pytest.raises(ValueError, match="cod"):
                entropy_decoded(tensors | {"coded": coded[:n]}, info)
        with pytest.raises(ValueError, match="after"):
            more = np.append(coded, np.uint8(0))
            entropy_decoded(tensors | {"coded": more}, info)
        for bit in range(8 * len(coded)):
            flipped = coded.copy()
            flipped[bit // 8] ^= 1 << bit % 8
            try:
                parts, _ = entropy_decoded(tensors | {"coded": flipped}, info)
            except ValueError:
                continue
            assert parts["packed"].shape == A.packed.shape


@pytest.mark.parametrize(
    "change",
    [
        {"frequencies": None},
        {"frequencies": [TOTAL, 0, 0]},
        {"frequencies": [5000, 6384, 4999]},
        {"frequencies": [5000.0, 6384, 5000]},
        {"frequencies": [-1, 10000, 6385]},
        {"frequencies": [5000, 6384, 5000, 0]},
        {"shape": [10**9, 10**6]},
        {"shape": [5, 42]},
        {"shape": [5, 40]},
        {"layout": "q3"},
        {"layout": 3},
    ],
    ids=str,
)
def test_wrong_descriptions(change):
    A = ternarize(np.random.default_rng(0).normal(size=(5, 41)))
    tensors, info = entropy_coded(*A._to_parts())
    assert TernaryArray._from_parts(tensors, info) == A
    with pytest.raises(ValueError):
        TernaryArray._from_parts(tensors, info | change)
    with pytest.raises(ValueError):
        TernaryArray._from_parts(tensors | {"coded": tensors["coded"][None]}, info)


def test_networks_are_refused(tmp_path):
    network = ConstrainedTrainer((4,), max_iter=1)
    network.fit(np.eye(6), [0, 1, 0, 1, 0, 1])
    with pytest.raises(ValueError, match="entropy_code=True"):
        save(network, tmp_path / "model", entropy_code=True)


def test_command_line_reads_such_files(tmp_path):
    W = np.random.default_rng(0).normal(size=(40, 3, 21)).astype(np.float32)
    arrays = {"W": ternarize(W, axis=(1, 2)), "v": ternarize(W[0, 0])}
    arrays["U"] = ternarize(W[0], n_levels=5, block_size=8)
    path = str(tmp_path / "file.safetensors")
    save(arrays, path, entropy_code=True)
    shown = CliRunner().invoke(main, ["inspect", path, "--json"])
    rows = {row["name"]: row for row in json.loads(shown.output)["tensors"]}
    assert rows["W"]["kind"] == "t5, entropy coded"
    out = str(tmp_path / "out.npz")
    done = CliRunner().invoke(main, ["dequantize", path, "-o", out])
    assert done.exit_code == 0, done.output
    with np.load(out) as values:
        for name, A in arrays.items():
            np.testing.assert_array_equal(values[name], A.toarray())
