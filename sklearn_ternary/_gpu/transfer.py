"""Operations on arrays of NumPy: to the device in pieces, and back.

Each decorator makes, of a function of CuPy arrays, one that also takes NumPy
arrays. It says how the results of pieces of the rows make up the result. On devices
before compute capability 8.0 it is `expressions` that are called.
"""

import functools
import itertools

import numpy as np

from sklearn_ternary._gpu.arrays import is_device_array
from sklearn_ternary._gpu.device import devices_of, require, runs_kernels
from sklearn_ternary._gpu.expressions import OPERATIONS
from sklearn_ternary._gpu.memory import halving, piece_rows


def row_by_row(function):
    """Each row of the results depends on that row of the arguments alone."""
    return _operation(function, _Stacked)


def widening(result_bytes):
    """`row_by_row`; a row of results has ``result_bytes(*args)`` bytes."""
    return lambda function: _operation(function, _Stacked, result_bytes)


def summed(function):
    """The result is the sum of those of pieces."""
    return _operation(function, _Sum)


def first_found(function):
    """The result is the flat index of what is found first, or -1."""
    return _operation(function, _First)


def accumulating(function):
    """The last argument is changed, piece after piece."""

    @functools.wraps(function)
    def operation(X, result, *, device=None):
        cupy = require(device)
        if is_device_array(X) != is_device_array(result):
            raise TypeError("X and what is added up are on one device or the host")
        if is_device_array(X):
            _on_device(cupy, function, (X, result))
            return
        # In order: one device, whatever their number.
        (first, *_), fraction = devices_of(device)
        with cupy.cuda.Device(first):
            on_device = cupy.asarray(result)

            def add(rows):
                # From what there was, where a smaller piece is tried again.
                work = on_device.copy()

                def add_piece(cupy, X):
                    function(cupy, X, work)

                _stream(cupy, add_piece, (X,), rows, _nothing)
                return work

            # All or nothing: `result` is written when all of X has been added.
            result[...] = _with_pieces(cupy, (X,), fraction, add).get()

    return operation


def _nothing(start, parts):
    """The piece has been added to what is on the device."""


def _operation(function, join, result_bytes=lambda *args: 0):
    function = _by_capability(function)

    @functools.wraps(function)
    def operation(*args, device=None):
        cupy = require(device)
        if any(map(is_device_array, args)):
            return _on_device(cupy, function, args)
        numbers, fraction = devices_of(device)
        with cupy.cuda.Device(numbers[0]):

            def work(rows):
                joined = join(args[0])
                rows = min(rows, max(1, -(-len(args[0]) // len(numbers))))
                _stream(cupy, function, args, rows, joined.add, numbers)
                return joined.result

            return _with_pieces(cupy, args, fraction, work, result_bytes(*args))

    return operation


def _by_capability(function):
    """The function, or on a device that its kernels are not for what expresses it."""
    expressed = OPERATIONS.get(function.__name__.lstrip("_"), function)

    @functools.wraps(function)
    def chosen(cupy, *args):
        return (function if runs_kernels(cupy) else expressed)(cupy, *args)

    return chosen


def _on_device(cupy, function, args):
    """Call on the device of the first CuPy array; NumPy arrays go there."""
    owner = next(a for a in args if is_device_array(a))
    with owner.device:
        args = [cupy.asarray(a) if isinstance(a, np.ndarray) else a for a in args]
        return function(cupy, *args)


def _with_pieces(cupy, args, fraction, work, result_bytes=0):
    n_rows = len(args[0])
    n_bytes = sum(a.nbytes for a, cut in zip(args, _are_cut(args), strict=True) if cut)
    row_bytes = max(1, n_bytes // max(n_rows, 1), result_bytes)
    return halving(cupy, piece_rows(cupy, n_rows, row_bytes, fraction), work)


def _are_cut(args):
    """Whether each is an array of the host with as many rows as the first."""
    n_rows = len(args[0])
    return [isinstance(a, np.ndarray) and a.shape[:1] == (n_rows,) for a in args]


class _Stacked:
    """Rows of the results, in arrays that are made at the first piece."""

    def __init__(self, X):
        self._n_rows = len(X)
        self.result = None

    def add(self, start, parts):
        several = isinstance(parts, tuple)
        parts = parts if several else (parts,)
        if self.result is None:
            arrays = tuple(
                np.empty((self._n_rows, *part.shape[1:]), part.dtype) for part in parts
            )
            self.result = arrays if several else arrays[0]
        results = self.result if several else (self.result,)
        for result, part in zip(results, parts, strict=True):
            result[start : start + len(part)] = part


class _Sum:
    def __init__(self, X):
        self.result = 0

    def add(self, start, part):
        self.result = self.result + part


class _First:
    def __init__(self, X):
        self._row = X.shape[1]
        self.result = -1

    def add(self, start, part):
        if self.result < 0 <= part:
            self.result = start * self._row + part


def _stream(cupy, function, args, rows, add, numbers=(None,)):
    """Call `function` on pieces of `rows` rows and `add` what comes of each.

    Arrays with as many rows as the first are cut, others go to the devices whole.
    Two pieces are on their way to each device at a time: while one is computed, the
    next is copied. The computations of a device follow each other in order.
    """
    n_rows, cut = len(args[0]), _are_cut(args)
    if rows >= n_rows:
        whole = [cupy.asarray(a) if isinstance(a, np.ndarray) else a for a in args]
        add(0, _to_host(function(cupy, *whole)))
        return
    slots, shared = [], []
    for number in numbers:
        with cupy.cuda.Device(number):
            shared.append(
                [
                    cupy.asarray(a) if isinstance(a, np.ndarray) and not c else a
                    for a, c in zip(args, cut, strict=True)
                ]
            )
            uploaded = cupy.cuda.get_current_stream().record()
            slots.append([Slot(cupy, cupy.cuda.runtime.getDevice()) for _ in range(2)])
            for slot in slots[-1]:
                slot.stream.wait_event(uploaded)
    try:
        _stream_through(slots, function, shared, cut, rows, add)
    finally:
        for slot in itertools.chain(*slots):
            slot.wait()


def _stream_through(slots, function, shared, cut, rows, add):
    """Pieces go to the devices in turn."""
    n_rows, n_devices = len(shared[0][cut.index(True)]), len(slots)
    computed = [None] * n_devices
    for i, start in enumerate(range(0, n_rows, rows)):
        which = i % n_devices
        slot = slots[which][i // n_devices % 2]
        slot.finish(add)
        piece = [
            slot.upload(k, a[start : start + rows]) if c else a
            for k, (a, c) in enumerate(zip(shared[which], cut, strict=True))
        ]
        after = computed[which]
        computed[which] = slot.compute(function, piece, start, after=after)
    # Those that started earlier first.
    for slot in sorted(itertools.chain(*slots), key=lambda slot: slot.start):
        slot.finish(add)


class Slot:
    """A stream, and host memory that its device copies from while it computes.

    Parameters
    ----------
    cupy : module
    number : int
        Of the device.
    """

    def __init__(self, cupy, number):
        self._cupy = cupy
        self.number = number
        with cupy.cuda.Device(number):
            self.stream = cupy.cuda.Stream(non_blocking=True)
        self._pinned = {}
        self._parts = None
        self.start = -1

    def upload(self, key, rows):
        """Start to copy rows to the device; those before must have been copied."""
        import cupyx

        pinned = self._pinned.get(key)
        if pinned is None:
            pinned = self._pinned[key] = cupyx.empty_pinned(rows.shape, rows.dtype)
        pinned = pinned[: len(rows)]
        pinned[...] = rows
        with self._cupy.cuda.Device(self.number), self.stream:
            array = self._cupy.empty(rows.shape, rows.dtype)
            array.set(pinned, stream=self.stream)
        return array

    def compute(self, function, args, start, after):
        """Start the computation; return an event of its end."""
        with self._cupy.cuda.Device(self.number), self.stream:
            if after is not None:
                self.stream.wait_event(after)
            self._parts = function(self._cupy, *args)
            self.start = start
            return self.stream.record()

    def wait(self):
        """Wait for what was started, whose memory may be used again then."""
        self.stream.synchronize()

    def finish(self, add):
        """Wait for the piece on its way, if there is one, and hand it over."""
        if self.start < 0:
            return
        with self._cupy.cuda.Device(self.number), self.stream:
            parts = _to_host(self._parts)
        self.stream.synchronize()
        add(self.start, parts)
        self._parts, self.start = None, -1


def _to_host(parts):
    if isinstance(parts, tuple):
        return tuple(map(_to_host, parts))
    return parts.get() if is_device_array(parts) else parts
