"""Steps of a program that follow each other are launched as one graph."""

import numpy as np
import pytest

from sklearn_ternary import ConstrainedTrainer, config_context
from sklearn_ternary._gpu import graphs
from sklearn_ternary._gpu.programs import Program
from sklearn_ternary._reference.programs import Program as ReferenceProgram
from sklearn_ternary.exceptions import BackendFallbackWarning


def make(program, asarray):
    """A layer with ternary weights; what goes in, and what comes out."""
    rng = np.random.default_rng(0)
    X, latent = rng.standard_normal((2, 9, 9), dtype=np.float32)
    X, latent, gain = map(asarray, (X, latent, np.ones(9, np.float32)))
    codes, form = program.buffer(9, 9, dtype=np.int8), program.form(9, 9)
    scale, flips = program.buffer(1), program.buffer(1, dtype=np.int64)
    q, steps = program.buffer(9, 9, dtype=np.int8), program.buffer(9)
    out, inverse = program.buffer(9, 9), program.buffer(9)
    program.add("ternary_weights", latent, "twn", codes, scale, flips)
    program.add("pack_weights", codes, form)
    program.add("round_rows", X, program.buffer(9, 9), q, steps)
    program.add("multiply_codes", q, steps, form, scale, out)
    program.add("relu", out, out)
    program.add("rms_norm", out, gain, out, inverse)
    return (X, latent), (out, codes, flips)


def test_what_changes_is_seen(any_cupy):
    """Each run is of what the arrays hold then."""
    programs = ReferenceProgram(), Program()
    made = [make(programs[0], np.copy), make(programs[1], any_cupy.asarray)]
    rng = np.random.default_rng(1)
    for _ in range(4):
        values = rng.standard_normal((2, 9, 9), dtype=np.float32)
        for (given, _), asarray in zip(made, (np.copy, any_cupy.asarray), strict=True):
            for array, v in zip(given, values, strict=True):
                array[...] = asarray(v)
        for program in programs:
            program.run()
        for expected, got in zip(made[0][1], made[1][1], strict=True):
            np.testing.assert_array_equal(got.get(), expected)


def test_launches_of_a_program(cupy):
    """Two graphs, around the product, which CuPy does not capture."""
    program = Program()
    make(program, cupy.asarray)
    counts = []
    for _ in range(3):
        before = cupy.n_launches
        program.run()
        counts.append(cupy.n_launches - before)
    assert counts[0] > 8
    assert counts[1:] == [2, 2]
    # More steps: all are captured anew.
    program.add("relu", program.buffer(3, 3), program.buffer(3, 3))
    program.run()
    before = cupy.n_launches
    program.run()
    assert cupy.n_launches - before == 2


def test_launches_of_a_step(cupy):
    """A step of training starts fewer graphs and kernels than it has operations."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((64, 12)).astype(np.float32)
    y = X[:, :3].argmax(axis=1)
    counts, steps = [], []
    for n in (4, 8):
        before = cupy.n_launches
        with config_context(backend="cuda", strict=True):
            trainer = ConstrainedTrainer((16, 10), max_iter=n, random_state=0)
            trainer.fit(X, y)
        counts.append(cupy.n_launches - before)
        steps.append(trainer.training_summary_["n_steps"])
    # Of graphs 8, and of the optimizer's kernels 4, beside 8 products.
    assert counts[1] - counts[0] == 12 * (steps[1] - steps[0])


def refuses(method, cupy):
    """Make a method of the stand-in fail where a graph is captured."""

    def refused(self, *args, **options):
        if method.__name__ == "__call__" and cupy._captured() is None:
            return method(self, *args, **options)
        if method.__name__ == "end_capture":
            method(self)
        raise RuntimeError("cudaErrorStreamCaptureUnsupported")

    return refused


@pytest.mark.parametrize(
    ("owner", "name"),
    [("Stream", "begin_capture"), ("_Function", "__call__"), ("Stream", "end_capture")],
)
def test_devices_that_make_no_graphs(cupy, monkeypatch, owner, name):
    """Kernels are launched one by one, with one warning, and give the same."""
    monkeypatch.setattr(graphs, "_warned", {})
    owner = getattr(cupy, owner)
    monkeypatch.setattr(owner, name, refuses(getattr(owner, name), cupy))
    programs = Program(), Program()
    made = [make(program, cupy.asarray) for program in programs]
    counts = []
    with pytest.warns(BackendFallbackWarning, match="no graphs") as told:
        for _ in range(3):
            for program in programs:
                before = cupy.n_launches
                program.run()
                counts.append(cupy.n_launches - before)
    assert len(told) == 1
    assert min(counts[2:]) > 8
    expected = ReferenceProgram()
    wanted = make(expected, np.copy)[1]
    expected.run()
    for _, results in made:
        for one, other in zip(results, wanted, strict=True):
            np.testing.assert_array_equal(one.get(), other)
