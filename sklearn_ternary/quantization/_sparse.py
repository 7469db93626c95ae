"""Packed matrices as sparse matrices of SciPy."""

import numpy as np

from sklearn_ternary._config import get_config
from sklearn_ternary.quantization._groups import row_panels


def to_csr(A):
    """Copy a packed matrix, a panel of rows at a time.

    Each panel is unpacked within ``working_memory``.
    """
    from scipy import sparse  # slow to import, and few need it

    memory = get_config()["working_memory"]
    panels = row_panels(*A.shape, A.dtype.itemsize, memory)
    parts = [sparse.csr_array(A[rows].toarray()) for rows in panels]
    if not parts:
        return sparse.csr_array(A.shape, dtype=A.dtype)
    return sparse.csr_array(sparse.vstack(parts, format="csr", dtype=np.dtype(A.dtype)))
