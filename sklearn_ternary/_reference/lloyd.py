"""The steps of k-means.

X is (n, d) and the centres (k, d), of one dtype, C-contiguous; labels are int32 and
-1 is none. Weights may be None. Sparse rows are the three arrays of a CSR matrix
with int32 indices, none of them doubled.

Distances that decide are sums of squared differences in float64, value t added in
lane t % 8 and the lanes folded in halves: `squared_distances`. So labels are those
of this file whatever the backend.

A *frame* is where others compute in single precision or transposed: rows there are
``x * scale - shift``, with a power of two as scale and both of the dtype of X, so
that data far from the origin or of unusual size loses nothing. Rows of 32 lie
transposed in a *tile*. Neither changes a label, and of a frame these functions use
only what `potentials` defines.
"""

from typing import NamedTuple

import numpy as np

LANES = 8
TILE = 32
PANEL = 16
POTENTIAL_ROWS = 1024
# Slices of rows have sums of their own, added in order: never more bytes than this
# unless a single slice has.
SUMS_BYTES = 12 * 2**20
SLICE_ROWS = 1024
# Rows are kept transposed from step to step up to this size; beyond, each step
# transposes them anew, tile by tile.
TILES_BYTES = 32 * 2**20
# Where nothing else is kept of them, there is room for so many bytes of parts of rows.
PARTS_BYTES = 44 * 2**20
MAX_SLICES = 16

_PANEL = 2**20  # values of a temporary array


class Frame(NamedTuple):
    """Where rows become ``x * scale - shift``.

    Parameters
    ----------
    shift : ndarray of shape (d,)
    scale : scalar of the same dtype, a power of two
    """

    shift: np.ndarray
    scale: np.floating


def n_slices(n_rows, n_clusters, n_features):
    """Slices of rows with sums of their own; depends on the shape alone.

    All sums together have fewer values than an eighth of the rows. An even number
    of slices, if more than one, so that two threads have equal shares.
    """
    fit = SUMS_BYTES // (8 * n_clusters * n_features)
    few = n_rows // max(SLICE_ROWS, 8 * n_clusters)
    return max(1, min(fit, few, MAX_SLICES) // 2 * 2)


def slice_rows(n_rows, n_slices):
    """Rows of each slice, whole tiles; the last may have fewer, or none."""
    return -(-n_rows // (TILE * n_slices)) * TILE


def squared_distances(a, b):
    """Squared distances along the last axis of two arrays that broadcast."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    lanes = np.zeros_like(a, shape=(*shape[:-1], LANES), dtype=float)
    # A distance beyond the range is infinite.
    with np.errstate(over="ignore"):
        for t in range(0, shape[-1], LANES):
            difference = a[..., t : t + LANES].astype(np.float64) - b[
                ..., t : t + LANES
            ].astype(np.float64)
            lanes[..., : difference.shape[-1]] += difference * difference
        while lanes.shape[-1] > 1:
            half = lanes.shape[-1] // 2
            lanes = lanes[..., :half] + lanes[..., half:]
    return lanes[..., 0]


def row_tiles(X, frame):
    """Rows in the frame, transposed: (tiles, d + 1, 32), squared norms at d."""
    n, d = X.shape
    tiles = np.zeros((-(-n // TILE), d + 1, TILE), dtype=X.dtype)
    rows = np.zeros((len(tiles) * TILE, d), dtype=X.dtype)
    rows[:n] = in_frame(X, frame)
    tiles[:, :d] = rows.reshape(-1, TILE, d).transpose(0, 2, 1)
    for t in range(d):
        tiles[:, d] += tiles[:, t] * tiles[:, t]
    return tiles


def in_frame(X, frame):
    """``X * scale - shift``."""
    return X * frame.scale - frame.shift


def nearest_centers(X, centers, frame, tiles=None, codes=None):
    """Label of each row: its nearest centre, the first of equally near ones.

    With `codes` of a share below 1 backends may take one that is nearly as near.
    """
    n = len(X)
    labels = np.empty(n, dtype=np.int32)
    rows = max(1, _PANEL // (len(centers) * LANES))
    for start in range(0, n, rows):
        part = X[start : start + rows, None]
        labels[start : start + rows] = squared_distances(part, centers).argmin(axis=1)
    return labels


def group_size(n_centers, n_groups):
    """Centres in each of `n_groups` groups of consecutive ones, the last may be less.

    A multiple of 16.
    """
    return -(-n_centers // (PANEL * n_groups)) * PANEL


def update_labels(X, centers, frame, tiles, labels, upper, lower, moved, codes=None):
    """`nearest_centers` where labels and bounds are known; changes all three.

    ``upper[i]`` is not below the distance, in the frame, of row i from the centre of
    its label and ``lower[g, i]`` not above that from any other centre of group g
    (`group_size`). They hold for where the centres were before centre j moved by
    ``moved[j]``, in the frame. The bounds are float32. Here they become those that
    are always right, infinity and 0, with which a backend is asked first. Codes of
    the rows, or just their step, change nothing but where their share is below 1.
    """
    labels[:] = nearest_centers(X, centers, frame, tiles)
    upper[:] = np.inf
    lower[:] = 0


def iterate(
    X,
    weight,
    centers,
    previous,
    frame,
    tiles,
    labels,
    upper,
    lower,
    sums,
    totals,
    counts,
    max_iter,
    tol,
    codes=None,
):
    """Iterations of Lloyd's algorithm, until one is the last or leaves a cluster empty.

    Labels become those of the centres, with bounds as of `update_labels` or without
    (arrays of length 0), the sums those of `move_rows`, and the centres the means. The
    last iteration is the one of number `max_iter`, that changes no label, or moves
    the centres by no more than `tol`, squares summed up. Labels, sums and bounds are
    those of the centres `previous`; where that is None, there are none yet.

    Returns
    -------
    means : ndarray of shape (k, d), or None
        None where a cluster has no rows.
    previous : ndarray of shape (k, d)
        The centres that labels, bounds and sums are of.
    n_iter : int
    strict : bool
        Whether the last iteration changed no label.
    shift : float
        What the centres moved in the last one, squares summed up.
    """
    old = labels.copy() if previous is not None else np.full_like(labels, -1)
    for i in range(1, max_iter + 1):
        labels[:] = nearest_centers(X, centers, frame, tiles)
        upper[:], lower[:] = np.inf, 0
        move_rows(X, weight, old, labels, sums, totals, counts)
        # What rounding leaves of a cluster without rows is none.
        sums[counts == 0], totals[counts == 0] = 0, 0
        strict = np.array_equal(old, labels)
        if not counts.sum(axis=0).all():
            return None, centers, i, strict, 0.0
        means = sums.sum(axis=0) / totals.sum(axis=0)[:, None]
        means = means.astype(X.dtype)
        shift = float(((means.astype(np.float64) - centers) ** 2).sum())
        previous, centers, old = centers, means, labels.copy()
        if strict or shift <= tol:
            break
    return centers, previous, i, strict, shift


def label_distances(X, centers, labels):
    """Squared distance of each row to the centre of its label, float64."""
    distances = np.empty(len(X))
    rows = max(1, _PANEL // X.shape[1])
    for start in range(0, len(X), rows):
        part = slice(start, start + rows)
        distances[part] = squared_distances(X[part], centers[labels[part]])
    return distances


def move_rows(X, weight, old_labels, labels, sums, totals, counts):
    """Move rows from the clusters of their old labels to those of the new ones.

    Changes `sums` (slices, k, d), `totals` and `counts` (slices, k), which are the
    weighted sums, the weights and the numbers of the rows of each cluster, rows of
    weight 0 left out. The rows are taken in order.
    """
    n_rows = slice_rows(len(X), len(sums))
    for s in range(len(sums)):
        part = slice(s * n_rows, (s + 1) * n_rows)
        row, cluster, w = _moves(weight, old_labels, labels, part)
        np.add.at(sums[s], cluster, w[:, None] * X[part][row].astype(np.float64))
        np.add.at(totals[s], cluster, w)
        np.add.at(counts[s], cluster, np.where(w < 0, -1, 1))


def _moves(weight, old_labels, labels, part):
    """What moves, in order: row within the part, cluster, weight (below 0: away)."""
    old, new = old_labels[part], labels[part]
    w = np.ones(len(new)) if weight is None else weight[part].astype(np.float64)
    row = np.repeat(np.flatnonzero((old != new) & (w != 0)), 2)
    cluster = np.stack([new, old], axis=1)[row[::2]].ravel()
    sign = np.tile([1.0, -1.0], len(row) // 2)
    kept = cluster >= 0
    return row[kept], cluster[kept], (sign * w[row])[kept]


def potentials(X, frame, tiles, candidates, closest, weight, minima=None):
    """Potential if one of the candidates became a centre, for each: partial sums.

    With D the squared distances in the frame, in the dtype of X and every step
    rounded, sums of ``weight * min(closest, D)`` over runs of 1024 rows, in float64:
    shape (runs, n_candidates). `closest` holds the squared distances to the centre
    that is nearest so far. Those minima go to `minima`, (n_candidates, n), if it is
    given; of a single candidate it may be ``closest[None]``.
    """
    lower = np.minimum(_frame_distances(X, frame, candidates), closest[:, None])
    if minima is not None:
        minima[:] = lower.T
    return _run_sums(lower, weight)


def _frame_distances(X, frame, candidates):
    rows, others = in_frame(X, frame), in_frame(candidates, frame)
    total = np.zeros_like(rows, shape=(len(rows), len(others)))
    for t in range(X.shape[1]):
        difference = rows[:, t, None] - others[:, t]
        total += difference * difference
    return total


def _run_sums(minima, weight):
    n, m = minima.shape
    runs = -(-n // POTENTIAL_ROWS)
    terms = np.zeros_like(minima, shape=(runs * POTENTIAL_ROWS, m), dtype=float)
    terms[:n] = minima
    if weight is not None:
        terms[:n] *= weight.astype(np.float64)[:, None]
    terms = terms.reshape(runs, POTENTIAL_ROWS // TILE, TILE, m)
    lanes = np.zeros_like(terms, shape=(runs, TILE, m))
    for i in range(terms.shape[1]):
        lanes += terms[:, i]
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    return lanes[:, 0]


# Sparse rows


def squared_norms(centers):
    """Squared norms, float64."""
    centers = centers.astype(np.float64)
    return np.einsum("ij,ij->i", centers, centers)


def nearest_centers_csr(data, indices, indptr, centers):
    """Label of each row, by the scores x · c - |c|² / 2 in float64.

    Products are added to ``-|c|² / 2`` one after another. Among centres of one
    score the first counts.
    """
    n = len(indptr) - 1
    scores = np.tile(-0.5 * squared_norms(centers), (n, 1))
    rows = np.repeat(np.arange(n), np.diff(indptr))
    for part in _parts(len(data), len(centers)):
        products = data[part, None].astype(np.float64) * centers.T[indices[part]]
        np.add.at(scores, rows[part], products)
    return scores.argmax(axis=1).astype(np.int32)


def label_distances_csr(data, indices, indptr, centers, labels):
    """Squared distance to the centre of its label, |c|² + Σ x (x - 2 c), float64.

    The terms are added one after another, and a sum below 0 is 0.
    """
    rows = np.repeat(np.arange(len(labels)), np.diff(indptr))
    x = data.astype(np.float64)
    c = centers[labels[rows], indices].astype(np.float64)
    distances = squared_norms(centers)[labels]
    np.add.at(distances, rows, x * (x - 2 * c))
    return np.maximum(distances, 0)


def move_rows_csr(
    data, indices, indptr, weight, old_labels, labels, sums, totals, counts
):
    """`move_rows` for sparse rows."""
    n_rows = slice_rows(len(labels), len(sums))
    for s in range(len(sums)):
        start = s * n_rows
        part = slice(start, start + n_rows)
        row, cluster, w = _moves(weight, old_labels, labels, part)
        lengths = np.diff(indptr)[part][row]
        first = np.repeat(indptr[part][row] - np.cumsum(lengths) + lengths, lengths)
        at = first + np.arange(len(first))
        values = np.repeat(w, lengths) * data[at].astype(np.float64)
        np.add.at(sums[s], (np.repeat(cluster, lengths), indices[at]), values)
        np.add.at(totals[s], cluster, w)
        np.add.at(counts[s], cluster, np.where(w < 0, -1, 1))


def _parts(n, width):
    step = max(1, _PANEL // width)
    return [slice(start, start + step) for start in range(0, n, step)]
