"""Where the first NaN or infinity is."""

import numpy as np


def find_nonfinite(X):
    """Flat index (C order) of the first value that is not finite, or -1."""
    nonfinite = ~np.isfinite(X)
    return int(np.argmax(nonfinite)) if nonfinite.any() else -1
