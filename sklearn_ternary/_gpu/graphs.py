"""Launches that are the same each time, as graphs of the device."""

from itertools import groupby


class Graphs:
    """Runs steps, of which those that follow each other and are fixed are one launch.

    Steps that are not fixed, like products of cuBLAS, which CuPy does not capture, are
    called between the graphs.

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
        self._calls = list(self._captured(steps))
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
