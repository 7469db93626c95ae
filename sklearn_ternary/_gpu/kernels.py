"""Sources of the kernels, compiled at the first use on each device."""

import functools
from pathlib import Path

import numpy as np

from sklearn_ternary._gpu.compiler import compiled_module
from sklearn_ternary._gpu.device import MIN_CAPABILITY, current_info, info
from sklearn_ternary._gpu.grids import blocks_per_multiprocessor

_FOLDER = Path(__file__).parent
# What stands before the text of each file.
_HEADERS = {
    "affine": ("real", "rows"),
    "clipping": ("real", "rows"),
    "clusters": ("real", "rows"),
    "codec": ("rows", "digits"),
    "lloyd": ("nearest",),
    "lloyd_wide": ("nearest",),
    "losses": ("real", "rows"),
    "matmul": ("rows",),
    "network": ("real", "rows"),
    "quantize": ("real", "rows", "digits"),
    "scales": ("real", "rows", "groups"),
    "searches": ("real", "rows", "groups"),
    "steps": ("rows",),
}
# What is not in `expressions`: it is for devices before compute capability 8.0, too.
OF_ALL_DEVICES = ("clipping", "scales", "searches")
# Training is in single precision.
_SINGLE = ("losses", "network")
# Sizes that compilations of a file are for.
_SIZES = {
    "lloyd": [("DS", n) for n in range(1, 6)],
    "lloyd_wide": [("UNITS", n) for n in range(1, 4)],
}
# One rounding for each operation, as on the CPU, also of the smallest numbers.
OPTIONS = ("-std=c++17", "--fmad=false", "--ftz=false")
# What kernels get for None: some versions of CuPy make -1 of that.
_NULL = np.uintp(0)
SHARED_BY_DEFAULT = 48 * 1024
THREADS = 256


def source(file):
    """The whole text that is compiled for ``file.cu``."""
    parts = ["prelude.cuh", *(f"{name}.cuh" for name in _HEADERS[file]), f"{file}.cu"]
    return "\n".join((_FOLDER / part).read_text() for part in parts)


def files():
    """Names of the files of kernels."""
    return sorted(_HEADERS)


def variants(file):
    """The macros that each compilation of ``file.cu`` defines, as tuples."""
    if file in _SIZES:
        return [(f"{name}={n}",) for name, n in _SIZES[file]]
    has_double = "real" in _HEADERS[file] and file not in _SINGLE
    return [(), ("DOUBLE",)] if has_double else [()]


@functools.cache
def _module(cupy, file, macros, device):
    options = (*OPTIONS, *(f"-D{macro}" for macro in macros))
    capability = info(device).capability
    if capability < MIN_CAPABILITY and file not in OF_ALL_DEVICES:
        raise NotImplementedError(f"{file}.cu is for compute capability 8.0 and later")
    return compiled_module(cupy, file, source(file), options, capability)


@functools.cache
def _function(cupy, file, name, macros, device):
    return _module(cupy, file, macros, device).get_function(name)


def launch(cupy, file, name, grid, args, *, block=THREADS, macros=(), shared=0):
    """Launch a kernel of ``file.cu`` on the current device and stream."""
    prepare(cupy, file, name, grid, args, block=block, macros=macros, shared=shared)()


def prepare(cupy, file, name, grid, args, *, block=THREADS, macros=(), shared=0):
    """What launches a kernel when it is called, on the device that is current now."""
    device = cupy.cuda.runtime.getDevice()
    function = _function(cupy, file, name, macros, device)
    if shared > SHARED_BY_DEFAULT:
        function.max_dynamic_shared_size_bytes = shared
    grid = grid if isinstance(grid, tuple) else (grid,)
    args = tuple(_NULL if arg is None else arg for arg in args)
    return functools.partial(function, grid, (block,), args, shared_mem=shared)


def macros_of(dtype):
    """Macros for values of a dtype."""
    return ("DOUBLE",) if dtype == np.float64 else ()


def n_blocks(cupy, items, items_per_block):
    """Blocks for so many items, which each goes through in strides of the grid."""
    here = current_info(cupy)
    most = here.n_multiprocessors * blocks_per_multiprocessor(here.name)
    return max(1, min(most, -(-items // items_per_block)))


def reads_whole(n_columns, *arrays):
    """Whether four values can be read or written at once, as int32."""
    whole = n_columns % 4 == 0 and all(a.data.ptr % 16 == 0 for a in arrays)
    return np.int32(whole)
