"""The compiled kernels as a backend: the ``cpu`` backend.

The functions and arguments of `sklearn_ternary._reference`, and two more: the
number of threads `n_threads` and the instruction-set level `isa`.
"""

from sklearn_ternary._cpu.affine import affine_codes, affine_values
from sklearn_ternary._cpu.entropy import decode_codes, encode_codes
from sklearn_ternary._cpu.lloyd import (
    iterate,
    label_distances,
    label_distances_csr,
    move_rows,
    move_rows_csr,
    nearest_centers,
    nearest_centers_csr,
    potentials,
    row_codes,
    row_tiles,
    update_labels,
)
from sklearn_ternary._cpu.nonfinite import find_nonfinite
from sklearn_ternary._cpu.pack import (
    code_sums,
    code_values,
    count_codes,
    find_invalid,
    pack,
    unpack,
    unpack_values,
)
from sklearn_ternary._cpu.products import multiply_float, multiply_int8
from sklearn_ternary._cpu.quantize import (
    absmean_pack,
    column_abs_max,
    column_abs_sum,
    columns,
    quantize_codes,
    quantize_pack,
    quantize_values,
)
from sklearn_ternary._cpu.scales import group_scale
from sklearn_ternary._cpu.transport import cheapest, follow_paths

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
