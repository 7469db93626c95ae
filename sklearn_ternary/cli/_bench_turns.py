"""How ``bench`` measures.

All contestants run in one process and in turns, round after round, so that a
change of the clock or a busy neighbour meets them alike. The time of each is the
shortest.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from sklearn_ternary._config import config_context


def available_isas():
    """Return the instruction sets of this machine and build, the best first."""
    try:
        from sklearn_ternary._kernels._cpu_features import supported_isas
    except ImportError:
        return []
    return list(supported_isas())


class Configured(NamedTuple):
    """A task and the configuration it runs in."""

    function: Callable
    options: dict

    def __call__(self):
        with config_context(**self.options):
            self.function()


def seconds_of(task):
    """Seconds of one call; entering a configuration is no part of it."""
    function, options = task if isinstance(task, Configured) else (task, {})
    with config_context(**options):
        start = time.perf_counter()
        function()
        return time.perf_counter() - start


class Rounds(NamedTuple):
    """How often everything is done: rounds that count, and rounds before those."""

    iterations: int
    warmup: int = 1


def measure_in_turns(rows, tasks, rounds):
    """Put the shortest time of each task into its row, as ``seconds``.

    Tasks that are None cannot run; their rows keep None.

    Parameters
    ----------
    rows : list of dict
    tasks : list of callable or None
    rounds : Rounds
    """
    running = [
        (row, task) for row, task in zip(rows, tasks, strict=True) if task is not None
    ]
    for _ in range(rounds.warmup):
        for _, task in running:
            task()
    for _ in range(rounds.iterations):
        for row, task in running:
            seconds = seconds_of(task)
            best = row["seconds"]
            row["seconds"] = seconds if best is None else min(best, seconds)
