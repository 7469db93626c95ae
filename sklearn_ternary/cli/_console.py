"""Output that reads well in a terminal, in a pipe and as JSON."""

import contextlib
import json
import math
import os
import sys
import tempfile

import click
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON instead of tables."
)


def console(stderr=False):
    """Return a console; it writes plain text where it is not a terminal."""
    return Console(stderr=stderr, highlight=False, emoji=False)


def table(title, columns):
    """Return a table; columns whose name ends in ``>`` are aligned to the right."""
    result = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for name in columns:
        result.add_column(
            name.rstrip(">"),
            justify="right" if name.endswith(">") else "left",
            overflow="fold",
            no_wrap=name.endswith(">"),
        )
    return result


def plain(text):
    """Return text from a file: no markup, and nothing a terminal would obey."""
    return Text("".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text)))


def print_json(value, file=None):
    """Print JSON; NaN and infinities become null."""
    text = json.dumps(_finite(value), indent=2, allow_nan=False)
    click.echo(text, file=file or sys.stdout)


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def size_text(n_bytes):
    """Bytes for people: ``"1.5 MiB"``."""
    if n_bytes < 1024:
        return f"{n_bytes} B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        n_bytes /= 1024
        if n_bytes < 1024 or unit == "TiB":
            return f"{n_bytes:.1f} {unit}"
    raise AssertionError


def shape_text(shape):
    """Return a shape as ``"512 x 64"``; a single number is ``"()"``."""
    return " x ".join(map(str, shape)) if shape else "()"


def count_text(n, noun):
    """Return ``"1 tensor"`` or ``"2 tensors"``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def target_text(path):
    """Return how a message calls an output."""
    return "stdout" if path == "-" else path


def seconds_text(seconds):
    """Return a time in the unit that suits it."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


@contextlib.contextmanager
def progress(description, total, *, remaining=False):
    """Show a bar on a terminal's stderr; nothing elsewhere.

    Parameters
    ----------
    description : str
    total : float or None
        None where the end is not known.
    remaining : bool, default=False
        Show the time that is left besides the time that has passed.

    Yields
    ------
    advance : callable
        ``advance(amount, text=None)``.
    """
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *([] if total is None else [TextColumn("{task.percentage:>3.0f} %")]),
        TimeElapsedColumn(),
        *([TimeRemainingColumn()] if remaining else []),
        console=console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(description, total=total)

        def advance(amount, text=None):
            bar.update(task, advance=amount, **({"description": text} if text else {}))

        yield advance


@contextlib.contextmanager
def input_path(path):
    """Yield the path and label of an input; ``-`` is stdin, copied to a file."""
    if path != "-":
        yield path, None
        return
    with tempfile.NamedTemporaryFile(prefix="sklearn-ternary-") as file:
        stdin = click.get_binary_stream("stdin")
        while data := stdin.read(1 << 20):
            file.write(data)
        file.flush()
        yield file.name, "<stdin>"


@contextlib.contextmanager
def output_path(path, force):
    """Yield the path to write; ``-`` is stdout, which gets the file at the end.

    Raises
    ------
    click.UsageError
        If the file exists and `force` is false.
    """
    if path != "-":
        if os.path.lexists(path) and not force and not os.path.isdir(path):
            raise click.UsageError(f"{path} exists; --force overwrites it")
        yield path
        return
    stdout = click.get_binary_stream("stdout")
    if stdout.isatty():
        raise click.UsageError("-o - would write binary data to the terminal")
    with tempfile.TemporaryDirectory(prefix="sklearn-ternary-") as folder:
        target = os.path.join(folder, "out")
        yield target
        with open(target, "rb") as file:
            while data := file.read(1 << 20):
                stdout.write(data)
        stdout.flush()
