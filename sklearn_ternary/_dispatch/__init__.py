"""The operations, each on the backend chosen for it.

Every function has the arguments of its namesake in `sklearn_ternary._reference`
and takes a `Config` besides: what `effective_config` returned to a public
function, which passes it down. Without it the configuration of the calling
thread counts.
"""

from sklearn_ternary._dispatch._choice import choose
from sklearn_ternary._dispatch.clustering import (
    cheapest,
    device_pieces,
    goes_to_device,
    iterate,
    iterates,
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
from sklearn_ternary._dispatch.products import (
    multiply_float,
    multiply_int8,
)
from sklearn_ternary._dispatch.programs import choose_program, config_of_rows
from sklearn_ternary._dispatch.quantization import (
    absmean_pack,
    affine_codes,
    affine_values,
    code_sums,
    code_values,
    column_abs_max,
    column_abs_sum,
    columns,
    count_codes,
    decode_codes,
    encode_codes,
    find_invalid,
    find_nonfinite,
    group_scale,
    pack,
    quantize_codes,
    quantize_pack,
    quantize_values,
    unpack,
    unpack_values,
)

__all__ = [
    "absmean_pack",
    "affine_codes",
    "affine_values",
    "cheapest",
    "choose",
    "choose_program",
    "code_sums",
    "code_values",
    "column_abs_max",
    "column_abs_sum",
    "columns",
    "config_of_rows",
    "count_codes",
    "decode_codes",
    "device_pieces",
    "encode_codes",
    "find_invalid",
    "find_nonfinite",
    "goes_to_device",
    "group_scale",
    "iterate",
    "iterates",
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
