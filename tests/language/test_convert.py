"""Conversion of models: nothing changes that does not have to."""

import json
import math
import os

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from sklearn_ternary import load, save, ternarize
from sklearn_ternary.cli import main
from sklearn_ternary.language import ByteTokenizer, convert_model, load_tokenizer
from sklearn_ternary.language._names import checkpoint_name, gguf_name
from sklearn_ternary.language._pipelines import PATTERNS
from sklearn_ternary.persistence import GGUFReader, GGUFWriter

CONFIG = {
    "model_type": "bitnet",
    "hidden_act": "relu2",
    "vocab_size": 258,
    "max_position_embeddings": 64,
    "hidden_size": 256,
    "num_hidden_layers": 2,
    "intermediate_size": 512,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "tie_word_embeddings": True,
}


def checkpoint(ternary):
    """Arrays of a small model; ternary weights with a scale that float16 holds."""
    rng = np.random.default_rng(0)
    E, F, V = 256, 512, 258

    def matrix(*shape):
        if ternary:
            return rng.integers(-1, 2, shape) * np.float32(0.0625)
        return rng.normal(0, 0.05, shape).astype(np.float32)

    tensors = {
        "model.embed_tokens.weight": rng.normal(0, 1, (V, E)).astype(np.float32),
        "model.norm.weight": rng.normal(1, 0.1, E).astype(np.float32),
    }
    for i in range(2):
        layer = f"model.layers.{i}."
        for name, n in (
            ("input_layernorm", E),
            ("post_attention_layernorm", E),
            ("self_attn.attn_sub_norm", E),
            ("mlp.ffn_sub_norm", F),
        ):
            tensors[f"{layer}{name}.weight"] = rng.normal(1, 0.1, n).astype(np.float32)
        for name, n, m in (
            ("self_attn.q_proj", E, E),
            ("self_attn.k_proj", E // 2, E),
            ("self_attn.v_proj", E // 2, E),
            ("self_attn.o_proj", E, E),
            ("mlp.gate_proj", F, E),
            ("mlp.up_proj", F, E),
            ("mlp.down_proj", E, F),
        ):
            tensors[f"{layer}{name}.weight"] = matrix(n, m)
    return tensors


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    save_file(checkpoint(ternary=True), tmp_path / "ternary.safetensors")
    save_file(checkpoint(ternary=False), tmp_path / "floats.safetensors")
    return tmp_path


def is_weight(name):
    return "_proj" in name


def test_names_go_both_ways():
    for name in checkpoint(ternary=True):
        assert checkpoint_name(gguf_name(name)) == name
    assert gguf_name("model.layers.0.self_attn.inner_attn_ln.weight") == (
        "blk.0.attn_sub_norm.weight"
    )
    for name in ("model.layers.0.lm_head.weight", "mlp.up_proj.weight", "x.y", "norm"):
        assert gguf_name(name) is None


@pytest.mark.parametrize("kind", ["TQ1_0", "TQ2_0", "I2_S", "F16", "F32", "BF16"])
def test_ternary_weights_go_around_unchanged(folder, kind):
    source = checkpoint(ternary=True)
    report = convert_model(
        "ternary.safetensors", "a.gguf", weight_type=kind, embedding_type="F32"
    )
    assert {row.name for row in report} == {gguf_name(name) for name in source}
    assert [row.name for row in report[:4]] == [
        "token_embd.weight",
        "output_norm.weight",
        "blk.0.attn_norm.weight",
        "blk.0.attn_q.weight",
    ]
    convert_model("a.gguf", "a.packed")
    convert_model("a.packed", "b.gguf", weight_type=kind, embedding_type="F32")
    os.mkdir("back")
    convert_model("b.gguf", "back/model.safetensors", to="checkpoint")
    back = load_file("back/model.safetensors")
    assert set(back) == set(source)
    for name, values in source.items():
        np.testing.assert_array_equal(back[name], values, err_msg=name)
    config = json.loads((folder / "back" / "config.json").read_text())
    assert {key: config[key] for key in CONFIG if key != "rms_norm_eps"} == {
        key: CONFIG[key] for key in CONFIG if key != "rms_norm_eps"
    }
    with GGUFReader("a.gguf") as a, GGUFReader("b.gguf") as b:
        assert {t.type for t in a.tensors.values()} == {kind, "F32"}
        for name in a.names:
            np.testing.assert_array_equal(a.raw(name), b.raw(name))
        assert a.metadata == b.metadata
        assert a.metadata["general.architecture"] == "bitnet-b1.58"
    packed = load("a.packed")
    assert packed["blk.0.ffn_up.weight"].layout == "t5"


def test_the_gguf_package_reads_the_same(folder):
    gguf = pytest.importorskip("gguf", reason="pip install gguf")
    convert_model("ternary.safetensors", "a.gguf", weight_type="TQ1_0")
    source = checkpoint(ternary=True)
    for tensor in gguf.GGUFReader("a.gguf").tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        expected = source[checkpoint_name(tensor.name)]
        if tensor.tensor_type.name == "F16":
            expected = expected.astype(np.float16)
        np.testing.assert_array_equal(values, expected)


def test_float_weights_are_rounded_and_reported(folder):
    source = checkpoint(ternary=False)
    report = convert_model("floats.safetensors", "a.gguf", scale="mse")
    rows = {checkpoint_name(row.name): row for row in report}
    with GGUFReader("a.gguf") as reader:
        for name, W in source.items():
            found = reader.read(gguf_name(name))
            if not is_weight(name):
                assert rows[name].snr_db is None
                continue
            expected = ternarize(W, scale="mse")
            error = expected.toarray() - W
            snr = 10 * np.log10((W**2).sum() / (error**2).sum())
            assert rows[name].snr_db == pytest.approx(snr, abs=1e-3)
            assert rows[name].sparsity == expected.sparsity
            np.testing.assert_array_equal(np.sign(found), expected.codes())
            np.testing.assert_allclose(np.abs(found).max(), expected.scale, rtol=1e-3)
    exact = convert_model("ternary.safetensors", "b.gguf")
    assert {row.snr_db for row in exact} == {None, math.inf}


@pytest.mark.parametrize("inverted", [False, True])
def test_packed_checkpoints(folder, inverted):
    """Hugging Face's own packing: four quarters of the rows in one byte."""
    source = checkpoint(ternary=True)
    packed = {}
    for name, values in source.items():
        if is_weight(name):
            codes = np.rint(values / np.float32(0.0625)).astype(np.uint8) + 1
            quarters = np.split(codes, 4)
            packed[name] = sum(q << 2 * i for i, q in enumerate(quarters))
            scale = 16.0 if inverted else 0.0625
            packed[name + "_scale"] = np.float32([scale])
        else:
            packed[name] = values
    os.mkdir("packed")
    kind = "bitlinear" if inverted else "autobitlinear"
    config = CONFIG | {"quantization_config": {"linear_class": kind}}
    with open("packed/config.json", "w") as file:
        json.dump(config, file)
    names = list(packed)
    save_file({n: packed[n] for n in names[:9]}, "packed/model-1.safetensors")
    save_file({n: packed[n] for n in names[9:]}, "packed/model-2.safetensors")
    convert_model("packed", "a.gguf", embedding_type="F32")
    with GGUFReader("a.gguf") as reader:
        for name, values in source.items():
            np.testing.assert_array_equal(reader.read(gguf_name(name)), values)


def test_a_vocabulary_comes_along(folder):
    with GGUFWriter("vocab.gguf", [], ByteTokenizer.metadata()):
        pass
    convert_model("ternary.safetensors", "a.gguf", vocabulary="vocab.gguf")
    convert_model("a.gguf", "a.packed")
    convert_model("a.packed", "b.gguf")
    with GGUFReader("b.gguf") as reader, GGUFReader("vocab.gguf") as vocabulary:
        for key, value in vocabulary.metadata.items():
            assert np.array_equal(reader.metadata[key], value)
            assert reader.metadata_types[key] == vocabulary.metadata_types[key]


@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe"])
def test_the_tokenizer_of_a_checkpoint_comes_along(folder, pre):
    tokenizers = pytest.importorskip("tokenizers", reason="pip install tokenizers")
    steps = tokenizers.pre_tokenizers
    texts = ByteTokenizer.metadata()["tokenizer.ggml.tokens"][:256]
    table = {text: i for i, text in enumerate([*texts, "th", "the", "12"])}
    merges = [("t", "h"), ("th", "e"), ("1", "2")]
    library = tokenizers.Tokenizer(tokenizers.models.BPE(table, merges))
    library.pre_tokenizer = steps.ByteLevel(add_prefix_space=False)
    if pre == "llama-bpe":
        pattern = tokenizers.Regex(PATTERNS[pre])
        library.pre_tokenizer = steps.Sequence(
            [
                steps.Split(pattern, "isolated"),
                steps.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    library.add_special_tokens(["<|begin|>", "<|end|>"])
    library.add_tokens(["<tool>"])
    library.save("tokenizer.json")
    template = "{{ bos_token }}{{ messages[0].content }}"
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": template})
    )
    config = CONFIG | {"bos_token_id": 259, "eos_token_id": [260], "vocab_size": 262}
    embedding = np.zeros((262, 256), np.float32)
    source = checkpoint(ternary=True) | {"model.embed_tokens.weight": embedding}
    save_file(source, "model.safetensors")
    convert_model("model.safetensors", "a.gguf", config=config)
    tokenizer = load_tokenizer("a.gguf")
    for text in ("the them 1212 <tool> né", " the\n12345", "<|begin|>the"):
        assert tokenizer.encode(text, parse_special=True) == library.encode(text).ids
    assert tokenizer.encode("<|end|>") != [260]
    assert (tokenizer.bos_id, tokenizer.eos_id) == (259, 260)
    assert tokenizer.adds_bos == (pre == "llama-bpe")
    assert tokenizer.chat_template == template


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[]", "not as expected"),
        ("{", "not valid JSON"),
        ('{"model": {"type": "Unigram"}}', "'Unigram'; byte-level"),
        ('{"model": {"type": "BPE"}}', "neither that of Llama 3"),
        ({"vocab": {"a": 2**24 - 1}}, "1 tokens have ids up to 16777215"),
        ({"added": [{"id": 0, "content": 14}]}, "a token is no text"),
    ],
)
def test_tokenizers_that_are_not_read(folder, content, problem):
    if isinstance(content, dict):
        content = json.dumps(
            {
                "model": {"type": "BPE", "vocab": content.get("vocab", {})}
                | {"merges": []},
                "added_tokens": content.get("added", []),
                "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
            }
        )
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(ValueError, match=rf"tokenizer\.json.*{problem}"):
        convert_model("ternary.safetensors", "a.gguf")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"num_attention_heads": None}, "num_attention_heads is None"),
        ({"hidden_size": True}, "hidden_size is True"),
        ({"model_type": "gpt2"}, "model_type is 'gpt2'"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"hidden_act": ["relu2"]}, r"hidden_act is \['relu2'\]"),
        ({"head_dim": "64"}, "head_dim is '64'"),
        ({"vocab_size": 2**32}, "vocab_size is 4294967296"),
        ({"rms_norm_eps": float("inf")}, "rms_norm_eps is inf"),
    ],
)
def test_settings_that_do_not_fit(folder, change, problem):
    with pytest.raises(ValueError, match=rf"config\.json.*{problem}"):
        convert_model("ternary.safetensors", "a.gguf", config=CONFIG | change)
    assert not os.path.exists("a.gguf")


@pytest.mark.parametrize("value", ["[1]", '"text"', "3", '{"values": 1, "types": {}}'])
def test_containers_that_hold_no_model(folder, value):
    text = np.frombuffer(value.encode(), np.uint8)
    save({"gguf.metadata": text}, "other.st")
    with pytest.raises(ValueError, match=r"other\.st.*lacks values and types"):
        convert_model("other.st", "a.gguf")


@pytest.mark.parametrize("value", [np.inf, 0.0, "one", True, 2**32])
def test_metadata_that_is_no_setting(folder, value):
    convert_model("ternary.safetensors", "a.gguf")
    key = "bitnet-b1.58.block_count"
    with GGUFReader("a.gguf") as reader:
        metadata = dict(reader.metadata) | {key: value}
    with GGUFWriter("b.gguf", [], metadata):
        pass
    with pytest.raises(ValueError, match=rf"b\.gguf: {key} is"):
        convert_model("b.gguf", "c.gguf")


def test_files_that_are_no_model(folder):
    save_file({"a.weight": np.zeros((2, 2), np.float32)}, "other.safetensors")
    np.save("array.npy", np.zeros(3))
    with GGUFWriter("other.gguf", [], {"general.architecture": "llama"}):
        pass
    os.mkdir("empty")
    for source, problem in (
        ("other.safetensors", "'a.weight' is none of a BitNet"),
        ("array.npy", "npy; a GGUF file"),
        ("other.gguf", r"other\.gguf: general.architecture is 'llama'"),
        ("empty", "holds no .safetensors"),
    ):
        with pytest.raises(ValueError, match=problem):
            convert_model(source, "a.gguf")
    narrow = {name: a[..., :128] for name, a in checkpoint(True).items()}
    save_file({n: np.ascontiguousarray(a) for n, a in narrow.items()}, "n.safetensors")
    with pytest.raises(ValueError, match=r"blk\.0\.attn_q.*multiple of 256"):
        convert_model("n.safetensors", "a.gguf")
    os.remove("config.json")
    with pytest.raises(ValueError, match=r"config\.json is missing"):
        convert_model("ternary.safetensors", "a.gguf")


# ---- commands ---------------------------------------------------------------


def invoke(*args, code=0):
    result = CliRunner().invoke(main, [str(a) for a in args])
    assert result.exit_code == code, result.output
    return result.output


def test_commands(folder):
    out = invoke("convert", "floats.safetensors", "-o", "a.gguf", "--type", "TQ1_0")
    assert "rounded to ternary codes" in out and "blk.1.ffn_down.weight" in out
    out = invoke("requantize", "a.gguf", "-o", "b.gguf", "--type", "TQ2_0", "--json")
    report = json.loads(out)
    assert report["rounded"] == 0
    with GGUFReader("a.gguf") as a, GGUFReader("b.gguf") as b:
        for name in a.names:
            np.testing.assert_array_equal(a.read(name), b.read(name))
        assert (a.metadata["general.file_type"], b.metadata["general.file_type"]) == (
            36,
            37,
        )
    out = invoke(
        "requantize", "b.gguf", "-o", "c.gguf", "--embedding-type", "Q6_K", "--json"
    )
    assert {t["type"] for t in json.loads(out)["tensors"]} == {"TQ2_0", "Q6_K", "F32"}
    report = json.loads(invoke("inspect", "c.gguf", "--json"))
    assert report["format"] == "gguf" and report["version"] == 3
    keys = {row["key"]: row["value"] for row in report["metadata"]}
    assert keys["bitnet-b1.58.embedding_length"] == 256
    kinds = {row["name"]: row["kind"] for row in report["tensors"]}
    assert kinds["token_embd.weight"] == "Q6_K"
    text = invoke("inspect", "c.gguf")
    assert "general.architecture" in text and "TQ2_0: 14 tensors" in text
    for wrong in (
        ["requantize", "a.gguf", "-o", "d.gguf"],
        ["requantize", "floats.safetensors", "-o", "d.gguf", "--type", "F16"],
        ["convert", "a.gguf", "-o", "b.gguf"],
        ["convert", "a.gguf", "-o", "-"],
        ["convert", "a.gguf", "-o", "d.packed", "--type", "F16"],
    ):
        invoke(*wrong, code=2)
