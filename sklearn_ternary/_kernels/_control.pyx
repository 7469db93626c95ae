"""How long a step of training is, in one call.

The definition are the methods of the same names in
`sklearn_ternary.neural_network._steps`; the numbers between two steps are theirs.
"""

from libc.stdint cimport int64_t

cdef extern from "control.h" nogil:
    enum:
        STERN_REPORT
        STERN_WEIGHTS
    ctypedef struct stern_signals:
        pass
    ctypedef struct stern_guard:
        pass
    ctypedef struct stern_controller:
        pass
    ctypedef struct stern_trust:
        pass
    ctypedef struct stern_clusters:
        pass
    ctypedef struct stern_memory:
        pass
    ctypedef struct stern_learner:
        double *weights
        double *n_steps
        stern_memory *last
        int learns
    ctypedef struct stern_control:
        stern_signals *signals
        stern_guard *guard
        stern_controller *controller
        stern_trust *trust
        stern_learner learner
        double gain
        double learning_rate
        double n_steps
        double warmup_steps
        double controller_steps
        double power_t
        double radius
        int schedule
        int bound
        Py_ssize_t n_segments
        Py_ssize_t n_groups
        const long long *groups
        const double *counts
        const double *lengths
        stern_clusters *clusters
        double *row_means
        double keep
        double *radii
        double *norms
        double *factors
        double *report
    int stern_control_begin(
        const stern_control *c, double loss, const double *sums, double t
    ) noexcept
    int stern_control_observe_rows(
        const stern_control *c, const double *sums
    ) noexcept
    void stern_control_end(
        const stern_control *c, const double *sums, double t
    ) noexcept

_SCHEDULES = {"constant": 0, "cosine": 1, "wsd": 2, "invscaling": 3}
_BOUNDS = {None: 0, "global": 1, "layer": 2, "cluster": 3}


cdef class Control:
    """What `step` reads and changes, bound once.

    Parameters
    ----------
    signals, guard, controller, trust : ndarray of float64
        Their numbers, in their orders.
    learner : tuple of ndarray, or None
        Parameters of the auxiliary network and both moments, of shape (3, 146); its
        steps; what it saw and answered last.
    learns : bool
    gain, learning_rate, power_t, radius : float
    n_steps, warmup_steps, controller_steps : float
    schedule, bound : str or None
    clusters : RowClusters or None
    regroup : callable
        Called with the sums where clusters are to be found anew; it changes `groups`
        and `counts`.
    lengths : ndarray of shape (n_segments,), float64
    groups : ndarray of shape (n_segments,), int64
    counts, radii, norms : ndarray of shape (n_groups,), float64
    factors : ndarray of shape (n_segments,), float64
    report : ndarray of shape (5,), float64
    """

    cdef stern_control _c
    cdef object _regroup
    cdef tuple _held

    def __init__(
        self, *, double[::1] signals, double[::1] guard, double[::1] controller,
        double[::1] trust, learner, bint learns, double gain, double learning_rate,
        double power_t, double radius, double n_steps, double warmup_steps,
        double controller_steps, schedule, bound, clusters, regroup,
        const double[::1] lengths, const int64_t[::1] groups,
        const double[::1] counts, double[::1] radii, double[::1] norms,
        double[::1] factors, double[::1] report,
    ):
        cdef double[:, ::1] weights
        cdef double[::1] steps, last, row_means = None, numbers = None
        self._c.signals = <stern_signals *> &signals[0]
        self._c.guard = <stern_guard *> &guard[0]
        self._c.controller = <stern_controller *> &controller[0]
        self._c.trust = <stern_trust *> &trust[0]
        if (
            signals.nbytes != sizeof(stern_signals)
            or guard.nbytes != sizeof(stern_guard)
            or controller.nbytes != sizeof(stern_controller)
            or trust.nbytes != sizeof(stern_trust)
            or report.shape[0] != STERN_REPORT
            or factors.shape[0] != groups.shape[0]
            or lengths.shape[0] != groups.shape[0]
            or counts.shape[0] != radii.shape[0]
            or norms.shape[0] != radii.shape[0]
        ):
            raise ValueError("arrays of numbers have other sizes")
        self._c.learner.weights = NULL
        if learner is not None:
            weights, steps, last = learner
            if (
                weights.shape[0] != 3 or weights.shape[1] != STERN_WEIGHTS
                or last.nbytes != sizeof(stern_memory) or steps.shape[0] != 1
            ):
                raise ValueError("the auxiliary network has another size")
            self._c.learner.weights = &weights[0, 0]
            self._c.learner.n_steps = &steps[0]
            self._c.learner.last = <stern_memory *> &last[0]
            self._c.learner.learns = learns
        self._c.clusters = NULL
        if clusters is not None:
            numbers, row_means = clusters.numbers, clusters.row_means
            if (
                numbers.nbytes != sizeof(stern_clusters)
                or row_means.shape[0] != groups.shape[0]
            ):
                raise ValueError("the clusters have another size")
            self._c.clusters = <stern_clusters *> &numbers[0]
            self._c.row_means = &row_means[0]
            self._c.keep = clusters.keep
        self._c.gain = gain
        self._c.learning_rate = learning_rate
        self._c.power_t = power_t
        self._c.radius = radius
        self._c.n_steps = n_steps
        self._c.warmup_steps = warmup_steps
        self._c.controller_steps = controller_steps
        self._c.schedule = _SCHEDULES[schedule]
        self._c.bound = _BOUNDS[bound]
        self._c.n_segments = groups.shape[0]
        self._c.n_groups = radii.shape[0]
        self._c.groups = <const long long *> &groups[0]
        self._c.counts = &counts[0]
        self._c.lengths = &lengths[0]
        self._c.radii = &radii[0]
        self._c.norms = &norms[0]
        self._c.factors = &factors[0]
        self._c.report = &report[0]
        self._regroup = regroup
        self._held = (
            signals, guard, controller, trust, learner, numbers, row_means, lengths,
            groups, counts, radii, norms, factors, report,
        )

    def step(self, double loss, sums, double t):
        """Set factors and report; False where training has failed.

        Parameters
        ----------
        loss : float
        sums : ndarray of shape (n_segments, 5), float64
        t : float
            Steps before this one.

        Returns
        -------
        goes_on : bool
        """
        cdef const double[:, ::1] table = sums
        if table.shape[0] != self._c.n_segments or table.shape[1] != 5:
            raise ValueError("sums are not those of the segments")
        if not stern_control_begin(&self._c, loss, &table[0, 0], t):
            return False
        if self._c.clusters and stern_control_observe_rows(&self._c, &table[0, 0]):
            self._regroup(sums)
        stern_control_end(&self._c, &table[0, 0], t)
        return True
