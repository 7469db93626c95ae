"""``bench``: how fast are the operations on this machine."""

import click

from sklearn_ternary import cuda
from sklearn_ternary._config import get_config
from sklearn_ternary.cli._app import Failure
from sklearn_ternary.cli._bench_products import NUMPY_PRODUCT, run_products_benchmark
from sklearn_ternary.cli._bench_quantize import (
    GGUF,
    MEMCPY,
    NUMPY_EXPRESSION,
    run_quantize_benchmark,
)
from sklearn_ternary.cli._bench_turns import Rounds, available_isas
from sklearn_ternary.cli._clock import clock_mhz
from sklearn_ternary.cli._console import (
    console,
    json_option,
    plain,
    print_json,
    progress,
    seconds_text,
    size_text,
    table,
)
from sklearn_ternary.cli._options import (
    ListOf,
    compare_option,
    isa_option,
    one_of,
    report_option,
    report_target,
    rounds_options,
    threads_option,
)
from sklearn_ternary.cli._reports import compared, print_comparison, write_report

SCHEMA = "sklearn-ternary-bench/2"
MAX_SIZE = 1 << 31
WHAT = ("quantize", "multiply")
# Levels that no kernels are built for.
WITHOUT_KERNELS = ("sse", "sse4.2", "avx", "neon")


def _shape(text):
    rows, _, columns = text.partition("x")
    return int(rows), int(columns)


@click.command()
@click.option(
    "--what",
    type=one_of("what", WHAT),
    default=",".join(WHAT),
    show_default=True,
    help="What is measured.",
)
@click.option(
    "--sizes",
    type=ListOf(
        "sizes",
        int,
        lambda n: 1 <= n <= MAX_SIZE,
        f"a number of values from 1 to {MAX_SIZE}",
    ),
    default="1048576",
    show_default=True,
    help="Numbers of values to quantize.",
)
@click.option(
    "--shapes",
    type=ListOf(
        "shapes",
        _shape,
        lambda shape: min(shape) >= 1 and shape[0] * shape[1] <= MAX_SIZE,
        f"rows x columns, such as 2560x2560, of at most {MAX_SIZE} values",
    ),
    default="2560x2560",
    show_default=True,
    help="Shapes of the packed matrix A in the products X @ A.T.",
)
@click.option(
    "--rows",
    "--batch-sizes",
    "rows",
    type=ListOf("rows", int, lambda n: 1 <= n <= 65536, "a number from 1 to 65536"),
    default="1,64",
    show_default=True,
    help="Numbers of rows of X.",
)
@rounds_options(iterations=7)
@isa_option("numpy", unavailable=WITHOUT_KERNELS, default="the best, and numpy")
@threads_option()
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Measure on a CUDA device, too: products and values there, and values with "
    "copies.",
)
@click.option(
    "--peers/--no-peers",
    default=True,
    help="Whether gguf-py is measured, if it is there.",
)
@report_option
@compare_option
@json_option
def bench(
    what,
    sizes,
    shapes,
    rows,
    iterations,
    warmup,
    isas,
    threads,
    device,
    peers,
    output,
    compare,
    as_json,
):
    """Measure quantize, pack, unpack and multiply on this machine.

    Lists are separated by commas, as in --threads 1,2. Times are the shortest of
    the rounds; "vs NumPy" is how many times faster than the expression below, "vs
    memcpy" how many times as long as copying the input, "efficiency" what part of
    one thread's speed each of several adds.
    """
    output, as_json = report_target(output, as_json)
    if compare:
        if output:
            raise click.UsageError("--compare goes without --output")
        found = compared(*compare, SCHEMA, _all_rows, _KEYS)
        if as_json:
            print_json(found)
        else:
            columns = ["operation", "values", "ISA", "threads>"]
            print_comparison(found, columns, _cells)
        return
    get_config()  # says what is wrong with the environment, if so
    if isas is None:
        isas = [*available_isas()[:1], "numpy"]
    sizes = sizes if "quantize" in what else []
    products = [(s, n) for s in shapes for n in rows] if "multiply" in what else []
    rounds = Rounds(iterations, warmup)
    results, multiplied = [], []
    before = clock_mhz()
    with progress("measuring", len(sizes) + len(products)) as advance:
        for size in sizes:
            results += run_quantize_benchmark(
                size, rounds, isas, threads, peers, device
            )
            advance(1)
        for shape, n in products:
            multiplied += run_products_benchmark(
                shape, n, rounds, isas, threads, device
            )
            advance(1)
    report = {
        "schema": SCHEMA,
        "iterations": iterations,
        "warmup": warmup,
        "clock_mhz": {"before": before, "after": clock_mhz()},
        "baselines": {
            "numpy": NUMPY_EXPRESSION,
            "memcpy": MEMCPY,
            "gguf-py": GGUF,
            "product": NUMPY_PRODUCT,
        },
        "results": results,
        "products": multiplied,
    }
    report = write_report(output, report)
    if as_json:
        print_json(report)
    else:
        if results:
            _print(results)
        if multiplied:
            _print_products(multiplied)
        _print_clock(**report["clock_mhz"])
    if device == "cuda" and not cuda.is_available():
        reason = cuda.device_info()["reason"]
        raise Failure(f"nothing was measured on a device: {reason}", 1)


_KEYS = ("operation", "values", "isa", "n_threads")


def _all_rows(report):
    """Rows of a report, with the values of each as one text."""
    for row in report["results"]:
        yield row | {"values": f"{row['size']:,}"}
    for row in report["products"]:
        rows, columns = row["shape"]
        yield row | {"values": f"{row['n_rows']} x {columns} x {rows}"}


def _cells(row):
    return row["operation"], row["values"], row["isa"] or "", str(row["n_threads"])


def _print_clock(before, after):
    if before is not None and after is not None:
        console().print(f"clock:   {before:.0f} MHz before, {after:.0f} MHz after")


def _on_several(results):
    """Whether numbers of threads are compared."""
    return len({row["n_threads"] for row in results}) > 1


def _efficiency(row, results):
    found = row["efficiency"]
    text = "" if found is None else f"{found:.0%}"
    return [text] * _on_several(results)


def _print(results):
    out = console()
    for size in dict.fromkeys(row["size"] for row in results):
        columns = ["operation", "ISA", "threads>", "time>", "vs NumPy>", "vs memcpy>"]
        columns += ["efficiency>"] * _on_several(results)
        rows = table(f"{size:,} float32 values", columns)
        notes = []
        for row in results:
            if row["size"] != size:
                continue
            seconds = row["seconds"]
            rows.add_row(
                row["operation"],
                row["isa"] or "",
                str(row["n_threads"]),
                "n/a" if seconds is None else seconds_text(seconds),
                "" if seconds is None else f"{row['vs_numpy']:.3g}x",
                "" if seconds is None else f"{row['vs_memcpy']:.3g}x",
                *_efficiency(row, results),
            )
            if row["note"]:
                notes.append(row["note"])
        out.print(rows)
        for note in dict.fromkeys(notes):
            out.print("n/a:", plain(note))
    out.print(f"NumPy:   {NUMPY_EXPRESSION}", markup=False, soft_wrap=True)
    out.print(f"memcpy:  {MEMCPY}", markup=False, soft_wrap=True)
    out.print(f"gguf-py: {GGUF}", markup=False, soft_wrap=True)


def _print_products(results):
    out = console()
    on_device = any(row["device_bytes"] is not None for row in results)
    for key in dict.fromkeys((*row["shape"], row["n_rows"]) for row in results):
        M, K, n = key
        columns = ["operation", "ISA", "threads>", "time>", "vs NumPy>", "GOP/s>"]
        columns += ["efficiency>"] * _on_several(results) + ["memory>"] * on_device
        rows = table(f"{n} x {K} times packed {M} x {K} transposed", columns)
        notes = []
        for row in results:
            if (*row["shape"], row["n_rows"]) != key:
                continue
            seconds, ratio = row["seconds"], row["vs_numpy"]
            n_bytes = row["device_bytes"]
            memory = "" if n_bytes is None else size_text(n_bytes)
            rows.add_row(
                row["operation"],
                row["isa"] or "",
                str(row["n_threads"]),
                "n/a" if seconds is None else seconds_text(seconds),
                "" if ratio is None else f"{ratio:.3g}x",
                "" if seconds is None else f"{row['operations_per_second'] / 1e9:.0f}",
                *_efficiency(row, results),
                *[memory] * on_device,
            )
            if row["note"]:
                notes.append(row["note"])
        out.print(rows)
        for note in dict.fromkeys(notes):
            out.print("n/a:", plain(note))
    out.print(f"NumPy:   {NUMPY_PRODUCT}", markup=False, soft_wrap=True)
