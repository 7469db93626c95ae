"""Tokenizers: llama.cpp's own cases, and texts that come back."""

import os
import random
import re
from pathlib import Path

import numpy as np
import pytest

from sklearn_ternary.language import ByteTokenizer, Tokenizer, load_tokenizer
from sklearn_ternary.persistence import GGUFWriter

VOCABULARIES = ["llama-bpe", "gpt-2", "llama-spm"]

# SKLEARN_TERNARY_TEST_EXAMPLES=100000 is for a long, thorough run.
N_TEXTS = int(os.environ.get("SKLEARN_TERNARY_TEST_EXAMPLES", 300))


@pytest.fixture(scope="module")
def folder():
    root = Path(__file__).resolve().parents[2]
    data = os.environ.get("SKLEARN_TERNARY_TEST_DATA", root.parent / "shared" / "data")
    folder = Path(data) / "vocab"
    if not folder.is_dir():
        pytest.skip("no vocabularies: set SKLEARN_TERNARY_TEST_DATA")
    pytest.importorskip("tokenizers", reason="pip install tokenizers")
    return folder


@pytest.fixture(scope="module", params=VOCABULARIES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def tokenizer(folder, name):
    return load_tokenizer(folder / f"ggml-vocab-{name}.gguf")


@pytest.fixture(scope="module")
def cases(folder, name):
    inputs = (folder / f"ggml-vocab-{name}.gguf.inp").read_text(encoding="utf-8")
    outputs = (folder / f"ggml-vocab-{name}.gguf.out").read_text()
    texts = inputs.split("\n__ggml_vocab_test__\n")
    ids = [[int(i) for i in line.split()] for line in outputs.split("\n")]
    return list(zip(texts, ids, strict=False))


def test_the_cases_of_llama_cpp(tokenizer, cases):
    assert len(cases) > 40
    for text, ids in cases:
        assert tokenizer.encode(text) == ids, text


def test_texts_come_back(tokenizer, cases, name):
    rng = random.Random(0)
    texts = [text for text, _ in cases]
    ranges = [(32, 127), (0, 0xD800), (0xE000, 0x110000)]
    for _ in range(N_TEXTS):
        n = rng.randrange(1, 40)
        texts.append("".join(chr(rng.randrange(*rng.choice(ranges))) for _ in range(n)))
    for text in texts:
        if name == "llama-spm":
            # Such vocabularies write a space so: the two are one to the model.
            text = text.replace("\u2581", "")
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        decoder = tokenizer.stream_decoder()
        parts = [decoder.push(i) for i in ids]
        assert "".join(parts) + decoder.finish() == text


def test_special_tokens(tokenizer, name):
    special = {"llama-bpe": "<|eot_id|>", "gpt-2": "<|endoftext|>", "llama-spm": "</s>"}
    text = special[name]
    (i,) = tokenizer.encode(text, parse_special=True)
    assert i in tokenizer.end_ids
    plain = tokenizer.encode(text)
    assert i not in plain and tokenizer.decode(plain) == text
    ids = tokenizer.encode(f"a{text}b", add_bos=True, parse_special=True)
    assert ids[0] == tokenizer.bos_id
    assert ids[2] == i
    assert tokenizer.decode(ids) == "ab"
    assert text in tokenizer.decode(ids, skip_special=False)
    assert tokenizer.encode("") == []
    assert tokenizer.adds_bos == (name != "gpt-2")


def test_what_is_no_text(tokenizer):
    for text, problem in ((b"a", "bytes"), ("\ud800", "not valid"), (None, "NoneType")):
        with pytest.raises(ValueError, match=problem):
            tokenizer.encode(text)
    for i in (-1, tokenizer.vocab_size):
        with pytest.raises(ValueError, match=f"token {i} is not one of"):
            tokenizer.decode([i])


def test_long_texts_are_refused(monkeypatch):
    monkeypatch.setattr("sklearn_ternary.language._tokenizer.MAX_TEXT_BYTES", 4)
    assert len(ByteTokenizer().encode("日a")) == 4
    with pytest.raises(ValueError, match="5 bytes"):
        ByteTokenizer().encode("日ab")


# ---- vocabularies made here -------------------------------------------------


def write(path, metadata):
    with GGUFWriter(path, [], metadata):
        pass
    return path


def test_bytes_need_no_library(tmp_path, run_python):
    path = write(tmp_path / "bytes.gguf", ByteTokenizer.metadata())
    run_python(
        """
import sys
sys.modules["tokenizers"] = None
from sklearn_ternary.language import load_tokenizer
tokenizer = load_tokenizer(sys.argv[1])
text = "".join(map(chr, range(0x300))) + "日本 🚀"
ids = tokenizer.encode(text, add_bos=True)
assert ids == [256, *text.encode()], ids
assert tokenizer.decode(ids) == text
assert tokenizer.encode("a<|end|>", parse_special=True) == [97, 257]
assert tokenizer.decode([0xE6, 0x97]) == "\\ufffd"
assert "sklearn" not in sys.modules
""",
        os.fspath(path),
    )


def test_the_library_agrees_on_bytes(tmp_path):
    pytest.importorskip("tokenizers", reason="pip install tokenizers")
    metadata = ByteTokenizer.metadata()
    metadata["tokenizer.ggml.tokens"] = [
        *metadata["tokenizer.ggml.tokens"][:256],
        "<|begin_of_text|>",
        "<|eot_id|>",
    ]
    tokenizer = load_tokenizer(write(tmp_path / "b.gguf", metadata))
    assert type(tokenizer) is Tokenizer
    text = "né 日\x00\xa0<|eot_id|>"
    assert tokenizer.encode(text) == list(text.encode())
    assert tokenizer.encode(text, parse_special=True)[-1] == 257
    assert tokenizer.end_ids == {257}


def test_user_defined_tokens_are_always_taken(tmp_path):
    metadata = ByteTokenizer.metadata()
    metadata["tokenizer.ggml.tokens"] = [*metadata["tokenizer.ggml.tokens"], "<tool>"]
    metadata["tokenizer.ggml.token_type"] = [*[1] * 256, 3, 3, 4]
    tokenizer = load_tokenizer(write(tmp_path / "b.gguf", metadata))
    pytest.importorskip("tokenizers", reason="pip install tokenizers")
    assert tokenizer.encode("a<tool><|end|>")[:2] == [97, 258]
    assert tokenizer.decode([258]) == "<tool>"


def test_a_missing_kind_of_cutting_is_said(tmp_path):
    pytest.importorskip("tokenizers", reason="pip install tokenizers")
    metadata = ByteTokenizer.metadata() | {"tokenizer.ggml.add_bos_token": False}
    del metadata["tokenizer.ggml.pre"]
    metadata["tokenizer.ggml.tokens"][256] = "<|begin_of_text|>"
    tokenizer = load_tokenizer(write(tmp_path / "b.gguf", metadata))
    with pytest.warns(UserWarning, match="as for 'llama-bpe'"):
        assert tokenizer.encode("ab") == [97, 98]


BAD = {
    "model": ({"tokenizer.ggml.model": "bert"}, "'bert'; supported are 'gpt2'"),
    "no model": ({"tokenizer.ggml.model": "no_vocab"}, "has no vocabulary"),
    "pre": ({"tokenizer.ggml.pre": "qwen2"}, "'qwen2'; supported are gpt-2"),
    "tokens": ({"tokenizer.ggml.tokens": [1, 2]}, "tokens is not a list of strings"),
    "types": ({"tokenizer.ggml.token_type": [1, 1]}, "token_type does not have a"),
    "scores": ({"tokenizer.ggml.model": "llama"}, "scores is missing"),
    "bos": ({"tokenizer.ggml.bos_token_id": 999}, "bos_token_id is 999"),
    "flag": ({"tokenizer.ggml.add_bos_token": 1}, "add_bos_token is 1; a bool"),
    "merges": ({"tokenizer.ggml.merges": ["ab"]}, "'ab', which is no pair"),
    "merge of nothing": ({"tokenizer.ggml.merges": ["a 日"]}, "not consistent"),
}


@pytest.mark.parametrize("kind", BAD)
def test_vocabularies_that_are_not_read(tmp_path, kind):
    pytest.importorskip("tokenizers", reason="pip install tokenizers")
    change, problem = BAD[kind]
    metadata = ByteTokenizer.metadata()
    metadata["tokenizer.ggml.tokens"][257] = "<|other|>"
    path = write(tmp_path / "b.gguf", metadata | change)
    with pytest.raises(ValueError, match=re.escape(problem)):
        load_tokenizer(path).encode("a")


# ---- conversations ----------------------------------------------------------

LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>"
    "{{ message['role'] }}<|end_header_id|>\n\n{{ message['content'] | trim }}"
    "<|eot_id|>{% endfor %}{% if add_generation_prompt %}"
    "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
MESSAGES = [{"role": "user", "content": " Hi. "}]


@pytest.fixture
def bytes_tokenizer():
    pytest.importorskip("jinja2", reason="pip install jinja2")
    return ByteTokenizer()


def test_a_conversation(bytes_tokenizer):
    text = bytes_tokenizer.apply_chat_template(MESSAGES, template=LLAMA3)
    assert text == (
        "<|begin|><|start_header_id|>user<|end_header_id|>\n\nHi.<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    text = bytes_tokenizer.apply_chat_template(
        MESSAGES, add_generation_prompt=False, template=LLAMA3
    )
    assert text.endswith("<|eot_id|>")
    with pytest.raises(ValueError, match="no chat template"):
        bytes_tokenizer.apply_chat_template(MESSAGES)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ raise_exception.__globals__ }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({'role': 'x'}) }}",
        "{{ raise_exception('no') }}",
        "{{ strftime_now('%Y') }}",
        "{% include '/etc/passwd' %}",
        "{% for i in range(1000000) %}x{% endfor %}",
        "{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
        "{% for",
        "{{ unknown.name }}",
        "(" * 300_000,
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    ],
)
def test_templates_reach_nothing(bytes_tokenizer, template):
    with pytest.raises(ValueError, match="the chat template"):
        text = bytes_tokenizer.apply_chat_template(MESSAGES, template=template)
        # Jinja renders what it forbids as an undefined value, which is empty.
        raise ValueError(f"the chat template gave {text!r}") if not text else None


@pytest.mark.parametrize(
    "messages",
    ["hi", [{"role": "user"}], [1], [{"role": "user", "content": np.zeros(1)}]],
)
def test_messages_that_are_none(bytes_tokenizer, messages):
    with pytest.raises(ValueError, match="messages"):
        bytes_tokenizer.apply_chat_template(messages, template=LLAMA3)
