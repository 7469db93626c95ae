"""Text in, text out: every way to generate gives what the plain way gives."""

import asyncio
import importlib
import importlib.util
import json
import os
import pickle
import re
import signal
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tiny

from sklearn_ternary import TernaryLM, config_context
from sklearn_ternary.language import (
    ByteTokenizer,
    GenerationConfig,
    Model,
    TextEmbedder,
    _stream,
)

# SKLEARN_TERNARY_TEST_EXAMPLES=1000 is for a long, thorough run.
N_EXAMPLES = int(os.environ.get("SKLEARN_TERNARY_TEST_EXAMPLES", 4))
PROMPTS = ["a", "The answer is", "x" * 40, "né", "Once upon a time", "b"]


@pytest.fixture(autouse=True)
def one_thread():
    """So small a model only waits for a second one."""
    with config_context(n_threads=1):
        yield


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return os.fspath(tiny.write(tmp_path_factory.mktemp("lm") / "tiny.gguf"))


@pytest.fixture(scope="module")
def lm(path):
    return TernaryLM.from_gguf(path, max_batch_size=3)


@pytest.fixture
def fresh(path):
    """A function that opens the model anew."""
    return lambda **options: TernaryLM.from_gguf(path, **options)


def by_hand(lm, prompt, n, ignore_end=False):
    """Greedy tokens, the whole text computed again for each."""
    tokens = lm.encode(prompt, add_bos=True)
    answer = []
    while len(answer) < n:
        answer.append(int(np.argmax(lm.logits(tokens + answer)[-1])))
        if answer[-1] in lm.tokenizer.end_ids and not ignore_end:
            break
    return answer


SAMPLED = {"temperature": 1.3, "top_k": 50, "top_p": 0.95, "random_state": 7}
FILTERED = SAMPLED | {"top_k": 0, "min_p": 0.01, "repetition_penalty": 1.2}


# ---- the plain way ----------------------------------------------------------


def test_greedy_is_the_largest_logit_of_a_full_pass(lm):
    for prompt in PROMPTS[:4]:
        completion = lm.generate(prompt, 12)
        assert completion.tokens == by_hand(lm, prompt, 12)
        assert completion.n_prompt_tokens == len(prompt.encode()) + 1
        assert completion.text == lm.decode(completion.tokens)
        assert completion.finish_reason in ("length", "end")


def test_a_seed_gives_the_same_text(fresh):
    a, b = fresh(), fresh()
    first = a.generate("hello", 30, **SAMPLED)
    assert b.generate("hello", 30, **SAMPLED) == first
    other = b.generate("hello", 30, **(SAMPLED | {"random_state": 8}))
    assert other.tokens != first.tokens


def test_logits_scores_and_vectors(lm):
    tokens = lm.encode("some text", add_bos=True)
    rows = lm.logits(tokens)
    assert rows.shape == (len(tokens), 258) and rows.dtype == np.float32
    p = np.exp(rows.astype(float)) / np.exp(rows.astype(float)).sum(1, keepdims=True)
    expected = np.log(p[np.arange(len(tokens) - 1), tokens[1:]]).sum()
    score = lm.score("some text")
    assert score.log_likelihood == pytest.approx(expected, rel=1e-9)
    assert score.n_tokens == len(tokens) - 1
    assert score.perplexity == pytest.approx(np.exp(-expected / score.n_tokens))
    long = "y" * 150
    assert [s.n_tokens for s in lm.score(["some text", long])] == [9, 150]
    assert np.isnan(lm.score([65]).perplexity)
    vectors = lm.embed(["some text", "other"])
    assert vectors.shape == (2, tiny.N_EMBD)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(lm.embed("other"), vectors[1])
    last = lm.embed("other", pooling="last", normalize=False)
    head = tiny.tensors()["token_embd.weight"]
    np.testing.assert_allclose(
        last @ head.T, lm.logits("other")[-1], rtol=1e-4, atol=1e-4
    )


# ---- batches ----------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, SAMPLED], ids=["greedy", "sampled"])
def test_a_batch_gives_what_each_prompt_gives_alone(fresh, options):
    alone = [fresh().generate(prompt, 25, **options) for prompt in PROMPTS]
    for size in (1, 2, 8):
        together = fresh(max_batch_size=size).generate(PROMPTS, 25, **options)
        for a, b in zip(alone, together, strict=True):
            assert (a.tokens, a.text, a.finish_reason) == (
                b.tokens,
                b.text,
                b.finish_reason,
            )


def test_requests_join_and_leave_at_any_token(fresh):
    alone = [fresh().generate(p, 10 + 3 * i) for i, p in enumerate(PROMPTS)]
    lm = fresh(max_batch_size=3)
    rng = np.random.default_rng(0)
    waiting, numbers, texts = list(enumerate(PROMPTS)), {}, {}
    with lm.batch() as batch:
        cancelled = batch.add("never mind", 100)
        while waiting or batch.active:
            if waiting and rng.random() < 0.4:
                i, prompt = waiting.pop(0)
                numbers[i] = batch.add(prompt, 10 + 3 * i)
            for number, text in batch.step():
                texts[number] = texts.get(number, "") + text
            if len(waiting) == 3 and batch.completion(cancelled) is None:
                batch.cancel(cancelled)
        for i, number in numbers.items():
            done = batch.completion(number)
            assert done.tokens == alone[i].tokens
            assert texts.get(number, "") == done.text == alone[i].text
        assert batch.completion(cancelled).finish_reason in ("cancelled", "end")


def test_none_of_many_requests_is_lost(lm, monkeypatch):
    """Arrivals at random; no place is free while one waits, and they start in turn."""

    def forward(tokens, cache, sequences, out):
        cache.lengths += np.bincount(sequences, minlength=cache.n_sequences)
        out[:] = 0

    monkeypatch.setattr(lm.model, "forward", forward)
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 6, 50 * N_EXAMPLES).tolist()
    waiting, numbers = list(enumerate(lengths))[::-1], {}
    open_ones, first = set(), {}
    with lm.batch() as batch:
        while waiting or batch.active:
            for _ in range(min(len(waiting), rng.poisson(1.0))):
                i, n = waiting.pop()
                number = batch.add([i % 200, 1], n, ignore_end=True)
                assert number not in numbers
                numbers[number] = n
                open_ones.add(number)
            open_ones = {n for n in open_ones if batch.completion(n) is None}
            n_active = len(open_ones)
            pieces = batch.step()
            assert len(pieces) <= min(n_active, lm.max_batch_size)
            assert len(batch._running) + len(batch._waiting) <= n_active
            assert not batch._waiting or len(batch._running) + len(pieces) >= 3
            first |= dict.fromkeys(number for number, _ in pieces)
        assert list(first) == sorted(numbers) and len(numbers) == len(lengths)
        for number, n in numbers.items():
            assert len(batch.completion(number).tokens) == n


# ---- streams ----------------------------------------------------------------


def test_a_stream_is_the_text_in_pieces(lm):
    for options in ({}, SAMPLED):
        done = lm.generate("né", 30, **options)
        stream = lm.stream("né", 30, **options)
        assert stream.completion is None
        pieces = list(stream)
        assert "".join(pieces) == done.text
        assert all(pieces)
        assert stream.completion.tokens == done.tokens


def test_a_stream_can_be_closed(fresh):
    lm = fresh(max_batch_size=1)
    options = {"ignore_end": True, "temperature": 1.0, "random_state": 0}
    for _ in range(3):
        with lm.stream("hello", 100, **options) as stream:
            next(stream)
        assert stream.completion.finish_reason == "cancelled"
        assert 1 <= len(stream.completion.tokens) < 20
    stream = lm.stream("hello", 100, **options)
    next(stream)
    with pytest.raises(RuntimeError, match="streams of this thread"):
        lm.generate("other", 3)
    stream.close()
    assert lm.generate("other", 3).tokens == by_hand(lm, "other", 3)


def test_pieces_of_several_tokens(lm, monkeypatch):
    now = [0.0]

    class Clock:
        def perf_counter(self):
            return now[0]

    class Letters:
        def push(self, token):
            return chr(ord("a") + token % 26)

        def finish(self):
            return ""

    monkeypatch.setattr(_stream, "time", Clock())
    monkeypatch.setattr(lm.tokenizer, "stream_decoder", Letters)
    forward = lm.model.forward

    def slow(*args, **kwargs):
        now[0] += 1
        return forward(*args, **kwargs)

    monkeypatch.setattr(lm.model, "forward", slow)
    text = lm.generate("a", 12, ignore_end=True).text
    assert len(text) == 12
    for options, sizes in (
        ({}, [1] * 12),
        ({"buffer_size": 5}, [5, 5, 2]),
        ({"buffer_size": 5, "flush_interval": 2.0}, [2] * 6),
        ({"buffer_size": 99, "flush_interval": 100.0}, [12]),
        ({"token_timeout": 1.0}, [1] * 12),
    ):
        pieces = list(lm.stream("a", 12, ignore_end=True, **options))
        assert [len(piece) for piece in pieces] == sizes
        assert "".join(pieces) == text
    stream = lm.stream("a", 12, token_timeout=0.5, ignore_end=True)
    assert next(stream) == text[0]
    with pytest.raises(TimeoutError, match=r"token took 1 s, above token_timeout=0\.5"):
        next(stream)
    assert stream.completion.finish_reason == "cancelled"


def test_places_are_waited_for_no_longer_than_allowed(fresh):
    lm = fresh(max_batch_size=1)
    with lm.stream("hello", 50, ignore_end=True) as stream:
        next(stream)
        found = []

        def other():
            with pytest.raises(TimeoutError, match="no sequence became free"):
                next(lm.stream("b", 3, token_timeout=0.0))
            found.append(1)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert found


def test_streams_without_blocking(fresh):
    lm = fresh(max_batch_size=1)
    options = {"ignore_end": True}
    expected = lm.generate("hello", 30, **options)

    async def read(n):
        async with lm.stream("hello", 30, **options) as stream:
            pieces = []
            async for piece in stream:
                pieces.append(piece)
                if len(pieces) == n:
                    break
        return stream.completion, pieces

    done, pieces = asyncio.run(read(None))
    assert (done.tokens, "".join(pieces)) == (expected.tokens, expected.text)
    cut, pieces = asyncio.run(read(3))
    assert cut.finish_reason == "cancelled"
    assert expected.text.startswith(cut.text)

    async def cancelled():
        """A task that is cancelled while a token is computed."""
        under_way = asyncio.Event()
        loop, forward = asyncio.get_running_loop(), lm.model.forward

        def told(*args, **kwargs):
            loop.call_soon_threadsafe(under_way.set)
            return forward(*args, **kwargs)

        lm.model.forward = told
        task = asyncio.create_task(read(None))
        await under_way.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del lm.model.forward

    asyncio.run(cancelled())
    assert lm.generate("hello", 30, **options).tokens == expected.tokens


def test_an_interrupt_leaves_the_model_usable(fresh, monkeypatch):
    lm = fresh(max_batch_size=2)
    expected = fresh().generate(PROMPTS, 20)
    forward, calls = lm.model.forward, []

    def interrupted(*args, **kwargs):
        calls.append(1)
        result = forward(*args, **kwargs)
        if len(calls) in (3, 9):
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(lm.model, "forward", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            lm.generate(PROMPTS, 20)
    assert [c.tokens for c in lm.generate(PROMPTS, 20)] == [c.tokens for c in expected]


def test_stop_texts(lm):
    options = {"temperature": 1.0, "random_state": 1, "ignore_end": True}
    text = lm.generate("x", 60, **options).text
    for start, length in ((5, 1), (8, 3), (0, 2)):
        stop = text[start : start + length]
        completion = lm.generate("x", 60, stop=stop, **options)
        assert completion.finish_reason == "stop"
        assert completion.text == text[: text.find(stop)]
        assert "".join(lm.stream("x", 60, stop=stop, **options)) == completion.text
    # What only begins like a stop text is written in the end.
    absent = text[-2:] + "never"
    stream = lm.stream("x", 60, stop=(absent, text[3] + "never"), **options)
    assert "".join(stream) == text
    assert stream.completion.finish_reason == "length"


def test_a_full_context_ends_the_answer(fresh):
    lm = fresh(n_ctx=20)
    completion = lm.generate("a" * 10, 100, ignore_end=True)
    assert completion.finish_reason == "length"
    assert len(completion.tokens) == 20 - 11
    assert len(lm.generate("a" * 18, 100, ignore_end=True).tokens) == 1
    with pytest.raises(ValueError, match="has 20 tokens; with n_ctx=20"):
        lm.generate("a" * 19)


# ---- prefixes ---------------------------------------------------------------


def test_common_beginnings_are_not_computed_again(fresh):
    lm = fresh(max_batch_size=2)
    text = "A long beginning that both prompts share: "
    expected = {end: fresh().generate(text + end, 15) for end in ("one", "two", "")}
    first = lm.generate(text + "one", 15)
    assert first.n_reused_tokens == 0
    second = lm.generate(text + "two", 15)
    assert second.n_reused_tokens >= len(text)
    again = lm.generate(text + "one", 15)
    assert again.n_reused_tokens >= len(text) + 3
    shorter = lm.generate(text, 15)
    assert shorter.n_reused_tokens == len(text)  # all but the last token
    for found, end in ((first, "one"), (second, "two"), (again, "one"), (shorter, "")):
        assert found.tokens == expected[end].tokens
    # The one used longest ago gives way to others.
    lm.generate(["something else entirely", "and another one of these"], 5)
    assert lm.generate(text + "one", 15).n_reused_tokens <= 1


def test_memory_for_sequences_has_a_limit(fresh):
    each = fresh(max_batch_size=1)._take_slots().cache.nbytes
    lm = fresh(max_batch_size=8, cache_bytes=3 * each + 1)
    assert lm.max_batch_size == 3
    lm.generate(PROMPTS * 2, 5)
    assert lm._take_slots().cache.nbytes <= 3 * each + 1
    with pytest.raises(ValueError, match="less than one sequence"):
        fresh(cache_bytes=each - 1)


# ---- guesses ----------------------------------------------------------------


@pytest.fixture(scope="module")
def draft(tmp_path_factory):
    path = tmp_path_factory.mktemp("draft") / "draft.gguf"
    return TernaryLM.from_gguf(tiny.write(path, n_layers=1), max_batch_size=1)


@pytest.mark.parametrize("guesser", ["ngram", "same", "smaller"])
def test_greedy_text_does_not_depend_on_guesses(fresh, draft, guesser):
    lm = fresh(max_batch_size=1)
    guesses = {"ngram": "ngram", "smaller": draft}.get(guesser) or fresh()
    rng = np.random.default_rng(0)
    prompts = [*PROMPTS, "abcabcabcabc", "to be or not to be, to be or not"]
    prompts += [[256, *rng.integers(0, 256, 9)] for _ in range(N_EXAMPLES)]
    expected = lm.generate(prompts, 25, ignore_end=True)
    for n_draft in (1, 5):
        found = lm.generate(
            prompts, 25, ignore_end=True, draft=guesses, n_draft=n_draft
        )
        assert [c.tokens for c in found] == [c.tokens for c in expected]


@pytest.mark.parametrize("guesser", ["ngram", "smaller"])
def test_sampled_text_is_distributed_as_without_guesses(fresh, draft, guesser):
    """The third token of answers, whose first two are open: 300 of each kind."""
    lm = fresh(max_batch_size=1)
    guesses = draft if guesser == "smaller" else "ngram"
    options = {"temperature": 1.0, "top_k": 3, "ignore_end": True}
    prompt, n = "abababab", 300

    def third(**more):
        tokens = [
            lm.generate(prompt, 3, random_state=i, **options, **more).tokens[2]
            for i in range(n)
        ]
        return np.bincount(tokens, minlength=258)

    plain, guessed = third(), third(draft=guesses, n_draft=2)
    common = np.flatnonzero(plain + guessed >= 20)
    rows = [np.append(c[common], n - c[common].sum()) for c in (plain, guessed)]
    keep = rows[0] + rows[1] > 0
    expected = (rows[0] + rows[1])[keep] / 2
    statistic = sum(((row[keep] - expected) ** 2 / expected).sum() for row in rows)
    from scipy.stats import chi2

    assert chi2.sf(statistic, max(keep.sum() - 1, 1)) > 1e-3


def test_guessers_that_do_not_fit(lm, draft):
    for wrong in ("magic", 3, lm):
        with pytest.raises(ValueError, match="draft"):
            lm.generate("a", draft=wrong)
    with pytest.raises(ValueError, match="n_draft=0"):
        lm.generate("a", draft="ngram", n_draft=0)


# ---- threads and processes --------------------------------------------------


@pytest.mark.concurrency
def test_threads_share_a_model(fresh):
    lm = fresh(max_batch_size=2)
    expected = {p: fresh().generate(p, 20).tokens for p in PROMPTS}
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(8):
            prompt = PROMPTS[rng.integers(len(PROMPTS))]
            if rng.random() < 0.5:
                stream = lm.stream(prompt, 20)
                "".join(stream)
                tokens = stream.completion.tokens
            else:
                tokens = lm.generate([prompt], 20)[0].tokens
            if tokens != expected[prompt]:
                wrong.append(prompt)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not wrong


@pytest.mark.fork
def test_a_child_process_goes_on(fresh):
    lm, lm_2 = fresh(max_batch_size=1), fresh(max_batch_size=2)
    expected = lm.generate("hello", 10).tokens
    whole = fresh().generate("other", 50, ignore_end=True).tokens
    stream = lm.stream("other", 50, ignore_end=True)
    batch = lm_2.batch()
    number = batch.add("other", 50, ignore_end=True)
    next(stream)
    batch.step()

    def agrees():
        """Also what was open before is written to its end."""
        same = lm.generate("hello", 10).tokens == expected
        same &= lm_2.generate("hello", 10).tokens == expected
        list(stream)
        while batch.active:
            batch.step()
        found = stream.completion.tokens, batch.completion(number).tokens
        return same and found == (whole, whole)

    pid = os.fork()
    if not pid:
        try:
            code = 0 if agrees() else 1
        except BaseException:
            code = 2
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    list(stream)
    assert stream.completion.tokens == whole


def test_models_are_pickled_by_their_path(fresh):
    lm = fresh(max_batch_size=2, n_ctx=64)
    again = pickle.loads(pickle.dumps(lm))
    assert (again.n_ctx, again.max_batch_size) == (64, 2)
    assert again.generate("a", 5) == lm.generate("a", 5)


@pytest.mark.parametrize("strategy", ["mmap", "preload", "lazy"])
def test_strategies_give_the_same(fresh, lm, strategy):
    options = {"max_layers": 1} if strategy == "lazy" else {}
    other = fresh(strategy=strategy, **options)
    assert other.generate("hello", 8).tokens == lm.generate("hello", 8).tokens
    if strategy == "lazy":
        assert other.model.n_layers_held == 1


# ---- conversations ----------------------------------------------------------


def test_conversations_end_where_the_model_answers(tmp_path):
    pytest.importorskip("jinja2", reason="pip install jinja2")
    template = (
        "<|begin|>{% for m in messages %}{{ m.role }}: {{ m.content }}<|end|>"
        "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    )
    path = tiny.write(tmp_path / "a.gguf", **{"tokenizer.chat_template": template})
    lm = TernaryLM.from_gguf(path)
    ids = lm.encode_chat([{"role": "user", "content": "hi"}])
    assert ids == [256, *b"user: hi", 257, *b"assistant: "]
    assert lm.generate(ids, 3).n_prompt_tokens == len(ids)


# ---- bad input --------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "options", "problem"),
    [
        ([], {}, None),
        ([[]], {}, r"prompts\[0\] is empty"),
        (["a", [999]], {}, r"prompts\[1\] has token 999"),
        ([-1], {}, "token -1"),
        ([0.5], {}, "token ids"),
        ("a", {"temperature": float("nan")}, "temperature=nan"),
        ("a", {"top_k": 259}, "top_k=259"),
        ("a", {"top_q": 1}, "'top_q' is no option"),
        ("a", {"config": {"top_k": 1}}, "config is a dict"),
        ("a" * 500, {}, "has 501 tokens"),
    ],
)
def test_what_cannot_be_generated(lm, prompt, options, problem):
    if problem is None:
        assert lm.generate(prompt, **options) == []
        return
    with pytest.raises(ValueError, match=problem):
        lm.generate(prompt, **options)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"buffer_size": 0}, "buffer_size=0"),
        ({"flush_interval": -1}, "flush_interval=-1"),
        ({"token_timeout": float("nan")}, "token_timeout=nan"),
        ({"token_timeout": "1"}, "token_timeout='1'"),
    ],
)
def test_what_cannot_be_streamed(lm, options, problem):
    with pytest.raises(ValueError, match=problem):
        lm.stream("a", **options)


def test_files_without_a_vocabulary(tmp_path):
    path = tiny.write(tmp_path / "a.gguf", vocabulary=False)
    lm = TernaryLM.from_gguf(path)
    assert len(lm.generate([1, 2, 3], 4).tokens) == 4
    assert lm.generate([1, 2, 3], 4).text == ""
    with pytest.raises(ValueError, match="no vocabulary"):
        lm.generate("text")
    with_bytes = TernaryLM.from_gguf(path, tokenizer=ByteTokenizer())
    assert (
        with_bytes.generate("text", 4, GenerationConfig(top_k=3)).n_prompt_tokens == 5
    )


@pytest.mark.parametrize(
    "options",
    [
        {"n_ctx": 1000},
        {"n_ctx": 0},
        {"max_batch_size": 0},
        {"cache_bytes": -1},
        {"strategy": "fast"},
    ],
)
def test_options_of_the_model(fresh, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        fresh(**options)


# ---- scikit-learn -----------------------------------------------------------


def test_vectors_in_a_pipeline(path, lm):
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts = ["aaaa", "aaab", "baaa", "zzzz", "zzzy", "yzzz"] * 2
    labels = [0, 0, 0, 1, 1, 1] * 2
    pipeline = make_pipeline(TextEmbedder(path), LogisticRegression())
    assert pipeline.fit(texts, labels).score(texts, labels) == 1
    vectors = pipeline[0].transform(texts)
    np.testing.assert_array_equal(vectors, lm.embed(texts))
    again = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(again.predict(texts), pipeline.predict(texts))
    embedder = (
        clone(pipeline[0]).set_params(pooling="last").set_output(transform="pandas")
    )
    frame = embedder.fit(texts).transform(texts)
    assert list(frame.columns[:2]) == ["textembedder0", "textembedder1"]
    assert embedder.transform([]).shape == (0, tiny.N_EMBD)
    for wrong in ("text", [1]):
        with pytest.raises(ValueError, match="X"):
            embedder.transform(wrong)
    with pytest.raises(ValueError, match="model is a int"):
        TextEmbedder(3).fit(texts)


@pytest.mark.parametrize("options", [{}, SAMPLED, FILTERED], ids=str)
@pytest.mark.parametrize("way", ["stream", "batch", "ngram", "smaller"])
def test_a_token_takes_no_memory_of_its_own(way, options):
    """Nothing of a byte for each of 30,000 tokens is made again."""
    keys = tiny.metadata() | {"bitnet-b1.58.vocab_size": 30_000}
    table = np.random.default_rng(0).normal(size=(30_000, tiny.N_EMBD))
    tensors = tiny.tensors() | {"token_embd.weight": table}
    lm, draft = (
        TernaryLM(Model.from_arrays(keys, tensors), max_batch_size=2) for _ in range(2)
    )
    forward, taken = lm.model.forward, []

    def told(*args, **kwargs):
        result = forward(*args, **kwargs)
        now, most = tracemalloc.get_traced_memory()
        taken.append(most - now)
        tracemalloc.reset_peak()
        return result

    lm.model.forward = told
    options = {"max_new_tokens": 40, "ignore_end": True} | options
    prompts = [[5, 6] * 8, [7] * 9]
    tracemalloc.start()
    try:
        if way == "stream":
            list(lm.stream(prompts[0], **options))
        elif way == "batch":
            lm.generate(prompts, **options)
        else:
            guesser = draft if way == "smaller" else way
            lm.generate(prompts[:1], draft=guesser, **options)
    finally:
        tracemalloc.stop()
    assert len(taken) > 5 and max(taken[3:]) < 20_000


def test_kernels_allocate_nothing():
    source = Path(__file__).parents[2] / "sklearn_ternary" / "_kernels" / "src"
    for path in source.glob("language*"):
        assert not re.search(r"\b(m|c|re)alloc\b", path.read_text()), path.name


def test_the_engine_imports_no_scikit_learn(path, run_python):
    run_python(
        """
import sys
from sklearn_ternary import TernaryLM, config_context
lm = TernaryLM.from_gguf(sys.argv[1])
lm.generate("a", 3, temperature=1.0, top_p=0.5)
heavy = {"sklearn", "scipy", "tokenizers", "jinja2", "pandas"} & set(sys.modules)
assert not heavy, heavy
""",
        path,
    )


# ---- the command ------------------------------------------------------------


def command(*args, code=0, **options):
    from click.testing import CliRunner

    from sklearn_ternary.cli import main

    result = CliRunner().invoke(main, ["generate", *args], **options)
    assert result.exit_code == code, result.output
    return result


def test_the_command_writes_what_generate_writes(path, lm):
    options = ["-m", path, "-n", "20", "--temperature", "0.9", "--seed", "3"]
    options += ["--top-k", "40", "--threads", "1", "--stop", "\x00"]
    expected = lm.generate(
        "hello", 20, temperature=0.9, random_state=3, top_k=40, stop="\x00"
    )
    result = command(*options, "-p", "hello")
    assert result.stdout == expected.text + "\n"
    assert "prompt 6 tokens" in result.stderr and "tok/s" in result.stderr
    assert command(*options, "-p", "-", input="hello").stdout == result.stdout
    facts = json.loads(command(*options, "-p", "hello", "--json").stdout)
    assert facts["tokens"] == expected.tokens
    assert facts["text"] == expected.text
    assert facts["answer_tokens"] == len(expected.tokens)


def test_the_command_takes_guesses(path, tmp_path):
    options = ["-m", path, "-p", "hello", "-n", "20", "--threads", "1"]
    expected = command(*options).stdout
    smaller = os.fspath(tiny.write(tmp_path / "draft.gguf", n_layers=1))
    for draft in ("ngram", smaller):
        assert command(*options, "--draft", draft).stdout == expected
    facts = json.loads(command(*options, "--draft", "ngram", "--json").stdout)
    assert facts["text"] + "\n" == expected
    assert facts["prompt_seconds"] is None and facts["answer_tokens_per_second"] > 0


def test_the_command_holds_a_conversation(tmp_path):
    pytest.importorskip("jinja2", reason="pip install jinja2")
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    path = tiny.write(tmp_path / "a.gguf", **{"tokenizer.chat_template": template})
    lm = TernaryLM.from_gguf(path)
    options = ["-m", os.fspath(path), "--chat", "--system", "be brief", "-n", "5"]
    system = {"role": "system", "content": "be brief"}
    first = [system, {"role": "user", "content": "hi"}]
    a = lm.generate(lm.encode_chat(first), 5).text
    assert command(*options, "-p", "hi").stdout == a + "\n"
    second = [*first, {"role": "assistant", "content": a}]
    second.append({"role": "user", "content": "and?"})
    b = lm.generate(lm.encode_chat(second), 5).text
    talked = command(*options, input="hi\n\nand?\n")
    assert talked.stdout == f"{a}\n{b}\n"


def test_wrong_use_of_the_command(path, tmp_path):
    (tmp_path / "no.gguf").write_bytes(b"GGUF")
    for args, problem in (
        (["-m", path], "--prompt is needed"),
        (["-m", path, "-p", "a", "--system", "b"], "--system needs --chat"),
        (["-m", path, "--chat", "--draft", "ngram"], "--draft needs --prompt"),
        (["-m", path, "-p", "a", "--draft", "missing.gguf"], "missing.gguf"),
        (["-m", path, "-p", "a", "--temperature", "nan"], "temperature=nan"),
        (["-m", path, "-p", "a", "--max-layers", "2"], "--strategy lazy"),
        (["-m", path, "-p", "a", "--context", "9999"], "n_ctx=9999"),
        (["-m", path, "-p", "-"], "not UTF-8"),
        (["-m", path, "--chat", "-p", "a"], "no chat template"),
        (["-m", os.fspath(tmp_path / "no.gguf"), "-p", "a"], "no.gguf"),
        (["-m", "missing.gguf", "-p", "a"], "missing.gguf"),
    ):
        assert problem in command(*args, code=2, input=b"\xff").output


def test_an_interrupt_ends_the_command_early(path, monkeypatch):
    """A signal while the third piece of text is written; a race has no part in it."""
    module = importlib.import_module("sklearn_ternary.cli.generate")
    options = ["-m", path, "-p", "hello", "-n", "150", "--threads", "1"]
    whole = command(*options).stdout
    pieces = []

    def shown(text):
        pieces.append(text)
        if len(pieces) == 3:
            signal.raise_signal(signal.SIGINT)
        return text

    monkeypatch.setattr(module, "_shown", shown)
    result = command(*options)
    assert result.stdout == "".join(pieces[:2]) + "\n"
    assert whole.startswith("".join(pieces)) and len(whole) > len(result.stdout)
    assert "tok/s (cancelled)" in result.stderr


def test_nothing_is_asked_of_the_network(run_python, tmp_path):
    tiny.write(tmp_path / "model.gguf")
    events = run_python(
        """
import sys
events = []
sys.addaudithook(
    lambda event, args: events.append(event) if event.startswith("socket.") else None
)
from sklearn_ternary import TernaryLM
lm = TernaryLM.from_gguf(sys.argv[1])
lm.generate("text", max_new_tokens=3)
try:
    TernaryLM.from_gguf("https://example.com/model.gguf")
except OSError:
    print(events)
""",
        str(tmp_path / "model.gguf"),
    )
    assert events.strip() == "[]"
