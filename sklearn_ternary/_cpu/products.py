"""Products with a stored matrix."""

from sklearn_ternary._cpu.matmul import PackedMatrix


def multiply_float(matrix, X, *, n_threads, isa):
    """Rows of floats times the stored matrix (its transpose, if `transposed`)."""
    options = {"n_threads": n_threads, "isa": isa}
    return matrix.form("cpu", PackedMatrix, **options).matmul_float(X, **options)


def multiply_int8(matrix, X, *, n_threads, isa):
    """The same for float32 rows that are rounded to 8 bits first."""
    options = {"n_threads": n_threads, "isa": isa}
    return matrix.form("cpu", PackedMatrix, **options).matmul_int8(X, **options)
