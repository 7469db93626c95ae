"""``bench-lm``: how fast is a language model on this machine."""

import os

import click

from sklearn_ternary._config import get_config
from sklearn_ternary.cli._bench_language import Settings, run_language_benchmark
from sklearn_ternary.cli._bench_settings import read_prompts, read_settings
from sklearn_ternary.cli._console import (
    console,
    json_option,
    print_json,
    progress,
    seconds_text,
    table,
)
from sklearn_ternary.cli._options import (
    compare_option,
    counts,
    generated_option,
    isa_option,
    one_of,
    report_option,
    report_target,
    rounds_options,
    threads_option,
)
from sklearn_ternary.cli._reports import compared, print_comparison, write_report

SCHEMA = "sklearn-ternary-bench-lm/2"
LAYOUTS = ("auto", "t2", "t5")
BACKENDS = ("cpu", "numpy")
_KEYS = ("what", "n_tokens", "batch_size", "layout", "backend", "isa", "n_threads")


@click.command("bench-lm")
@click.option("-m", "--model", metavar="FILE", help="A GGUF model.")
@threads_option()
@click.option(
    "--prompt-tokens",
    type=counts("prompt-tokens", 1 << 20),
    default="64,512",
    show_default=True,
    help="Lengths of prompts of random tokens.",
)
@click.option(
    "--prompts",
    metavar="FILE",
    help="Measure the lines of a text file, too, one prompt after another.",
)
@generated_option(32)
@click.option(
    "--batch-sizes",
    type=counts("batch-sizes", 1024),
    default="1",
    show_default=True,
    help="Sequences that are generated together.",
)
@click.option(
    "--layouts",
    "--quantization",
    "layouts",
    type=one_of("layouts", LAYOUTS),
    default="auto",
    show_default=True,
    help="How ternary codes lie in memory.",
)
@isa_option()
@click.option(
    "--backends",
    "--device",
    "backends",
    type=one_of("backends", BACKENDS),
    default="cpu",
    show_default=True,
    help="What computes: compiled kernels, or NumPy, which is slow.",
)
@rounds_options(iterations=3)
@click.option(
    "--configs",
    metavar="FILE",
    help="Measure each [[run]] of a TOML file, whose keys are options of this command.",
)
@report_option
@compare_option
@json_option
def bench_lm(
    model, prompts, iterations, warmup, configs, output, compare, as_json, **settings
):
    """Measure loading, prompts and generation of a language model.

    Tokens are random, and sampling is left out. Lists are separated by commas, as in
    --threads 1,2.
    """
    output, as_json = report_target(output, as_json)
    if compare:
        if model or output:
            raise click.UsageError("--compare goes without --model and --output")
        rows = compared(*compare, SCHEMA, lambda report: report["results"], _KEYS)
        if as_json:
            print_json(rows)
        else:
            columns = ["", "layout", "ISA", "threads>"]
            print_comparison(rows, columns, _cells)
        return
    if not model:
        raise click.UsageError("--model is needed, or --compare")
    get_config()  # says what is wrong with the environment, if so
    texts = [] if prompts is None else read_prompts(prompts, model)
    common = Settings(**settings)
    runs = [common] if configs is None else read_settings(configs, common, bench_lm)
    rows = []
    with progress("measuring", sum(run.count(texts) for run in runs)) as advance:
        for run in runs:
            rows += run_language_benchmark(
                model, run, texts, iterations, warmup, advance
            )
    report = {
        "schema": SCHEMA,
        "model": os.path.basename(model),
        "iterations": iterations,
        "warmup": warmup,
        "results": rows,
    }
    report = write_report(output, report)
    if as_json:
        print_json(report)
    else:
        _print(rows)


def _cells(row):
    """What and how, for a table."""
    what = row["what"]
    if what != "load":
        together = f" x {row['batch_size']}" if row["batch_size"] > 1 else ""
        what = f"{what} {row['n_tokens']}{together}"
    isa = row["backend"] if row["backend"] != "cpu" else row["isa"] or ""
    return what, row["layout"], isa, str(row["n_threads"])


def _print(rows):
    columns = ["", "layout", "ISA", "threads>", "time>", "tokens/s>"]
    lines = table("Language model", columns)
    for row in rows:
        rate = row.get("tokens_per_second")
        rate = "" if rate is None else f"{rate:.1f}"
        lines.add_row(*_cells(row), seconds_text(row["seconds"]), rate)
    console().print(lines)
