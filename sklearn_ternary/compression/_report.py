"""What a compression saved and what it changed."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class LayerReport:
    """One matrix of weights with its biases.

    Attributes
    ----------
    name : str
        Where it is: the names that lead there, joined by ``__``.
    shape : tuple of int
        Outputs and inputs.
    layout : str or None
        How its codes are packed; None for weights kept in float.
    nbytes_before, nbytes_after : int
        Bytes of weights, scales and biases.
    bits_per_weight : float
        Bits stored for one weight, scales included.
    r2 : float or None
        R² of its outputs, before any nonlinearity, against those of the original
        model on the calibration data (variance-weighted over outputs). None
        without calibration, and for weights kept in float.
    """

    name: str
    shape: tuple
    layout: str | None
    nbytes_before: int
    nbytes_after: int
    bits_per_weight: float
    r2: float | None = None


@dataclass(frozen=True)
class CompressionReport:
    """What :func:`~sklearn_ternary.compress` did; print it.

    Attributes
    ----------
    model : str
        Class of the original model.
    layers : tuple of LayerReport
        One for each matrix of weights.
    measure : {"equal predictions", "r2"} or None
        What `agreement` is; None without calibration data.
    agreement : float or None
        On the calibration data, the fraction of equal predictions for
        classifiers, and otherwise R² of the outputs of the compressed model
        against those of the original (variance-weighted over outputs). The data
        chose the scales and codes, so that new data agree a little less.
    n_calibration : int
        Number of calibration samples.
    """

    model: str
    layers: tuple
    measure: str | None = None
    agreement: float | None = None
    n_calibration: int = 0

    @property
    def n_weights(self):
        """Number of weights, without biases."""
        return sum(math.prod(layer.shape) for layer in self.layers)

    @property
    def nbytes_before(self):
        """Bytes of weights and biases of the original model."""
        return sum(layer.nbytes_before for layer in self.layers)

    @property
    def nbytes_after(self):
        """Bytes of packed weights, scales, biases, and weights kept in float."""
        return sum(layer.nbytes_after for layer in self.layers)

    @property
    def ratio(self):
        """How many times smaller, counted in bytes as they are stored."""
        return self.nbytes_before / self.nbytes_after

    @property
    def bits_per_weight(self):
        """Bits for one weight, over all layers, scales included."""
        bits = sum(x.bits_per_weight * math.prod(x.shape) for x in self.layers)
        return bits / self.n_weights

    def __str__(self):
        head = ("layer", "shape", "layout", "bits", "bytes before", "after", "R²")
        rows = [head, *(_cells(layer) for layer in self.layers)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = [
            f"{self.model}: {self.nbytes_before:,} bytes -> {self.nbytes_after:,}, "
            f"{self.ratio:.1f} times smaller, {self.bits_per_weight:.2f} bits per "
            "weight"
        ]
        if self.measure:
            name = {"r2": "R² against the original"}.get(self.measure, self.measure)
            lines.append(
                f"{name}: {self.agreement:.4f} on {self.n_calibration:,} calibration "
                "samples"
            )
        for row in rows:
            cells = [
                cell.ljust(width) if i in (0, 2) else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)


def _cells(layer):
    return (
        layer.name,
        "x".join(map(str, layer.shape)),
        layer.layout or "float",
        f"{layer.bits_per_weight:.2f}",
        f"{layer.nbytes_before:,}",
        f"{layer.nbytes_after:,}",
        "" if layer.r2 is None else f"{layer.r2:.4f}",
    )
