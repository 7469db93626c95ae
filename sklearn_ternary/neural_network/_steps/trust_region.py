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
    groups : list of list of int
        Segments whose step is bounded together; not for ``"global"``.
    radii : list of float
        The radius of each group at the last step.
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
        self.groups = segments.layers
        self.radii = []
        self.clusters = None
        if kind == "cluster":
            self.lengths = np.diff(segments.bounds)
            self.clusters = RowClusters(self.lengths, n_clusters, _KEEP, random_state)
            self._group()

    def bound(self, learning_rate, multiplier, sums):
        """Learning rate of each segment for a step within the radius.

        Parameters
        ----------
        learning_rate : float
        multiplier : float
            Of the radius: schedule and controller.
        sums : list of 5 lists of float
            From `find_direction`, transposed.

        Returns
        -------
        factors : list of float
            For each segment.
        step_norm : float
            ``||d||``.
        radius : float
            What it does not exceed; the root of the sum of the squares of the
            layers' for ``"layer"``.
        is_active : bool
            Whether the radius shortened the step; for ``"layer"`` and ``"cluster"``,
            that of most.
        """
        lengths = sums[2]
        multiplier *= self.scale
        if self.kind == "layer":
            self.radii = self._layer_radii(multiplier, sums[4])
            radius = math.sqrt(total(r * r for r in self.radii))
            return self._bound_groups(learning_rate, radius, lengths)
        radius = self.radius * self.first_norm * multiplier
        if self.kind == "cluster":
            self.radii = self._cluster_radii(radius, sums)
            return self._bound_groups(learning_rate, radius, lengths)
        norm, is_active = math.sqrt(total(lengths)), False
        if self.kind == "global":
            learning_rate, is_active = _shortened(learning_rate, norm, radius)
        else:
            radius = math.inf
        return [learning_rate] * len(lengths), learning_rate * norm, radius, is_active

    def _bound_groups(self, learning_rate, radius, lengths):
        factors = [0.0] * len(lengths)
        squares = n_active = 0
        for group, limit in zip(self.groups, self.radii, strict=True):
            norm = math.sqrt(total(lengths[i] for i in group))
            factor, is_active = _shortened(learning_rate, norm, limit)
            for i in group:
                factors[i] = factor
            length = factor * norm
            squares += length * length
            n_active += is_active
        is_active = n_active > len(self.groups) / 2
        return factors, math.sqrt(squares), radius, is_active

    def _layer_radii(self, multiplier, sizes):
        norms = (math.sqrt(total(sizes[i] for i in layer)) for layer in self.groups)
        return [self.radius * max(norm, _LEAST_NORM) * multiplier for norm in norms]

    def _cluster_radii(self, radius, sums):
        sizes = np.array(sums[4])
        if self.clusters.observe(np.array(sums[0])):
            self.clusters.find(np.sqrt(sizes / self.lengths))
            self._group()
        counts = np.bincount(self.group_of_segments, self.lengths)
        shares = np.bincount(self.group_of_segments, sizes)
        shares = np.maximum(shares, _LEAST_SHARE * shares.sum() * counts / counts.sum())
        if not shares.any():
            shares = counts
        return (radius * np.sqrt(shares / shares.sum())).tolist()

    def _group(self):
        """Make groups of the clusters."""
        found, labels = np.unique(self.clusters.labels, return_inverse=True)
        self.group_of_segments = labels
        self.groups = [np.flatnonzero(labels == k).tolist() for k in range(len(found))]

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


def _shortened(learning_rate, norm, radius):
    if learning_rate * norm <= radius:
        return learning_rate, False
    return radius / norm * _ROUNDING, True


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
