"""Steps of optimizers on the flat array of all parameters.

Pieces of fixed size are shared out among threads, and their sums are kept apart, so
that results do not depend on the number of threads.
"""

from cython cimport floating
from cython.parallel cimport prange
from libc.stdint cimport int64_t

cdef extern from "steps.h" nogil:
    enum:
        STERN_STEP_PIECE
        STERN_STEP_SUMS
        STERN_STEP_CONSTANTS
        STERN_STEP_DECAY

    ctypedef struct stern_steps_f32:
        void (*adamw)(
            const float *, const float *, float *, float *, float *, Py_ssize_t,
            const float *, double *
        ) noexcept nogil
        void (*sgd)(
            const float *, const float *, float *, float *, Py_ssize_t,
            const float *, double *
        ) noexcept nogil
        void (*shared)(
            const float *, const float *, float *, const float *, Py_ssize_t,
            Py_ssize_t, float *, Py_ssize_t, const float *, double *
        ) noexcept nogil
        double (*squares)(const float *, Py_ssize_t) noexcept nogil
        double (*magnitudes)(const float *, Py_ssize_t) noexcept nogil
        void (*ternary)(float *, float *, Py_ssize_t, float) noexcept nogil
        void (*apply)(float *, const float *, Py_ssize_t, float) noexcept nogil

    ctypedef struct stern_steps_f64:
        void (*adamw)(
            const double *, const double *, double *, double *, double *, Py_ssize_t,
            const double *, double *
        ) noexcept nogil
        void (*sgd)(
            const double *, const double *, double *, double *, Py_ssize_t,
            const double *, double *
        ) noexcept nogil
        void (*shared)(
            const double *, const double *, double *, const double *, Py_ssize_t,
            Py_ssize_t, double *, Py_ssize_t, const double *, double *
        ) noexcept nogil
        double (*squares)(const double *, Py_ssize_t) noexcept nogil
        double (*magnitudes)(const double *, Py_ssize_t) noexcept nogil
        void (*ternary)(double *, double *, Py_ssize_t, double) noexcept nogil
        void (*apply)(double *, const double *, Py_ssize_t, double) noexcept nogil

    const stern_steps_f32 *stern_steps_f32_for(int isa) noexcept
    const stern_steps_f64 *stern_steps_f64_for(int isa) noexcept

N_CONSTANTS = STERN_STEP_CONSTANTS


def adamw_direction(
    const floating[::1] gradient,      # IN
    const floating[::1] parameters,    # IN
    floating[::1] first,               # IN, OUT
    floating[::1] second,              # IN, OUT
    floating[::1] direction,           # IN, OUT
    const int64_t[:, ::1] pieces,      # IN, where each begins and ends
    const floating[:, ::1] constants,  # IN, of each piece
    double[:, ::1] sums,               # IN zeros, OUT, of each piece
    int isa,
    int n_threads,
):
    cdef Py_ssize_t i, a, n
    for i in prange(
        pieces.shape[0], nogil=True, schedule="static", num_threads=n_threads
    ):
        a = pieces[i, 0]
        n = pieces[i, 1] - a
        if floating is float:
            stern_steps_f32_for(isa).adamw(
                &gradient[a], &parameters[a], &first[a], &second[a], &direction[a], n,
                &constants[i, 0], &sums[i, 0],
            )
        else:
            stern_steps_f64_for(isa).adamw(
                &gradient[a], &parameters[a], &first[a], &second[a], &direction[a], n,
                &constants[i, 0], &sums[i, 0],
            )


def sgd_direction(
    const floating[::1] gradient,      # IN
    const floating[::1] parameters,    # IN
    floating[::1] first,               # IN, OUT
    floating[::1] direction,           # IN, OUT
    const int64_t[:, ::1] pieces,      # IN
    const floating[:, ::1] constants,  # IN
    double[:, ::1] sums,               # IN zeros, OUT
    int isa,
    int n_threads,
):
    cdef Py_ssize_t i, a, n
    for i in prange(
        pieces.shape[0], nogil=True, schedule="static", num_threads=n_threads
    ):
        a = pieces[i, 0]
        n = pieces[i, 1] - a
        if floating is float:
            stern_steps_f32_for(isa).sgd(
                &gradient[a], &parameters[a], &first[a], &direction[a], n,
                &constants[i, 0], &sums[i, 0],
            )
        else:
            stern_steps_f64_for(isa).sgd(
                &gradient[a], &parameters[a], &first[a], &direction[a], n,
                &constants[i, 0], &sums[i, 0],
            )


def shared_direction(
    const floating[::1] gradient,      # IN
    const floating[::1] parameters,    # IN
    floating[::1] first,               # IN, OUT
    const floating[::1] divisors,      # IN, of each row
    floating[::1] direction,           # IN, OUT
    const int64_t[:, ::1] pieces,      # IN
    const int64_t[:, ::1] rows,        # IN, of each: first row, values of it that are
                                       # in the piece before, values of a row
    const floating[:, ::1] constants,  # IN, as of adamw_direction
    double[:, ::1] sums,               # IN zeros, OUT
    int isa,
    int n_threads,
):
    cdef Py_ssize_t i, a, n
    for i in prange(
        pieces.shape[0], nogil=True, schedule="static", num_threads=n_threads
    ):
        a = pieces[i, 0]
        n = pieces[i, 1] - a
        if floating is float:
            stern_steps_f32_for(isa).shared(
                &gradient[a], &parameters[a], &first[a], &divisors[rows[i, 0]],
                rows[i, 1], rows[i, 2], &direction[a], n, &constants[i, 0],
                &sums[i, 0],
            )
        else:
            stern_steps_f64_for(isa).shared(
                &gradient[a], &parameters[a], &first[a], &divisors[rows[i, 0]],
                rows[i, 1], rows[i, 2], &direction[a], n, &constants[i, 0],
                &sums[i, 0],
            )


def part_sums(
    const floating[::1] x,          # IN
    const int64_t[::1] bounds,      # IN
    bint squares,                   # else magnitudes
    double[::1] sums,               # OUT
    int isa,
    int n_threads,
):
    cdef Py_ssize_t i, a, n
    for i in prange(
        sums.shape[0], nogil=True, schedule="static", num_threads=n_threads
    ):
        a = bounds[i]
        n = bounds[i + 1] - a
        if floating is float:
            if squares:
                sums[i] = stern_steps_f32_for(isa).squares(&x[a], n)
            else:
                sums[i] = stern_steps_f32_for(isa).magnitudes(&x[a], n)
        elif squares:
            sums[i] = stern_steps_f64_for(isa).squares(&x[a], n)
        else:
            sums[i] = stern_steps_f64_for(isa).magnitudes(&x[a], n)


def ternary_gradient(
    floating[::1] gradient,         # IN, OUT
    floating[::1] residual,         # IN, OUT
    const int64_t[::1] row_bounds,  # IN
    floating scale,
    int isa,
    int n_threads,
):
    cdef Py_ssize_t i, a, n
    for i in prange(
        row_bounds.shape[0] - 1, nogil=True, schedule="static", num_threads=n_threads
    ):
        a = row_bounds[i]
        n = row_bounds[i + 1] - a
        if floating is float:
            stern_steps_f32_for(isa).ternary(&gradient[a], &residual[a], n, scale)
        else:
            stern_steps_f64_for(isa).ternary(&gradient[a], &residual[a], n, scale)


def apply_step(
    floating[::1] parameters,       # IN, OUT
    const floating[::1] direction,  # IN
    const int64_t[:, ::1] pieces,   # IN
    const floating[::1] factors,    # IN, of each piece
    int isa,
    int n_threads,
):
    cdef Py_ssize_t i, a, n
    for i in prange(
        pieces.shape[0], nogil=True, schedule="static", num_threads=n_threads
    ):
        a = pieces[i, 0]
        n = pieces[i, 1] - a
        if floating is float:
            stern_steps_f32_for(isa).apply(
                &parameters[a], &direction[a], n, factors[i]
            )
        else:
            stern_steps_f64_for(isa).apply(
                &parameters[a], &direction[a], n, factors[i]
            )
