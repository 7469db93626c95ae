"""Sums over codes for any step, of groups of values that are sorted on a device."""

import numpy as np

from sklearn_ternary._gpu.device import require
from sklearn_ternary._gpu.kernels import launch, macros_of, n_blocks
from sklearn_ternary._gpu.memory import free_bytes, halving
from sklearn_ternary._reference.groups import batches_of

# Magnitudes whose codes a warp lets rise.
_MAGNITUDES = 32
# Arrays of numbers of 64 bits, as many as there are values, that sorting them takes.
_NUMBERS = 14
# Values that are sorted at a time, and whose errors a warp adds up.
_SORTED_VALUES = 2**25
_CHUNK = 4096


def search_sorted(values, bounds, search, parameters, fraction, device):
    """Call ``search(groups, *parameters)`` for batches of groups of a device.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
    bounds : ndarray of shape (n_groups + 1,), int64
    search : callable
    parameters : list of ndarray of shape (n_groups,)
    fraction : float
        Largest part of what is free of the device's memory that may be taken.
    device : int

    Returns
    -------
    found : list

    Raises
    ------
    RuntimeError
        If memory does not suffice for the largest group.
    """
    cupy = require(device)
    with cupy.cuda.Device(device):
        largest = int(np.diff(bounds).max())
        most = int(fraction * free_bytes(cupy)) // (8 * _NUMBERS)
        if largest > most:
            raise RuntimeError(f"no memory to sort a group of {largest} values")

        def work(n_values):
            there = cupy.asarray(values)
            found = []
            for first, last in batches_of(bounds, n_values):
                part = there[bounds[first] : bounds[last]]
                groups = SortedGroups(part, bounds[first : last + 1])
                found.append(search(groups, *(p[first:last] for p in parameters)))
            return found

        return halving(cupy, max(largest, min(most, _SORTED_VALUES)), work)


class SortedGroups:
    """Groups of values with the sums of their largest magnitudes.

    Steps, limits and sums are arrays of the host, one number for each group, and are
    those of the values divided by ``2**exponent``.

    Parameters
    ----------
    values : cupy.ndarray of shape (n_values,), float32 or float64, finite
        The groups, one after another.
    bounds : ndarray of shape (n_groups + 1,), int64
        Where each starts and the last ends.

    Attributes
    ----------
    exponent : ndarray of shape (n_groups,), int32
    squares : ndarray of shape (n_groups,)
        Sums of squares.
    """

    may_be_large = True

    def __init__(self, values, bounds):
        self._device = values.device
        with self._device:
            self._sort(values, bounds)

    def _sort(self, values, bounds):
        self._cupy = cupy = require()
        self.n_groups, self._width = len(bounds) - 1, int(np.diff(bounds).max())
        shape = 2 * self.n_groups, self._width
        n_all = shape[0] * shape[1]
        sizes = tuple(map(np.int64, (self.n_groups, self._width, n_all)))
        grid = n_blocks(cupy, n_all, 1024)
        rows, turned = cupy.empty(shape), cupy.empty(shape)
        bounds = cupy.asarray(bounds - bounds[0])
        args = values, bounds, *sizes, rows
        macros = macros_of(values.dtype)
        launch(cupy, "clipping", "signed_magnitudes", grid, args, macros=macros)
        rows.sort()
        largest = rows[:, -1].get().reshape(2, -1)
        self.exponent = np.frexp(largest.max(axis=0))[1]
        self._largest = np.ldexp(largest, -self.exponent)
        args = rows, cupy.asarray(self.exponent.astype(np.int32)), *sizes, turned
        launch(cupy, "clipping", "turned", grid, args)
        self._lists = turned, cupy.cumsum(turned, axis=1)
        self._lists += (cupy.cumsum(turned * turned, axis=1),)
        self.squares = self._lists[2][:, -1].get().reshape(2, -1).sum(axis=0)

    def set_limits(self, negative, positive):
        """The largest codes below and above zero, each of shape (n_groups,)."""
        with self._device:
            limits = np.stack([negative, positive])
            self._limits = self._cupy.asarray(limits.astype(np.int32).ravel())
        steps = np.where(limits > 0, self._largest / np.maximum(limits, 1), 0)
        self._tops = steps.max(axis=0)

    def largest_step(self):
        """The smallest step of each group that clips no value that has codes."""
        return self._tops

    def tried(self, step):
        """Squared error of each group, and that of what is clipped."""
        return self.error(step), np.maximum(self._at(step)[3], 0)

    def error(self, step):
        """Squared error of each group, from the magnitudes themselves."""
        cupy = self._cupy
        with self._device:
            chunks = -(-self._width // _CHUNK)
            n_items = 2 * self.n_groups * chunks
            errors = cupy.empty((2, self.n_groups, chunks))
            args = *self._arguments(), np.int64(chunks), np.int64(n_items)
            args = *args, cupy.asarray(step), errors
            launch(cupy, "clipping", "residuals", n_blocks(cupy, n_items, 8), args)
            return errors.sum(axis=2).get().sum(axis=0)

    def dots(self, step):
        """D and S of each group."""
        return self._at(step)[:2]

    def n_events(self, top, lowest):
        """How often codes rise as the step falls."""
        return self._at(lowest)[2] - self._at(top)[2]

    def sweep(self, top, lowest):
        """Best step of each group, from all events."""
        cupy = self._cupy
        with self._device:
            chunks = -(-self._width // _MAGNITUDES)
            n_items = 2 * self.n_groups * chunks
            best, steps = cupy.empty((n_items, 2)), cupy.empty(self.n_groups)
            args = *self._arguments(), np.int64(chunks), np.int64(n_items)
            args = *args, cupy.asarray(top), cupy.asarray(lowest), best
            launch(cupy, "clipping", "sweep", n_blocks(cupy, n_items, 8), args)
            args = best, np.int64(self.n_groups), np.int64(chunks), steps
            grid = n_blocks(cupy, self.n_groups, 8)
            launch(cupy, "clipping", "best_of_items", grid, args)
            return steps.get()

    def edge_sums(self, group, edges):
        """D and S of one group at falling steps."""
        return self._at(edges, group, len(edges))[:2]

    def _arguments(self):
        return (
            *self._lists,
            self._limits,
            np.int64(self.n_groups),
            np.int64(self._width),
        )

    def _at(self, steps, first=0, per_group=1):
        """D, S, the sum of the codes and the error of clipping at each step."""
        cupy = self._cupy
        with self._device:
            found = cupy.empty((len(steps), 4))
            sizes = map(np.int64, (first, per_group, len(steps)))
            args = *self._arguments(), *sizes, cupy.asarray(steps), found
            launch(cupy, "clipping", "at_steps", n_blocks(cupy, len(steps), 8), args)
            return found.get().T
