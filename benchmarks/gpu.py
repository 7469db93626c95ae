"""Measure this package on a CUDA device, in one call of less than 8 minutes.

    python benchmarks/gpu.py -o benchmarks/results/gpu.json
    python benchmarks/gpu.py --tiny        # small sizes, to see that it runs

In order: the environment; parity with the CPU on fresh random input; the ceilings
(copying memory, products of int8 and of floats of 16 bits); and the work, in medians of
events of the device, beside what others take for it, and its memory. Each section runs
in a process of its own (with --tiny all run in this one), and the file is written after
each. The exit code is 1 where a result differs from the CPU's or a section fails, 2
where there is no device. What came of the targets is printed at the end; without a
device they are all "not measured".
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from _machine import describe_machine
from _results import write_results
from gpu_sections.bench import Bench
from gpu_sections.ceilings import ceilings
from gpu_sections.clustering import clustering
from gpu_sections.host import host
from gpu_sections.memory import memory
from gpu_sections.parity import (
    clustering_parity,
    large_parity,
    product_parity,
    quantizing_parity,
    training_parity,
)
from gpu_sections.products import products
from gpu_sections.quantizing import quantizing
from gpu_sections.training import training
from result_tables.targets import judged, shown, subjects

from sklearn_ternary import cuda

# In this order: what others are compared with first. Seconds at most.
SECTIONS = {
    "quantizing parity": (quantizing_parity, 60),
    "product parity": (product_parity, 60),
    "clustering parity": (clustering_parity, 60),
    "training parity": (training_parity, 60),
    "large parity": (large_parity, 40),
    "ceilings": (ceilings, 60),
    "quantizing": (quantizing, 90),
    "products": (products, 90),
    "clustering": (clustering, 120),
    "training": (training, 150),
    "memory": (memory, 30),
    "host": (host, 60),
}
# A section that is late is ended after so many seconds more.
GRACE = 15


def main():
    """Run as a script."""
    options = parse()
    if options.section:
        run_section(options.section, options.part)
        return
    info = cuda.device_info()
    if not info["available"]:
        print(f"no device: {info['reason']}")
        show_targets([])
        sys.exit(2)
    report = measure(options, environment(info))
    show_targets(report["results"])
    parity = report["parity"]
    print(f"parity: {parity['cases']} cases, {len(parity['differences'])} differ")
    wrong = [*parity["differences"], *report["failed"]]
    if wrong:
        print("results differ from the CPU's, or sections failed:", *wrong, sep="\n  ")
        sys.exit(1)


def show_targets(rows):
    """Print what came of the targets, by rows of results."""
    for one in judged(subjects()["gpu"], rows):
        print(f"{one.verdict}: {shown(one)}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", help="JSON file to write")
    parser.add_argument("--tiny", action="store_true", help="small sizes")
    parser.add_argument("--budget", type=float, default=450, help="seconds")
    parser.add_argument("--seed", type=int, help="of the input; default: a fresh one")
    for name in ("--section", "--part"):  # a single one, for this script itself
        parser.add_argument(name, help=argparse.SUPPRESS)
    return parser.parse_args()


def environment(info):
    """What the report starts with."""
    import cupy

    runtime, device = cupy.cuda.runtime, info["devices"][0]
    return {
        "machine": describe_machine(),
        "device": {**device, "cupy": info["cupy"]},
        "runtime": runtime.runtimeGetVersion(),
        "driver": runtime.driverGetVersion(),
        "nvrtc": cupy.cuda.nvrtc.getVersion(),
    }


def measure(options, environment):
    """Run all sections; the report, written after each of them."""
    start = time.time()
    seed = options.seed
    seed = np.random.SeedSequence().entropy if seed is None else seed
    report = environment | {
        "seed": str(seed),
        "tiny": options.tiny,
        "limits": {},
        "parity": {"cases": 0, "differences": []},
        "results": [],
        "skipped": [],
        "failed": [],
        "seconds": {},
    }
    save(options.output, report)
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part.json"
        for number, (name, (_, most)) in enumerate(SECTIONS.items()):
            began = time.time()
            deadline = min(began + most, start + options.budget)
            given = {"deadline": deadline, "limits": report["limits"]}
            given |= {"seed": [seed, number], "tiny": options.tiny}
            part.write_text(json.dumps(given))
            run = run_here if options.tiny else run_apart
            failure = run(name, part, deadline + GRACE)
            add_part(report, json.loads(part.read_text()))
            if failure:
                report["failed"].append(f"{name}: {failure}")
            report["seconds"][name] = round(time.time() - began, 1)
            save(options.output, report)
    return report


def run_section(name, part):
    """Run one section in this process, and write what it finds to `part`."""
    bench = Bench(part)
    try:
        SECTIONS[name][0](bench)
    finally:
        bench.save()


def run_here(name, part, until):
    """Why a section failed that ran in this process, or None."""
    try:
        run_section(name, part)
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return None


def run_apart(name, part, until):
    """Why a section failed that ran in a process of its own, or None."""
    print(f"-- {name}", flush=True)
    command = [sys.executable, "-X", "faulthandler", __file__]
    command += ["--section", name, "--part", str(part)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    try:
        done = subprocess.run(
            command, env=environment, timeout=max(1, until - time.time())
        )
    except subprocess.TimeoutExpired:
        return "it took too long and was ended"
    return f"exit code {done.returncode}" if done.returncode else None


def add_part(report, part):
    """Add what a section found, also one that failed half-way."""
    parity = report["parity"]
    parity["cases"] += part.get("cases", 0)
    parity["differences"] += part.get("differences", [])
    report["limits"] |= part["limits"]
    for key in ("results", "skipped"):
        report[key] += part.get(key, [])
    for key in ("host_to_host", "memory"):
        if key in part:
            report[key] = part[key]
    if "torch" in part:
        report["machine"]["versions"]["torch"] = part["torch"]


def save(output, report):
    """Write what there is."""
    if output:
        write_results(output, report)


if __name__ == "__main__":
    main()
