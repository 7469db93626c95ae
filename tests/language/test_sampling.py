"""The draw of tokens, against definitions written another way."""

import math
import os
import tracemalloc
from array import array

import numpy as np
import pytest
from scipy.stats import chisquare

from sklearn_ternary.language import GenerationConfig
from sklearn_ternary.language._sampling import Sampler, Workspace

# SKLEARN_TERNARY_TEST_EXAMPLES=1000000 is for a long, thorough run.
N_DRAWS = int(os.environ.get("SKLEARN_TERNARY_TEST_EXAMPLES", 20_000))


def defined(logits, history, config):
    """The distribution, in plain Python over dictionaries."""
    x = {i: float(v) for i, v in enumerate(logits)}
    for i in set(history):
        r = config.repetition_penalty
        x[i] = x[i] / r if x[i] > 0 else x[i] * r
    x = {i: v / config.temperature for i, v in x.items()}
    if config.top_k:
        x = dict(sorted(x.items(), key=lambda item: -item[1])[: config.top_k])
    total = math.fsum(math.exp(v) for v in x.values())
    p = {i: math.exp(v) / total for i, v in x.items()}
    if config.top_p < 1:
        kept, mass = {}, 0.0
        for i, v in sorted(p.items(), key=lambda item: -item[1]):
            if mass >= config.top_p:
                break
            kept[i], mass = v, mass + v
        p = kept
    largest = max(p.values())
    p = {i: v for i, v in p.items() if v >= config.min_p * largest}
    total = math.fsum(p.values())
    return {i: v / total for i, v in p.items()}


def sampler_of(n_vocab, backend="cpu", **options):
    config = GenerationConfig(**options)
    return Sampler(config, Workspace(n_vocab, backend))


CONFIGS = [
    {"temperature": 1.0},
    {"temperature": 0.3},
    {"temperature": 2.5},
    {"temperature": 1.0, "top_k": 1},
    {"temperature": 1.0, "top_k": 7},
    {"temperature": 1.0, "top_p": 0.5},
    {"temperature": 0.7, "top_k": 20, "top_p": 0.9},
    {"temperature": 1.0, "top_p": 1e-9},
    {"temperature": 1.5, "min_p": 0.2},
    {"temperature": 1.0, "repetition_penalty": 1.3},
    {"temperature": 1.0, "repetition_penalty": 0.8, "top_k": 9},
    {"temperature": 0.9, "top_k": 25, "top_p": 0.8, "min_p": 0.1,
     "repetition_penalty": 1.1},
]  # fmt: skip


@pytest.mark.parametrize("options", CONFIGS, ids=str)
@pytest.mark.parametrize("backend", ["cpu", "numpy"])
def test_the_distribution_is_the_defined_one(options, backend):
    rng = np.random.default_rng(0)
    logits = (3 * rng.normal(size=40)).astype(np.float32)
    history = [1, 5, 5, 7]
    config = GenerationConfig(random_state=0, **options)
    sampler = Sampler(config, Workspace(40, backend))
    expected = defined(logits, history, config)
    for _ in range(2):  # nothing is left from the first time
        ids, p = sampler.distribution(logits, history)
        assert list(ids) == sorted(expected)
        np.testing.assert_allclose(p, [expected[i] for i in ids], rtol=1e-12)


@pytest.mark.parametrize("options", CONFIGS, ids=str)
def test_draws_follow_the_distribution(options):
    rng = np.random.default_rng(1)
    logits = (2 * rng.normal(size=30)).astype(np.float32)
    sampler = sampler_of(30, random_state=3, **options)
    ids, p = sampler.distribution(logits, [2])
    counts = np.bincount([sampler.pick(ids, p) for _ in range(N_DRAWS)], minlength=30)
    assert counts[ids].sum() == N_DRAWS
    common = p * N_DRAWS >= 5
    observed = np.append(counts[ids][common], counts[ids][~common].sum())
    expected = np.append(p[common], p[~common].sum()) * N_DRAWS
    keep = expected > 0
    if keep.sum() > 1:
        observed, expected = observed[keep], expected[keep]
        expected *= observed.sum() / expected.sum()
        assert chisquare(observed, expected).pvalue > 1e-3


def test_equals_are_kept_by_their_order():
    logits = np.zeros(10, dtype=np.float32)
    for options, kept in (({"top_k": 3}, [0, 1, 2]), ({"top_p": 0.35}, [0, 1, 2, 3])):
        sampler = sampler_of(10, temperature=1.0, **options)
        assert list(sampler.distribution(logits, [])[0]) == kept
    logits[[4, 7]] = 1
    sampler = sampler_of(10, temperature=1.0, top_k=4)
    assert list(sampler.distribution(logits, [])[0]) == [0, 1, 4, 7]
    assert sampler_of(10).draw(logits, []) == 4


def test_large_vocabularies():
    """Likely tokens are looked for among few before all are sorted."""
    logits = np.random.default_rng(0).normal(size=3000).astype(np.float32)
    for top_p in (0.1, 0.5, 0.9, 0.999999, 1 - 1e-15):
        config = GenerationConfig(temperature=1.0, top_p=top_p)
        ids, _ = Sampler(config, Workspace(3000)).distribution(logits, [])
        assert list(ids) == sorted(defined(logits, [], config))


def test_the_last_token_can_be_rounded_away(monkeypatch):
    sampler = sampler_of(4, temperature=1.0)

    class Most:
        def random(self):
            return 1.0  # what rounding of the product could make of less

    sampler._rng = Most()
    assert sampler.pick(np.arange(4), np.array([0.5, 0.0, 0.5, 0.0])) == 2


@pytest.mark.parametrize("options", [{"temperature": 0.0}, *CONFIGS], ids=str)
def test_no_draw_makes_an_array(options):
    """Of 30,000 tokens: one of a byte for each would be seen."""
    logits = np.random.default_rng(0).normal(size=(8, 30_000)).astype(np.float32)
    logits[1] = 0  # equals
    history = array("q", range(2000))
    sampler = sampler_of(30_000, random_state=0, **options)
    sampler.draw(logits[0], history)
    tracemalloc.start()
    try:
        for row in logits:
            history.append(sampler.draw(row, history))
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()


def test_the_penalty_knows_signs():
    logits = np.array([2.0, -2.0, 1.0], dtype=np.float32)
    sampler = sampler_of(3, repetition_penalty=2.0)
    np.testing.assert_array_equal(sampler.penalized(logits, [0, 1]), [1.0, -4.0, 1.0])
    sampler = sampler_of(2, repetition_penalty=2.0)
    assert sampler.draw(np.float32([2.0, 1.5]), [0]) == 1
    np.testing.assert_array_equal(logits, [2.0, -2.0, 1.0])


def test_logits_that_are_not_finite():
    for greedy in (0.0, 1.0):
        sampler = sampler_of(2, temperature=greedy)
        with pytest.raises(ValueError, match="not finite"):
            sampler.draw(np.float32([0, np.nan]), [])


@pytest.mark.parametrize(
    ("option", "good", "bad"),
    [
        ("max_new_tokens", [1, 10**6], [0, -1, 1.5, True, None]),
        ("temperature", [0, 5, 0.1], [-0.1, 5.1, math.nan, math.inf, "a", True]),
        ("top_k", [0, 5], [-1, 0.5]),
        ("top_p", [1e-9, 1], [0, 1.1, math.nan]),
        ("min_p", [0, 1], [-0.1, 1.1, math.nan]),
        ("repetition_penalty", [0.1, 10], [0, 11, math.nan]),
        ("random_state", [None, 0, 2**40], [-1, 0.5]),
        ("stop", ["x", ("a", "b"), ()], ["", ("a", ""), (1,)]),
    ],
)
def test_options_have_ranges(option, good, bad):
    for value in good:
        GenerationConfig(**{option: value})
    for value in bad:
        with pytest.raises(ValueError, match=f"{option}="):
            GenerationConfig(**{option: value})
    with pytest.raises(ValueError, match="'top_q' is no option"):
        GenerationConfig().changed(top_q=1)
