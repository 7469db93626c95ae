"""The steps of k-means."""

import numpy as np

from sklearn_ternary._kernels import _lloyd
from sklearn_ternary._kernels._cpu_features import ISA_LEVELS
from sklearn_ternary._reference.lloyd import POTENTIAL_ROWS, TILE, in_frame
from sklearn_ternary._reference.lloyd import squared_norms as _squared_norms

_BLOCK = _lloyd.BLOCK_ROWS
_CSR_PAD = 8


def row_tiles(X, frame, *, n_threads, isa):
    """Rows in the frame, transposed: (tiles, d + 1, 32), squared norms at d."""
    n, d = X.shape
    tiles = np.empty((-(-n // TILE), d + 1, TILE), dtype=X.dtype)
    _lloyd.row_tiles(X, frame.scale, frame.shift, tiles, ISA_LEVELS[isa], n_threads)
    return tiles


def nearest_centers(X, centers, frame, tiles=None, *, n_threads, isa):
    """Label of each row: its nearest centre, the first of equally near ones."""
    labels = np.empty(len(X), dtype=np.int32)
    nothing = np.empty(0, dtype=X.dtype)
    bounds = nothing.reshape(0, 2), nothing, nothing
    scratch = _scratch(X, tiles is None, _BLOCK, n_threads)
    _nearest(X, centers, frame, tiles, labels, bounds, scratch, isa)
    return labels


def update_labels(
    X, centers, frame, tiles, labels, bounds, moved, others, *, n_threads, isa
):
    """`nearest_centers` where labels and bounds are known; changes both."""
    scratch = _scratch(X, True, _BLOCK, n_threads)
    bounds = bounds, moved, others
    _nearest(X, centers, frame, tiles, labels, bounds, scratch, isa)


def _nearest(X, centers, frame, tiles, labels, bounds, scratch, isa):
    k, d = centers.shape
    packed = np.empty(k * d, dtype=X.dtype)
    init = np.empty(k, dtype=X.dtype)
    level = ISA_LEVELS[isa]
    largest = _lloyd.pack_centers(
        centers, frame.scale, frame.shift, packed, init, level
    )
    alpha, beta = certainty(d, largest, X.dtype)
    _lloyd.nearest_centers(
        X,
        centers,
        frame.scale,
        frame.shift,
        packed,
        init,
        alpha,
        beta,
        _or_empty(tiles, X.dtype),
        scratch,
        labels,
        *bounds,
        level,
    )


def certainty(n_features, largest, dtype):
    """Alpha and beta of the test that tells rows whose label is certain.

    Let u be the unit roundoff of the dtype, v that of float64, x a row and c a
    centre in the frame, M² = `largest` the largest of |c|², d = `n_features`. A
    score s = x · c - |c|²/2 is found by d fused or separate products and sums, and
    x and c themselves are rounded once, so that what is found differs from the
    score of the exact rows and centres by at most about (d + 4) u (|x| M + M²/2).
    The definition computes the distance with a relative error of at most
    (d + 8) v, the distance being at most (|x| + M)² <= 2 (|x|² + M²).

    The best score belongs to the label if it exceeds every other by more than twice
    both errors, half a squared distance counting as a score. With
    2 |x| M <= |x|² + M² this is less than

        (d + 8) [ (u + 2 v) |x|² + (2 u + 2 v) M² ].

    The factor 1.2 covers the higher orders (d u is below 1/16, or no row is
    certain), the rounding of |x|² and of this test, and the last term what
    underflows.
    """
    info = np.finfo(dtype)
    u, v = float(info.eps) / 2, 2.0**-53
    n = n_features + 8
    if not largest < 2.0**90 or n * u > 1 / 16:
        return dtype.type(0), dtype.type(np.inf)
    tiny = 2.0**-100 if dtype == np.float32 else 2.0**-900
    alpha = 1.2 * n * (u + 2 * v)
    beta = 1.2 * n * ((2 * u + 2 * v) * largest + tiny)
    return dtype.type(alpha), dtype.type(beta)


def _or_empty(array, dtype):
    return np.empty((0, 0, 0), dtype=dtype) if array is None else array


def _no_weight(weight, dtype):
    return np.empty(0, dtype=dtype) if weight is None else weight


def _scratch(X, needed, rows, n_threads):
    """A tile, if needed, for each thread that will have work."""
    parts = max(1, min(n_threads, -(-len(X) // rows)))
    size = (X.shape[1] + 1) * TILE if needed else 0
    return np.empty((parts, size), dtype=X.dtype)


def potentials(
    X, frame, tiles, candidates, closest, weight, minima=None, *, n_threads, isa
):
    """Potential if one of the candidates became a centre: sums of 1024 rows each."""
    n, m = len(X), len(candidates)
    group = _lloyd.group_size(ISA_LEVELS[isa], np.empty(0, dtype=X.dtype))
    sums = []
    for start in range(0, m, group):
        part = slice(start, start + group)
        packed = np.ascontiguousarray(in_frame(candidates[part], frame).T)
        sums.append(np.empty((-(-n // POTENTIAL_ROWS), packed.shape[1])))
        _lloyd.potentials(
            X,
            frame.scale,
            frame.shift,
            _or_empty(tiles, X.dtype),
            _scratch(X, tiles is None, POTENTIAL_ROWS, n_threads),
            packed.ravel(),
            packed.shape[1],
            _no_weight(weight, X.dtype),
            closest,
            np.empty((0, 0), dtype=X.dtype) if minima is None else minima[part],
            sums[-1],
            ISA_LEVELS[isa],
        )
    return sums[0] if len(sums) == 1 else np.hstack(sums)


def move_rows(X, weight, old_labels, labels, sums, totals, counts, *, n_threads, isa):
    """Move rows from the clusters of their old labels to those of the new ones."""
    _lloyd.move_rows(
        X,
        _no_weight(weight, X.dtype),
        old_labels,
        labels,
        sums,
        totals,
        counts,
        -(-len(X) // len(sums)),
        ISA_LEVELS[isa],
        n_threads,
    )


def label_distances(X, centers, labels, *, n_threads, isa):
    """Squared distance of each row to the centre of its label, float64."""
    distances = np.empty(len(X))
    _lloyd.label_distances(X, centers, labels, distances, ISA_LEVELS[isa], n_threads)
    return distances


# Sparse rows


def nearest_centers_csr(data, indices, indptr, centers, *, n_threads, isa):
    """Label of each row, by the scores x · c - |c|² / 2 in float64."""
    n, (k, d) = len(indptr) - 1, centers.shape
    padded = -(-k // _CSR_PAD) * _CSR_PAD
    transposed = np.zeros((d, padded))
    transposed[:, :k] = centers.T
    init = np.zeros(padded)
    init[:k] = -0.5 * _squared_norms(centers)
    labels = np.empty(n, dtype=np.int32)
    _lloyd.nearest_centers_csr(
        data,
        indices,
        indptr,
        transposed,
        init,
        k,
        np.empty((max(1, min(n_threads, -(-n // _BLOCK))), padded)),
        labels,
        ISA_LEVELS[isa],
    )
    return labels


def label_distances_csr(data, indices, indptr, centers, labels, *, n_threads, isa):
    """Squared distance to the centre of its label; one build serves every `isa`."""
    distances = np.empty(len(labels))
    _lloyd.label_distances_csr(
        data,
        indices,
        indptr,
        centers,
        _squared_norms(centers),
        labels,
        distances,
        n_threads,
    )
    return distances


def move_rows_csr(
    data,
    indices,
    indptr,
    weight,
    old_labels,
    labels,
    sums,
    totals,
    counts,
    *,
    n_threads,
    isa,
):
    """`move_rows` for sparse rows; one build serves every `isa`."""
    _lloyd.move_rows_csr(
        data,
        indices,
        indptr,
        _no_weight(weight, data.dtype),
        old_labels,
        labels,
        sums,
        totals,
        counts,
        -(-len(labels) // len(sums)),
        n_threads,
    )
