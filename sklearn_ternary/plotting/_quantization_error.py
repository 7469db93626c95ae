"""QuantizationErrorDisplay: what quantization does to data."""

import numpy as np

from sklearn_ternary._gpu.arrays import from_device, to_host
from sklearn_ternary.metrics import quantization_report
from sklearn_ternary.plotting._pyplot import import_pyplot

# More levels than this are drawn as ticks at the bottom instead of full lines.
_MAX_LINES = 8


class QuantizationErrorDisplay:
    """Histogram of values with the levels they are rounded to, and of the error.

    Create it with :meth:`from_arrays` or :meth:`from_estimator`, which also
    plot. All parameters are stored as attributes.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
        Values before quantization.
    quantized : ndarray of shape (n_values,)
        Values after quantization.
    name : str, default=None
        What was quantized or how; the title of the plot.

    Attributes
    ----------
    levels : ndarray of shape (n_levels,)
        The distinct values of `quantized`, ascending.
    error : ndarray of shape (n_values,)
        ``quantized - values``.
    report : QuantizationReport
        See :func:`~sklearn_ternary.metrics.quantization_report`.
    ax_ : matplotlib Axes
        Histogram of the values, with the levels.
    error_ax_ : matplotlib Axes
        Histogram of the error.
    figure_ : matplotlib Figure
    levels_ : matplotlib LineCollection
        One line per level.

    See Also
    --------
    sklearn_ternary.metrics.quantization_report : The same in numbers.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from sklearn_ternary import TernaryQuantizer
    >>> from sklearn_ternary.plotting import QuantizationErrorDisplay
    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> quantizer = TernaryQuantizer(granularity="tensor").fit(X)
    >>> display = QuantizationErrorDisplay.from_estimator(quantizer, X)
    >>> display.levels.round(2)
    array([-0.78,  0.  ,  0.78])
    >>> plt.show()
    """

    def __init__(self, *, values, quantized, name=None):
        self.values = values
        self.quantized = quantized
        self.name = name
        self.report = quantization_report(values, quantized)
        self.levels = np.unique(quantized)
        with np.errstate(over="ignore", under="ignore"):
            self.error = np.subtract(quantized, values, dtype=np.float64)

    @classmethod
    def from_arrays(
        cls, x, xq, *, name=None, ax=None, bins=100, hist_kwargs=None, line_kwargs=None
    ):
        """Plot an array and its quantized version.

        Parameters
        ----------
        x, xq : array-like, TernaryArray, or anything with a method `toarray`
            Of the same shape.
        name : str, default=None
        ax, bins, hist_kwargs, line_kwargs
            See :meth:`plot`.

        Returns
        -------
        display : QuantizationErrorDisplay
        """
        display = cls(values=_flat(x), quantized=_flat(xq), name=name)
        return display.plot(
            ax, bins=bins, hist_kwargs=hist_kwargs, line_kwargs=line_kwargs
        )

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        name=None,
        ax=None,
        bins=100,
        hist_kwargs=None,
        line_kwargs=None,
    ):
        """Plot what a fitted quantizer does to data.

        Parameters
        ----------
        estimator : estimator with a method `transform`, fitted
            Its `inverse_transform`, if it has one, turns codes to values.
        X : array-like of shape (n_samples, n_features)
        name : str, default=None
            None takes the name of the class of the estimator.
        ax, bins, hist_kwargs, line_kwargs
            See :meth:`plot`.

        Returns
        -------
        display : QuantizationErrorDisplay
        """
        # A copy, as a quantizer with copy=False overwrites its input.
        quantized = estimator.transform(X.copy() if hasattr(X, "copy") else X)
        if hasattr(estimator, "inverse_transform"):
            quantized = estimator.inverse_transform(quantized)
        return cls.from_arrays(
            X,
            quantized,
            name=type(estimator).__name__ if name is None else name,
            ax=ax,
            bins=bins,
            hist_kwargs=hist_kwargs,
            line_kwargs=line_kwargs,
        )

    def plot(self, ax=None, *, name=None, bins=100, hist_kwargs=None, line_kwargs=None):
        """Plot.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of two, default=None
            Two axes for the values and for the error, or one that is divided
            into two. None makes a figure.
        name : str, default=None
            Title; None takes that of the display.
        bins : int, default=100
            Number of bins of both histograms.
        hist_kwargs : dict, default=None
            Passed to :meth:`matplotlib.axes.Axes.hist`.
        line_kwargs : dict, default=None
            Passed to :meth:`matplotlib.axes.Axes.vlines`, which draws the levels.

        Returns
        -------
        display : QuantizationErrorDisplay

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        self.ax_, self.error_ax_ = _two_axes(ax)
        self.figure_ = self.ax_.figure
        hist_kwargs = {"color": "tab:blue", "alpha": 0.6, **(hist_kwargs or {})}
        self.ax_.hist(self.values, _edges(self.values, bins), **hist_kwargs)
        few = len(self.levels) <= _MAX_LINES
        label = f"{len(self.levels)} level{'s' if len(self.levels) != 1 else ''}"
        self.levels_ = self.ax_.vlines(
            self.levels,
            0,
            1 if few else 0.04,
            transform=self.ax_.get_xaxis_transform(),
            **{
                "color": "tab:orange",
                "linewidth": 1.5 if few else 0.5,
                "label": label,
                **(line_kwargs or {}),
            },
        )
        self.ax_.set(xlabel="value", ylabel="count", title=name or self.name or "")
        self.ax_.legend(loc="upper right")
        self.error_ax_.hist(self.error, _edges(self.error, bins), **hist_kwargs)
        self.error_ax_.set(
            xlabel="quantized - value",
            ylabel="count",
            title=f"SNR {self.report.snr_db:.1f} dB, cosine {self.report.cosine:.3f}",
        )
        return self


def _two_axes(ax):
    """Two axes from none, one or two."""
    plt = import_pyplot("QuantizationErrorDisplay")
    if ax is None:
        _, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
        return axes
    if isinstance(ax, plt.Axes):
        place = ax.get_subplotspec()
        if place is None:
            raise ValueError("ax is in no grid of subplots and cannot be divided")
        ax.set_axis_off()
        grid = place.subgridspec(1, 2, wspace=0.3)
        return ax.figure.add_subplot(grid[0]), ax.figure.add_subplot(grid[1])
    axes = np.ravel(ax)
    if len(axes) != 2:
        raise ValueError(f"ax has {len(axes)} axes, one or two are needed")
    return axes


def _edges(values, bins):
    """Edges of the bins; of a range too narrow to be cut, wide enough ones."""
    low, high = float(values.min()), float(values.max())
    margin = bins * np.spacing(max(abs(low), abs(high)))
    if high / bins - low / bins <= margin:
        margin = max(abs(low), abs(high), 1.0) / 2
        low, high = low - margin, high + margin
    return np.linspace(low, high, bins + 1)


def _flat(values):
    if hasattr(values, "toarray") and not isinstance(values, np.ndarray):
        values = values.toarray()
    return np.ravel(np.asarray(to_host(from_device(values))))
