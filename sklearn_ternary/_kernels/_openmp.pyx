"""How many threads a loop may use."""

import os

from sklearn_ternary._kernels._available_cpus import available_cpus

# A forked child must not open a parallel region of more than one thread: GNU
# libgomp keeps its parent's dead threads and waits for them for ever.
_in_forked_child = False
# The container's quota does not change while a process runs.
_n_cpus = None


def _mark_forked_child():
    global _in_forked_child
    _in_forked_child = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_forked_child)


def openmp_enabled():
    """Whether the package was built with OpenMP."""
    return bool(STERN_OPENMP_ENABLED)


def effective_n_threads(n_threads=None):
    """Threads to use for a request of `n_threads`.

    None is all that OpenMP (``OMP_NUM_THREADS``, threadpoolctl) and the
    processors and quota of the container allow; negative numbers count back from
    there, -1 being all.
    """
    if n_threads == 0:
        raise ValueError("n_threads=0 is invalid: it is a number of threads")
    if not STERN_OPENMP_ENABLED or _in_forked_child:
        return 1
    if n_threads is not None and n_threads > 0:
        return n_threads
    limit = omp_get_max_threads()
    if not os.getenv("OMP_NUM_THREADS"):
        limit = min(limit, _available_cpus())
    if n_threads is None:
        return limit
    return max(1, limit + n_threads + 1)


def _available_cpus():
    global _n_cpus
    if _n_cpus is None:
        _n_cpus = available_cpus()
    return _n_cpus
