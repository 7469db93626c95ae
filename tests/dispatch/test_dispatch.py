"""Choice of the backend, handing over, what the backend is given, measurements."""

import importlib.util
import inspect
import json
import math
import os
import sys
import types
import warnings

import numpy as np
import pytest

from sklearn_ternary import _dispatch, _measurements, _reference
from sklearn_ternary._config import config_context, effective_config
from sklearn_ternary._crossovers import Crossover
from sklearn_ternary._dispatch import _choice
from sklearn_ternary._gpu import device
from sklearn_ternary._measurements import dispatch_report
from sklearn_ternary.exceptions import BackendFallbackWarning

needs_kernels = pytest.mark.skipif(
    importlib.util.find_spec("sklearn_ternary._kernels._openmp") is None,
    reason="the compiled kernels are not built",
)

FAKE = "a_fake_cpu_backend"


def arguments(operation, dtype=np.float32):
    """Arguments for an operation on 6 rows of 11 values, 3 groups of 4 each."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((6, 11)).astype(dtype)
    scale = rng.uniform(0.5, 2, (6, 3)).astype(dtype)
    zero = rng.integers(-3, 4, (6, 3)).astype(dtype)
    codes = rng.integers(-1, 2, (6, 11), dtype=np.int8)
    packed = rng.integers(0, 243, (6, 3), dtype=np.uint8)
    frequencies = np.array([5000, 6384, 5000])
    coded = _reference.encode_codes(codes.ravel(), frequencies)
    return {
        "absmean_pack": (X, 3, "t5"),
        "group_scale": (X, 4, "absmean", 3),
        "column_abs_sum": (X, rng.uniform(0, 1, 11)),
        "column_abs_max": (X, rng.uniform(0, 1, 11).astype(dtype)),
        "columns": (X, 0, 11),
        "quantize_codes": (X, scale, 4, 3),
        "quantize_pack": (X, scale, 4, 3, "t5"),
        "quantize_values": (X, scale / 2, scale, 4, 3),
        "code_values": (codes, scale, 4, 3),
        "pack": (codes, "t5"),
        "unpack": (packed, 11, "t5"),
        "unpack_values": (packed, 11, "t5", scale, 4),
        "count_codes": (packed, 11, "t5"),
        "code_sums": (packed, 11, "t5", 4),
        "encode_codes": (codes.ravel(), frequencies),
        "decode_codes": (coded, 66, frequencies),
        "find_invalid": (packed, "t5"),
        "find_nonfinite": (X,),
        "affine_codes": (X, scale, zero, 4, -127, 127),
        "affine_values": (codes, scale, zero, 4),
    }[operation]


# What follows is about operations on arrays alone. Products with stored matrices
# and the steps of k-means are tested with what they are for.
OPERATIONS = [
    name
    for name in _reference.__all__
    if getattr(_reference, name).__module__.rpartition(".")[2]
    not in ("lloyd", "lloyd_codes", "products", "transport")
]
IN_PLACE = ("column_abs_sum", "column_abs_max")


def outcome(function, args):
    """The result of an operation, or what its last argument has become."""
    args = tuple(a.copy() if isinstance(a, np.ndarray) else a for a in args)
    result = function(*args)
    return args[-1] if result is None else result


def assert_same(result, expected):
    if not isinstance(expected, tuple):
        result, expected = (result,), (expected,)
    for a, b in zip(result, expected, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.asarray(a).dtype == np.asarray(b).dtype


@pytest.fixture
def backends(monkeypatch):
    """Dispatch as in a fresh process, with `backends.cpu`, a fake, as ``cpu``.

    The fake is the definition; its calls, with their options, are in `calls`.
    """
    fake = types.ModuleType(FAKE)
    state = types.SimpleNamespace(cpu=fake, calls=[], asked_threads=[])

    def spy(definition):
        def function(*args, n_threads, isa):
            state.calls.append((definition.__name__, args, n_threads, isa))
            return definition(*args)

        return function

    for name in OPERATIONS:
        setattr(fake, name, spy(getattr(_reference, name)))

    def effective_n_threads(n_threads):
        state.asked_threads.append(n_threads)
        return 6

    kernels = _choice._Kernels(effective_n_threads, ("avx2", "generic"))
    monkeypatch.setitem(sys.modules, FAKE, fake)
    monkeypatch.setitem(_choice._MODULES, "cpu", FAKE)
    # As if CuPy were not installed, whatever there is.
    monkeypatch.setitem(sys.modules, "cupy", None)
    device._usable.cache_clear()
    monkeypatch.setattr(_choice, "_functions", {})
    monkeypatch.setattr(_choice, "_missing", {})
    monkeypatch.setattr(_choice, "_warned", {})
    monkeypatch.setattr(_choice, "_kernels", kernels)
    monkeypatch.setattr(_choice, "_load_kernels", lambda: kernels)
    state.crossover = Crossover(0, 1000)
    monkeypatch.setattr(_choice, "find_crossover", lambda *_: state.crossover)
    return state


@pytest.fixture
def measurements(monkeypatch):
    """Nothing measured yet, and nothing left behind."""
    monkeypatch.setattr(_measurements, "_cells", {})


def break_cpu(backends, error):
    """Every function of the fake raises `error`; returns the list of its calls."""
    calls = []

    def fail(*args, **options):
        calls.append(args)
        raise error

    for name in OPERATIONS:
        setattr(backends.cpu, name, fail)
    return calls


# The same operations as the definitions


@pytest.mark.parametrize("operation", OPERATIONS)
def test_signature_is_that_of_the_definition(operation):
    definition = inspect.signature(getattr(_reference, operation))
    offered = inspect.signature(getattr(_dispatch, operation))
    expected = [*definition.parameters, "config"]
    assert list(offered.parameters) == expected
    assert offered.parameters["config"].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "backend",
    [
        "numpy",
        pytest.param("cpu", marks=needs_kernels),
        pytest.param("auto", marks=needs_kernels),
    ],
)
def test_result_is_that_of_the_definition(operation, dtype, backend):
    args = arguments(operation, dtype)
    expected = outcome(getattr(_reference, operation), args)
    with config_context(backend=backend, strict=True):
        assert_same(outcome(getattr(_dispatch, operation), args), expected)


def strided(array):
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def unaligned(array):
    buffer = np.zeros(array.nbytes + 1, np.uint8)[1:]
    view = buffer.view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def byte_swapped(array):
    return array.astype(array.dtype.newbyteorder())


def order_named(array):
    # As arrays of files are: native, in a dtype that says so.
    return array.view(array.dtype.newbyteorder().newbyteorder())


AWKWARD = {
    "fortran": np.asfortranarray,
    "strided": strided,
    "reversed": lambda a: a[..., ::-1].copy()[..., ::-1],
    "unaligned": unaligned,
    "byte-swapped": byte_swapped,
    "order named": order_named,
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("awkward", AWKWARD)
@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_awkward_arrays(backends, operation, awkward, backend):
    args = arguments(operation)
    expected = outcome(getattr(_reference, operation), args)
    args = tuple(AWKWARD[awkward](a) if isinstance(a, np.ndarray) else a for a in args)
    with config_context(backend=backend):
        result = getattr(_dispatch, operation)(*args)
    assert_same(
        args[-1].astype("=f8") if result is None else result,
        expected.astype("=f8") if result is None else expected,
    )
    for _, given, _, _ in backends.calls:
        for array in given:
            if isinstance(array, np.ndarray):
                assert array.flags.c_contiguous and array.flags.aligned
                assert array.dtype.isnative
    assert bool(backends.calls) == (backend == "cpu")


def test_ready_arrays_are_not_copied(backends):
    X, threshold, *rest = arguments("quantize_codes")
    X.flags.writeable = False
    _dispatch.quantize_codes(X, threshold, *rest)
    ((_, args, _, _),) = backends.calls
    assert args[0] is X and args[1] is threshold


# Choice


@pytest.mark.parametrize(
    "size, backend, n_threads",
    [(0, "numpy", None), (99, "numpy", None), (100, "cpu", 1), (999, "cpu", 1),
     (1000, "cpu", 6)],
)  # fmt: skip
def test_automatic_choice_by_size(backends, size, backend, n_threads):
    backends.crossover = Crossover(100, 1000)
    choice = _dispatch.choose("find_nonfinite", size, np.float32)
    assert choice[:2] == (backend, n_threads)
    _dispatch.find_nonfinite(np.zeros((1, size), np.float32))
    used = [call[2] for call in backends.calls]
    assert used == ([] if n_threads is None else [n_threads])


def test_never_means_never(backends):
    backends.crossover = Crossover(math.inf, math.inf)
    assert _dispatch.choose("pack", 2**62, np.int8).backend == "numpy"
    with config_context(backend="cpu"):
        assert _dispatch.choose("pack", 2**62, np.int8) == ("cpu", 1, "avx2")


def test_named_backend_wins_over_the_size(backends):
    backends.crossover = Crossover(100, 1000)
    with config_context(backend="cpu"):
        assert _dispatch.choose("pack", 1, np.int8).backend == "cpu"
    with config_context(backend="numpy"):
        assert _dispatch.choose("pack", 5000, np.int8) == ("numpy", None, None)


def test_size_is_the_number_of_values(backends):
    for operation in OPERATIONS:
        backends.crossover = Crossover(66, 1000)  # of 6 rows of 11 values
        if operation == "find_invalid":
            backends.crossover = Crossover(18, 1000)  # of 6 rows of 3 bytes
        getattr(_dispatch, operation)(*arguments(operation))
    assert [call[0] for call in backends.calls] == list(OPERATIONS)


def test_crossovers_are_those_of_operation_and_dtype(backends, monkeypatch):
    asked = []
    monkeypatch.setattr(
        _choice,
        "find_crossover",
        lambda *key: asked.append(key) or backends.crossover,
    )
    args = arguments("unpack_values", np.float64)
    _dispatch.unpack_values(*args)
    _dispatch.unpack(*args[:3])
    _dispatch.find_nonfinite(args[3])
    assert asked == [
        ("unpack_values", np.dtype("f8")),
        ("unpack", np.dtype("u1")),
        ("find_nonfinite", np.dtype("f8")),
    ]


@pytest.mark.parametrize("n_threads", [None, 1, 5, -2])
def test_threads_are_those_of_the_configuration(backends, n_threads):
    backends.crossover = Crossover(0, 0)
    with config_context(n_threads=n_threads):
        _dispatch.find_nonfinite(np.zeros((1, 4)))
    assert backends.asked_threads == [n_threads]
    assert backends.calls[0][2] == 6


@pytest.mark.parametrize("isa, used", [(None, "avx2"), ("generic", "generic")])
def test_instruction_set(backends, isa, used):
    with config_context(isa=isa):
        _dispatch.find_nonfinite(np.zeros((1, 4)))
    assert backends.calls[0][3] == used


@pytest.mark.parametrize("strict", [False, True])
def test_unsupported_instruction_set_is_an_error(backends, strict):
    with (
        config_context(isa="avx512", strict=strict),
        pytest.raises(ValueError, match=r"isa='avx512'.*\['avx2', 'generic'\]"),
    ):
        _dispatch.find_nonfinite(np.zeros((1, 4)))


def test_instruction_set_does_not_matter_to_numpy(backends):
    with config_context(isa="avx512", backend="numpy"):
        assert _dispatch.find_nonfinite(np.zeros((1, 4))) == -1


@needs_kernels
def test_threadpoolctl_and_the_environment_limit_the_threads(run_python):
    code = """
from threadpoolctl import threadpool_limits
from sklearn_ternary._config import config_context
from sklearn_ternary._dispatch import choose

def n_threads():
    with config_context(backend="cpu", strict=True):
        return choose("quantize_pack", 10**8, "f4").n_threads

before = n_threads()
with threadpool_limits(1):
    limited = n_threads()
print(before, limited, n_threads())
"""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    before, limited, after = run_python(code, env=environment).split()
    assert (limited, after) == ("1", before)
    environment["OMP_NUM_THREADS"] = "1"
    assert run_python(code, env=environment).split() == ["1", "1", "1"]


def test_given_configuration_wins_over_that_of_the_thread(backends):
    config = effective_config(backend="numpy")
    with config_context(backend="cpu"):
        _dispatch.find_nonfinite(np.zeros((1, 4)), config=config)
        assert not backends.calls
        assert _dispatch.choose("pack", 9, "i1", config=config).backend == "numpy"


def test_automatic_choice_does_not_look_for_a_gpu(backends):
    asked = []

    class Listener:
        def find_spec(self, name, path=None, target=None):
            asked.append(name)

    sys.meta_path.insert(0, Listener())
    try:
        for operation in OPERATIONS:
            getattr(_dispatch, operation)(*arguments(operation))
    finally:
        del sys.meta_path[0]
    assert not [name for name in asked if "cupy" in name or "gpu" in name]


# Handing over


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "error",
    [RuntimeError("broken"), ImportError("no library"), OSError(5, "broken")],
    ids=lambda e: type(e).__name__,
)
def test_failing_backend_hands_over_with_one_warning(backends, operation, error):
    calls = break_cpu(backends, error)
    args = arguments(operation)
    expected = outcome(getattr(_reference, operation), args)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(20):
            assert_same(outcome(getattr(_dispatch, operation), args), expected)
    assert len(calls) == 20
    (warning,) = caught
    assert warning.category is BackendFallbackWarning
    text = str(warning.message)
    assert "'cpu'" in text and "'numpy'" in text and str(error) in text


def test_each_kind_of_error_is_told(backends):
    X = np.zeros((1, 4))
    for error in (RuntimeError("first"), OSError("second")):
        break_cpu(backends, error)
        _choice._functions.clear()
        with pytest.warns(BackendFallbackWarning, match=str(error)):
            _dispatch.find_nonfinite(X)


@pytest.mark.parametrize("error", [RuntimeError("broken"), ImportError("broken")])
def test_strict_raises(backends, error):
    break_cpu(backends, error)
    with config_context(strict=True):
        for _ in range(2):
            with pytest.raises(RuntimeError, match=r"'cpu'.*broken") as caught:
                _dispatch.find_nonfinite(np.zeros((1, 4)))
            assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [MemoryError, ValueError, TypeError, IndexError, KeyboardInterrupt]
)
@pytest.mark.parametrize("strict", [False, True])
def test_other_errors_go_through(backends, error, strict):
    calls = break_cpu(backends, error("mine"))
    with config_context(strict=strict), pytest.raises(error, match="mine"):
        _dispatch.find_nonfinite(np.zeros((1, 4)))
    assert len(calls) == 1


def test_cuda_hands_over_to_cpu(backends):
    with config_context(backend="cuda:1"):
        with pytest.warns(BackendFallbackWarning, match=r"'cuda'.*'cpu' is used"):
            assert _dispatch.find_nonfinite(np.zeros((1, 4))) == -1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert _dispatch.find_nonfinite(np.zeros((1, 4))) == -1
            assert _dispatch.choose("pack", 4, np.int8).backend == "cpu"
    assert len(backends.calls) == 2


def test_cuda_is_an_error_when_strict(backends):
    with config_context(backend="cuda", strict=True):
        with pytest.raises(RuntimeError, match=r"'cuda'.*CuPy is not installed"):
            _dispatch.find_nonfinite(np.zeros((1, 4)))
        with pytest.raises(RuntimeError, match="'cuda'"):
            _dispatch.choose("pack", 4, np.int8)
    assert not backends.calls


def test_whole_chain(backends):
    break_cpu(backends, RuntimeError("broken"))
    with config_context(backend="cuda"), pytest.warns(BackendFallbackWarning) as caught:
        assert _dispatch.find_nonfinite(np.array([[1, np.nan]])) == 1
    assert ["'cuda'" in str(w.message) for w in caught] == [True, False]


def test_missing_module(backends, monkeypatch):
    monkeypatch.setitem(sys.modules, FAKE, None)  # makes importing it fail
    X = np.array([[1, np.inf]])
    with pytest.warns(BackendFallbackWarning, match=FAKE) as caught:
        for _ in range(5):
            assert _dispatch.find_nonfinite(X) == 1
            assert _dispatch.choose("pack", 4, np.int8).backend == "numpy"
    assert len(caught) == 1
    with config_context(strict=True), pytest.raises(RuntimeError, match=FAKE):
        _dispatch.find_nonfinite(X)


def test_missing_operation(backends):
    del backends.cpu.pack
    with pytest.warns(BackendFallbackWarning, match="has no pack"):
        _dispatch.pack(*arguments("pack"))
    _dispatch.find_nonfinite(np.zeros((1, 4)))
    assert [call[0] for call in backends.calls] == ["find_nonfinite"]


@pytest.mark.parametrize("operation", IN_PLACE)
def test_half_done_sums_are_not_counted_twice(backends, operation):
    def fail_half_way(X, result, **options):
        getattr(_reference, operation)(X[:3], result)
        raise RuntimeError("half-way")

    setattr(backends.cpu, operation, fail_half_way)
    args = arguments(operation)
    expected = outcome(getattr(_reference, operation), args)
    with pytest.warns(BackendFallbackWarning):
        assert_same(outcome(getattr(_dispatch, operation), args), expected)
    with config_context(strict=True), pytest.raises(RuntimeError):
        getattr(_dispatch, operation)(*args)
    np.testing.assert_array_equal(args[1], arguments(operation)[1])


@pytest.mark.parametrize("backend", ["numpy", "auto"])
def test_numpy_hands_over_to_nobody(backends, monkeypatch, backend):
    error = RuntimeError("numpy broken")

    def fail(*args):
        raise error

    break_cpu(backends, OSError("cpu broken"))
    monkeypatch.setattr(_reference, "find_nonfinite", fail)
    with config_context(backend=backend), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(RuntimeError, match="numpy broken") as caught:
            _dispatch.find_nonfinite(np.zeros((1, 4)))
    assert caught.value is error


# Measurements


def test_nothing_is_measured_unless_asked(backends, measurements):
    _dispatch.find_nonfinite(np.zeros((1, 4)))
    report = dispatch_report()
    assert report.operations == () and report.total_operations == 0
    assert report.recommendation.startswith("No data")
    assert str(report) == report.recommendation


def test_counts_and_errors(backends, measurements):
    with config_context(collect_metrics=True):
        for _ in range(3):
            _dispatch.find_nonfinite(np.zeros((2, 4)))
        _dispatch.pack(*arguments("pack"))
        break_cpu(backends, RuntimeError("broken"))
        _choice._functions.clear()
        with pytest.warns(BackendFallbackWarning):
            _dispatch.find_nonfinite(np.zeros((2, 4)))
        break_cpu(backends, ValueError("broken"))
        _choice._functions.clear()
        with pytest.raises(ValueError):
            _dispatch.find_nonfinite(np.zeros((2, 4)))
    report = dispatch_report(reset=True)
    rows = [
        (r.operation, r.backend, r.count, r.errors, r.values) for r in report.operations
    ]
    assert rows == [
        ("find_nonfinite", "cpu", 3, 2, 24),
        ("find_nonfinite", "numpy", 1, 0, 8),
        ("pack", "cpu", 1, 0, 66),
    ]
    assert report.total_operations == 5
    assert dispatch_report().operations == ()


def test_times(measurements):
    rng = np.random.default_rng(0)
    seconds = rng.lognormal(-8, 2, 5000)
    for s, size in zip(seconds, rng.integers(0, 10**6, seconds.size), strict=True):
        _measurements.record("pack", "cpu", int(size), s, failed=False)
    (row,) = dispatch_report().operations
    assert row.count == 5000
    assert row.total == pytest.approx(seconds.sum(), rel=1e-12)
    assert row.mean == pytest.approx(seconds.mean(), rel=1e-12)
    for q, found in ((50, row.p50), (95, row.p95)):
        exact = np.percentile(seconds, q, method="inverted_cdf")
        assert abs(found / exact - 1) <= _measurements.QUANTILE_ERROR


@pytest.mark.parametrize("n", [1, 2, 3, 10, 19, 20, 21, 100])
@pytest.mark.parametrize("q", [0.0, 0.05, 0.5, 0.95, 1.0])
def test_quantiles_of_few_values(n, q):
    seconds = np.random.default_rng(n).uniform(1e-6, 1, n)
    histogram = _measurements.Histogram()
    for s in seconds:
        histogram.add(s)
    exact = np.percentile(seconds, 100 * q, method="inverted_cdf")
    assert abs(histogram.quantile(q) / exact - 1) <= _measurements.QUANTILE_ERROR


def test_extreme_durations():
    histogram = _measurements.Histogram()
    for s in (0.0, 1e-12, 1e9):
        histogram.add(s)
    assert histogram.count == 3
    assert histogram.quantile(0.0) >= 0 and histogram.quantile(1.0) <= 1e9
    assert math.isnan(_measurements.Histogram().quantile(0.5))


def test_memory_is_bounded():
    histogram = _measurements.Histogram()
    for s in np.geomspace(1e-9, 1e6, 20_000):
        histogram.add(s)
    assert len(histogram.bins) <= _measurements.N_BINS


def test_report_is_json(measurements):
    _measurements.record("pack", "cpu", 10, 0.5, failed=True)
    _measurements.record("pack", "numpy", 10, 0.25, failed=False)
    report = dispatch_report()
    as_dict = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert as_dict["total_operations"] == 1
    assert as_dict["operations"][0] == {
        "operation": "pack", "backend": "cpu", "count": 0, "errors": 1, "values": 0,
        "total": 0.0, "mean": None, "p50": None, "p95": None,
    }  # fmt: skip
    assert as_dict["operations"][1]["mean"] == 0.25
    assert "pack" in str(report) and report.recommendation in str(report)


def record_many(backend, size, seconds, n=2, operation="pack"):
    for _ in range(n):
        _measurements.record(operation, backend, size, seconds, failed=False)


def test_recommendation_compares_equal_sizes(measurements):
    record_many("numpy", 1024, 8.0)
    record_many("cpu", 1024, 2.0, n=3)
    record_many("numpy", 2048, 16.0)
    record_many("cpu", 2048, 2.0)
    assert dispatch_report().recommendation == (
        "pack: cpu was 4.0 to 8.0 times as fast as numpy on 1,024 to 4,095 values "
        "(5 and 4 calls)."
    )


def test_recommendation_follows_the_size(measurements):
    record_many("numpy", 8, 1.0)
    record_many("cpu", 8, 3.0)
    record_many("numpy", 64, 3.0)
    record_many("cpu", 64, 1.0)
    record_many("cuda", 64, 2.0)
    assert dispatch_report().recommendation == (
        "pack: numpy was 3.0 times as fast as cpu on 8 to 15 values (2 and 2 calls).\n"
        "pack: cpu was 2.0 times as fast as cuda on 64 to 127 values (2 and 2 calls)."
    )


def test_recommendation_says_what_is_missing(measurements):
    record_many("numpy", 8, 1.0)
    record_many("cpu", 64, 1.0)
    record_many("cpu", 8, 1.0, operation="unpack")
    _measurements.record("unpack", "cuda", 8, 1.0, failed=True)
    record_many("cpu", 8, 1.0, operation="count_codes")
    assert dispatch_report().recommendation == (
        "count_codes: no data to compare, only cpu was measured.\n"
        "pack: no data to compare, cpu and numpy did not succeed at comparable "
        "sizes.\n"
        "unpack: no data to compare, cpu and cuda did not succeed at comparable "
        "sizes."
    )
