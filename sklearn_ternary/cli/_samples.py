"""Samples and targets from files: arrays by name, or columns of a table."""

import os

import click
import numpy as np

from sklearn_ternary.cli._console import input_path
from sklearn_ternary.persistence import ContainerReader
from sklearn_ternary.persistence._formats import open_tensors

FEATURES, TARGET = "X", "y"

features_option = click.option(
    "--features",
    metavar="NAME",
    help="Array of the samples, unless DATA is a .csv.  [default: X]",
)


def read_samples(path, features=None, target=None, *, with_target=True, columns=None):
    """Read samples, and targets if there have to be any.

    Parameters
    ----------
    path : str
        A ``.csv`` file, or one of arrays; ``-`` is such a one on stdin.
    features, target : str, default=None
        Arrays, or the column of the targets. None is ``"X"`` and ``"y"``, or the last
        column.
    with_target : bool, default=True
        Whether targets are needed; else they are read if `target` names them.
    columns : list of str, default=None
        The columns of a table that are features; None is all but the target.

    Returns
    -------
    X : ndarray or DataFrame
    y : ndarray or None

    Raises
    ------
    ValueError
        If the file is damaged, or lacks what is asked for.
    """
    if path.lower().endswith(".csv"):
        if features is not None:
            raise click.UsageError("--features is for files of arrays")
        return _from_table(path, target, with_target, columns)
    with input_path(path) as (path, label), open_tensors(path, label) as reader:
        if isinstance(reader, ContainerReader):
            raise reader.error("holds packed arrays; dequantize unpacks them")
        alone = len(reader.names) == 1 and not with_target and features is None
        features = reader.names[0] if alone else features or FEATURES
        X = _array(reader, features, "--features")
        if X.ndim != 2:
            raise reader.error(f"array {features!r} is no matrix")
        if not with_target and target is None:
            return X, None
        return X, _array(reader, target or TARGET, "--target")


def _array(reader, name, option):
    if name not in reader.names:
        some = ", ".join(map(repr, reader.names[:9]))
        raise reader.error(f"holds no array {name!r}; {option} names one of {some}")
    return reader.read(name)


def _from_table(path, target, with_target, columns):
    # Imported here: optional, and slow.
    try:
        import pandas as pd
    except ImportError:
        raise ValueError("reading .csv needs pandas: pip install pandas") from None
    if not os.path.exists(path):
        raise FileNotFoundError(2, os.strerror(2), path)
    table = pd.read_csv(path)
    table.columns = [str(name) for name in table.columns]
    if with_target and target is None:
        target = table.columns[-1]
    y = None
    if target is not None:
        if target not in table.columns:
            raise ValueError(f"{path}: has no column {target!r}")
        y = np.asarray(table.pop(target))
        if y.dtype == object:
            missing = [value for value in y if not isinstance(value, str)]
            if missing:
                raise ValueError(
                    f"{path}: column {target!r} has text and {missing[0]!r}"
                )
            y = y.astype(str)
    if columns is not None:
        lacking = [name for name in columns if name not in table.columns]
        if lacking:
            raise ValueError(f"{path}: has no column {lacking[0]!r}")
        table = table[list(columns)]
    text = [name for name in table.columns if table[name].dtype.kind not in "biuf"]
    if text:
        raise ValueError(
            f"{path}: column {text[0]!r} holds text; features have to be numbers"
        )
    if not len(table.columns):
        raise ValueError(f"{path}: has no column of features")
    return table.astype(np.float64), y
