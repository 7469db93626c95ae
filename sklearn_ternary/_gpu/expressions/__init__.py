"""The operations as expressions of CuPy, for devices that the kernels are not for.

Those are the devices before compute capability 8.0. Much of what
`sklearn_ternary._reference` writes in functions of NumPy is done by those of CuPy where
they are given its arrays; what is in loops there is written anew here, with the same
bits. Layouts without kernels are written like this on all devices.

Operations that are not here have kernels for the older devices, too: the sums of
columns, whose order is that of the rows, and searches.
"""

from sklearn_ternary._gpu.expressions import clusters, codes, scales

# By the name of what they stand for.
OPERATIONS = {
    function.__name__: function
    for function in (
        clusters.label_distances,
        clusters.nearest,
        codes.affine_codes,
        codes.affine_values,
        codes.code_values,
        codes.count_codes,
        codes.find_invalid,
        codes.find_nonfinite,
        codes.pack,
        codes.quantize_codes,
        codes.quantize_pack,
        codes.quantize_values,
        codes.unpack,
        codes.unpack_values,
        scales.group_scale,
    )
}
