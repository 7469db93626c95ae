"""NVIDIA devices through CuPy as a backend: the ``cuda`` backend.

Functions of the names and arguments of `sklearn_ternary._reference`, and one more
keyword: the number of the `device`, or None for the current one. CuPy arrays are
worked on where they are, on the current stream and without waiting for it, and
results are CuPy arrays. NumPy arrays go to the device and their results come back.
What is missing here raises NotImplementedError.

Importing this package does not import CuPy.
"""

from sklearn_ternary._gpu.affine import affine_codes, affine_values
from sklearn_ternary._gpu.blocks import label_distances
from sklearn_ternary._gpu.device import require, synchronize
from sklearn_ternary._gpu.lloyd import nearest_centers
from sklearn_ternary._gpu.nonfinite import find_nonfinite
from sklearn_ternary._gpu.pack import (
    code_sums,
    code_values,
    count_codes,
    find_invalid,
    pack,
    unpack,
    unpack_values,
)
from sklearn_ternary._gpu.products import multiply_float, multiply_int8
from sklearn_ternary._gpu.quantize import (
    absmean_pack,
    columns,
    quantize_codes,
    quantize_pack,
    quantize_values,
)
from sklearn_ternary._gpu.scales import (
    column_abs_max,
    column_abs_sum,
    group_scale,
)
from sklearn_ternary._gpu.sparse_rows import label_distances_csr, nearest_centers_csr

__all__ = [
    "absmean_pack",
    "affine_codes",
    "affine_values",
    "code_sums",
    "code_values",
    "column_abs_max",
    "column_abs_sum",
    "columns",
    "count_codes",
    "find_invalid",
    "find_nonfinite",
    "group_scale",
    "label_distances",
    "label_distances_csr",
    "multiply_float",
    "multiply_int8",
    "nearest_centers",
    "nearest_centers_csr",
    "pack",
    "quantize_codes",
    "quantize_pack",
    "quantize_values",
    "require",
    "synchronize",
    "unpack",
    "unpack_values",
]
