"""How fast a language model reads prompts and generates."""

from dataclasses import dataclass
from itertools import product
from time import perf_counter

import numpy as np

from sklearn_ternary._config import config_context
from sklearn_ternary.language import Model


@dataclass(frozen=True)
class Settings:
    """What is measured: every combination of these.

    Parameters
    ----------
    threads, prompt_tokens, batch_sizes : list of int
    n_generated : int
    layouts, backends : list of str
    isas : list of str, or None
        None is the best.
    """

    threads: list
    prompt_tokens: list
    n_generated: int
    batch_sizes: list
    layouts: list
    backends: list
    isas: list | None

    def combinations(self):
        """Keywords of the configuration, and of the model, for each."""
        isas = self.isas or [None]
        for layout, backend, isa, n_threads in product(
            self.layouts, self.backends, isas, self.threads
        ):
            yield {"layout": layout, "backend": backend, "isa": isa} | {
                "n_threads": n_threads
            }

    def count(self, prompts):
        """How often the benchmark calls `advance`."""
        each = 1 + len(self.prompt_tokens) + len(self.batch_sizes) + bool(prompts)
        return each * sum(1 for _ in self.combinations())


def run_language_benchmark(path, settings, prompts, iterations, warmup, advance):
    """Measure a model in a GGUF file.

    Parameters
    ----------
    path : str
    settings : Settings
    prompts : list of list of int
        Besides those of random tokens.
    iterations, warmup : int
    advance : callable

    Returns
    -------
    rows : list of dict
        What (``"load"``, ``"prompt"``, ``"prompts"``, ``"generate"``), its size, and
        tokens per second of the fastest iteration.
    """
    rows = []
    for base in settings.combinations():
        context = {name: base[name] for name in ("backend", "isa", "n_threads")}
        with config_context(**context):
            start = perf_counter()
            model = Model.from_gguf(path, layout=base["layout"], strategy="preload")
            seconds = perf_counter() - start
            rows.append(
                base
                | {"what": "load", "n_tokens": 0, "batch_size": 1}
                | {"seconds": seconds, "bytes": model.nbytes}
            )
            advance(1)
            for row in _measure(model, settings, prompts, iterations, warmup):
                rows.append(base | row)
                advance(1)
    return rows


def _measure(model, settings, prompts, iterations, warmup):
    rng = np.random.default_rng(0)
    n_generated, n_vocab = settings.n_generated, model.config.n_vocab
    n_ctx = max([*settings.prompt_tokens, n_generated + 1, *map(len, prompts)])
    if n_ctx > model.config.n_ctx:
        raise ValueError(
            f"{n_ctx} tokens are more than the context of the model, "
            f"{model.config.n_ctx}"
        )
    cache = model.new_cache(max(settings.batch_sizes), n_ctx=n_ctx)
    for n in settings.prompt_tokens:
        tokens = rng.integers(0, n_vocab, n)
        seconds = _shortest(
            lambda tokens=tokens: _prompt(model, cache, tokens), iterations, warmup
        )
        yield _row("prompt", n, 1, seconds)
    if prompts:
        seconds = _shortest(
            lambda: sum(_prompt(model, cache, tokens) for tokens in prompts),
            iterations,
            warmup,
        )
        yield _row("prompts", sum(map(len, prompts)), 1, seconds)
    for size in settings.batch_sizes:
        tokens = rng.integers(0, n_vocab, (n_generated, size))
        seconds = _shortest(
            lambda tokens=tokens: _generate(model, cache, tokens), iterations, warmup
        )
        yield _row("generate", n_generated, size, seconds)


def _row(what, n_tokens, batch_size, seconds):
    return {
        "what": what,
        "n_tokens": n_tokens,
        "batch_size": batch_size,
        "seconds": seconds,
        "tokens_per_second": n_tokens * batch_size / seconds,
    }


def _clear(cache):
    for sequence in range(cache.n_sequences):
        cache.truncate(sequence)


def _prompt(model, cache, tokens):
    _clear(cache)
    start = perf_counter()
    model.forward(tokens, cache)
    return perf_counter() - start


def _generate(model, cache, tokens):
    _clear(cache)
    sequences = np.arange(tokens.shape[1])
    model.forward(tokens[0], cache, sequences)
    start = perf_counter()
    for step in tokens:
        model.forward(step, cache, sequences)
    return perf_counter() - start


def _shortest(function, iterations, warmup):
    for _ in range(warmup):
        function()
    return min(function() for _ in range(iterations))
