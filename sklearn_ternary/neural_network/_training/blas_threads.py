"""Products of BLAS on the thread that asks for them."""

from functools import cache

from threadpoolctl import ThreadpoolController


def one_blas_thread():
    """A context in which BLAS starts no threads.

    Programs share products out among threads of their own. Those of BLAS would wait
    for them, and they for those of BLAS: a step would take many times as long.

    Returns
    -------
    context : context manager
    """
    return _libraries().limit(limits=1, user_api="blas")


@cache
def _libraries():
    """BLAS is loaded with SciPy; looking for it takes as long as many steps."""
    return ThreadpoolController()
