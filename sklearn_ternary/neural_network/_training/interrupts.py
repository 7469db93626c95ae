"""Signals between two steps instead of anywhere."""

import signal
import threading


class InterruptFlag:
    """While its ``with`` block runs, SIGINT sets `raised` instead of raising.

    So does SIGTERM, which then ends the process as ever once the block has: there is
    time to save. Only in the main thread, and only for signals whose handlers are
    those that Python begins with; they come back at the end of the block. A second
    signal acts at once.

    Parameters
    ----------
    with_termination : bool
        Whether SIGTERM waits, too.
    """

    def __init__(self, with_termination):
        self.raised = False
        self._usual = {signal.SIGINT: signal.default_int_handler}
        if with_termination:
            self._usual[signal.SIGTERM] = signal.SIG_DFL
        self._replaced = []
        self._pending = None

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number, usual in self._usual.items():
                if signal.getsignal(number) == usual:
                    signal.signal(number, self._handle)
                    self._replaced.append(number)
        return self

    def _handle(self, number, frame):
        if self.raised:
            self._put_back()
            signal.raise_signal(number)
        self.raised = True
        if number == signal.SIGTERM:
            self._pending = number

    def _put_back(self):
        while self._replaced:
            number = self._replaced.pop()
            signal.signal(number, self._usual[number])

    def __exit__(self, *error):
        self._put_back()
        if self._pending is not None:
            signal.raise_signal(self._pending)
