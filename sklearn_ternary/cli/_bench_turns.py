"""How ``bench`` measures.

All contestants run in one process and in turns, round after round, so that a
change of the clock or a busy neighbour meets them alike. The time of each is the
shortest.
"""

import time
from typing import NamedTuple


def available_isas():
    """Return the instruction sets of this machine and build, the best first."""
    try:
        from sklearn_ternary._kernels._cpu_features import supported_isas
    except ImportError:
        return []
    return list(supported_isas())


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
            start = time.perf_counter()
            task()
            seconds = time.perf_counter() - start
            best = row["seconds"]
            row["seconds"] = seconds if best is None else min(best, seconds)
