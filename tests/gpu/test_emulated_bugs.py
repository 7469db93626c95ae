"""The kernels have no races and stay within their arrays; planted bugs are noticed.

A planted bug is a piece of the text of a kernel and what the bug makes of it. All of
a source are compiled together, and one at a time is alive.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sklearn_ternary import _gpu, _reference
from sklearn_ternary._gpu import clipping, device, kernels, scales, searches
from sklearn_ternary._gpu.blocks import Block, FixedSums
from sklearn_ternary._gpu.clipping import SortedGroups
from sklearn_ternary._gpu.lanes import Lane
from sklearn_ternary._gpu.programs import Program
from sklearn_ternary._gpu.steps import Steps
from sklearn_ternary._reference import steps as reference_steps
from sklearn_ternary._reference import sums
from sklearn_ternary._reference.products import StoredMatrix
from sklearn_ternary._reference.programs import Program as ReferenceProgram
from sklearn_ternary.cluster._frame import make_frame
from sklearn_ternary.quantization._clipping import _Groups, best_step

SCALES = [
    ("__syncthreads(); // the last group's are read", ";"),
    ("__syncthreads(); // written by all warps", ";"),
    ("__syncthreads(); // staged by all", ";"),
    ("__syncthreads(); // before it is staged anew", ";"),
    ("atomicMax(largest + column, BITS_OF(most));", "largest[column] = BITS_OF(most);"),
    ("atomicMin(first, found);", "*first = found;"),
    (
        "value += __shfl_xor_sync(WARP, value, d);",
        "if (d < 16) value += __shfl_xor_sync(WARP, value, d);",
    ),
    (
        "sums[item] = sum;\n            maxima[item] = most;",
        "sums[item] = sum; maxima[item + 1] = most;",
    ),
]
SEARCHES = [
    ("if (is_higher(other, best)) best = other;", ";"),
    ("here.ones = x.ones_before(e - group_size);", "here.ones = here.twos;"),
    ("here.twos = x.twos_before(e);", "here.twos = e / 2;"),
    ("last[-best.ones]", "last[-best.ones / 2]"),
    ("column < n_columns", "column < 2 * n_columns"),
    ("(double)x[i] * (double)x[i]", "(double)(x[i] * x[i])"),
    ("places[2 * item + 1] = best.twos;", "places[2 * item + 2] = best.twos;"),
]
CLIPPING = [
    ("(x[at] < 0) == (list == 0)", "(list == 0)"),
    ("at < bounds[group + 1]", "at <= bounds[group + 1]"),
    (
        "floor(x[k] / step + 0.5) >= (double)c",
        "floor(x[k] / step + 0.5) > (double)c",
    ),
    ("1 + (threadIdx.x & 31)", "(int)(threadIdx.x & 31)"),
    ("warp_sum(all.codes)", "all.codes"),
    ("limit * step", "(limit + 1) * step"),
    ("steps[row < n_groups ? row : row - n_groups]", "steps[row % 2]"),
    ("error = warp_sum(error);", ";"),
    ("row == group && first == 0", "false"),
    ("best[2 * item + 1] = step;", "best[2 * item + 2] = step;"),
    (
        "squares[low - 1] + most * ((double)low * most - 2 * sums[low - 1])",
        "squares[low - 1]",
    ),
]
AFFINE = [
    (
        "codes[start + c] = (int8_t)(int)q;",
        "codes[start + c + 1] = (int8_t)(int)q;",
    ),
    (
        "step == 0 ? (real)0 : NEAREST(x[start + c] / step)",
        "NEAREST(x[start + c] / step)",
    ),
    (
        "q < lowest ? (real)lowest : q > highest ? (real)highest : q",
        "q < lowest ? (real)lowest : q",
    ),
    ("per_row ? s.row * n_groups : 0", "s.row * n_groups"),
]
CODEC = [
    ("atomicAdd(counts + i, all);", "counts[i] += all;"),
    (
        "value += __shfl_xor_sync(WARP, value, d);",
        "value += __shfl_xor_sync(0xffffu, value, d);",
    ),
]
MATMUL = [
    ("__syncthreads(); // the maxima are written", ";"),
    ("__syncthreads(); // the last group's sums are read", ";"),
    ("__syncthreads(); // the sums are written", ";"),
    ("wait_for_copies<STAGES - 2>();", "wait_for_copies<STAGES - 1>();"),
    ("__syncthreads(); // slab k is there for all, that of k - 1 is free for all", ";"),
    ("memory + next % STAGES * STAGE_BYTES", "memory + k % STAGES * STAGE_BYTES"),
    ("(chunk ^ (r & 1)) << 4", "chunk << 4"),
    ("word(a[i][0][0], s)", "word(a[i][1][0], s)"),
]
NETWORK = [
    ("__syncthreads(); // the sums of all warps are written", ";"),
    ("atomicAdd(flips, (uint64_t)changed);", "*flips += changed;"),
    ("if (warp || column >= n_columns) return;", "if (column >= n_columns) return;"),
    ("if (lane == 0) inverse[r] = factor;", "inverse[r] = factor;"),
    (
        "__shfl_xor_sync(WARP, most, d)",
        "d == 1 ? most : __shfl_xor_sync(WARP, most, d)",
    ),
    ("w += i ? 0x9E3779B9u : k1;", "w += 0x9E3779B9u;"),
]
LOSSES = [
    ("__syncthreads(); // the sums of all warps are written", ";"),
    ("if (threadIdx.x == 0) total[0] = sum;", "total[0] = sum;"),
    ("fmaxf(most, __shfl_xor_sync(WARP, most, d))", "fmaxf(most, 0.0f)"),
    ("if (c == label) gradient -= 1;", "if (c == lane) gradient -= 1;"),
]
STEPS = [
    ("__shfl_xor_sync(WARP, sum, d)", "__shfl_xor_sync(WARP, sum, d & 7)"),
    ("threadIdx.x % LANES == 0", "threadIdx.x % 8 == 0"),
    ("pieces[2 * piece + 1] - first", "pieces[2 * piece + 1] - first - 1"),
    ("if ((threadIdx.x & 31) == 0) out[r] = sum;", "out[r] = sum;"),
    ("of[1] + (k - of[0]) / of[2]", "of[1] + k / of[2]"),
    ("bounds[min(row + 1, n_rows)]", "bounds[n_rows]"),
]
NEAREST = [
    ("__syncthreads(); // the other half is written", ";"),
    ("(chunk ^ (r & 1)) << 4", "chunk << 4"),
    ("word(a[q][i][0][0], s)", "word(a[q][i][1][0], s)"),
    (
        "second = fminf(fmaxf(s, score), fminf(s2, second));",
        "second = fminf(s2, second);",
    ),
    (
        "to.open[atomicAdd(to.n_open, (uint64_t)1)] = row;",
        "to.open[(*to.n_open)++] = row;",
    ),
]
LLOYD = [
    *NEAREST,
    ("__syncthreads(); // slab q is there for all, that of q - 1 is free for all", ";"),
    ("wait_for_copies<STAGES - 2>();", "wait_for_copies<STAGES - 1>();"),
    ("stages + p % STAGES * SLAB_BYTES", "stages + q % STAGES * SLAB_BYTES"),
    ("!there ? 0 : some ? some[first + r] : first + r", "there ? first + r : 0"),
    ("to.some ? to.some[first + r] : first + r", "first + r"),
    ("n = (int64_t)n_some[0];", "n = 1;"),
]
WIDE = [
    *NEAREST,
    ("__syncthreads(); // unit q is there for all, that of q - 1 is free for all", ";"),
    ("wait_for_copies<UNITS - 2>();", "wait_for_copies<UNITS - 1>();"),
    ("units + p % UNITS * UNIT_BYTES", "units + q % UNITS * UNIT_BYTES"),
]
ONE_UNIT = [
    ("__syncthreads(); // what was read is free for all", ";"),
    ("__syncthreads(); // the only unit is there for all", ";"),
]
CLUSTERS = [
    ("__syncthreads(); // written by all warps", ";"),
    ("__syncthreads(); // read, before they are written anew", ";"),
    ("__syncthreads(); // the terms of the run are written", ";"),
    (
        "(distances[w] == best && found[w] < center)",
        "(distances[w] == best && found[w] > center)",
    ),
    ("atomicAdd(sums + (int64_t)to * d + t, q)", "sums[(int64_t)to * d + t] += q"),
    ("atomicAdd(counts + to, (uint64_t)1)", "counts[to] += 1"),
    ("atomicAdd(n_changed, changed)", "*n_changed += changed"),
    ("if (from == to) continue;", "if (from == to) return;"),
    ("(c == 0 && keep && row < n)", "(c == 1 && keep && row < n)"),
    ("(int)(threadIdx.x & ((1 << lanes) - 1))", "(int)(threadIdx.x & 31)"),
]


def compare(operation, *args):
    """Run an operation on the imported CuPy and compare with its definition."""
    cupy = sys.modules["cupy"]
    on_device = [cupy.asarray(a) if isinstance(a, np.ndarray) else a for a in args]
    got = getattr(_gpu, operation)(*on_device)
    expected = getattr(_reference, operation)(*args)
    if expected is None:
        got, expected = on_device[-1], args[-1]
    several = isinstance(expected, tuple)
    pairs = zip(got, expected, strict=True) if several else [(got, expected)]
    for g, e in pairs:
        np.testing.assert_array_equal(g if isinstance(g, int) else g.get(), e)
    return expected


def exercise_scales():
    rng = np.random.default_rng(0)
    X = rng.lognormal(0, 2, (4, 330)).astype(np.float32)
    # Means half-way between two numbers are added one after another.
    X[1::2, ::2], X[1::2, 1::2] = 1, 1 + 2.0**-23
    compare("group_scale", X, X.shape[1], "twn", 3)
    compare("column_abs_max", X, np.zeros(330, np.float32))
    compare("column_abs_sum", X, np.zeros(330))
    X = np.ones((2, 9000), np.float32)
    X[0, 40] = X[0, 5000] = X[1, 4] = np.nan
    compare("find_nonfinite", X)


def exercise_searches():
    rng = np.random.default_rng(0)
    X = rng.lognormal(0, 2, (4, 330)).astype(np.float32)
    X[1, :100] = 2
    for kind, n_levels in (("mse", 3), ("norm", 5)):
        compare("group_scale", X, 100, kind, n_levels)


def exercise_clipping():
    """Groups that share a launch, and one whose best step clips nothing."""
    cupy = sys.modules["cupy"]
    rng = np.random.default_rng(0)
    levels = np.rint(rng.uniform(-7, 7, 30)) / 4
    values = np.concatenate([rng.lognormal(0, 1, 70), rng.standard_t(2, 40), levels])
    values, starts = values.astype(np.float32), np.array([0, 70, 110])
    for limits in ((7, 7), (40, 3), (127, 127)):
        found = best_step(cupy.asarray(values), starts, *limits)
        np.testing.assert_allclose(found, best_step(values, starts, *limits), rtol=1e-7)
    bounds = np.append(starts, len(values))
    groups = (
        SortedGroups(cupy.asarray(values), bounds),
        _Groups(values, np.diff(bounds)),
    )
    sums = []
    for one in groups:
        one.set_limits(np.array([2, 7, 0]), np.array([3, 7, 40]))
        step = one.largest_step() * 0.7
        sums.append([*one.tried(step), *one.dots(step), one.n_events(2 * step, step)])
    np.testing.assert_allclose(*sums, rtol=1e-9, atol=1e-12)


def exercise_codec():
    rng = np.random.default_rng(0)
    codes = rng.integers(-1, 2, (3, 2703), dtype=np.int8)
    for layout in ("t2", "t5"):
        packed = compare("pack", codes, layout)
        compare("unpack", packed, codes.shape[1], layout)
        compare("count_codes", packed, codes.shape[1], layout)
        packed[1, 7] = packed[2, 8] = 255
        compare("find_invalid", packed, layout)


def exercise_affine():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((5, 1100)).astype(np.float32)
    scale, zero = np.abs(X[:, :4]), np.rint(9 * X[:, 4:8])
    scale[0, 1] = 0
    for rows in (slice(1), slice(5)):
        args = X, scale[rows], zero[rows], 300, -7, 8
        compare("affine_codes", *args)
        codes = _reference.affine_codes(*args)
        compare("affine_values", codes, scale[rows], zero[rows], 300)


def exercise_quantize():
    X = np.random.default_rng(0).standard_normal((3, 1303)).astype(np.float32)
    for size in (7, 1303):
        scale, threshold = _reference.group_scale(X, size, "absmean", 3)
        compare("quantize_codes", X, threshold, size, 5)
        compare("quantize_values", X, threshold, scale, size, 3)
        for layout in ("t2", "t5"):
            packed = compare("quantize_pack", X, threshold, size, 3, layout)
            compare("unpack_values", packed, X.shape[1], layout, scale, size)


def exercise_matmul():
    rng = np.random.default_rng(0)
    cupy = sys.modules["cupy"]
    shapes = (2, 300, 100), (5, 300, 100), (5, 600, 600), (130, 600, 600)
    for n_rows, columns, size in shapes:
        W = rng.standard_normal((20, columns)).astype(np.float32)
        X = rng.standard_normal((n_rows, columns)).astype(np.float32)
        scale, threshold = _reference.group_scale(W, size, "absmean", 3)
        packed = _reference.quantize_pack(W, threshold, size, 3, "t2")
        matrix = StoredMatrix(packed, columns, "t2", scale, size, False)
        got = _gpu.multiply_int8(matrix, cupy.asarray(X)).get()
        np.testing.assert_array_equal(got, _reference.multiply_int8(matrix, X))


def compare_program(operation, *args):
    """The same for an operation of a program, up to the order of sums."""
    cupy = sys.modules["cupy"]
    copies = {id(a): cupy.asarray(a) for a in args if isinstance(a, np.ndarray)}
    on_device = [copies.get(id(a), a) for a in args]
    for program, its in ((ReferenceProgram(), args), (Program(), on_device)):
        program.add(operation, *its)
        program.run()
    for expected, got in zip(args, on_device, strict=True):
        if isinstance(expected, np.ndarray):
            np.testing.assert_allclose(got.get(), expected, rtol=1e-5, atol=1e-6)


def exercise_network():
    x, y, out = np.random.default_rng(0).standard_normal((3, 41, 35), np.float32)
    row, inverse, column = y[0].copy(), abs(y[:, 0]) + 1, y[1].copy()
    codes, flips = (x > 0).astype(np.int8), np.zeros(1, np.int64)
    compare_program("column_sum", x, column)
    compare_program("rms_norm", x, row, out, np.ones(41, np.float32))
    compare_program("rms_norm_gradient", x, row, inverse, y, out, column)
    compare_program("round_rows", x, out, np.zeros_like(codes), inverse)
    compare_program("dropout", x, np.array([1, 2], np.uint32), 0.5, out)
    compare_program("add_rows", x, row, x)
    compare_program("relu_gradient", x, y, y)
    compare_program("ternary_weights", x, "absmean", codes, column[:1].copy(), flips)
    compare_program("scaled_codes", codes, row[:1].copy(), out)


def exercise_losses():
    Z, targets, dZ = np.random.default_rng(0).standard_normal((3, 41, 35), np.float32)
    labels, value = np.arange(41, dtype=np.int32) % 35, np.zeros(1)
    for weight in (None, abs(Z[:, 0]).copy()):
        compare_program("softmax_loss", Z, labels, weight, dZ, value)
        compare_program("huber_loss", Z, targets, 0.5, weight, dZ, value)
        compare_program("sigmoid_loss", Z, targets, weight, dZ, value)


def exercise_steps():
    """Blocks that end early, and an odd number of rows."""
    cupy = sys.modules["cupy"]
    bounds = np.array([0, 7, 600, 1100], np.int64)
    arrays = np.random.default_rng(0).random((5, bounds[-1]), np.float32)
    numbers = bounds, np.ones(3, np.float32), 0.9, 0.99, 1.5, 1.5, 1e-8, 0.5
    divisors = np.array([0.5, 1, 2], np.float32)  # segments of one row
    results = []
    for steps in (reference_steps, Steps()):
        on_device = isinstance(steps, Steps)
        g, p, m, v, s = (cupy.asarray(a) if on_device else a.copy() for a in arrays)
        sums = [steps.adamw_direction(g, p, m, v, s, *numbers)]
        sums.append(steps.sgd_direction(g, p, m, s, *numbers[:4]))
        one = bounds, bounds, numbers[1], 0.9, 1.5, 0.5
        sums.append(steps.shared_direction(g, p, m, divisors, s, *one))
        steps.apply_step(p, s, bounds, numbers[1])
        steps.ternary_gradient(g, v, bounds, 0.5)
        held = [*steps.read(*sums), steps.square_sums(g, bounds)]
        held += [a.get() if on_device else a for a in (g, p, m, v, s)]
        results.append(held)
    for expected, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-13)


def exercise_nearest(n=40, d=70):
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((130, d)).astype(np.float32)
    # Centres of other warps that are as near, or nearly.
    centers[70] = centers[3] * np.float32(1 + 1e-6)
    centers[5] = centers[128]
    nearest = np.append([3, 5] * 8, rng.integers(0, 130, n - 16))
    # So near that a coarse look does not tell them apart.
    centers[90] = centers[10] * np.float32(1.02)
    nearest[20::2] = 10
    X = centers[nearest] + rng.standard_normal((n, d)).astype(np.float32)
    compare("nearest_centers", X, centers, None)


def exercise_clusters():
    cupy = sys.modules["cupy"]
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1030, 5)).astype(np.float32)
    weight = rng.uniform(0, 2, len(X)).astype(np.float32)
    weight[::7] = 0
    frame = make_frame(X[0], 8.0, X.dtype)
    lane = Lane(cupy, 0)
    block = Block(lane, cupy.asarray(X))
    block.set_frame(frame)
    candidates = X[[3, 8, 1, 9, 4]]
    closest = np.full(len(X), np.inf, np.float32)
    on_device = cupy.asarray(closest), cupy.asarray(weight)
    for some, keep in ((candidates[:1], True), (candidates, False)):
        args = X, frame, None, some, closest, weight, closest[None] if keep else None
        got = block.potentials(some, *on_device, keep=keep).get()
        np.testing.assert_array_equal(got, _reference.potentials(*args))
        np.testing.assert_array_equal(on_device[0].get(), closest)
    # Centres of other warps that are as near, and far away from the origin.
    far, centers = X[:40] + np.float32(1e6), X[:70] + np.float32(1e6)
    centers[40:60] = centers[:20]
    compare("nearest_centers", far, centers, None)
    labels = rng.integers(0, 6, (2, len(X)), dtype=np.int32)
    compare("label_distances", X, X[:6], labels[0])
    sums = FixedSums(lane, 6, len(X), block.extremes(), float(weight.max()))
    old = np.full(len(X), -1, np.int32)
    for new in (labels[0], np.where(weight < 1, labels[0], labels[1])):
        sums.forget_changes()
        block.move(on_device[1], cupy.asarray(old), cupy.asarray(new), sums)
        assert sums.n_changed.get() == (old != new).sum()
        w = np.where(new == np.arange(6)[:, None], weight.astype(np.float64), 0)
        expected = w @ X / w.sum(axis=1)[:, None]
        np.testing.assert_allclose(sums.means(frame).get(), expected, atol=1e-9)
        counts = np.bincount(new[weight > 0], minlength=6)
        np.testing.assert_array_equal(sums.counts.get(), counts)
        old = new


KIBI = 1024
# File, shared memory, what is done, planted bugs.
EXERCISES = {
    "losses": ("losses", 227 * KIBI, exercise_losses, LOSSES),
    "network": ("network", 227 * KIBI, exercise_network, NETWORK),
    "steps": ("steps", 227 * KIBI, exercise_steps, STEPS),
    "matmul": ("matmul", 227 * KIBI, exercise_matmul, MATMUL),
    "scales": ("scales", 227 * KIBI, exercise_scales, SCALES),
    "searches": ("searches", 227 * KIBI, exercise_searches, SEARCHES),
    "clipping": ("clipping", 227 * KIBI, exercise_clipping, CLIPPING),
    "codec": ("codec", 227 * KIBI, exercise_codec, CODEC),
    "affine": ("affine", 227 * KIBI, exercise_affine, AFFINE),
    "quantize": ("quantize", 227 * KIBI, exercise_quantize, []),
    "clusters": ("clusters", 227 * KIBI, exercise_clusters, CLUSTERS),
    "lloyd": ("lloyd", 227 * KIBI, exercise_nearest, LLOYD),
    "lloyd, wide": ("lloyd_wide", 140 * KIBI, lambda: exercise_nearest(d=180), WIDE),
    "lloyd, one unit": ("lloyd_wide", 80 * KIBI, exercise_nearest, ONE_UNIT),
}


def small(patch):
    """Few blocks, which then have much to do, and small parts of everything."""
    patch.setattr(scales, "_FEW_CHUNKS", 0)
    patch.setattr(scales, "_ROWS_PER_BLOCK", 2)
    patch.setattr(kernels, "blocks_per_multiprocessor", lambda name: 1)
    patch.setattr(scales, "CHUNK", 64)
    patch.setattr(clipping, "_CHUNK", 64)
    patch.setattr(searches, "_EVENTS", 64)
    patch.setattr(searches, "_SORTED_VALUES", 600)
    patch.setattr(sums, "CHUNK", 64)
    sys.modules["cupy"].replaced = {
        "#define CHUNK 4096": "#define CHUNK 64",
        "#define EVENTS 4096": "#define EVENTS 64",
        "#define STAGED 2048": "#define STAGED 4",
    }


@pytest.fixture
def exercised(make_stand_in, clean, monkeypatch):
    """Make a function that exercises a file built in a way, and its module."""

    def make(name, build):
        file, shared_memory, exercise, mutants = EXERCISES[name]
        stand_in = make_stand_in()
        monkeypatch.setitem(sys.modules, "cupy", stand_in)
        device._usable.cache_clear()
        device.info.cache_clear()
        small(monkeypatch)
        stand_in.build, stand_in.shared_memory = build, shared_memory
        stand_in.order = "shuffled"
        text = (Path(kernels.__file__).parent / f"{file}.cu").read_text()
        first_line = text.splitlines()[0]
        stand_in.mutants = {first_line: mutants}
        exercise()
        # Others are of operations on the way.
        return exercise, stand_in.modules_of[first_line]

    return make


@pytest.mark.parametrize("name", EXERCISES)
def test_races_and_planted_bugs(exercised, name):
    """Wrong results show most bugs, and the race detector the others."""
    alive = dict(enumerate((right for right, _ in EXERCISES[name][-1]), 1))
    for build in ("plain", "races"):
        if build == "plain" and not alive:
            continue
        exercise, module = exercised(name, build)
        for number in list(alive):
            module.mutant = number
            try:
                exercise()
            except (AssertionError, RuntimeError):
                del alive[number]
    assert not alive


def test_outside_of_arrays(emulator, tmp_path):
    """The address sanitizer finds nothing, but a store that is one too far."""
    library = emulator.address_sanitizer()
    if library is None:
        pytest.skip("no address sanitizer (install libasan)")
    environment = os.environ | {
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",
    }

    def run(mutant):
        return subprocess.run(
            [sys.executable, "-P", __file__, str(mutant)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=environment,
            timeout=500,
        )

    clean = run(0)
    assert clean.returncode == 0, clean.stdout + clean.stderr
    planted = run(1)
    assert planted.returncode != 0
    assert "heap-buffer-overflow" in planted.stderr


def main(mutant):
    """What runs under the address sanitizer."""
    import importlib.util

    path = Path(__file__).parents[1] / "gpu_emulator" / "cupy_stand_in.py"
    spec = importlib.util.spec_from_file_location("cupy", path)
    stand_in = sys.modules["cupy"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stand_in)
    stand_in.build = "address"
    too_far = ("if (i < n) x[i] = v[i];", "if (i <= n) x[i] = v[i];")
    stand_in.mutants = {"// Values to codes": [too_far]}
    small(pytest.MonkeyPatch())
    if mutant:
        exercise_quantize()  # compiles
        stand_in.modules_of["// Values to codes"].mutant = mutant
    for name, (_, stand_in.shared_memory, exercise, _) in EXERCISES.items():
        if name == "lloyd, wide":  # differs in its pipeline alone
            continue
        device.info.cache_clear()
        exercise()


if __name__ == "__main__":
    main(int(sys.argv[1]))
