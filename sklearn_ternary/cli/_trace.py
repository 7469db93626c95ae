"""What the steps of a language model take, as a file that shows it."""

import contextlib
import json

from sklearn_ternary._cpu.language import STEPS
from sklearn_ternary.cli._flame_graph import flame_graph
from sklearn_ternary.persistence import atomic_file


@contextlib.contextmanager
def traced(model):
    """Yield a list that gets the steps of what a model computes meanwhile.

    Parameters
    ----------
    model : Model
    """
    forward, trace = model.forward, []

    def told(*args, **options):
        return forward(*args, trace=trace, **options)

    model.forward = told
    try:
        yield trace
    finally:
        del model.forward


def write_trace(path, traces):
    """Write a flame graph if the name ends in ``.svg``, or else a trace as JSON.

    Parameters
    ----------
    path : str
    traces : dict
        Name of a phase to its steps, as :meth:`Model.forward` tells them.
    """
    svg = path.lower().endswith(".svg")
    text = flame_graph(_stacks(traces)) if svg else json.dumps(_chrome(traces))
    with atomic_file(path) as file:
        file.write(text.encode())


def _chrome(traces):
    """The steps in the format of ``chrome://tracing``."""
    events = [
        {
            "name": STEPS[step],
            "cat": phase,
            "ph": "X",
            "ts": start / 1e3,
            "dur": (end - start) / 1e3,
            "pid": 0,
            "tid": 0,
            "args": {"layer": layer},
        }
        for phase, trace in traces.items()
        for step, layer, start, end in trace
    ]
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _stacks(traces):
    """Seconds of each phase, step and layer."""
    seconds = {}
    for phase, trace in traces.items():
        for step, layer, start, end in trace:
            name = STEPS[step]
            stack = (phase, name) if name == "head" else (phase, name, f"layer {layer}")
            seconds[stack] = seconds.get(stack, 0.0) + (end - start) / 1e9
    return seconds


def seconds_of_steps(trace):
    """Seconds of each kind of step."""
    seconds = dict.fromkeys(STEPS, 0.0)
    for step, _, start, end in trace:
        seconds[STEPS[step]] += (end - start) / 1e9
    return seconds
