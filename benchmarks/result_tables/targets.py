"""Targets of benchmarks/targets.toml beside what was measured."""

import tomllib
from functools import partial
from typing import NamedTuple

from result_tables._parts import NO_BREAK, RESULTS, Table, results

PATH = RESULTS.parent / "targets.toml"
_SCALES = {"%": 100, "points": 100, "ms": 1000}
# Targets that are no longer in what was measured are a mistake, not an unmet floor.
NOT_FOUND = "not in the results"


class Judged(NamedTuple):
    """A target and what came of it.

    Parameters
    ----------
    subject : str
        The title of its table.
    target : dict
    measured : float or None
    verdict : str
        ``"aim reached"``, ``"met"``, ``"aim missed"`` (there is no floor), ``"unmet"``,
        ``"not measured"``, or `NOT_FOUND`.
    """

    subject: str
    target: dict
    measured: float | None
    verdict: str


def subjects():
    """Return the tables of the file, by name."""
    with open(PATH, "rb") as file:
        return tomllib.load(file)


def judged(subject, rows=None):
    """Return the targets of a table, judged.

    Parameters
    ----------
    subject : dict
        One of `subjects`.
    rows : list of dict, default=None
        Results; None for those of the files. With none at all nothing is measured.

    Returns
    -------
    found : list of Judged
    """
    return [_judge(subject, target, rows) for target in subject["targets"]]


def _judge(subject, own, rows):
    common = {k: v for k, v in subject.items() if k not in ("title", "text", "targets")}
    if "file" in own:
        common.pop("where", None)
    where = {**common.get("where", {}), **own.get("where", {})}
    target = {**common, **own, "where": where}
    if rows is None and (RESULTS / f"{target['file']}.json").exists():
        rows = results(target["file"])[target.get("list", "results")]
    if not rows:
        return Judged(subject["title"], target, None, "not measured")
    is_less = _is_less(target)
    found = [_value(rows, row, target) for row in rows if _has(row, where)]
    found = [value for value in found if value is not None]
    if not found:
        return Judged(subject["title"], target, None, NOT_FOUND)
    measured = max(found) if is_less else min(found)
    return Judged(subject["title"], target, measured, _verdict(target, measured))


def _is_less(target):
    return "at_most" in target or target.get("lower", False)


def _has(row, where):
    return all(row.get(name) == value for name, value in where.items())


def _value(rows, row, target):
    """The value of a row, or None where it has none or there is nothing to compare."""
    value = _number(row, target["value"])
    if value is None:
        return None
    if "over" in target:
        other = _number(row, target["over"])
        return None if other is None else value / other
    for way in ("than", "minus"):
        if way not in target:
            continue
        # The row that is the same but for that, as far as targets tell rows apart.
        named = {**_told_apart(row), **target["where"], **target[way]}
        others = [_number(o, target["value"]) for o in rows if _has(o, named)]
        if len(others) != 1 or others[0] is None:
            return None
        return value / others[0] if way == "than" else value - others[0]
    return value


_APART = ("size", "shape", "n", "n_threads", "task", "dtype", "where", "name", "isa")


def _told_apart(row):
    return {name: row[name] for name in _APART if name in row}


def _number(row, path):
    for name in [path] if isinstance(path, str) else path:
        row = row.get(name) if isinstance(row, dict) else None
    return sum(row) / len(row) if isinstance(row, list) else row


def _verdict(target, measured):
    sign = -1 if _is_less(target) else 1
    floor, aim = _floor(target), target.get("aim")
    if floor is not None and sign * measured < sign * floor:
        return "unmet"
    if aim is not None:
        if sign * measured >= sign * aim:
            return "aim reached"
        return "met" if floor is not None else "aim missed"
    return "met"


def _floor(target):
    return target.get("at_least", target.get("at_most"))


def _text(value, target, *, is_limit=False):
    if value is None:
        return ""
    unit = target["unit"]
    shown = value * _SCALES.get(unit, 1)
    number = f"{shown:+.2f}" if unit == "points" else f"{shown:.3g}"
    space = "" if unit in ("×", "") else NO_BREAK
    sign = "" if not is_limit else ("≤" if _is_less(target) else "≥") + NO_BREAK
    return f"{sign}{number}{space}{unit}"


def shown(one):
    """A target that was judged, in a line of text."""
    target = one.target
    limit = _text(_floor(target), target, is_limit=True)
    return f"{target['what']} {limit}: {_text(one.measured, target) or '-'}"


def _row(one):
    target = one.target
    return (
        target["what"],
        _text(_floor(target), target, is_limit=True),
        _text(target.get("aim"), target, is_limit=True),
        _text(one.measured, target) or "–",
        f"**{one.verdict}**" if one.verdict == "unmet" else one.verdict,
    )


_HEADER = ("what", "floor", "aim", "measured", "")


def targets(name):
    """The targets of a table."""
    subject = subjects()[name]
    rows = [_row(one) for one in judged(subject)]
    return Table(_HEADER, rows, subject.get("text", ""), words=(0, 4))


def all_judged():
    """Return all targets, judged."""
    return [one for subject in subjects().values() for one in judged(subject)]


def unmet():
    """The floors that are not met, and how many are."""
    found = [one for one in all_judged() if _floor(one.target) is not None]
    rows = [(one.subject, *_row(one)[:4]) for one in found if one.verdict == "unmet"]
    n_open = sum(one.verdict == "not measured" for one in found)
    n_met = len(found) - n_open - len(rows)
    caption = (
        f"{n_met} of {len(found)} floors are met, {len(rows)} are not, and {n_open} "
        "are not measured."
    )
    return Table(
        ("", *_HEADER[:4]), rows or [("none", *[""] * 4)], caption, words=(0, 1)
    )


TABLES = {f"targets_{name}": partial(targets, name) for name in subjects()}
TABLES["unmet"] = unmet
