"""scikit-learn's checks of samples, at little cost for samples of the plain kind.

A look at all of X for NaN and infinity takes as long as a product with few outputs,
which tells the same: not even a weight of 0 makes something finite of them.
"""

import numpy as np
from scipy import sparse
from sklearn.utils.validation import validate_data

from sklearn_ternary._dispatch._choice import cpu_level
from sklearn_ternary._gpu.arrays import is_device_array, to_host
from sklearn_ternary._in_kind import validated
from sklearn_ternary._validation import is_of_fitted_kind

_CSR = (sparse.csr_array, sparse.csr_matrix)


def checked_product(estimator, X, multiply, **options):
    """``multiply(X)`` for samples that scikit-learn's checks let pass.

    A CuPy array is multiplied where it is; the outputs are of the host.

    Parameters
    ----------
    estimator : fitted estimator
    X : array-like or sparse of shape (n_samples, n_features)
    multiply : callable
        Maps samples to outputs, all of which are sums over all features.
    **options
        Those of :func:`sklearn.utils.validation.validate_data`, which checks X, and
        raises, unless only values that are not finite could be wrong and none is.

    Returns
    -------
    outputs : ndarray of shape (n_samples, n_outputs)
    """
    if is_device_array(X):
        X = validated(estimator, X, reset=False)
        with X.device:
            return to_host(multiply(X))
    if _is_plain(X, estimator, options.get("accept_sparse", ())):
        outputs = multiply(X)
        if outputs.size and np.isfinite(outputs).all():
            return outputs
    return multiply(validate_data(estimator, X, reset=False, **options))


def _is_plain(X, estimator, formats):
    """Whether X needs no conversion, and the checks pass but for its values."""
    dense = type(X) is np.ndarray and X.flags.c_contiguous
    return (
        (dense or (type(X) in _CSR and "csr" in formats))
        and is_of_fitted_kind(estimator, X)
        and estimator._compression.activations == "float32"
        and cpu_level() is not None
    )
