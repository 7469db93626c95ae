"""The group of commands: loads the one that is called, and words its errors."""

import errno
import importlib
import os
import warnings

import click

from sklearn_ternary import __version__
from sklearn_ternary.cli._log import start_log

# Loaded at first use, so that ``--help`` starts at once.
_COMMANDS = {
    "demo": "Train ternary and float networks on digits, compare.",
    "train": "Train a network with ternary weights.",
    "predict": "Predict with a trained network.",
    "quantize": "Pack the arrays of a file into few-level codes.",
    "dequantize": "Unpack a packed file to float arrays.",
    "cluster": "Cluster the rows of an array by k-means.",
    "generate": "Write the answer of a language model to a prompt.",
    "convert": "Convert a language model to another format.",
    "requantize": "Store the tensors of a GGUF model as other types.",
    "inspect": "List what a file holds and check it.",
    "doctor": "Check this machine and installation.",
    "bench": "Measure quantize, pack and unpack on this machine.",
    "bench-lm": "Measure a language model on this machine.",
    "profile": "Show where a language model spends its time.",
}

_MODULES = {
    "bench-lm": "bench_lm",
    "predict": "train",
    "requantize": "convert",
}

# Errors of the operating system that come from what the user named.
_BAD_INPUT = {
    errno.ENOENT,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EACCES,
    errno.EPERM,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EROFS,
}


class Failure(click.ClickException):
    """A message for the user, and the exit code: 1 or 2."""

    def __init__(self, message, exit_code):
        super().__init__(message)
        self.exit_code = exit_code


class _Commands(click.Group):
    def list_commands(self, context):
        return list(_COMMANDS)

    def get_command(self, context, name):
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(
            f"sklearn_ternary.cli.{_MODULES.get(name, name)}"
        )
        return getattr(module, name.replace("-", "_"))

    def format_commands(self, context, formatter):
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, context):
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(context)
        except KeyboardInterrupt:
            raise Failure("interrupted", 130) from None
        except BrokenPipeError:
            raise  # click ends quietly
        except OSError as error:
            raise Failure(_describe(error), 2 if _is_bad(error) else 1) from error
        except ValueError as error:
            raise Failure(str(error), 2) from error
        except MemoryError:
            raise Failure("not enough memory", 1) from None


def _show_warning(message, category, *where):
    click.echo(f"Warning: {message}", err=True)


def _is_bad(error):
    return error.errno in _BAD_INPUT


def _describe(error):
    reason = error.strerror or str(error)
    if error.filename is None:
        return reason
    return f"{os.fsdecode(error.filename)}: {reason}"


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 88},
)
@click.version_option(__version__, "--version", prog_name="sklearn-ternary")
def app():
    """1.58-bit machine learning for people who use scikit-learn.

    Exit codes: 0 done, 1 a check failed or an error while running, 2 wrong use or
    bad input, 130 interrupted.
    """
    start_log()
