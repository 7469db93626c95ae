"""Kernels compiled by NVRTC and kept in files, for this process and the next ones.

The name of a file ends with the checksum of what is in it, so that one that has been
damaged is not given to a device but compiled again.

CuPy's own way of compiling always adds ``-ftz=true``: the smallest float32 numbers are
0 then, which they are not on the CPU.
"""

import contextlib
import functools
import hashlib
import tempfile
from pathlib import Path

from sklearn_ternary._cache import cache_folder
from sklearn_ternary.persistence import atomic_file


def compiled_module(cupy, name, text, options, capability):
    """A `cupy.RawModule` of what is compiled for a device's compute capability.

    Parameters
    ----------
    cupy : module
    name : str
        Of the file of kernels, for messages.
    text : str
    options : tuple of str
        Of NVRTC.
    capability : tuple of (int, int)
    """
    architecture, kind = _architecture(cupy, capability)
    options = (*options, f"--gpu-architecture={architecture}")
    version = cupy.cuda.nvrtc.getVersion()
    key = hashlib.sha256("\0".join([text, *options, str(version)]).encode())
    stem = f"{name}-{key.hexdigest()[:32]}"
    path = _kept(stem, kind)
    if path is None:
        program = _compiled(cupy, name, text, options, kind)
        path = _written(program, f"{stem}-{_checksum(program)}.{kind}")
    return cupy.RawModule(path=str(path))


def _kept(stem, kind):
    """Path of what was compiled before, if it is what was written then."""
    for folder in _folders():
        with contextlib.suppress(OSError):
            for path in sorted(folder.glob(f"{stem}-*.{kind}")):
                if path.stem == f"{stem}-{_checksum(path.read_bytes())}":
                    return path
    return None


def _written(program, file):
    for folder in _folders():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with atomic_file(folder / file) as to:
                to.write(program)
            return folder / file
        except OSError as error:  # the next folder is tried
            failed = error
    raise RuntimeError(f"compiled kernels cannot be written: {failed}")


def _checksum(program):
    return hashlib.sha256(program).hexdigest()[:32]


def _architecture(cupy, capability):
    """What to compile for: the device itself, or what the driver can turn into it."""
    number = 10 * capability[0] + capability[1]
    known = cupy.cuda.nvrtc.getSupportedArchs()
    if number in known:
        return f"sm_{number}", "cubin"
    before = [n for n in known if n < number]
    if not before:
        raise NotImplementedError(
            f"this CUDA does not compile for compute capability {capability[0]}."
            f"{capability[1]}; an older one does"
        )
    return f"compute_{max(before)}", "ptx"


def _compiled(cupy, name, text, options, kind):
    nvrtc = cupy.cuda.nvrtc
    program = nvrtc.createProgram(text, f"{name}.cu", (), ())
    try:
        nvrtc.compileProgram(program, options)
        return (nvrtc.getCUBIN if kind == "cubin" else nvrtc.getPTX)(program)
    except nvrtc.NVRTCError as error:
        log = nvrtc.getProgramLog(program)
        raise RuntimeError(f"{name}.cu does not compile: {error}\n{log}") from None
    finally:
        nvrtc.destroyProgram(program)


def _folders():
    with contextlib.suppress(RuntimeError):  # the user has no home
        yield cache_folder() / "kernels"
    yield Path(_temporary_folder().name)


@functools.cache
def _temporary_folder():
    """Where the user has no folder that can be written; gone with the process."""
    return tempfile.TemporaryDirectory(prefix="sklearn_ternary_kernels_")
