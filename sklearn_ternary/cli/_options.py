"""Options that several commands have."""

import os

import click

from sklearn_ternary._config import ISA_NAMES


class ListOf(click.ParamType):
    """Values separated by commas.

    Parameters
    ----------
    name : str
    convert : callable
        Of one text; ValueError says that it is none.
    check : callable
        Whether a value is allowed.
    allowed : str
        What is, for the message.
    """

    def __init__(self, name, convert, check, allowed):
        self.name = name
        self._convert = convert
        self._check = check
        self._allowed = allowed

    def convert(self, value, param, ctx):
        """Return the list."""
        if not isinstance(value, str):
            return value
        values = []
        for text in value.split(","):
            try:
                one = self._convert(text.strip())
            except ValueError:
                one = None
            if one is None or not self._check(one):
                self.fail(f"{text.strip()!r} is not {self._allowed}", param, ctx)
            values.append(one)
        return values


def counts(name, most):
    """Numbers from 1 to `most`, separated by commas."""
    return ListOf(name, int, lambda n: 1 <= n <= most, f"a number from 1 to {most}")


def one_of(name, allowed):
    """Some of the names in `allowed`, separated by commas."""
    return ListOf(name, str, allowed.__contains__, f"one of {', '.join(allowed)}")


def threads_option(default="1"):
    """``--threads``, a list."""
    return click.option(
        "--threads",
        type=counts("threads", 1024),
        default=default,
        show_default=True,
        help="Numbers of threads.",
    )


def isa_option(*others, unavailable=(), default="the best"):
    """``--isa``, a list of instruction sets and of `others`.

    Those `unavailable` may be asked for too, and are n/a everywhere.
    """
    names = (*ISA_NAMES, *others, *unavailable)
    or_others = "".join(f", or {name}" for name in others)
    return click.option(
        "--isa",
        "--simd-level",
        "isas",
        type=one_of("levels", names),
        help=f"Instruction sets of the kernels{or_others}.  [default: {default}]",
    )


def rounds_options(iterations, warmup=1):
    """``--iterations`` and ``--warmup``."""
    options = (
        click.option(
            "--iterations",
            type=click.IntRange(1, 10_000),
            default=iterations,
            show_default=True,
            help="Rounds; the shortest time counts.",
        ),
        click.option(
            "--warmup",
            type=click.IntRange(0, 10_000),
            default=warmup,
            show_default=True,
            help="Rounds before those.",
        ),
    )

    def decorate(command):
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


force_option = click.option("--force", is_flag=True, help="Overwrite OUT if it exists.")


def no_folder(context, parameter, path):
    """The path; an error of use if it is a folder."""
    if path is not None and os.path.isdir(path):
        raise click.UsageError(f"{path} is a folder")
    return path


report_option = click.option(
    "-o",
    "--output",
    metavar="FILE",
    callback=no_folder,
    help="Write the results as JSON; the word json, like --json, prints them.",
)


def report_target(output, as_json):
    """The file to write, or None, and whether to print JSON."""
    return (None, True) if output == "json" else (output, as_json)


compare_option = click.option(
    "--compare",
    nargs=2,
    metavar="BEFORE AFTER",
    help="Compare two such files instead of measuring.",
)


def generated_option(default):
    """``--gen``."""
    return click.option(
        "--gen",
        "n_generated",
        type=click.IntRange(1, 1 << 20),
        default=default,
        show_default=True,
        help="Tokens to generate.",
    )
