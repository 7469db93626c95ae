"""Telling arrays of a device from arrays of NumPy, without importing CuPy.

An array of CuPy can only exist where CuPy has been imported already.
"""

import contextlib
import functools
import sys

import numpy as np

# Kinds of memory in DLPack that a device reads: CUDA, and CUDA managed.
_DLPACK_CUDA = (2, 13)
# What lies on the host for certain.
_ON_HOST = frozenset({np.ndarray, str, int, float, bool, tuple, list, type(None)})


def are_of_host(values):
    """Whether all are of types that never lie on a device, at a glance."""
    return _ON_HOST.issuperset(map(type, values))


def has_device_arrays():
    """Whether there can be arrays of CuPy at all."""
    return "cupy" in sys.modules


def is_device_array(x):
    """Whether `x` is a CuPy array."""
    cupy = sys.modules.get("cupy")
    # A module that another thread is importing may not have its class yet.
    return cupy is not None and isinstance(x, getattr(cupy, "ndarray", ()))


def namespace(*arrays):
    """The module of the arrays: ``cupy`` if one is CuPy's, else ``numpy``."""
    if any(map(is_device_array, arrays)):
        return sys.modules["cupy"]
    return np


@functools.lru_cache(maxsize=256)
def _is_always_of_host(kind):
    """Whether objects of a type cannot be arrays of a device."""
    tells = "__cuda_array_interface__", "__dlpack_device__", "__getattr__"
    # An object with a dictionary may have them, whatever its type has.
    return kind in _ON_HOST or (
        kind.__dictoffset__ == 0 and not any(hasattr(kind, name) for name in tells)
    )


def from_device(x):
    """A CuPy array of the same memory if `x` lies on a device, else `x` itself.

    Other libraries' arrays are known by ``__cuda_array_interface__`` or DLPack.
    """
    if _is_always_of_host(type(x)) or is_device_array(x):
        return x
    if isinstance(x, (np.ndarray, list, tuple)):
        return x
    if hasattr(x, "__cuda_array_interface__"):
        import cupy

        return cupy.asarray(x)
    if hasattr(x, "__dlpack_device__") and x.__dlpack_device__()[0] in _DLPACK_CUDA:
        import cupy

        return cupy.from_dlpack(x)
    return x


def as_array(x, dtype=None):
    """`x` as an array of NumPy, or of CuPy if it lies on a device."""
    if type(x) is np.ndarray:
        return np.asarray(x, dtype=dtype)
    x = from_device(x)
    return namespace(x).asarray(x, dtype=dtype)


def to_host(x):
    """`x`, moved to NumPy if it is a CuPy array; waits for the device then."""
    return x.get() if is_device_array(x) else x


def like(x, reference):
    """The array `x` where `reference` is: moved there if need be."""
    if not is_device_array(reference):
        return to_host(x)
    with reference.device:
        if not is_device_array(x):
            return namespace(reference).asarray(x)
        return x if x.device == reference.device else x.copy()


def take(x, rows):
    """Rows of an array or matrix, by their numbers on the host."""
    if not is_device_array(x):
        return x[rows]
    with x.device:
        return x[namespace(x).asarray(rows)]


def assign(array, values):
    """Copy `values`, from the host or a device, to all of `array`."""
    if is_device_array(array):
        with array.device:
            if not is_device_array(values):
                values = np.asarray(values, dtype=array.dtype)
                values = namespace(array).asarray(values)
            array[...] = values
    else:
        array[...] = to_host(values)


def device_of(x):
    """A context in which the device of an array, packed or not, is the current one."""
    x = getattr(x, "packed", x)
    return x.device if is_device_array(x) else contextlib.nullcontext()


def on_its_device(function):
    """Make a function work on the device of the first argument that lies on one.

    Arrays of other libraries that lie on a device become CuPy arrays. An estimator
    whose method it is lies nowhere, whatever its attributes do.
    """

    @functools.wraps(function)
    def there(*args, **options):
        if are_of_host((*args, *options.values())):
            return function(*args, **options)
        args = [from_device(value) for value in args]
        options = {key: from_device(value) for key, value in options.items()}
        if not has_device_arrays():
            return function(*args, **options)
        for value in (*args, *options.values()):
            if is_device_array(getattr(value, "packed", value)):
                with device_of(value):
                    return function(*args, **options)
        return function(*args, **options)

    return there


def contiguous(x):
    """`x` in C order: itself, or a copy where it is."""
    if not is_device_array(x):
        return np.ascontiguousarray(x)
    if x.flags.c_contiguous:
        return x
    with x.device:
        return namespace(x).ascontiguousarray(x)
