"""Quantize, pack and unpack what lies on the device."""

import time

import numpy as np
from gpu_sections.sizes import MEBI, quantize_work, unpack_work

from sklearn_ternary import _dispatch
from sklearn_ternary._gpu import quantize

_SHIFTS = np.array([0, 2, 4, 6], dtype=np.uint8)


def quantizing(bench):
    """Measure it beside expressions of CuPy and torch."""
    cupy, n, config = bench.cupy, bench.sizes.values, bench.config
    block = bench.normal(min(n, MEBI))
    x = cupy.tile(block, n // len(block)).reshape(1, -1)
    torch = bench.torch()

    def in_groups(size):
        _, t = _dispatch.group_scale(x, size, "absmean", 3, config=config)
        return _dispatch.quantize_pack(x, t, size, 3, "t2", config=config)

    read, write = bench.seconds_for(4 * n, "bytes"), bench.seconds_for(n / 4, "bytes")
    one, two = (None, None) if read is None else (read + write, 2 * read + write)
    few = x[:, : bench.sizes.few_values]
    others = {"CuPy expressions": lambda: lambda: _expressions(cupy, few)}
    work = quantize_work(few.size, "one scale")
    bench.measure(work, lambda: quantize.absmean_pack(few, 3, "t2"), None, others)
    others = {
        "NumPy": lambda: _by_numpy(x.get()),
        "CuPy expressions": lambda: lambda: _expressions(cupy, x),
    }
    if torch:
        others |= _in_torch(torch, x, _torch_quantize)
    work = quantize_work(n, "one scale")
    bench.measure(work, lambda: quantize.absmean_pack(x, 3, "t2"), two, others)
    work = quantize_work(n, "groups of 64")
    others = {"CuPy expressions": lambda: lambda: _expressions(cupy, x, 64)}
    bench.measure(work, lambda: in_groups(64), one, others)
    packed, scale = in_groups(n), cupy.ones((1, 1), np.float32)

    def unpack():
        args = packed, n, "t2", scale, n
        return _dispatch.unpack_values(*args, config=config)

    shifts = cupy.asarray(_SHIFTS)

    def expressions():
        codes = (packed.reshape(-1, 1) >> shifts & 3).astype(np.int8) - 1
        return codes * scale

    others = {"CuPy expressions": lambda: expressions}
    if torch:
        others |= _in_torch(torch, packed, _torch_unpack)
    bench.measure(unpack_work(bench.sizes), unpack, one, others)


def _by_numpy(x):
    """Seconds that the expressions take on the host."""
    start = time.perf_counter()
    _expressions(np, x)
    return time.perf_counter() - start


def _expressions(xp, x, group_size=None):
    grouped = x if group_size is None else x.reshape(-1, group_size)
    scale = xp.abs(grouped).mean(axis=1, keepdims=True)
    codes = xp.clip(xp.rint(grouped / scale), -1, 1) + 1
    four = codes.astype(np.uint8).reshape(-1, 4)
    return four[:, 0] | four[:, 1] << 2 | four[:, 2] << 4 | four[:, 3] << 6


def _torch_quantize(torch, x):
    codes = torch.clip(torch.round(x / x.abs().mean()), -1, 1) + 1
    four = codes.to(torch.uint8).reshape(-1, 4)
    return four[:, 0] | four[:, 1] << 2 | four[:, 2] << 4 | four[:, 3] << 6


def _torch_unpack(torch, packed):
    shifts = torch.arange(0, 8, 2, dtype=torch.uint8, device="cuda")
    codes = (packed.reshape(-1, 1) >> shifts & 3).to(torch.int8) - 1
    return codes.float()


def _in_torch(torch, x, function):
    there = torch.as_tensor(x, device="cuda")

    def compiled():
        compiled = torch.compile(lambda x: function(torch, x))
        return lambda: compiled(there)

    return {"torch": lambda: lambda: function(torch, there), "torch.compile": compiled}
