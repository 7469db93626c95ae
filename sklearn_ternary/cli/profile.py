"""``profile``: where a language model spends its time."""

import click
import numpy as np

from sklearn_ternary._config import config_context, get_config
from sklearn_ternary.cli._console import (
    console,
    json_option,
    print_json,
    seconds_text,
    table,
)
from sklearn_ternary.cli._options import generated_option, no_folder

_EXPLAINED = {
    "norm": "norms, gates, rounding of activations",
    "qkv": "queries, keys and values",
    "rope": "rotation, writing the cache",
    "attention": "attention",
    "output": "output of attention",
    "gate_up": "gate and up",
    "down": "down",
    "head": "logits",
}


@click.command()
@click.option("-m", "--model", metavar="FILE", required=True, help="A GGUF model.")
@click.option(
    "--prompt-tokens",
    type=click.IntRange(1, 1 << 20),
    default=64,
    show_default=True,
    help="Length of the prompt.",
)
@generated_option(8)
@click.option("--threads", type=click.IntRange(1, 1024), help="Number of threads.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    callback=no_folder,
    help="Write all steps: a flame graph as .svg, or else a trace as JSON, for "
    "chrome://tracing or ui.perfetto.dev.",
)
@json_option
def profile(model, prompt_tokens, n_generated, threads, output, as_json):
    """Show what the steps of the layers take, for a prompt and for generation.

    Tokens are random, and sampling is left out. Times are those of the first thread
    and end when all threads have come to the end of a step.
    """
    from sklearn_ternary.cli._trace import seconds_of_steps, write_trace
    from sklearn_ternary.language import Model

    get_config()  # says what is wrong with the environment, if so
    loaded = Model.from_gguf(model, strategy="preload")
    if loaded.backend != "cpu":
        raise click.UsageError(f"backend {loaded.backend!r} measures no steps")
    if prompt_tokens + n_generated > loaded.config.n_ctx:
        raise click.UsageError(
            f"{prompt_tokens + n_generated} tokens are more than the context of the "
            f"model, {loaded.config.n_ctx}"
        )
    traces = _traces(loaded, prompt_tokens, n_generated, threads)
    if output is not None:
        write_trace(output, traces)
    counts = {"prompt": prompt_tokens, "generate": n_generated}
    seconds = {phase: seconds_of_steps(trace) for phase, trace in traces.items()}
    if as_json:
        print_json({"n_tokens": counts, "seconds": seconds})
    else:
        _print(seconds, counts)


def _traces(model, prompt_tokens, n_generated, threads):
    rng = np.random.default_rng(0)
    n = prompt_tokens + n_generated
    tokens = rng.integers(0, model.config.n_vocab, n)
    cache = model.new_cache(n_ctx=n)
    traces = {"prompt": [], "generate": []}
    with config_context(n_threads=threads):
        model.forward(tokens[:prompt_tokens], cache)  # takes the memory
        cache.truncate(0)
        model.forward(tokens[:prompt_tokens], cache, trace=traces["prompt"])
        for i in range(prompt_tokens, n):
            model.forward(tokens[i : i + 1], cache, trace=traces["generate"])
    return traces


def _print(seconds, counts):
    columns = ["step", *(f"{phase} {counts[phase]}>" for phase in seconds)]
    columns += [f"of {phase}>" for phase in seconds]
    lines = table("Time of the steps", columns)
    totals = {phase: sum(steps.values()) for phase, steps in seconds.items()}
    for name, text in _EXPLAINED.items():
        lines.add_row(
            text,
            *(seconds_text(steps[name]) for steps in seconds.values()),
            *(f"{seconds[p][name] / totals[p]:.0%}" for p in seconds),
        )
    lines.add_row("sum", *map(seconds_text, totals.values()), *("" for _ in totals))
    console().print(lines)
