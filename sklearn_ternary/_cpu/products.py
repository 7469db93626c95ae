"""Products with a stored matrix."""

from functools import partial

from sklearn_ternary._cpu.matmul import PackedMatrix

# In 2 bits each they are more than the second-level cache of a core holds. Kernels
# with byte tables (level avx512) then are faster with 1.6 bits.
_CACHED_CODES = 2**23
# Fewer are not interleaved, see `PackedMatrix`.
_MANY_RESULTS = 64


def multiply_float(matrix, X, *, n_threads, isa):
    """Rows of floats times the stored matrix (its transpose, if `transposed`)."""
    options = {"n_threads": n_threads, "isa": isa}
    return matrix.form("cpu", PackedMatrix, **options).matmul_float(X, **options)


def multiply_int8(matrix, X, *, n_threads, isa):
    """The same for float32 rows that are rounded to 8 bits first."""
    options = {"n_threads": n_threads, "isa": isa}
    if _comes_from_memory(matrix) and isa == "avx512":
        form = matrix.form("cpu, dense", partial(PackedMatrix, format="t5"), **options)
    else:
        form = matrix.form("cpu", PackedMatrix, **options)
    return form.matmul_int8(X, **options)


def _comes_from_memory(matrix):
    """Whether fewer bytes are worth more than faster ones: see `_CACHED_CODES`."""
    n_results = matrix.n_values if matrix.transposed else matrix.packed.shape[0]
    n_codes = matrix.packed.shape[0] * matrix.n_values
    one_group = matrix.group_size >= matrix.n_values
    return one_group and n_results >= _MANY_RESULTS and n_codes > _CACHED_CODES
