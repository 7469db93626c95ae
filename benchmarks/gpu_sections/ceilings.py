"""What the device does at best: bytes copied and operations in a second."""

import numpy as np


def ceilings(bench):
    """Copy memory, and multiply matrices of random values: they take more power."""
    cupy = bench.cupy
    n_bytes, size = bench.sizes.ceiling
    block = bench.rng.integers(0, 256, min(n_bytes, 2**20), dtype=np.uint8)
    a = cupy.tile(cupy.asarray(block), n_bytes // len(block))
    b = cupy.empty_like(a)

    def copy():
        b[...] = a

    _ceiling(bench, "bytes", 2 * n_bytes, lambda: copy)
    operations = 2 * size**3
    x = bench.normal(size, size)

    def float16():
        half = x.astype(np.float16)
        return lambda: half @ half

    _ceiling(bench, "float16", operations, float16)
    torch = bench.torch()
    if torch is None:
        return

    def int8():
        x = torch.randint(-127, 128, (size, size), dtype=torch.int8, device="cuda")
        y = torch.randint(-1, 2, (size, size), dtype=torch.int8, device="cuda")
        # The layout that is supported everywhere: columns of the second one.
        return lambda: torch._int_mm(x, y.t())

    def bfloat16():
        x = torch.randn(size, size, dtype=torch.bfloat16, device="cuda")
        return lambda: x @ x

    _ceiling(bench, "int8", operations, int8)
    _ceiling(bench, "bfloat16", operations, bfloat16)


def _ceiling(bench, kind, amount, make):
    try:
        bench.limits[kind] = amount / bench.timed(make())[0]
    except Exception as error:  # others go on without it
        bench.skip(f"ceiling of {kind}", f"{type(error).__name__}: {error}")
        return
    print(f"ceiling, {kind}: {bench.limits[kind] / 1e12:.2f} T/s", flush=True)
    bench.save()
