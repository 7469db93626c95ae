"""The kernels compile for each architecture and keep their variables in registers.

NVRTC needs no device for that: cuda-bindings and nvidia-cuda-nvrtc-cu12 suffice.
"""

import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from sklearn_ternary._gpu import kernels, lloyd

ARCHITECTURES = ["sm_75", "sm_80", "sm_90", "sm_100", "sm_120"]
_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


@pytest.fixture(scope="module")
def nvrtc():
    reason = "install cuda-bindings==12.* and nvidia-cuda-nvrtc-cu12"
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason=reason)
    try:
        nvrtc.nvrtcVersion()
    except Exception as error:  # the library is a package of its own
        pytest.skip(f"{reason} ({error})")
    return nvrtc


def compile_kernels(nvrtc, text, options):
    """``{kernel: (registers, bytes spilled, bytes of shared memory)}``."""

    def checked(result):
        status, *values = result
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise AssertionError(log())
        return values[0] if values else None

    def log():
        _, size = nvrtc.nvrtcGetProgramLogSize(program)
        buffer = b" " * size
        nvrtc.nvrtcGetProgramLog(program, buffer)
        return buffer.decode().rstrip("\0 ")

    program = checked(nvrtc.nvrtcCreateProgram(text.encode(), b"k.cu", 0, [], []))
    options = [option.encode() for option in options]
    checked(nvrtc.nvrtcCompileProgram(program, len(options), options))
    found, name = {}, None
    spilled = 0
    for line in log().splitlines():
        if match := _ENTRY.search(line):
            name = match[1]
        elif match := _SPILLS.search(line):
            spilled = int(match[1]) + int(match[2])
        elif match := _REGISTERS.search(line):
            shared = _SHARED.search(line)
            found[name] = int(match[1]), spilled, int(shared[1]) if shared else 0
    nvrtc.nvrtcDestroyProgram(program)
    return found


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("file", kernels.files())
def test_compiles_without_spills(nvrtc, file, architecture):
    number = int(architecture.removeprefix("sm_"))
    if number < 80 and file not in kernels.OF_ALL_DEVICES:
        pytest.skip("not used on this architecture")
    if number not in nvrtc.nvrtcGetSupportedArchs()[1]:
        pytest.skip(f"this compiler does not know {architecture}")

    def compiled(macros):
        options = [*kernels.OPTIONS, f"-arch={architecture}", "--ptxas-options=-v"]
        options += [f"-D{macro}" for macro in macros]
        return compile_kernels(nvrtc, kernels.source(file), options)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(compiled, kernels.variants(file)))
    for found in results:
        assert found, "the compiler names no kernel"
        assert not {name: spilled for name, (_, spilled, _) in found.items() if spilled}
        own = max(shared for _, _, shared in found.values())
        assert own <= (
            lloyd._OWN_SHARED if "lloyd" in file else kernels.SHARED_BY_DEFAULT
        )


@pytest.mark.parametrize("file", kernels.files())
def test_nothing_is_included(file):
    """NVRTC comes without headers."""
    assert "#include" not in kernels.source(file)
