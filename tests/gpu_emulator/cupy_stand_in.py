"""What this package uses of CuPy, on NumPy and the emulator. For tests only.

Loaded under the name ``cupy``. Arrays are no NumPy arrays, and are as strict as
CuPy's: they do not turn into NumPy arrays by themselves, nor mix with them. Memory
has a limit (`memory_limit`), and what arrays held stays with a pool, which gives it
back when it is asked to, or where it would run out. There are two devices.
"""

import importlib.util
import json
import types
from pathlib import Path

import numpy as np

__version__ = "stand-in"

_spec = importlib.util.spec_from_file_location(
    "gpu_emulator", Path(__file__).with_name("emulator.py")
)
_emulator = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_emulator)

# What tests change: how kernels are built and scheduled, and the devices.
build, order, seed = "plain", "forward", 0
mutants = {}  # {part of the text of a source: planted bugs}
replaced = {}  # {part of the text of a source: what stands there instead}
modules_of = {}  # {part of the text of a source: the module with bugs planted}
memory_limit = 1 << 33
capability = (9, 0)
shared_memory = 227 * 1024
n_devices = 2
n_launches = 0  # of kernels and graphs, so far
_state = types.SimpleNamespace(device=0, used=0, pooled=0, streams=[])


class OutOfMemoryError(MemoryError):
    pass


class _Block:
    """Memory that counts as used until the last array of it is gone."""

    def __init__(self, nbytes):
        self._nbytes = 0
        _check_not_captured()
        if _state.used + nbytes > memory_limit:
            raise OutOfMemoryError(f"{nbytes} bytes wanted, {_state.used} in use")
        self._nbytes = nbytes
        _state.used += nbytes
        _state.pooled = min(max(_state.pooled - nbytes, 0), memory_limit - _state.used)

    def __del__(self):
        _state.used -= self._nbytes
        _state.pooled += self._nbytes


def _captured():
    """The list of what the current stream captures, or None."""
    return _state.streams[-1].captured if _state.streams else None


def _check_not_captured():
    if _captured() is not None:
        raise RuntimeError("memory of a graph would not be its own later on")


def _later(function, *args):
    """Call a function now, or when the graph is launched that is captured."""
    if _captured() is None:
        function(*args)
    else:
        _captured().append((function, args))


def _unwrap(x):
    if isinstance(x, ndarray):
        return x._host
    if isinstance(x, np.ndarray) and x.ndim:
        raise TypeError(f"Unsupported type {type(x)}")
    if isinstance(x, (list, tuple)):
        return type(x)(map(_unwrap, x)) if type(x) in (list, tuple) else x
    if isinstance(x, dict):
        return {k: _unwrap(v) for k, v in x.items()}
    return x


def _wrap(x, of=()):
    if isinstance(x, (np.ndarray, np.generic)):
        host = np.asarray(x)
        for a in of:
            if isinstance(a, ndarray) and np.may_share_memory(a._host, host):
                view = ndarray(host, a._block)
                view._device = a._device
                return view
        return ndarray(host)
    if isinstance(x, tuple):
        return tuple(_wrap(v, of) for v in x)
    if isinstance(x, list):
        return [_wrap(v, of) for v in x]
    return x


def _flushed(x):
    """As CuPy's own kernels see float32: it compiles them so that subnormals are 0."""
    if isinstance(x, (np.ndarray, np.generic)) and x.dtype == np.float32:
        small = abs(x) < np.finfo(np.float32).tiny
        return np.where(small, np.copysign(np.float32(0), x), x)
    return x


def _check_devices(arrays):
    if any(isinstance(a, ndarray) and a._device != _state.device for a in arrays):
        raise RuntimeError("an array is on another device")


def _wrapped(function):
    def call(*args, **options):
        _check_devices(args)
        of = [a for a in args if isinstance(a, ndarray)]
        return _wrap(function(*_unwrap(args), **_unwrap(options)), of)

    if hasattr(function, "at"):
        call.at = _wrapped(function.at)
    return call


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):  # noqa: N801
    __array_priority__ = 100

    def __init__(self, host, block=None):
        self._host = host
        self._block = block or _Block(host.nbytes)
        self._device = _state.device

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        _check_devices(inputs)
        options = _unwrap(options)
        if out is not None:
            options["out"] = _unwrap(out)
        inputs = map(_flushed, _unwrap(inputs))
        with np.errstate(invalid="ignore"):
            result = getattr(ufunc, method)(*inputs, **options)
        if out is None:
            return _wrap(_flushed(result))
        options["out"][0][...] = _flushed(options["out"][0])
        return out[0]

    def __array_function__(self, function, classes, args, options):
        # CuPy calls what it has of the same name.
        of_arrays_of_the_host = function is np.asarray
        return (asarray if of_arrays_of_the_host else _wrapped(function))(
            *args, **options
        )

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self._host, name)
        if callable(value):
            return lambda *a, **k: _wrap(value(*_unwrap(a), **_unwrap(k)), [self])
        return _wrap(value, [self])

    def astype(self, dtype, copy=True):
        if dtype == self.dtype:
            return _wrap(self._host.astype(dtype, copy=copy), [self])
        with np.errstate(over="ignore", invalid="ignore"):
            return _wrap(_flushed(self._host).astype(dtype))

    def __getitem__(self, key):
        return _wrap(self._host[_unwrap(key)], [self])

    def __setitem__(self, key, value):
        _later(self._host.__setitem__, _unwrap(key), _unwrap(value))

    def __len__(self):
        return len(self._host)

    def __bool__(self):
        return bool(self._host)

    def __float__(self):
        return float(self._host)

    def __int__(self):
        return int(self._host)

    def __reduce__(self):
        return _wrap, (self._host,)

    @property
    def device(self):
        return Device(self._device)

    @property
    def data(self):
        return types.SimpleNamespace(ptr=self._host.ctypes.data)

    @property
    def flags(self):
        return types.SimpleNamespace(
            c_contiguous=self._host.flags.c_contiguous,
            f_contiguous=self._host.flags.f_contiguous,
            owndata=self._host.flags.owndata,
        )

    @property
    def __cuda_array_interface__(self):
        return self._host.__array_interface__

    def get(self, stream=None, order="C", out=None, blocking=True):
        _check_not_captured()
        if out is None:
            return self._host.copy()
        out[...] = self._host
        return out

    def set(self, array, stream=None):
        assert array.dtype == self._host.dtype and array.shape == self._host.shape
        self._host[...] = array


def asarray(x, dtype=None, order=None):
    if isinstance(x, ndarray):
        return x if dtype is None or x.dtype == dtype else x.astype(dtype)
    if hasattr(x, "__cuda_array_interface__"):
        view = types.SimpleNamespace(__array_interface__=x.__cuda_array_interface__)
        array = ndarray(np.asarray(view))
        return array if dtype is None else array.astype(dtype)
    return ndarray(np.array(x, dtype=dtype, order="K", ndmin=0))


array = asarray


def _made(function):
    # What is not written before it is read shows as NaN, or as a large number.
    def call(*args, **options):
        host = function(*args, **options)
        if function is np.empty:
            host.view(np.uint8).fill(0xFF) if host.size else None
        return ndarray(host)

    return call


empty, zeros, ones, full, arange = map(
    _made, (np.empty, np.zeros, np.ones, np.full, np.arange)
)


def dot(a, b, out=None):
    if _captured() is not None:
        raise NotImplementedError("calling cuBLAS API during stream capture")
    _check_devices((a, b))
    result = np.dot(_unwrap(a), _unwrap(b), out=_unwrap(out))
    return out if out is not None else _wrap(result)


def ascontiguousarray(x, dtype=None):
    return _wrap(np.ascontiguousarray(_unwrap(x), dtype=dtype), [x])


def asnumpy(x):
    return x.get() if isinstance(x, ndarray) else np.asarray(x)


def from_dlpack(x):
    # What NumPy would refuse, as on a device, is memory of the host here.
    host = types.SimpleNamespace(
        __dlpack__=x.__dlpack__, __dlpack_device__=lambda: (1, 0)
    )
    return ndarray(np.from_dlpack(host))


def __getattr__(name):
    value = getattr(np, name)
    return _wrapped(value) if callable(value) and not isinstance(value, type) else value


class Device:
    def __init__(self, device=None):
        self.id = _state.device if device is None else int(device)
        self._before = []
        if not 0 <= self.id < n_devices:
            raise RuntimeError("cudaErrorInvalidDevice: invalid device ordinal")

    def __enter__(self):
        self._before.append(_state.device)
        _state.device = self.id
        return self

    def __exit__(self, *_):
        _state.device = self._before.pop()

    def __eq__(self, other):
        return self.id == other.id

    def synchronize(self):
        pass


class Event:
    def __init__(self, **_):
        pass

    def record(self, stream=None):
        pass

    def synchronize(self):
        pass


class Stream:
    null = None

    def __init__(self, null=False, non_blocking=False):
        self.n_waits = 0
        self.captured = None
        self._may_capture = non_blocking

    def begin_capture(self):
        assert self._may_capture and self.captured is None
        self.captured = []

    def end_capture(self):
        captured, self.captured = self.captured, None
        return _Graph(captured)

    def __enter__(self):
        _state.streams.append(self)
        return self

    def __exit__(self, *_):
        _state.streams.pop()

    def record(self, event=None):
        return Event()

    def wait_event(self, event):
        assert isinstance(event, Event)
        self.n_waits += 1

    def synchronize(self):
        pass


class _Compiler:
    """NVRTC: a compiled program is its text and options, as JSON."""

    class NVRTCError(RuntimeError):
        pass

    def __init__(self):
        self._programs = []

    def getVersion(self):
        return 0, 0  # no real one, whose compiled kernels have other names

    def getSupportedArchs(self):
        return 75, 80, 90, 100, 120

    def createProgram(self, text, name, headers, include_names):
        self._programs.append([text, None])
        return len(self._programs) - 1

    def compileProgram(self, program, options):
        if not any(o.startswith("--gpu-architecture=") for o in options):
            raise self.NVRTCError("no architecture")
        if "#error" in self._programs[program][0]:
            raise self.NVRTCError("NVRTC_ERROR_COMPILATION")
        self._programs[program][1] = options

    def getCUBIN(self, program):
        return json.dumps(self._programs[program]).encode()

    def getPTX(self, program):
        return self.getCUBIN(program)

    def getProgramLog(self, program):
        return "what the compiler says"

    def destroyProgram(self, program):
        self._programs[program] = None


class _Graph:
    def __init__(self, launches):
        self._launches = launches

    def launch(self):
        global n_launches
        n_launches += 1
        assert _captured() is None
        for function, args in self._launches:
            function(*args)


class RawModule:
    def __init__(self, path):
        code, options = json.loads(Path(path).read_bytes())
        planted = [part for part in mutants if part in code]
        for part in planted:
            code = _emulator.with_mutants(code, mutants[part])
        for part, other in replaced.items():
            code = code.replace(part, other)
        self.emulated = _emulator.EmulatedModule(code, options, build)
        modules_of.update(dict.fromkeys(planted, self.emulated))

    def get_function(self, name):
        return _Function(self.emulated, name)


class _Function:
    max_dynamic_shared_size_bytes = 48 * 1024

    def __init__(self, module, name):
        self._module, self._kernel = module, module.get_function(name)

    def __call__(self, grid, block, args, *, shared_mem=0, stream=None):
        global n_launches
        if _captured() is None:
            n_launches += 1
        _check_devices(args)
        _later(self._run, grid, block, args, shared_mem)

    def _run(self, grid, block, args, shared_mem):
        self._module.order, self._module.seed = order, seed
        self._kernel.max_dynamic_shared_size_bytes = self.max_dynamic_shared_size_bytes
        for a in args:
            if isinstance(a, np.ndarray):
                raise TypeError("a kernel was given memory of the host")
            if a is None:
                raise TypeError("CuPy may make -1 of None")
        self._kernel(grid, block, [_unwrap(a) for a in args], shared_mem)


class _Pool:
    n_freed = 0

    def free_bytes(self):
        return _state.pooled

    def used_bytes(self):
        return _state.used

    def total_bytes(self):
        return _state.used + _state.pooled

    def free_all_blocks(self):
        self.n_freed += 1
        _state.pooled = 0


_pool = _Pool()


def get_default_memory_pool():
    return _pool


def _properties(number):
    return {
        "name": b"stand-in",
        "major": capability[0],
        "minor": capability[1],
        "totalGlobalMem": memory_limit,
        "multiProcessorCount": 2,
        "sharedMemPerBlockOptin": shared_memory,
    }


cuda = types.SimpleNamespace(
    get_elapsed_time=lambda start, end: 1.0,
    Device=Device,
    Event=Event,
    Stream=Stream,
    is_available=lambda: True,
    get_current_stream=lambda: _state.streams[-1] if _state.streams else Stream(),
    memory=types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
    nvrtc=_Compiler(),
    runtime=types.SimpleNamespace(
        getDevice=lambda: _state.device,
        getDeviceCount=lambda: n_devices,
        getDeviceProperties=_properties,
        memGetInfo=lambda: (memory_limit - _pool.total_bytes(), memory_limit),
        runtimeGetVersion=lambda: 12090,
        driverGetVersion=lambda: 12090,
    ),
)
