"""How much memory the arrays of a model take."""

import mmap
import sys
from dataclasses import asdict, dataclass, fields

import numpy as np

from sklearn_ternary._gpu.arrays import is_device_array
from sklearn_ternary._reference.products import StoredMatrix
from sklearn_ternary.quantization._array import TernaryArray

try:
    import resource
except ImportError:  # not on Windows
    resource = None


@dataclass(frozen=True)
class MemoryReport:
    """What :func:`memory_report` returns. Bytes; prints as a table.

    Attributes
    ----------
    codes : int
        Packed codes of packed arrays.
    scales : int
        Their scales.
    products : int
        Other forms of packed arrays, which the first product makes and keeps.
    optimizer : int
        State of an optimizer that can go on.
    arrays : int
        All other arrays: biases, float weights, dense and sparse data.
    device : int
        Arrays of any of these kinds in memory of a device; not counted above.
    mapped : int
        Arrays that lie in a file which is mapped; not counted above. They are in
        memory as far as the operating system keeps pages of the file.
    float32 : int
        What the packed arrays would take as float32.
    """

    codes: int
    scales: int
    products: int
    optimizer: int
    arrays: int
    device: int
    mapped: int
    float32: int

    @property
    def total(self):
        """Bytes in memory of the host: `codes` to `arrays`."""
        return self.codes + self.scales + self.products + self.optimizer + self.arrays

    def to_dict(self):
        """Return the report as a dictionary that JSON can hold.

        Returns
        -------
        report : dict
            The attributes, and `total`.
        """
        return {**asdict(self), "total": self.total}

    def __str__(self):
        rows = [(f.name, getattr(self, f.name)) for f in fields(self)]
        rows = [row for row in rows if row[1]] + [("total", self.total)]
        return "\n".join(f"{name:<10} {n:>16,} bytes" for name, n in rows)


def memory_report(model):
    """Count the bytes of every array that a model holds.

    Nothing is estimated: the arrays are looked for in the attributes of the model,
    in those of the objects among them that are of this package or of scikit-learn,
    and in lists, tuples, sets and dictionaries. Memory that several arrays share is
    counted once. What a prediction takes while it runs is not in it; see
    :func:`peak_memory` for that.

    Parameters
    ----------
    model : estimator, TernaryArray, TernaryLM, or a collection of such and arrays

    Returns
    -------
    report : MemoryReport

    See Also
    --------
    peak_memory : The most memory that this process has taken.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ternary import ternarize
    >>> from sklearn_ternary.metrics import memory_report
    >>> A = ternarize(np.eye(100, dtype=np.float32))
    >>> print(memory_report({"weights": A, "bias": np.zeros(100)}))
    codes                 2,000 bytes
    scales                    4 bytes
    arrays                  800 bytes
    float32              40,000 bytes
    total                 2,804 bytes
    """
    count = _Count()
    count.visit(model, "arrays")
    return MemoryReport(**count.bytes)


def peak_memory():
    """Return the most resident memory that this process has taken, in bytes.

    It is what the operating system counts: arrays, code, the interpreter. It never
    falls; start a new process to measure one thing alone.

    Returns
    -------
    n_bytes : int or None
        None where the operating system does not tell.

    See Also
    --------
    memory_report : What a model takes of it.

    Examples
    --------
    >>> from sklearn_ternary.metrics import peak_memory
    >>> peak_memory() > 1_000_000
    True
    """
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
            for line in lines:
                # getrusage of Linux goes on from what the parent process had taken.
                if line.startswith("VmHWM:"):
                    return 1024 * int(line.split()[1])
    except OSError:
        pass
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


class _Count:
    """Bytes by kind, of what was visited."""

    def __init__(self):
        self.bytes = dict.fromkeys((f.name for f in fields(MemoryReport)), 0)
        # What was seen, kept so that its id is not given to something else.
        self.seen = {}

    def visit(self, thing, kind):
        """Add what `thing` holds; its arrays are of this `kind` if nothing else is."""
        pending = [(thing, kind)]
        while pending:
            thing, kind = pending.pop()
            if id(thing) in self.seen:
                continue
            self.seen[id(thing)] = thing
            if isinstance(thing, np.ndarray) or is_device_array(thing):
                self._add(thing, kind)
                if isinstance(thing, np.ndarray) and thing.dtype.hasobject:
                    pending += [(item, kind) for item in thing.ravel()]
            else:
                pending += self._inside(thing, kind)

    def _add(self, array, kind):
        if is_device_array(array):
            self.bytes["device"] += array.nbytes
            return
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        if owner is not array:
            if id(owner) in self.seen:
                return
            self.seen[id(owner)] = owner
        # What products keep lies in huge pages, which are a map without a file.
        if kind != "products" and isinstance(owner.base, mmap.mmap):
            kind = "mapped"
        self.bytes[kind] += owner.nbytes

    def _inside(self, thing, kind):
        if isinstance(thing, TernaryArray):
            self.bytes["float32"] += 4 * thing.size
            return [
                (thing.packed, "codes"),
                (thing.scale, "scales"),
                (thing._matrices, "products"),
            ]
        if isinstance(thing, StoredMatrix):
            return [(thing.forms, "products")]
        if isinstance(thing, dict):
            return [(value, kind) for value in thing.values()]
        if isinstance(thing, list | tuple | set | frozenset):
            return [(value, kind) for value in thing]
        if hasattr(thing, "indptr"):  # a sparse matrix
            return [(getattr(thing, n), kind) for n in ("data", "indices", "indptr")]
        if not _is_of_a_model(type(thing)):
            return []
        return [
            (value, "optimizer" if name == "optimizer" else kind)
            for name, value in _attributes(thing)
        ]


def _is_of_a_model(kind):
    return any(
        base.__module__.partition(".")[0] in ("sklearn_ternary", "sklearn")
        for base in kind.__mro__
    )


def _attributes(thing):
    yield from getattr(thing, "__dict__", {}).items()
    for base in type(thing).__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(thing, name):
                yield name, getattr(thing, name)
