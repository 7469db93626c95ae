"""Quantizing from memory of the host to memory of the host."""

import time

import numpy as np

from sklearn_ternary import config_context, ternarize


def host(bench):
    """By this machine's CPU, and by the device with the copies there and back."""
    if not bench.in_time("from and to the host"):
        return
    n = bench.sizes.values
    x = bench.rng.standard_normal(n, dtype=np.float32)
    found = {}
    for name, backend in (("cpu", "cpu"), ("cuda, copies included", "cuda")):
        with config_context(backend=backend, strict=True):
            ternarize(x, layout="t2")
            start = time.perf_counter()
            ternarize(x, layout="t2")
            found[name] = time.perf_counter() - start
    bench.found["host_to_host"] = {"values": n, "seconds": found}
    print("from and to the host:", found, flush=True)
