"""What the optimizer gets of a gradient."""

from sklearn_ternary._gpu.arrays import assign

_CODES_PER_BYTE = 5  # as layout "t5" packs them


class Gradients:
    """Gradients as they are.

    Attributes
    ----------
    residual : ndarray of shape (n,) or None
        What rounding has left out so far, and will be added to the next gradient.
    """

    residual = None

    def __init__(self, segments, dtype):
        self.segments = segments
        self.dtype = dtype

    def prepare(self, gradient, gradient_scale):
        """Change a gradient to what the optimizer gets.

        Parameters
        ----------
        gradient : ndarray of shape (n,)
        gradient_scale : float
            The gradient counts times this.

        Returns
        -------
        gradient_scale : float
            The changed gradient counts times this.
        """
        return gradient_scale

    @property
    def n_bytes(self):
        """What one gradient takes where it is kept or sent."""
        return self.segments.n_values * self.dtype.itemsize

    @property
    def n_kept_bytes(self):
        """Memory of the residual."""
        return 0 if self.residual is None else self.residual.nbytes

    @property
    def state(self):
        """Arrays that a checkpoint holds, by name."""
        return {}

    @state.setter
    def state(self, state):
        pass


class TernaryGradients(Gradients):
    """Gradients of three levels, with one scale for the weights of each unit.

    What the rounding leaves out is added to the next gradient [1]_, [2]_, so that it
    arrives later instead of never.

    Parameters
    ----------
    segments : Segments
    operations : module or namespace
        The functions of `sklearn_ternary._reference.steps`.
    dtype : dtype
    has_feedback : bool
        False forgets what the rounding leaves out.

    References
    ----------
    .. [1] F. Seide et al., "1-bit stochastic gradient descent and its application to
       data-parallel distributed training of speech DNNs", Interspeech 2014.
    .. [2] S. P. Karimireddy et al., "Error feedback fixes SignSGD and other gradient
       compression schemes", ICML 2019, https://arxiv.org/abs/1901.09847
    """

    def __init__(self, segments, operations, dtype, has_feedback):
        super().__init__(segments, dtype)
        self.operations = operations
        self.has_feedback = has_feedback
        self._left_out = operations.zeros(segments.n_values, dtype)

    @property
    def residual(self):
        return self._left_out if self.has_feedback else None

    def prepare(self, gradient, gradient_scale):
        if not self.has_feedback:
            self._left_out[...] = 0
        self.operations.ternary_gradient(
            gradient, self._left_out, self.segments.row_bounds, gradient_scale
        )
        return 1.0

    @property
    def n_bytes(self):
        n_rows = len(self.segments.row_bounds) - 1
        packed = -(-self.segments.n_values // _CODES_PER_BYTE)
        return packed + n_rows * self.dtype.itemsize

    @property
    def state(self):
        return {"residual": self._left_out} if self.has_feedback else {}

    @state.setter
    def state(self, state):
        if self.has_feedback:
            assign(self._left_out, state["residual"])


def make_gradients(kind, has_feedback, segments, operations, dtype):
    """What gradients go through, by its name.

    Parameters
    ----------
    kind : {"ternary"} or None
    has_feedback : bool
    segments : Segments
    operations : module or namespace
    dtype : dtype

    Returns
    -------
    gradients : Gradients
    """
    if kind is None:
        return Gradients(segments, dtype)
    return TernaryGradients(segments, operations, dtype, has_feedback)
