"""The definition of every operation, in plain NumPy: the ``numpy`` backend.

Short before fast. Every other backend has functions of the same names and
arguments, and is tested against these, bit for bit.

Arrays ``X`` are 2-D, C-contiguous, float32 or float64, shape (R, K). Values
share parameters (threshold, scale) in *groups*: each row is cut into runs of
`group_size` consecutive values, the last run may be shorter. A parameter array
has shape (R, G) with ``G = ceil(K / group_size)``, or (1, G) when all rows
share it. So one value per row is ``group_size=K`` and shape (R, 1); one per
column is ``group_size=1`` and shape (1, K); one for all is shape (1, 1).
"""

from sklearn_ternary._reference.affine import affine_codes, affine_values
from sklearn_ternary._reference.entropy import decode_codes, encode_codes
from sklearn_ternary._reference.lloyd import (
    iterate,
    label_distances,
    label_distances_csr,
    move_rows,
    move_rows_csr,
    nearest_centers,
    nearest_centers_csr,
    potentials,
    row_tiles,
    update_labels,
)
from sklearn_ternary._reference.lloyd_codes import row_codes
from sklearn_ternary._reference.nonfinite import find_nonfinite
from sklearn_ternary._reference.pack import (
    code_sums,
    code_values,
    count_codes,
    find_invalid,
    pack,
    unpack,
    unpack_values,
)
from sklearn_ternary._reference.products import multiply_float, multiply_int8
from sklearn_ternary._reference.quantize import (
    absmean_pack,
    column_abs_max,
    column_abs_sum,
    columns,
    group_scale,
    quantize_codes,
    quantize_pack,
    quantize_values,
)
from sklearn_ternary._reference.transport import cheapest, follow_paths

__all__ = [
    "absmean_pack",
    "affine_codes",
    "affine_values",
    "cheapest",
    "code_sums",
    "code_values",
    "column_abs_max",
    "column_abs_sum",
    "columns",
    "count_codes",
    "decode_codes",
    "encode_codes",
    "find_invalid",
    "find_nonfinite",
    "follow_paths",
    "group_scale",
    "iterate",
    "label_distances",
    "label_distances_csr",
    "move_rows",
    "move_rows_csr",
    "multiply_float",
    "multiply_int8",
    "nearest_centers",
    "nearest_centers_csr",
    "pack",
    "potentials",
    "quantize_codes",
    "quantize_pack",
    "quantize_values",
    "row_codes",
    "row_tiles",
    "unpack",
    "unpack_values",
    "update_labels",
]
