"""What there is of CUDA devices, and how much memory they have.

Nothing here but :func:`tune` raises where there is no device; importing this module
does not import CuPy, calling its functions does.
"""

from sklearn_ternary._gpu import device as _device
from sklearn_ternary._gpu import grids as _grids
from sklearn_ternary._gpu import memory as _memory
from sklearn_ternary._gpu import tuning as _tuning

__all__ = [
    "device_info",
    "find_batch_size",
    "free_all_blocks",
    "is_available",
    "memory_info",
    "tune",
]


def is_available():
    """Return whether operations can run on a CUDA device.

    Returns
    -------
    available : bool
        :func:`device_info` has the reason where it is False.

    Examples
    --------
    >>> from sklearn_ternary import cuda
    >>> cuda.is_available() in (True, False)
    True
    """
    return _device.find_reason() is None


def device_info():
    """Return the CUDA devices, or why there are none.

    Returns
    -------
    info : dict
        ``available``; ``reason``, a sentence, or None where they are available;
        ``cupy``, the version of CuPy in use or None; and ``devices``, a list of
        dicts with ``number``, ``name``, ``capability`` such as ``(9, 0)``,
        ``total_memory`` in bytes, ``n_multiprocessors``, ``shared_memory`` of a block
        in bytes, and ``tensor_cores``, whether products and k-means use them.

    Examples
    --------
    >>> from sklearn_ternary import cuda
    >>> sorted(cuda.device_info())
    ['available', 'cupy', 'devices', 'reason']
    """
    reason = _device.find_reason()
    if reason is not None:
        return {"available": False, "reason": reason, "cupy": None, "devices": []}
    cupy = _device.require()
    n_devices = cupy.cuda.runtime.getDeviceCount()
    devices = [_device_dict(number) for number in range(n_devices)]
    return {
        "available": True,
        "reason": None,
        "cupy": cupy.__version__,
        "devices": devices,
    }


def _device_dict(number):
    found = _device.info(number)._asdict()
    return {**found, "tensor_cores": found["capability"] >= _device.MIN_CAPABILITY}


def memory_info(device=None):
    """Return the memory of a device, in bytes.

    Parameters
    ----------
    device : int, default=None
        Number of the device; None for the current one.

    Returns
    -------
    info : dict or None
        ``total`` and ``free`` of the device, by the driver; ``used`` and ``pooled``
        of CuPy's default pool: what arrays hold, and what the pool keeps for new
        ones. None where there is no device.

    Examples
    --------
    >>> from sklearn_ternary import cuda
    >>> info = cuda.memory_info()
    >>> info is None or info["free"] <= info["total"]
    True
    """
    try:
        cupy = _device.require(device)
    except RuntimeError:
        return None
    with cupy.cuda.Device(device):
        free, total = cupy.cuda.runtime.memGetInfo()
        pool = cupy.get_default_memory_pool()
        return {
            "total": int(total),
            "free": int(free),
            "used": int(pool.used_bytes()),
            "pooled": int(pool.free_bytes()),
        }


def free_all_blocks():
    """Give the memory that CuPy's default pool keeps, and nothing holds, back."""
    if is_available():
        _device.require().get_default_memory_pool().free_all_blocks()


def find_batch_size(function, *, start=32, max_utilization=0.85):
    """Find the largest batch for which a function does not run out of memory.

    Batches are doubled until one fails, then halved into. Where there is a device,
    one that leaves less than ``1 - max_utilization`` of its memory free has failed,
    too.

    Parameters
    ----------
    function : callable
        ``function(batch_size)`` does the work; a `MemoryError`, of which CuPy's is
        one, says that memory does not suffice.
    start : int, default=32
        The first batch size that is tried.
    max_utilization : float, default=0.85
        Largest part of a device's memory that may be in use afterwards, in (0, 1].

    Returns
    -------
    batch_size : int
        The largest that works. Each batch size is tried once at most.

    Raises
    ------
    MemoryError
        If not even a batch of 1 works.
    ValueError
        For a `start` or `max_utilization` that is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ternary import cuda
    >>> def step(batch_size):
    ...     if batch_size > 100:
    ...         raise MemoryError
    >>> cuda.find_batch_size(step)
    100
    """
    if not isinstance(start, int) or isinstance(start, bool) or start < 1:
        raise ValueError(f"start={start!r} must be a positive integer")
    if not 0 < max_utilization <= 1:
        raise ValueError(f"max_utilization={max_utilization!r} must be in (0, 1]")
    works, fails = 0, None
    size = start
    while fails is None or fails - works > 1:
        if _memory.suffices(function, size, max_utilization):
            works = size
        else:
            fails = size
        size = 2 * works if fails is None else (works + fails) // 2
    if works == 0:
        raise MemoryError("memory does not suffice for a batch of 1")
    return works


def tune(device=None, *, save=False):
    """Measure how many blocks of a kernel are best for each multiprocessor.

    Quantizing, packing and unpacking are timed by events of the device, with values
    that its caches do not hold, and the number that takes the least time is used
    from then on. Results do not depend on it. Takes about a second and 1 GB of the
    device's memory.

    Parameters
    ----------
    device : int, default=None
        Number of the device; None for the current one.
    save : bool, default=False
        Keep the number in the user's cache folder, for all devices of this name and
        this version of the package.

    Returns
    -------
    tuned : dict
        ``device``, its name; ``blocks_per_multiprocessor`` from now on; ``default``,
        which stays unless another number saves 2 % of the time; ``milliseconds`` of
        each number, geometric means over operations; and ``path`` of the file, or
        None.

    Raises
    ------
    RuntimeError
        If there is no such device.
    """
    cupy = _device.require(device)
    with cupy.cuda.Device(device):
        name = _device.current_info(cupy).name
        operations = _tuning.typical_operations(cupy)
        blocks, milliseconds = _tuning.measure(cupy, name, operations)
    return {
        "device": name,
        "blocks_per_multiprocessor": blocks,
        "default": _grids.DEFAULT,
        "milliseconds": milliseconds,
        "path": str(_grids.save(name, blocks)) if save else None,
    }
