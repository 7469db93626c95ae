"""Kernels for float32 and float64, chosen between before they are called."""


def by_dtype(kernel):
    """``{dtype.char: kernel}``: the kernel's own choice looks at every argument."""
    return {"f": kernel["float"], "d": kernel["double"]}
