"""What one call of `compress` carries from part to part of a model."""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from sklearn_ternary.compression._report import LayerReport


@dataclass(frozen=True)
class Options:
    """How to compress, as given to `compress`.

    Parameters
    ----------
    scale, activations, layout, exclude
        As given.
    calibrate : bool
        Whether there were calibration data; fitting again then calibrates on the
        training data.
    """

    scale: str = "mse"
    activations: str = "float32"
    layout: str | None = None
    exclude: tuple = ()
    calibrate: bool = False


@dataclass
class Job:
    """One part of a model and what is known when its turn comes.

    Parameters
    ----------
    options : Options
    X, X_packed : array-like or None
        Calibration data as they reach the part in the original model, and in the
        compressed one, whose earlier parts have changed them.
    path : tuple of tuple of str
        For each level above the part, the names it goes by; the first is printed.
    layers : list of LayerReport
    excluded : set of str or int
        Entries of `exclude` that were found.
    """

    options: Options
    X: object = None
    X_packed: object = None
    path: tuple = ()
    layers: list = field(default_factory=list)
    excluded: set = field(default_factory=set)

    def child(self, name, index, n_children, X=None, X_packed=None):
        """Return the job of a part of this part, whose lists it shares."""
        names = (str(name), str(index), str(index - n_children))
        return replace(self, path=(*self.path, names), X=X, X_packed=X_packed)

    def is_excluded(self):
        """Whether `exclude` names this part."""
        found = False
        for entry in self.options.exclude:
            parts = str(entry).split("__")
            if len(parts) == len(self.path) and all(
                part in names for part, names in zip(parts, self.path, strict=True)
            ):
                self.excluded.add(entry)
                found = True
        return found

    def local_options(self):
        """Return the options as they read when this part is compressed alone."""
        inside = []
        for entry in self.options.exclude:
            parts = str(entry).split("__")
            if len(parts) > len(self.path) and all(
                part in names for part, names in zip(parts, self.path, strict=False)
            ):
                inside.append("__".join(parts[len(self.path) :]))
        return replace(
            self.options, exclude=tuple(inside), calibrate=self.X is not None
        )

    def name(self, *last):
        """Names that lead here, joined."""
        return "__".join([*(names[0] for names in self.path), *last])

    def report(self, name, before, weights, biases, r2=None):
        """Note a matrix of weights; `before` and `biases` are tuples of arrays."""
        size = math.prod(weights.shape)
        self.layers.append(
            LayerReport(
                name=name,
                shape=tuple(weights.shape),
                layout=getattr(weights, "layout", None),
                nbytes_before=_nbytes(before),
                nbytes_after=weights.nbytes + _nbytes(biases),
                bits_per_weight=8 * weights.nbytes / size if size else math.nan,
                r2=r2,
            )
        )


def _nbytes(arrays):
    return sum(np.asarray(array).nbytes for array in arrays)
