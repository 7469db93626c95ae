"""Where the sections of benchmarks/gpu.py report to, and how they take the time."""

import json
import time
import traceback

import numpy as np
from gpu_sections.sizes import FULL, TINY

from sklearn_ternary._config import effective_config
from sklearn_ternary.persistence import atomic_file

WARM_UPS = 3
ROUNDS = 20
# Functions that take longer are called less often.
_SLOW, _VERY_SLOW = 0.3, 3.0


class Bench:
    """One section of a run: what is known, what is found, and where it goes.

    Parameters
    ----------
    path : path
        A JSON file of ``{"tiny", "seed", "deadline", "limits"}``, to which what is
        found is added, measurement by measurement.

    Attributes
    ----------
    cupy : module
    sizes : Sizes
    rng : Generator
    limits : dict
        Bytes and operations that the device moves and computes in a second.
    config : Config
        To compute on the device, or fail.
    """

    def __init__(self, path):
        import cupy

        self.cupy = cupy
        self._path = path
        with open(path, encoding="utf-8") as file:
            self.found = json.load(file)
        self.tiny = self.found["tiny"]
        self.sizes = TINY if self.tiny else FULL
        self.limits = self.found["limits"]
        self.rng = np.random.default_rng(self.found["seed"])
        self.config = effective_config(backend="cuda", strict=True)
        self.found |= {"results": [], "differences": [], "skipped": [], "cases": 0}
        self._filler = None

    def save(self):
        """Write what there is."""
        with atomic_file(self._path) as file:
            file.write(json.dumps(self.found).encode())

    def in_time(self, what):
        """Whether there is time for more; says so in the report if not."""
        if time.time() < self.found["deadline"]:
            return True
        self.skip(what, "no time is left")
        return False

    def skip(self, what, why):
        """Report that something was not measured."""
        self.found["skipped"].append(f"{what}: {why}"[:500])
        self.save()
        print(f"skipped: {what}: {why}", flush=True)

    def check(self, what, case):
        """Call `case`, which returns {name: whether it is as on the CPU}."""
        try:
            wrong = [name for name, same in case().items() if not same]
        except Exception as error:
            traceback.print_exc()
            wrong = [f"{type(error).__name__}: {error}"[:500]]
        self.found["cases"] += 1
        self.found["differences"] += [f"{what}: {name}" for name in wrong]
        self.save()

    def normal(self, *shape):
        """Random float32 on the device."""
        return self.cupy.asarray(self.rng.standard_normal(shape, dtype=np.float32))

    def torch(self):
        """Torch, where it is there and sees the device, or None."""
        if self.tiny:
            return None
        try:
            import torch
        except ImportError as error:
            self.skip("torch", f"install it to be measured beside it ({error})")
            return None
        if not torch.cuda.is_available():
            self.skip("torch", "it sees no device")
            return None
        self.found["torch"] = torch.__version__
        return torch

    def timed(self, function):
        """Seconds of the device and of the host, medians, and the relative spread.

        The device is given something to do first, so that it does not wait for the
        launches. The spread is that from the 10th to the 90th percentile.
        """
        cupy = self.cupy
        cupy.cuda.Device().synchronize()
        start = time.perf_counter()
        function()
        host = time.perf_counter() - start
        cupy.cuda.Device().synchronize()
        first = time.perf_counter() - start
        rounds = 3 if self.tiny or first > _SLOW else ROUNDS
        if first > _VERY_SLOW:
            rounds = 1
        elif first <= _SLOW:
            for _ in range(WARM_UPS - 1):
                start = time.perf_counter()
                function()
                host = time.perf_counter() - start
        times, on_host = [], []
        for _ in range(rounds):
            self._keep_busy(min(2 * host, 0.02))
            begin, end = cupy.cuda.Event(), cupy.cuda.Event()
            begin.record()
            start = time.perf_counter()
            function()
            on_host.append(time.perf_counter() - start)
            end.record()
            end.synchronize()
            times.append(cupy.cuda.get_elapsed_time(begin, end) / 1e3)
        low, median, high = np.percentile(times, [10, 50, 90])
        spread = float((high - low) / median) if median else 0.0
        return float(median), float(np.median(on_host)), spread

    def _keep_busy(self, seconds):
        if self._filler is None:
            n = self.sizes.ceiling[0] // 4
            self._filler = self.cupy.empty((2, n), np.uint8)
            self._filler[...] = 1
        n = 1 + int(seconds * self.limits.get("bytes", 4e12) / self._filler.nbytes)
        for _ in range(n):
            self._filler[0] = self._filler[1]

    def measure(self, work, function, limit=None, others=None):
        """Measure `function` and others beside it.

        Parameters
        ----------
        work : str
        function : callable or float
            What is called, or its seconds.
        limit : float, default=None
            Seconds that the device takes at best.
        others : dict, default=None
            Of functions that return what is called, or its seconds.
        """
        if not self.in_time(work):
            return
        taken = self.timed(function) if callable(function) else (function, 0.0, 0.0)
        seconds, host_seconds, spread = taken
        row = {
            "work": work,
            "seconds": seconds,
            "host_seconds": host_seconds,
            "spread": spread,
            "of_limit": limit / seconds if limit and seconds else None,
            "vs": {},
        }
        self.found["results"].append(row)
        self.save()
        for name, make in (others or {}).items():
            if not self.in_time(f"{work}, {name}"):
                continue
            try:
                other = make()
                taken = self.timed(other)[0] if callable(other) else other
                row["vs"][name] = taken / seconds if seconds else None
            except Exception as error:  # peers fail in ways of their own
                self.skip(f"{work}, {name}", f"{type(error).__name__}: {error}")
            other = None
            self.cupy.get_default_memory_pool().free_all_blocks()
            self.save()
        beside = ", ".join(f"{n} {ratio or 0:.2f}x" for n, ratio in row["vs"].items())
        share = f", {row['of_limit']:.0%} of the limit" if row["of_limit"] else ""
        print(
            f"{work}: {seconds * 1e3:.4f} ms ±{spread:.0%} "
            f"(host {host_seconds * 1e3:.4f} ms){share}; {beside}",
            flush=True,
        )

    def seconds_for(self, amount, kind):
        """Seconds for so many bytes or operations at best; None if not known."""
        return amount / self.limits[kind] if kind in self.limits else None
