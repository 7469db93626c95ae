"""Counts and times of the operations, and the report on them.

Durations go into a histogram whose bins grow by the factor 2**(1/16), from
100 ns to about 20 minutes: at most `N_BINS` counters for each operation,
backend and power of two of the size, however many calls there are. A quantile
is the geometric middle of its bin, so it is within 2.2 % (`QUANTILE_ERROR`) of
the duration of that rank.
"""

import math
import os
import threading
from dataclasses import asdict, dataclass

BINS_PER_OCTAVE = 16
SHORTEST = 1e-7
N_BINS = 34 * BINS_PER_OCTAVE
QUANTILE_ERROR = 2 ** (0.5 / BINS_PER_OCTAVE) - 1


class Histogram:
    """Durations in seconds: exact count, sum and extremes, estimated quantiles."""

    __slots__ = ("bins", "count", "longest", "shortest", "total")

    def __init__(self):
        self.bins = {}
        self.count = 0
        self.total = 0.0
        self.shortest = math.inf
        self.longest = 0.0

    def add(self, seconds):
        """Count one duration."""
        octaves = math.log2(max(seconds, SHORTEST) / SHORTEST)
        index = min(int(octaves * BINS_PER_OCTAVE), N_BINS - 1)
        self.bins[index] = self.bins.get(index, 0) + 1
        self.count += 1
        self.total += seconds
        self.shortest = min(self.shortest, seconds)
        self.longest = max(self.longest, seconds)

    def merge(self, other):
        """Count the durations of another histogram too."""
        for index, count in other.bins.items():
            self.bins[index] = self.bins.get(index, 0) + count
        self.count += other.count
        self.total += other.total
        self.shortest = min(self.shortest, other.shortest)
        self.longest = max(self.longest, other.longest)

    def quantile(self, q):
        """Duration of rank ``ceil(q * count)``, within `QUANTILE_ERROR`."""
        rank = max(1, math.ceil(q * self.count))
        seen = 0
        for index in sorted(self.bins):
            seen += self.bins[index]
            if seen >= rank:
                middle = SHORTEST * 2 ** ((index + 0.5) / BINS_PER_OCTAVE)
                return min(max(middle, self.shortest), self.longest)
        return math.nan


class _Cell:
    """What is known of one operation on one backend at one power of two."""

    __slots__ = ("errors", "histogram", "values")

    def __init__(self):
        self.histogram = Histogram()
        self.values = 0
        self.errors = 0


# {(operation, backend, bits of the size): _Cell}
_cells = {}
_lock = threading.Lock()


def _start_afresh():
    """A forked child measures itself, and its parent may have held the lock."""
    global _lock
    _lock = threading.Lock()
    _cells.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)


def record(operation, backend, size, seconds, failed):
    """Count one call: its duration, or that it raised."""
    key = (operation, backend, size.bit_length())
    with _lock:
        cell = _cells.get(key)
        if cell is None:
            cell = _cells[key] = _Cell()
        if failed:
            cell.errors += 1
        else:
            cell.values += size
            cell.histogram.add(seconds)


@dataclass(frozen=True)
class OperationMeasurement:
    """One operation on one backend. Durations in seconds, of calls that returned.

    Parameters
    ----------
    operation, backend : str
    count : int
        Calls that returned.
    errors : int
        Calls that raised.
    values : int
        Numbers processed, over all calls that returned.
    total, mean, p50, p95 : float
        The quantiles are within 2.2 %. NaN where `count` is 0.
    """

    operation: str
    backend: str
    count: int
    errors: int
    values: int
    total: float
    mean: float
    p50: float
    p95: float


@dataclass(frozen=True)
class DispatchReport:
    """What :func:`dispatch_report` returns. Prints as a table.

    Parameters
    ----------
    operations : tuple of OperationMeasurement
        Sorted by operation and backend.
    recommendation : str
        Which backend was faster where, from these measurements only.
    """

    operations: tuple
    recommendation: str

    @property
    def total_operations(self):
        """Number of calls that returned."""
        return sum(row.count for row in self.operations)

    def to_dict(self):
        """Return the report as JSON-able dictionaries; None stands for NaN."""
        rows = [
            {k: None if v != v else v for k, v in asdict(row).items()}
            for row in self.operations
        ]
        return {
            "total_operations": self.total_operations,
            "operations": rows,
            "recommendation": self.recommendation,
        }

    def __str__(self):
        lines = [
            f"{'operation':<16} {'backend':<8} {'calls':>9} {'errors':>6} "
            f"{'total ms':>11} {'mean ms':>10} {'p95 ms':>10}"
        ]
        lines += [
            f"{row.operation:<16} {row.backend:<8} {row.count:>9} {row.errors:>6} "
            f"{row.total * 1e3:>11.3f} {row.mean * 1e3:>10.4f} {row.p95 * 1e3:>10.4f}"
            for row in self.operations
        ]
        return "\n".join(lines if self.operations else []) + (
            "\n" * bool(self.operations) + self.recommendation
        )


def dispatch_report(*, reset=False):
    """Return counts, times and a recommendation for every operation.

    Measured are the calls made under ``config_context(collect_metrics=True)``
    in this process, in all threads.

    Parameters
    ----------
    reset : bool, default=False
        Forget the measurements once they are in the report.

    Returns
    -------
    report : DispatchReport
        Has ``operations``, ``total_operations``, ``recommendation`` and
        ``to_dict()``, and prints as a table. p50 and p95 are estimates within
        2.2 %; everything else is exact.

    See Also
    --------
    calibrate : Measures the backends side by side.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ternary import config_context, dispatch_report, ternarize
    >>> with config_context(collect_metrics=True):
    ...     W = ternarize(np.ones((4, 8)))
    >>> report = dispatch_report(reset=True)
    >>> report.total_operations > 0
    True
    """
    with _lock:
        cells = _copy(_cells)
        if reset:
            _cells.clear()
    return DispatchReport(_rows(cells), _recommend(cells))


def _copy(cells):
    copies = {}
    for key, cell in cells.items():
        copies[key] = _Cell()
        copies[key].histogram.merge(cell.histogram)
        copies[key].values, copies[key].errors = cell.values, cell.errors
    return copies


def _rows(cells):
    merged = {}
    for (operation, backend, _), cell in sorted(cells.items(), key=lambda c: c[0]):
        whole = merged.setdefault((operation, backend), _Cell())
        whole.histogram.merge(cell.histogram)
        whole.values += cell.values
        whole.errors += cell.errors
    return tuple(_row(*key, cell) for key, cell in merged.items())


def _row(operation, backend, cell):
    times = cell.histogram
    return OperationMeasurement(
        operation,
        backend,
        count=times.count,
        errors=cell.errors,
        values=cell.values,
        total=times.total,
        mean=times.total / times.count if times.count else math.nan,
        p50=times.quantile(0.5),
        p95=times.quantile(0.95),
    )


def _recommend(cells):
    """One line per operation: a comparison, or what is missing for one."""
    if not cells:
        return (
            "No data: nothing ran under config_context(collect_metrics=True), or "
            "dispatch_report(reset=True) forgot it."
        )
    operations = sorted({operation for operation, _, _ in cells})
    return "\n".join(line for o in operations for line in _compare(o, cells))


def _compare(operation, cells):
    """Where two backends met the same power of two, which took less per value."""
    by_size = {}
    for (name, backend, bits), cell in cells.items():
        if name == operation and cell.values:
            mean = cell.histogram.total / cell.values
            by_size.setdefault(bits, []).append((mean, backend, cell.histogram.count))
    lines = []
    # Runs of neighbouring sizes with the same winner and runner-up share a line.
    for bits in sorted(by_size):
        if len(by_size[bits]) < 2:
            continue
        (best, winner, n_best), (next_best, loser, n_next) = sorted(by_size[bits])[:2]
        factor = next_best / best if best else math.inf
        last = lines[-1] if lines else None
        if last and last.pair == (winner, loser) and last.last_bits == bits - 1:
            last.extend(bits, factor, n_best, n_next)
        else:
            lines.append(_Finding((winner, loser), bits, factor, n_best, n_next))
    if lines:
        return [f"{operation}: {finding}" for finding in lines]
    backends = sorted({b for name, b, _ in cells if name == operation})
    if len(backends) == 1:
        return [f"{operation}: no data to compare, only {backends[0]} was measured."]
    return [
        f"{operation}: no data to compare, {' and '.join(backends)} did not succeed "
        "at comparable sizes."
    ]


class _Finding:
    """One backend beat another over neighbouring powers of two of the size."""

    def __init__(self, pair, bits, factor, n_best, n_next):
        self.pair = pair
        self.first_bits = self.last_bits = bits
        self.factors = [factor]
        self.counts = [n_best, n_next]

    def extend(self, bits, factor, n_best, n_next):
        self.last_bits = bits
        self.factors.append(factor)
        self.counts[0] += n_best
        self.counts[1] += n_next

    def __str__(self):
        winner, loser = self.pair
        smallest, largest = 2 ** (self.first_bits - 1), 2**self.last_bits - 1
        low, high = min(self.factors), max(self.factors)
        times = (
            f"{low:.1f}"
            if f"{low:.1f}" == f"{high:.1f}"
            else f"{low:.1f} to {high:.1f}"
        )
        return (
            f"{winner} was {times} times as fast as {loser} on {smallest:,} to "
            f"{largest:,} values ({self.counts[0]:,} and {self.counts[1]:,} calls)."
        )
