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


# Until the threads of a task no longer wait busily for more work.
IDLE_SECONDS = 0.03


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

    Tasks that are None cannot run; their rows keep None. A task runs once before it
    is measured: what it needs of the caches is there, and its threads are awake. The
    ``efficiency`` of a row is what part of one thread's speed each of several adds:
    the time on one thread by `n_threads` times this one.

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
            task()
            seconds = seconds_of(task)
            if row["n_threads"] > 1:
                time.sleep(IDLE_SECONDS)
            best = row["seconds"]
            row["seconds"] = seconds if best is None else min(best, seconds)
    alone = {_but_threads(r): r["seconds"] for r in rows if r["n_threads"] == 1}
    for row in rows:
        one, seconds = alone.get(_but_threads(row)), row["seconds"]
        known = one is not None and seconds is not None
        row["efficiency"] = one / (row["n_threads"] * seconds) if known else None


def _but_threads(row):
    return row["operation"], row["isa"]
