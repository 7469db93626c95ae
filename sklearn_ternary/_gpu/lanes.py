"""Rows that are spread over devices and streams, or go to a device in pieces."""

import contextlib

from sklearn_ternary._gpu.arrays import is_device_array
from sklearn_ternary._gpu.blocks import make_block
from sklearn_ternary._gpu.device import require
from sklearn_ternary._gpu.memory import fits, piece_rows
from sklearn_ternary._gpu.transfer import Slot
from sklearn_ternary._reference.lloyd import POTENTIAL_ROWS

# Memory for rows that stay: they, what is kept of them and what is needed on the way.
_PER_INPUT_BYTE = 3


class Lane:
    """A device and a stream where work follows in order.

    Parameters
    ----------
    cupy : module
    number : int
    stream : cupy.cuda.Stream, default=None
        None is the current one.
    """

    def __init__(self, cupy, number, stream=None):
        self._cupy = cupy
        self.number = number
        self._stream = stream

    @contextlib.contextmanager
    def active(self):
        """CuPy, with device and stream the current ones."""
        stream = contextlib.nullcontext() if self._stream is None else self._stream
        with self._cupy.cuda.Device(self.number), stream:
            yield self._cupy

    def put(self, array):
        """The array on the device of the lane, which is the current one."""
        if is_device_array(array) and array.device.id != self.number:
            return array.copy()
        return self._cupy.asarray(array)

    def event(self):
        """An event of the end of what was started so far."""
        with self.active() as cupy:
            return cupy.cuda.get_current_stream().record()

    def wait_for(self, event):
        """What is started from here on waits for the event."""
        with self.active() as cupy:
            cupy.cuda.get_current_stream().wait_event(event)


class Pieces:
    """Rows as blocks of the devices, which are there or come when they are asked for.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        A CuPy array stays where it is.
    numbers : sequence of int
        Devices for an array of NumPy, which is cut into as many parts; a device may
        be there several times and then has as many streams.
    fraction : float
        Largest part of what is free of a device's memory that rows may take.

    Attributes
    ----------
    home : Lane
        Where what belongs to all rows is: the first device, and the stream that was
        the current one.
    lanes : list of Lane
        One for each of the slices `parts`.
    """

    def __init__(self, X, numbers, fraction):
        self._cupy = cupy = require(None if is_device_array(X) else tuple(numbers))
        self._X = X
        self._blocks = self._slots = None
        if is_device_array(X):
            self.home = Lane(cupy, X.device.id)
            self.lanes, self.parts = [self.home], [slice(0, len(X))]
            self._blocks = [make_block(self.home, X)]
            return
        self.home = Lane(cupy, numbers[0])
        if len(numbers) == 1:
            lanes = [self.home]
        else:
            lanes = [Lane(cupy, number, _stream(cupy, number)) for number in numbers]
        rows = _aligned(-(-len(X) // len(numbers)))
        if all(
            _fits(lane, X, rows * numbers.count(lane.number), fraction)
            for lane in lanes
        ):
            self.parts = _slices(len(X), rows)
            self.lanes = lanes[: len(self.parts)]
            self._blocks = []
            for lane, part in zip(self.lanes, self.parts, strict=True):
                with lane.active():
                    self._blocks.append(make_block(lane, cupy.asarray(X[part])))
            return
        self._slots = [Slot(cupy, number) for number in (*numbers, *numbers)]
        lanes = [Lane(cupy, slot.number, slot.stream) for slot in self._slots]
        row_bytes = X.itemsize * X.shape[1]
        with self.home.active():
            rows = piece_rows(cupy, len(X), row_bytes, fraction)
        self.parts = _slices(len(X), _aligned(rows))
        self.lanes = [lanes[i % len(lanes)] for i in range(len(self.parts))]

    @property
    def stay(self):
        """The blocks, if they are there all the time, else an empty list."""
        return self._blocks or []

    def blocks(self):
        """Slices and the blocks there, each in its lane, after what was done at home.

        What is done at home afterwards comes after what was done with the blocks.
        """
        others = [lane for lane in dict.fromkeys(self.lanes) if lane is not self.home]
        if others:
            started = self.home.event()
            for lane in others:
                lane.wait_for(started)
        try:
            yield from self._each()
        finally:
            for lane in others:
                self.home.wait_for(lane.event())

    def _each(self):
        if self._blocks is not None:
            yield from zip(self.parts, self._blocks, strict=True)
            return
        for i, (lane, part) in enumerate(zip(self.lanes, self.parts, strict=True)):
            slot = self._slots[i % len(self._slots)]
            # Its memory of the host is free when the piece before has been used.
            slot.wait()
            with lane.active():
                block = make_block(lane, slot.upload(0, self._X[part]))
            yield part, block


def _stream(cupy, number):
    with cupy.cuda.Device(number):
        return cupy.cuda.Stream(non_blocking=True)


def _aligned(n_rows):
    """Sums over runs of rows must not be torn apart."""
    return -(-n_rows // POTENTIAL_ROWS) * POTENTIAL_ROWS


def _slices(n_rows, step):
    return [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]


def _fits(lane, X, n_rows, fraction):
    with lane.active():
        size = min(n_rows, len(X)) * X.shape[1] * X.itemsize
        return fits(size * _PER_INPUT_BYTE, fraction)
