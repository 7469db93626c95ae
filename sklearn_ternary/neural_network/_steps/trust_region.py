"""How long a step may be, and whether it was a good one."""

import math

import numpy as np

from sklearn_ternary.neural_network._steps.numbers import Number, Numbers, total
from sklearn_ternary.neural_network._steps.row_clusters import RowClusters

# No layer counts as shorter than this for its radius, or zeros would stay zeros.
_LEAST_NORM = 1e-3
# No cluster counts as having less than this share of the mean square of all
# parameters, or biases that begin at zero would stay there.
_LEAST_SHARE = 0.01
_KEEP = 0.99
# What the ratio test may do to the radius.
_LEAST_SCALE = 1 / 256
_LARGEST_SCALE = 4.0
_MOST_REJECTIONS = 3
# Rounding of float32 factors and products must not make a step too long.
_ROUNDING = 1 - 2.0**-22


class TrustRegion(Numbers):
    """Bounds the length of a step, weight decay included.

    With the direction s of the optimizer and the learning rate η the step is ``d =
    η s``, shortened to ``d r / ||d||`` where ``||d|| > r``: the exact minimum of
    ``-s·d + ||d||² / (2 η)`` over ``||d|| <= r``.

    Parameters
    ----------
    kind : {None, "global", "layer", "cluster"}
        - None: no bound.
        - ``"global"``: ``r = radius ||p0|| b exp(U2)`` for all parameters at once, p0
          being the first ones, b the schedule and U2 the controller's.
        - ``"layer"``: ``r = radius ||p|| b exp(U2)`` for each layer with its own
          parameters p; where it always binds, this is the trust ratio of LARS [1]_.
        - ``"cluster"``: ``r_k = r ||p_k|| / ||p||`` for the rows of each cluster,
          with the r of ``"global"`` (and no ``||p_k||`` below a tenth of its share by
          number): the squares of all ``r_k`` add up to ``r²``.
    radius : float
    segments : Segments
        For ``"cluster"``, of rows unless there is but one cluster.
    first_norm : float
        ``||p0||``.
    n_clusters : int, default=1
    random_state : int, default=0
        For ``"cluster"``.

    Attributes
    ----------
    clusters : RowClusters or None
    groups : ndarray of shape (n_segments,), int64
        The group of each segment: the parameters of a layer, of a cluster, or all.
        Steps of a group are bounded together.
    counts : ndarray of shape (n_groups,)
        Parameters of each group.
    radii : ndarray of shape (n_groups,)
        Of the last step.
    norms : ndarray of shape (n_groups,)
        Of the last direction, before it was bounded.
    scale : float
        What the ratio test has made of the radius.
    n_rejected : int
        Rejections in a row.
    is_active : bool
        Whether the radius shortened the last step.

    References
    ----------
    .. [1] Y. You, I. Gitman and B. Ginsburg, "Large batch training of convolutional
       networks", 2017, https://arxiv.org/abs/1708.03888
    .. [2] A. Conn, N. Gould and P. Toint, "Trust-region methods", 2000.
    """

    NUMBERS = "scale", "first_norm", "is_active", "n_rejected"
    scale = Number()
    first_norm = Number()
    is_active = Number(bool)
    n_rejected = Number(int)

    def __init__(
        self, kind, radius, segments, first_norm, n_clusters=1, random_state=0
    ):
        super().__init__()
        self.kind = kind
        self.radius = radius
        self.segments = segments
        self.first_norm = first_norm
        self.scale = 1.0
        self.clusters = None
        self.groups = np.zeros(len(segments), dtype=np.int64)
        self.lengths = np.diff(segments.bounds).astype(np.float64)
        n_groups = 1
        if kind == "layer":
            self.groups[:] = segments.layers
            n_groups = 1 + segments.layers.max()
        elif kind == "cluster":
            self.clusters = RowClusters(self.lengths, n_clusters, _KEEP, random_state)
            n_groups = self.clusters.n_clusters
        self.counts, self.radii, self.norms = np.zeros((3, n_groups))
        self._group()

    def regroup(self, sums):
        """Find the clusters anew.

        Parameters
        ----------
        sums : ndarray of shape (n_segments, 5)
            From `find_direction`.
        """
        self.clusters.find(np.sqrt(sums[:, 4] / self.lengths))
        self._group()

    def bound(self, learning_rate, multiplier, sums):
        """Learning rate of each segment for a step within the radius.

        Parameters
        ----------
        learning_rate : float
        multiplier : float
            Of the radius: schedule and controller.
        sums : ndarray of shape (n_segments, 5)
            From `find_direction`.

        Returns
        -------
        factors : ndarray of shape (n_segments,)
        step_norm : float
            ``||d||``.
        radius : float
            What it does not exceed; the root of the sum of the squares of the
            layers' for ``"layer"``.
        is_active : bool
            Whether the radius shortened the step; for ``"layer"`` and ``"cluster"``,
            that of most.
        """
        multiplier *= self.scale
        radius = math.inf
        if self.kind is not None:
            radius = self.radius * self.first_norm * multiplier
        self.radii[:] = radius
        sizes = np.bincount(self.groups, sums[:, 4], len(self.radii))
        if self.kind == "layer":
            norms = np.maximum(np.sqrt(sizes), _LEAST_NORM)
            self.radii[:] = self.radius * norms * multiplier
            radius = math.sqrt(total(self.radii**2))
        elif self.kind == "cluster":
            self.radii[:] = radius * self._shares(sizes)
        lengths = np.bincount(self.groups, sums[:, 2], len(self.radii))
        self.norms[:] = np.sqrt(lengths)
        is_active = learning_rate * self.norms > self.radii
        factors = np.full(len(self.radii), learning_rate)
        bounded = self.radii[is_active] / self.norms[is_active]
        factors[is_active] = bounded * _ROUNDING
        step_norm = math.sqrt(total((factors * self.norms) ** 2))
        most = 2 * is_active.sum() > np.count_nonzero(self.counts)
        return factors[self.groups], step_norm, radius, bool(most)

    def _shares(self, sizes):
        """Roots of the shares of the groups in the squared radius."""
        least = _LEAST_SHARE * total(sizes) * self.counts / total(self.counts)
        shares = np.maximum(sizes, least)
        if not shares.any():
            shares = self.counts
        return np.sqrt(shares / total(shares))

    def _group(self):
        if self.clusters is not None:
            self.groups[:] = self.clusters.labels
        self.counts[:] = np.bincount(self.groups, self.lengths, len(self.counts))

    def judge(self, rho, step_norm, radius, is_active):
        """Accept or reject a step, and set the radius of the following ones.

        Parameters
        ----------
        rho : float
            Reduction of the loss over the predicted one.
        step_norm, radius, is_active
            As `bound` returned them.

        Returns
        -------
        accepted : bool
            After three rejections in a row a step is accepted, as noise alone would
            stop progress otherwise.
        """
        accepted = rho >= 0 or self.n_rejected >= _MOST_REJECTIONS
        self.n_rejected = 0 if accepted else self.n_rejected + 1
        if rho < 0:
            self.scale *= 0.5 * min(1.0, step_norm / radius)
        elif rho < 0.25:
            self.scale *= 0.7
        elif rho > 0.75 and is_active:
            self.scale *= 2.0
        self.scale = min(_LARGEST_SCALE, max(_LEAST_SCALE, self.scale))
        return accepted

    @property
    def state(self):
        state = super().state
        if self.clusters is not None:
            found = self.clusters.state
            state |= {f"clusters.{name}": value for name, value in found.items()}
        return state

    @state.setter
    def state(self, state):
        Numbers.state.fset(self, state)
        if self.clusters is not None:
            names = self.clusters.state
            self.clusters.state = {name: state[f"clusters.{name}"] for name in names}
            self._group()


def reduction_ratio(loss, new_loss, slope, curvature, learning_rate):
    """Reduction of the loss over what the model of the step predicts.

    The model is ``-g·d - d·P d / (2 η)``, P being the diagonal that the optimizer
    divides by; for ``d = -η g / P`` it is half of ``-g·d``. The gradient is that of
    the straight-through estimator, so this guards against bad steps statistically,
    no more.

    Parameters
    ----------
    loss, new_loss : float
        On the same batch, before and after the step.
    slope : float
        ``g·d``.
    curvature : float
        ``d·P d``.
    learning_rate : float

    Returns
    -------
    rho : float
        ``-inf`` where `new_loss` is not finite.
    """
    if not math.isfinite(new_loss):
        return -math.inf
    predicted = -slope - curvature / (2 * learning_rate)
    return (loss - new_loss) / max(predicted, 1e-12)
