"""What ``bench-lm`` reads from files: prompts, and settings of several runs."""

import dataclasses
import tomllib

import click

from sklearn_ternary.cli._bench_language import Settings
from sklearn_ternary.cli._texts import read_text


def _read(path):
    with open(path, "rb") as file:
        return read_text(file, path)


def read_prompts(path, model):
    """Return the token ids of each line that is not empty.

    Parameters
    ----------
    path : str
    model : str
        A GGUF file, whose vocabulary is used.

    Returns
    -------
    prompts : list of list of int
    """
    from sklearn_ternary.language import load_tokenizer

    lines = [line for line in _read(path).splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{path} has no prompts")
    tokenizer = load_tokenizer(model)
    begins = tokenizer.adds_bos and tokenizer.bos_id is not None
    return [tokenizer.encode(line, add_bos=begins) for line in lines]


def read_settings(path, common, command):
    """Return the settings of each ``[[run]]`` of a TOML file.

    Parameters
    ----------
    path : str
    common : Settings
        For what a run does not say.
    command : click.Command
        Whose options the keys are, with ``_`` for ``-``.

    Returns
    -------
    runs : list of Settings

    Raises
    ------
    ValueError
        If the file is not such a file; it names the key.
    """
    try:
        contents = tomllib.loads(_read(path))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not TOML ({error})") from None
    runs = contents.pop("run", None)
    if contents:
        raise ValueError(f"{path} has the key {next(iter(contents))!r}; it takes run")
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs):
        raise ValueError(f"{path} has no [[run]]")
    options = _options(command)
    return [_settings(path, run, common, options) for run in runs]


def _options(command):
    """Each name of an option that a run can have, and the option."""
    fields = {field.name for field in dataclasses.fields(Settings)}
    return {
        name.removeprefix("--").replace("-", "_"): option
        for option in command.params
        if option.name in fields
        for name in option.opts
    }


def _settings(path, run, common, options):
    changes = {}
    for key, value in run.items():
        if key not in options:
            raise ValueError(
                f"{path} has the key {key!r}; a run takes {', '.join(options)}"
            )
        option = options[key]
        values = value if isinstance(value, list) else [value]
        text = ",".join(map(str, values))
        try:
            changes[option.name] = option.type.convert(text, option, None)
        except click.BadParameter as error:
            raise ValueError(f"{path}, {key}: {error.message}") from None
    return dataclasses.replace(common, **changes)
