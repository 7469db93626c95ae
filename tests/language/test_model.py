"""The transformer: against its definition, itself in other pieces, and llama.cpp."""

import os
from functools import cache

import numpy as np
import pytest

from sklearn_ternary import config_context, ternarize
from sklearn_ternary._cpu import language as cpu
from sklearn_ternary._reference import language as reference
from sklearn_ternary.language import KVCache, LanguageConfig, Model, estimate_memory
from sklearn_ternary.persistence import GGUFReader, GGUFWriter

# SKLEARN_TERNARY_TEST_EXAMPLES=1000 is for a long, thorough run.
N_EXAMPLES = int(os.environ.get("SKLEARN_TERNARY_TEST_EXAMPLES", 40))
SIZES = {
    "block_count": 3,
    "embedding_length": 256,
    "feed_forward_length": 512,
    "context_length": 400,
    "attention.head_count": 8,
    "attention.head_count_kv": 2,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "rope.freq_base": 10000.0,
    "vocab_size": 300,
}


def metadata_of(architecture="bitnet-b1.58", **changes):
    sizes = SIZES | {key.replace("__", "."): value for key, value in changes.items()}
    return {"general.architecture": architecture} | {
        f"{architecture}.{key}": value for key, value in sizes.items()
    }


def shapes_of(config):
    attended, kv = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    embd, ff = config.n_embd, config.n_ff
    shapes = {"token_embd": (config.n_vocab, embd), "output_norm": (embd,)}
    for i in range(config.n_layers):
        layer = {
            "attn_q": (attended, embd),
            "attn_k": (kv, embd),
            "attn_v": (kv, embd),
            "attn_output": (embd, attended),
            "ffn_gate": (ff, embd),
            "ffn_up": (ff, embd),
            "ffn_down": (embd, ff),
            "attn_norm": (embd,),
            "ffn_norm": (embd,),
        }
        if config.sub_norms:
            layer |= {"attn_sub_norm": (attended,), "ffn_sub_norm": (ff,)}
        shapes |= {f"blk.{i}.{name}": shape for name, shape in layer.items()}
    return {f"{name}.weight": shape for name, shape in shapes.items()}


def arrays_of(metadata, seed=0, ternary=True):
    """Random tensors: matrices of the layers ternary, with a scale for each."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in shapes_of(LanguageConfig.from_metadata(metadata)).items():
        values = rng.standard_normal(shape, dtype=np.float32)
        if len(shape) == 1:
            values = 1 + values / 10
        elif name.startswith("blk."):
            array = ternarize(values, scale=float(np.float16(1 / np.sqrt(shape[1]))))
            values = array if ternary else array.toarray()
        tensors[name] = values
    return tensors


def write_gguf(path, metadata, tensors, kind="TQ2_0", embedding="F16"):
    types = {}
    for name, array in tensors.items():
        layer = name.startswith("blk.")
        types[name] = "F32" if array.ndim == 1 else kind if layer else embedding
    entries = [(name, types[name], tensors[name].shape) for name in tensors]
    with GGUFWriter(path, entries, metadata) as writer:
        for name, array in tensors.items():
            dense = array if isinstance(array, np.ndarray) else array.toarray()
            writer.write(name, dense)
    return path


@pytest.fixture(scope="module")
def metadata():
    return metadata_of()


@pytest.fixture(scope="module")
def tensors(metadata):
    return arrays_of(metadata)


@pytest.fixture(scope="module")
def model(metadata, tensors):
    return Model.from_arrays(metadata, tensors)


TOKENS = np.random.default_rng(1).integers(0, SIZES["vocab_size"], 150)


@pytest.fixture
def tokens():
    return TOKENS


def all_logits(model, tokens, dtype="float32", **options):
    cache = model.new_cache(dtype=dtype, **options)
    return model.forward(tokens, cache, all_logits=True)


def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


@cache
def float_model(architecture, changes):
    """A model of floats with every optional tensor, and its logits by definition."""
    metadata = metadata_of(architecture, **dict(changes))
    tensors = arrays_of(metadata, ternary=False)
    rng = np.random.default_rng(2)
    tensors["output.weight"] = rng.standard_normal((300, 256)).astype(np.float16)
    n_rows = len(tensors["blk.1.attn_q.weight"])
    tensors["blk.1.attn_q.bias"] = rng.standard_normal(n_rows)
    tensors["blk.2.ffn_down.scale"] = np.array([0.5], dtype=np.float32)
    n_pairs = metadata.get(f"{architecture}.rope.dimension_count", 32) // 2
    tensors["rope_freqs.weight"] = 1 + rng.random(n_pairs)
    with config_context(backend="numpy"):
        expected = all_logits(Model.from_arrays(metadata, tensors), TOKENS[:80])
    return metadata, tensors, expected


@pytest.mark.parametrize("architecture", ["bitnet", "bitnet-25", "llama"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"attention.key_length": 20, "rope.dimension_count": 12},
        {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
        {"attention.sliding_window": 30},
    ],
    ids=["plain", "head_dim", "rope_scaling", "window"],
)
def test_float_weights_give_the_definition(architecture, changes, tokens, isa):
    metadata, tensors, expected = float_model(architecture, tuple(changes.items()))
    with config_context(isa=isa):
        found = all_logits(Model.from_arrays(metadata, tensors), tokens[:80])
    assert relative(found, expected) < 1e-5


def test_ternary_weights_stay_close_to_the_definition(metadata, tensors, model, tokens):
    # A rounding that falls the other way changes what follows a little.
    with config_context(backend="numpy"):
        expected = all_logits(Model.from_arrays(metadata, tensors), tokens)
    found = all_logits(model, tokens)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_pieces_sequences_and_threads_do_not_change_a_bit(model, tokens, dtype, isa):
    with config_context(isa=isa, n_threads=1):
        expected = all_logits(model, tokens, dtype)
    held = model.new_cache(3, n_ctx=160, dtype=dtype)
    rng = np.random.default_rng(0)
    found = {0: [], 2: []}
    at = {0: 0, 2: 0}
    with config_context(isa=isa, n_threads=3):
        while min(at.values()) < len(tokens):
            size = {s: min(rng.integers(0, 40), len(tokens) - at[s]) for s in at}
            order = rng.permutation(np.repeat([0, 2], [size[0], size[2]]))
            if not len(order):
                continue
            given = np.empty(len(order), dtype=int)
            for s in at:
                given[order == s] = tokens[at[s] : at[s] + size[s]]
                at[s] += size[s]
            logits = model.forward(given, held, order, all_logits=True)
            for s in at:
                found[s].append(logits[order == s])
    for rows in found.values():
        assert np.array_equal(np.vstack(rows), expected)
    assert held.lengths.tolist() == [len(tokens), 0, len(tokens)]


def test_the_last_token_of_each_sequence(model, tokens):
    rows = all_logits(model, tokens[:5])
    cache = model.new_cache(2, dtype="float32")
    found = model.forward(
        tokens[[0, 0, 1, 2, 1, 3]], cache, np.array([1, 0, 1, 1, 0, 1])
    )
    assert np.array_equal(found, rows[[3, 1]])


@pytest.mark.parametrize("kind", ["TQ1_0", "TQ2_0", "I2_S"])
def test_files_and_arrays_give_the_same_logits(
    kind, metadata, tensors, model, tokens, tmp_path
):
    half = tensors["token_embd.weight"].astype(np.float16)
    arrays = tensors | {"token_embd.weight": half}
    expected = all_logits(Model.from_arrays(metadata, arrays), tokens[:20])
    path = write_gguf(tmp_path / "model.gguf", metadata, tensors, kind)
    for layout in ("auto", "t2", "t5"):
        found = all_logits(Model.from_gguf(path, layout=layout), tokens[:20])
        assert np.array_equal(found, expected)
    for t5 in ("t5", "tq2_0", "i2_s_arm"):
        moved = {
            name: array.to_layout(t5)
            if name.startswith("blk.") and array.ndim == 2
            else array
            for name, array in arrays.items()
        }
        found = all_logits(Model.from_arrays(metadata, moved), tokens[:20])
        assert np.array_equal(found, expected)


def test_strategies(metadata, tensors, tokens, tmp_path):
    path = write_gguf(tmp_path / "model.gguf", metadata, tensors)
    eager = Model.from_gguf(path, strategy="preload")
    assert eager.n_layers_held == 3
    expected = all_logits(eager, tokens[:20])
    mapped = Model.from_gguf(path)
    assert mapped.n_layers_held == 0 and mapped.nbytes == 0
    assert np.array_equal(all_logits(mapped, tokens[:20]), expected)
    assert mapped.load().n_layers_held == 3
    lazy = Model.from_gguf(path, strategy="lazy", max_layers=2)
    for _ in range(2):
        assert np.array_equal(all_logits(lazy, tokens[:20]), expected)
        assert lazy.n_layers_held == 2
    for options in ({"strategy": "slow"}, {"max_layers": 2}):
        with pytest.raises(ValueError, match=next(iter(options))):
            Model.from_gguf(path, **options)
    with pytest.raises(ValueError, match="max_layers=0"):
        Model.from_gguf(path, strategy="lazy", max_layers=0)


def one_by_one(model, tokens):
    cache = model.new_cache(dtype="float32")
    held, logits = [], []
    for token in tokens:
        logits.append(model.forward([token], cache)[0])
        held.append(model.n_layers_held)
    return np.stack(logits), held


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("types", [("TQ2_0", "Q6_K"), ("I2_S", "F16")])
def test_first_tokens_from_the_file(
    types, metadata, tensors, tokens, tmp_path, isa, n_threads
):
    """Layers are laid out one after another, and not a bit changes."""
    path = write_gguf(tmp_path / "model.gguf", metadata, tensors, *types)
    ready = Model.from_gguf(path, strategy="preload")
    with config_context(isa=isa, n_threads=n_threads):
        expected = all_logits(ready, tokens[:6])
        found, held = one_by_one(Model.from_gguf(path), tokens[:6])
        assert held == [0, 1, 2, 3, 3, 3]
        assert np.array_equal(found, expected)
        model = Model.from_gguf(path)
        model.forward(tokens[:1], cache := model.new_cache(dtype="float32"))
        rest = model.forward(tokens[1:6], cache, all_logits=True)
        assert np.array_equal(rest, expected[1:])
        assert model.n_layers_held == 1
        model.forward(np.resize(tokens, 49), cache)
        assert model.n_layers_held == 3


def test_what_cannot_be_taken_from_the_file(metadata, tensors, tokens, tmp_path):
    path = write_gguf(tmp_path / "model.gguf", metadata, tensors, "TQ2_0", "Q6_K")
    at = {name: t.offset for name, t in GGUFReader(path).tensors.items()}
    whole = path.read_bytes()

    def changed(name, offset, data):
        start = at[name] + offset
        path.write_bytes(whole[:start] + data + whole[start + len(data) :])
        return Model.from_gguf(path)

    name = "blk.1.attn_v.weight"
    model = changed(name, 66 * 5 + 64, np.array([0.25], "<f2").tobytes())
    expected = all_logits(Model.from_gguf(path, strategy="preload"), tokens[:4])
    found, held = one_by_one(model, tokens[:4])
    assert held == [3, 3, 3, 3]
    assert np.array_equal(found, expected)
    model = changed(name, 66 * 3 + 7, b"\x55\x57")
    with pytest.raises(ValueError, match=rf"{name}.*code"):
        one_by_one(model, tokens[:1])
    model = changed("token_embd.weight", 210 * 7 + 208, b"\x00\x7c")
    with pytest.raises(ValueError, match=r"token_embd\.weight.*finite"):
        one_by_one(model, tokens[:1])


def test_halves_that_are_not_finite(metadata, tensors, tokens, tmp_path):
    path = write_gguf(tmp_path / "model.gguf", metadata, tensors, "I2_S", "F16")
    start = GGUFReader(path).tensors["token_embd.weight"].offset
    with open(path, "r+b") as file:
        file.seek(start + 2 * 77)
        file.write(b"\x00\x7c")
    with pytest.raises(ValueError, match=r"token_embd\.weight.*finite"):
        one_by_one(Model.from_gguf(path), tokens[:2])


@pytest.mark.parametrize("embedding", ["F32", "F16", "BF16", "Q8_0", "Q6_K"])
def test_tied_output_matrices(embedding, metadata, tensors, tokens, tmp_path, isa):
    # Float layers, so that only the head rounds its activations.
    tensors = arrays_of(metadata, ternary=False)
    path = write_gguf(tmp_path / "m.gguf", metadata, tensors, "F16", embedding)
    with config_context(backend="numpy"):
        expected = all_logits(Model.from_gguf(path), tokens[:9])
    with config_context(isa=isa):
        found = all_logits(Model.from_gguf(path), tokens[:9])
        assert relative(found, expected) < (2e-3 if embedding[0] == "Q" else 1e-5)
        rounded = all_logits(Model.from_gguf(path, head="int8"), tokens[:9])
        assert np.corrcoef(rounded.ravel(), expected.ravel())[0, 1] > 0.9999


@pytest.mark.parametrize(
    "kind", ["ternary", "grouped", "float16", "float32", "q6", "q8"]
)
@pytest.mark.parametrize(("n", "n_threads"), [(1, 1), (1, 8), (5, 2), (13, 3)])
def test_each_product_gives_its_definition(kind, n, isa, n_threads):
    rng = np.random.default_rng(3)
    n_rows, n_columns = 200, 768
    values = rng.standard_normal((n_rows, n_columns), dtype=np.float32)
    if kind in ("ternary", "grouped"):
        size = 256 if kind == "grouped" else None
        array = ternarize(values, block_size=size)
        stored = reference.StoredLinear(
            "ternary",
            values.shape,
            array.packed,
            array.layout,
            False,
            array.scale.astype(np.float32),
            min(array.group_size, n_columns),
        )
    elif kind == "q8":
        stored = reference.StoredLinear("q8", values.shape, reference.encode_q8(values))
    elif kind == "q6":
        data = rng.integers(0, 256, (n_rows * 3, 210), dtype=np.uint8)
        data[:, 208:] = np.array([1e-3], dtype="<f2").view(np.uint8)
        stored = reference.StoredLinear("q6", values.shape, data.reshape(-1))
    else:
        stored = reference.StoredLinear(kind, values.shape, values.astype(kind))
    # Whole steps of the rounding, of mean square 1: the norm below changes nothing.
    X = rng.integers(-127, 128, (n, n_columns)).astype(np.float32)
    X[:, ::256] = 127
    X /= np.sqrt(np.mean(np.square(X, dtype=np.float64), axis=1, keepdims=True))
    expected = reference.Linear(stored).multiply(X)
    config = reference.StackConfig(n_columns, 16, 2, 1, 16, 16, 0.0, "silu", "neox")
    options = {"n_threads": n_threads, "isa": isa}
    stack = cpu.LayerStack(config, 0)
    stack.set_head(
        np.ones(n_columns, dtype=np.float32), stack.make_linear(stored, "t2", **options)
    )
    at = np.arange(n)
    batch = reference.Batch(at, 0 * at, np.array([[0, 0, n, 0]]))
    found = np.empty((n, n_rows), dtype=np.float32)
    tables = reference.rope_tables(n, 16, 1e4)
    stack.run(
        0,
        0,
        X,
        batch,
        KVCache(0, 1, 16, n_ctx=64),
        tables,
        out_rows=at,
        logits=found,
        **options,
    )
    assert relative(found, expected) < 1e-6


def test_windows_need_no_more_memory_than_the_window(tokens):
    metadata = metadata_of(context_length=5000)
    model = Model.from_arrays(metadata, arrays_of(metadata))
    long = np.tile(tokens, 10)
    whole = model.new_cache(window=40, dtype="float32", n_ctx=1500)
    assert whole.capacity == 576
    found = model.forward(long, whole)
    # The definition keeps what the window sees, too.
    with config_context(backend="numpy"):
        slow = Model.from_arrays(metadata, arrays_of(metadata))
        expected = slow.forward(long, slow.new_cache(window=40, dtype="float32"))
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999
    with pytest.raises(ValueError, match="too short"):
        whole.truncate(0, 700)
    whole.truncate(0, 1400)
    again = model.forward(long[1400:], whole)
    assert np.array_equal(again, found)


@pytest.mark.parametrize("layout", ["t5", "t2"])
@pytest.mark.parametrize("head", ["F32", "F16", "Q8_0", "Q6_K"])
def test_memory_is_estimated(layout, head, metadata, tensors, tmp_path):
    path = write_gguf(tmp_path / "m.gguf", metadata, tensors, embedding=head)
    model = Model.from_gguf(path, layout=layout, strategy="preload")
    for options in ({}, {"n_sequences": 3, "n_ctx": 50, "cache_dtype": "int8"}):
        found = estimate_memory(model.config, layout=layout, head=head, **options)
        cache = dict(options, dtype=options.get("cache_dtype", "float16"))
        cache.pop("cache_dtype", None)
        assert found.cache == model.new_cache(**cache).nbytes
    assert found.layers + found.head == pytest.approx(model.nbytes, rel=0.1)
    with pytest.raises(ValueError, match="head='Q4_0' must be one of"):
        estimate_memory(model.config, head="Q4_0")


def test_sequences_are_copied_and_cut(model, tokens):
    for dtype in ("float32", "float16", "int8"):
        rows = all_logits(model, tokens, dtype)
        cache = model.new_cache(2, dtype=dtype)
        model.forward(tokens[:70], cache, 1)
        cache.copy(1, 0, 41)
        assert cache.lengths.tolist() == [41, 70]
        found = model.forward(tokens[41:], cache, all_logits=True)
        assert np.array_equal(found, rows[41:])
        cache.truncate(1, 3)
        assert np.array_equal(model.forward(tokens[3:5], cache, 1), rows[4:5])
        assert cache.room(1) == SIZES["context_length"] - 5


def test_what_does_not_fit_is_refused(model, tokens):
    cache = model.new_cache(2, n_ctx=100)
    model.forward(tokens[:60], cache)
    for bad, message in [
        (([300], cache), "token 300 .* 0 to 299"),
        (([-1], cache), "token -1"),
        (([], cache), "at least one token"),
        (([0.5], cache), "integers"),
        (([[1]], cache), "at least one"),
        ((tokens[:41], cache), "101 tokens; .* room for 100"),
        (([1], cache, 2), "sequence=2"),
        (([1, 2], cache, [0]), "sequences has shape"),
        (([1], None), "cache"),
        (([1], KVCache(3, 2, 16, n_ctx=9)), "cache"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.forward(*bad)
    assert cache.lengths.tolist() == [60, 0]
    with pytest.raises(ValueError, match="n_ctx=401"):
        model.new_cache(n_ctx=401)
    for name, value in [("dtype", "int4"), ("n_sequences", 0), ("window", -1)]:
        with pytest.raises(ValueError, match=name):
            model.new_cache(**{name: value})
    with pytest.raises(ValueError, match="length=61"):
        cache.truncate(0, 61)
    with pytest.raises(ValueError, match="out must be"):
        model.forward([1], cache, out=np.empty((1, 299), dtype=np.float32))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("general.architecture", "mamba", "'mamba'; supported are bitnet"),
        ("bitnet-b1.58.block_count", None, "has no bitnet-b1.58.block_count"),
        ("bitnet-b1.58.block_count", -1, "block_count is -1"),
        ("bitnet-b1.58.embedding_length", True, "embedding_length is True"),
        ("bitnet-b1.58.attention.head_count_kv", 3, "no multiple"),
        ("bitnet-b1.58.attention.layer_norm_rms_epsilon", np.nan, "epsilon is nan"),
        ("bitnet-b1.58.rope.scaling.type", "yarn", "'yarn'; supported"),
        ("bitnet-b1.58.rope.dimension_count", 7, "even"),
        ("bitnet-b1.58.hidden_activation", "gelu", "'gelu'; supported"),
        ("bitnet-b1.58.expert_count", 8, "mixtures of experts"),
        ("bitnet-b1.58.vocab_size", 299, "embedding has 300"),
    ],
)
def test_metadata_that_is_not_supported(key, value, message, metadata, tensors):
    changed = {k: v for k, v in metadata.items() if k != key}
    if value is not None:
        changed[key] = value
    with pytest.raises(ValueError, match=message):
        Model.from_arrays(changed, tensors)


def test_tensors_that_are_not_supported(metadata, tensors, tmp_path):
    name = "blk.2.ffn_sub_norm.weight"
    for changed, message in [
        ({name: None}, f"{name}' is missing"),
        ({name: np.ones(511, np.float32)}, "shape .511,.; .* needs .512,."),
        ({name: np.full(512, np.nan)}, "not finite"),
        ({"blk.0.attn_q_norm.weight": np.ones(32)}, "blk.N.attn_q_norm.weight is not"),
        ({"blk.3.ffn_norm.weight": np.ones(256)}, "no place .* 3 layers"),
        ({"blk.0.attn_q.weight": "text"}, "attn_q"),
    ]:
        new = {k: v for k, v in (tensors | changed).items() if v is not None}
        with pytest.raises(ValueError, match=message):
            Model.from_arrays(metadata, new).load()
    path = write_gguf(tmp_path / "m.gguf", metadata, tensors, "TQ2_0")
    data = bytearray(path.read_bytes())
    with GGUFReader(path) as reader:
        offset = reader.tensors["blk.1.ffn_up.weight"].offset
    for at, value, message in [(3, 0xFF, "code"), (65, 0x7C, "not finite")]:
        wrong = data.copy()
        wrong[offset + at] = value
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match=message):
            Model.from_gguf(path).load()


def test_threads_of_python_share_a_model(model, tokens):
    from concurrent.futures import ThreadPoolExecutor

    expected = all_logits(model, tokens)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: all_logits(model, tokens), range(8)):
            assert np.array_equal(found, expected)


def test_a_trace_names_the_steps(model, tokens):
    trace = []
    model.forward(tokens, model.new_cache(), trace=trace)
    steps = [cpu.STEPS[step] for step, *_ in trace]
    assert steps.count("attention") == 3 and steps[-1] == "head"
    assert all(0 < start <= end for *_, start, end in trace)


def test_importing_models_imports_no_scikit_learn(run_python):
    run_python(
        "import sys; from sklearn_ternary.language import Model, KVCache\n"
        "assert not {'sklearn', 'scipy'} & set(sys.modules)"
    )


@pytest.mark.parametrize(
    ("kind", "embedding"),
    [("F32", "F32"), ("F16", "F16"), ("TQ2_0", "Q6_K"), ("TQ1_0", "F16")],
)
def test_llama_cpp_gives_the_same_logits(kind, embedding, tokens, tmp_path):
    llama = pytest.importorskip(
        "llama_cpp", reason="llama.cpp: not found; pip install llama-cpp-python"
    )
    metadata = metadata_of("bitnet") | {"tokenizer.ggml.model": "no_vocab"}
    tensors = arrays_of(metadata)
    path = write_gguf(tmp_path / "m.gguf", metadata, tensors, kind, embedding)
    found = all_logits(Model.from_gguf(path), tokens[:40], "float16")
    expected = llama_logits(llama, path, tokens[:40], SIZES["vocab_size"])
    if kind[0] == "F":
        assert relative(found, expected) < 1e-3
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999


def llama_logits(llama, path, tokens, n_vocab):
    quiet = llama.llama_log_callback(lambda level, message, data: None)
    llama.llama_log_set(quiet, None)
    llama.llama_backend_init()
    loaded = llama.llama_model_load_from_file(
        str(path).encode(), llama.llama_model_default_params()
    )
    assert loaded, "llama.cpp does not load our file"
    parameters = llama.llama_context_default_params()
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = 64
    context = llama.llama_init_from_model(loaded, parameters)
    n = len(tokens)
    batch = llama.llama_batch_init(n, 0, 1)
    batch.n_tokens = n
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.logits[i] = int(token), i, 1
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
    assert llama.llama_decode(context, batch) == 0
    rows = [
        np.ctypeslib.as_array(llama.llama_get_logits_ith(context, i), (n_vocab,)).copy()
        for i in range(n)
    ]
    llama.llama_batch_free(batch)
    llama.llama_free(context)
    llama.llama_model_free(loaded)
    return np.array(rows)


def one_layer(**changes):
    sizes = {"block_count": 1, "embedding_length": 32, "feed_forward_length": 32}
    return metadata_of("llama", **(sizes | changes))


@pytest.mark.parametrize("part", range(4))
def test_attention_of_random_shapes(part):
    rng = np.random.default_rng(part)
    for _ in range(-(-N_EXAMPLES // 4)):
        kv = int(rng.integers(1, 5))
        head_dim = 2 * int(rng.integers(1, 70))
        changes = {
            "attention.head_count": kv * int(rng.integers(1, 6)),
            "attention.head_count_kv": kv,
            "attention.key_length": head_dim,
            "rope.dimension_count": 2 * int(rng.integers(1, head_dim // 2 + 1)),
        }
        if rng.random() < 0.3:
            changes["attention.sliding_window"] = int(rng.integers(1, 200))
        metadata = one_layer(**changes)
        arrays = arrays_of(metadata, seed=part, ternary=False)
        tokens = rng.integers(0, 300, rng.choice([1, 2, 63, 64, 65, 150]))
        with config_context(backend="numpy"):
            expected = all_logits(Model.from_arrays(metadata, arrays), tokens)
        model = Model.from_arrays(metadata, arrays)
        assert relative(all_logits(model, tokens), expected) < 1e-5, changes
        cache = model.new_cache(dtype="float32")
        cuts = np.sort(rng.integers(0, len(tokens) + 1, 3))
        pieces = [piece for piece in np.split(tokens, cuts) if len(piece)]
        found = [model.forward(piece, cache, all_logits=True) for piece in pieces]
        assert relative(np.concatenate(found), expected) < 1e-5, changes


def test_attention_takes_memory_linear_in_the_context(run_python):
    code = f"""
import importlib.util
import numpy as np
from sklearn_ternary.metrics import peak_memory
spec = importlib.util.spec_from_file_location("this_file", {__file__!r})
this_file = importlib.util.module_from_spec(spec)
spec.loader.exec_module(this_file)
Model, arrays_of, one_layer = this_file.Model, this_file.arrays_of, this_file.one_layer
metadata = one_layer(**{{"context_length": 16384, "attention.head_count": 4}})
model = Model.from_arrays(metadata, arrays_of(metadata))
model.forward(np.zeros(64, np.int64), model.new_cache())
before = peak_memory()
model.forward(np.zeros(16384, np.int64), model.new_cache())
print(peak_memory() - before)
"""
    grown = int(run_python(code))
    # The scores of one head alone would take 1 GiB.
    assert grown < 96 * 2**20
