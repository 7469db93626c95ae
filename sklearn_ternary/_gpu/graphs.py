"""Launches that are the same each time, as graphs of the device."""

import warnings
from itertools import groupby

from sklearn_ternary.exceptions import BackendFallbackWarning


class Graphs:
    """Runs steps, of which those that follow each other and are fixed are one launch.

    Steps that are not fixed, like products of cuBLAS, which CuPy does not capture, are
    called between the graphs. Where a device makes no graph, all are called one by one,
    after a warning.

    Parameters
    ----------
    cupy : module

    Attributes
    ----------
    fixed : set of int
        Numbers of the steps that only launch kernels, with the same arguments each
        time; they take no memory.
    """

    def __init__(self, cupy):
        self._cupy = cupy
        self.fixed = set()
        self._n_captured = None
        self._calls = []

    def run(self, steps):
        """Carry out all steps, pairs of a function and its arguments, in order."""
        if self._n_captured == len(steps):
            for function, args in self._calls:
                function(*args)
            return
        # The first run compiles and loads kernels, which a graph cannot do.
        for function, args in steps:
            function(*args)
        try:
            self._calls = list(self._captured(steps))
        except RuntimeError as error:
            _warn(error)
            self._calls = list(steps)
        self._n_captured = len(steps)

    def _captured(self, steps):
        for fixed, numbers in groupby(range(len(steps)), self.fixed.__contains__):
            some = [steps[i] for i in numbers]
            if fixed and len(some) > 1:
                yield self._graph(some).launch, ()
            else:
                yield from some

    def _graph(self, steps):
        stream = self._cupy.cuda.Stream(non_blocking=True)
        with stream:
            stream.begin_capture()
            try:
                for function, args in steps:
                    function(*args)
            finally:
                graph = stream.end_capture()
        return graph


_warned = {}  # setdefault tells one thread only


def _warn(error):
    """Say once that there are no graphs."""
    this_call = object()
    if _warned.setdefault(BackendFallbackWarning, this_call) is this_call:
        warnings.warn(
            f"the device makes no graphs ({type(error).__name__}: {error}); "
            "kernels are launched one by one. This is said once.",
            BackendFallbackWarning,
            stacklevel=2,
        )
