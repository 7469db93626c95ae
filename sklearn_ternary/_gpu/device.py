"""Which devices there are, and the reason where there is none."""

import functools
import importlib.util
import os
from typing import NamedTuple

# Of the kernels, which use tensor cores and asynchronous copies; before it, the
# operations are expressions of CuPy.
MIN_CAPABILITY = (8, 0)
_INSTALL = "install sklearn-ternary[gpu]"
_DRIVER = "/proc/driver/nvidia/version"


class DeviceInfo(NamedTuple):
    """What is known of a device.

    Parameters
    ----------
    number : int
    name : str
    capability : tuple of (int, int)
    total_memory : int
        Bytes.
    n_multiprocessors : int
    shared_memory : int
        Bytes, at most, that the threads of a block share.
    """

    number: int
    name: str
    capability: tuple
    total_memory: int
    n_multiprocessors: int
    shared_memory: int


def find_reason():
    """Why no device can be used, in a sentence, or None. Imports CuPy."""
    try:
        if importlib.util.find_spec("cupy") is None:
            return f"CuPy is not installed; {_INSTALL}"
        import cupy
    except Exception as error:  # importing CuPy fails in many ways
        return f"CuPy cannot be imported ({type(error).__name__}: {error})"
    if not cupy.cuda.is_available():
        return _no_device(cupy)
    try:
        cupy.cuda.nvrtc.getVersion()
    except Exception as error:
        return (
            "CuPy finds no compiler for kernels, NVRTC "
            f"({type(error).__name__}: {error}); {_INSTALL}"
        )
    return None


def _no_device(cupy):
    if not os.path.exists(_DRIVER):
        return "no NVIDIA driver is loaded"
    try:
        if cupy.cuda.runtime.getDeviceCount() == 0:
            return "the NVIDIA driver finds no device"
        return "CuPy finds no device it can use"
    except Exception as error:
        return (
            "the NVIDIA driver does not fit the CUDA version of CuPy "
            f"({type(error).__name__}: {error}); update the driver, or install the "
            "CuPy of an older CUDA"
        )


class Devices(NamedTuple):
    """Devices that arrays of the host go to.

    Parameters
    ----------
    numbers : tuple of int or (None,)
        None is the current device.
    fraction : float
        Largest part of what is free of their memory that may be taken.
    """

    numbers: tuple = (None,)
    fraction: float = 0.8


def devices_of(device):
    """The `Devices` that `device` stands for: such, a number, several, or None."""
    if isinstance(device, Devices):
        return device
    return Devices(device if isinstance(device, tuple) else (device,))


def numbers_of(device):
    """Numbers of the devices that `device` stands for."""
    return devices_of(device).numbers


def require(device=None):
    """Return CuPy.

    Raises
    ------
    RuntimeError
        If there is no device, or none of a number that `device` stands for.
    """
    cupy, n_devices = _usable()
    for number in numbers_of(device):
        if number is not None and number >= n_devices:
            raise RuntimeError(
                f"there is no device {number}: the last of {n_devices} is "
                f"{n_devices - 1}"
            )
    return cupy


@functools.cache
def _usable():
    reason = find_reason()
    if reason is not None:
        raise RuntimeError(reason)
    import cupy

    return cupy, cupy.cuda.runtime.getDeviceCount()


def synchronize():
    """Wait for what was started on the current stream."""
    require().cuda.get_current_stream().synchronize()


@functools.cache
def info(number):
    """`DeviceInfo` of a device that there is."""
    cupy = require(number)
    row = cupy.cuda.runtime.getDeviceProperties(number)
    name = row["name"]
    return DeviceInfo(
        number,
        name.decode() if isinstance(name, bytes) else name,
        (int(row["major"]), int(row["minor"])),
        int(row["totalGlobalMem"]),
        int(row["multiProcessorCount"]),
        int(row["sharedMemPerBlockOptin"]),
    )


def current_info(cupy):
    """`DeviceInfo` of the current device."""
    return info(cupy.cuda.runtime.getDevice())


def runs_kernels(cupy):
    """Whether the current device has compute capability 8.0 or later."""
    return current_info(cupy).capability >= MIN_CAPABILITY
