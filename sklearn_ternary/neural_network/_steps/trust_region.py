"""How long a step may be, and whether it was a good one."""

import math

from sklearn_ternary.neural_network._steps.numbers import Number, Numbers, total

# No layer counts as shorter than this for its radius, or zeros would stay zeros.
_LEAST_NORM = 1e-3
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
    kind : {None, "global", "layer"}
        - None: no bound.
        - ``"global"``: ``r = radius ||p0|| b exp(U2)`` for all parameters at once, p0
          being the first ones, b the schedule and U2 the controller's.
        - ``"layer"``: ``r = radius ||p|| b exp(U2)`` for each layer with its own
          parameters p; where it always binds, this is the trust ratio of LARS [1]_.
    radius : float
    segments : Segments
    first_norm : float
        ``||p0||``.

    Attributes
    ----------
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

    def __init__(self, kind, radius, segments, first_norm):
        super().__init__()
        self.kind = kind
        self.radius = radius
        self.segments = segments
        self.first_norm = first_norm
        self.scale = 1.0

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
            Whether the radius shortened the step; for ``"layer"``, most layers.
        """
        lengths = sums[2]
        if self.kind == "layer":
            return self._bound_layers(learning_rate, multiplier * self.scale, sums)
        norm, radius, is_active = math.sqrt(total(lengths)), math.inf, False
        if self.kind == "global":
            radius = self.radius * self.first_norm * multiplier * self.scale
            learning_rate, is_active = _shortened(learning_rate, norm, radius)
        factors = [learning_rate] * len(lengths)
        return factors, learning_rate * norm, radius, is_active

    def _bound_layers(self, learning_rate, multiplier, sums):
        factors = [0.0] * len(sums[2])
        squares = squared_radius = n_active = 0
        for layer in self.segments.layers:
            size = math.sqrt(total(sums[4][i] for i in layer))
            norm = math.sqrt(total(sums[2][i] for i in layer))
            radius = self.radius * max(size, _LEAST_NORM) * multiplier
            factor, is_active = _shortened(learning_rate, norm, radius)
            for i in layer:
                factors[i] = factor
            length = factor * norm
            squares += length * length
            squared_radius += radius * radius
            n_active += is_active
        is_active = n_active > len(self.segments.layers) / 2
        return factors, math.sqrt(squares), math.sqrt(squared_radius), is_active

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
