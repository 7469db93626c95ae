"""What benchmarks/gpu.py measures, section by section.

A section is a function of the `Bench` it reports to. It runs in a process of its own:
one that crashes or hangs takes nothing with it.
"""
