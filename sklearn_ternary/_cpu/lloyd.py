"""The steps of k-means."""

import math

import numpy as np

from sklearn_ternary._kernels import _lloyd, _lloyd_codes, _lloyd_csr
from sklearn_ternary._kernels._cpu_features import ISA_LEVELS
from sklearn_ternary._reference.lloyd import (
    PARTS_BYTES,
    POTENTIAL_ROWS,
    TILE,
    TILES_BYTES,
    group_size,
    in_frame,
    slice_rows,
)
from sklearn_ternary._reference.lloyd import squared_norms as _squared_norms
from sklearn_ternary._reference.lloyd_codes import Codes

_BLOCK = _lloyd.BLOCK_ROWS
_CSR_PAD = 8
# Rows in the frame, of a block of rows with groups of centres.
_BLOCK_BYTES = 2**19

# Nanoseconds of iterations without a look at signals.
_STRETCH = 50_000_000

# Products at level avx512 have variants; alone it means the best that can run.
VARIANTS = ("avx512+vnni", "avx512+amx")
# The tile unit takes 64 columns at a time and is faster from the second time on.
_VECTORS_UP_TO = 64


def _level(isa):
    return ISA_LEVELS[isa.partition("+")[0]]


def _level_of_steps(isa, dtype):
    """Single precision goes by the tile unit where level avx512 has one."""
    wanted = isa in ("avx512", "avx512+amx") and dtype == np.float32
    if wanted and _lloyd_codes.has_amx():
        return _lloyd_codes.AMX
    return _level(isa)


def makes_tiles(n_features, dtype, isa):
    """Whether steps take parts of rows for the tile unit, and `iterate` makes those."""
    level = _level_of_steps(isa, dtype)
    return level == _lloyd_codes.AMX and n_features >= _lloyd.SPLIT_FROM


def _code_level(isa, n_features):
    if isa == "avx512" and n_features > _VECTORS_UP_TO and _lloyd_codes.has_amx():
        return _lloyd_codes.AMX
    return _lloyd_codes.AMX if isa == "avx512+amx" else _level(isa)


def row_tiles(X, frame, *, n_threads, isa):
    """Rows in the frame, transposed: (tiles, d + 1, 32), squared norms at d."""
    n, d = X.shape
    tiles = np.empty((-(-n // TILE), d + 1, TILE), dtype=X.dtype)
    _lloyd.row_tiles(X, frame.scale, frame.shift, tiles, _level(isa), n_threads)
    return tiles


def nearest_centers(X, centers, frame, tiles=None, codes=None, *, n_threads, isa):
    """Label of each row: its nearest centre, the first of equally near ones."""
    labels = np.empty(len(X), dtype=np.int32)
    state = labels, *_no_bounds()
    shared = _shared(X, centers, frame, tiles, codes, state, True, n_threads, isa)
    _lloyd.find_labels(X, centers, *shared, np.empty(0, np.float32))
    return labels


def row_codes(X, frame, step, *, n_threads, isa):
    """Codes of 8 bits of the rotated rows, in tiles, and three lengths of each."""
    n, d = X.shape
    codes = np.empty((-(-n // TILE), -(-d // 4), TILE, 4), dtype=np.uint8)
    lengths = np.empty((len(codes), 3, TILE), dtype=X.dtype)
    scratch = _scratch(X, True, TILE, n_threads)
    level = _level(isa)
    _lloyd_codes.row_codes(
        X, frame.scale, frame.shift, step, codes, lengths, scratch, level
    )
    return Codes(step, codes, lengths)


def update_labels(
    X,
    centers,
    frame,
    tiles,
    labels,
    upper,
    lower,
    moved,
    codes=None,
    *,
    n_threads,
    isa,
):
    """`nearest_centers` where labels and bounds are known; changes all three."""
    first = not np.isfinite(upper[:1]).any() and not np.isfinite(upper).any()
    state = labels, upper, lower
    shared = _shared(X, centers, frame, tiles, codes, state, first, n_threads, isa)
    _lloyd.find_labels(X, centers, *shared, moved)


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
    *,
    n_threads,
    isa,
):
    """Iterations of Lloyd's algorithm, until one is the last or empties a cluster."""
    first = previous is None
    state = labels, upper, lower
    own = makes_tiles(X.shape[1], X.dtype, isa) and codes is None
    if own:
        tiles = _room_for_parts(X, len(upper) > 0)
    shared = _shared(X, centers, frame, tiles, codes, state, first, n_threads, isa, own)
    kept = np.empty((3, *centers.shape), dtype=centers.dtype)
    kept[0], kept[1] = centers, centers if first else previous
    now, before, n_iter, strict, shift = _lloyd.iterate(
        *(X, kept, *shared, _no_weight(weight, X.dtype), sums, totals, counts),
        *(slice_rows(len(X), len(sums)), own and tiles is not None, max_iter, tol),
        *(_STRETCH, _come_back),
    )
    means = None if now < 0 else kept[now]
    return means, kept[before], n_iter, strict, shift


def _come_back():
    """Nothing: that is when Python sees signals, and raises KeyboardInterrupt."""


def _room_for_parts(X, bounded):
    """Room for first parts of the rows and two lengths; None for too many rows."""
    n, d = X.shape
    shape = -(-n // TILE), (d + 1) // 2 + 2, TILE
    size = math.prod(shape) * X.itemsize
    if size > (TILES_BYTES if bounded else PARTS_BYTES):
        return None
    # What the unit loads are whole lines of the cache if the first begins with one.
    room = np.empty(size + 64, dtype=np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(X.dtype).reshape(shape)


def _no_bounds():
    nothing = np.empty(0, dtype=np.float32)
    return nothing, nothing[None]


def _shared(
    X, centers, frame, tiles, codes, state, first, n_threads, isa, own_tiles=False
):
    """What the kernels take for rows, bounds and room to work in."""
    (n, d), k, dtype = X.shape, len(centers), X.dtype
    labels, upper, lower = state
    groups = len(lower) if len(upper) else 0
    level = _level_of_steps(isa, dtype)
    size = group_size(k, groups) if groups else 0
    if makes_tiles(X.shape[1], X.dtype, isa) and not own_tiles:
        tiles = None
    # Of more rows at once, those that first parts leave open fill tiles.
    block = _lloyd.SCREEN_ROWS if own_tiles and tiles is not None else _BLOCK
    if groups:
        fit = _BLOCK_BYTES // (dtype.itemsize * d) // TILE * TILE
        block = max(TILE, min(_BLOCK, fit))
    step, share = (dtype.type(0), 1.0) if codes is None else (codes.step, codes.share)
    n_values, n_moves, n_words, n_scratch, n_found = _lloyd.room(
        8 * dtype.itemsize, d, k, groups, size, step, block, level
    )
    parts = max(1, min(n_threads, -(-n // block)))
    kept, lengths = (None, None) if codes is None else (codes.codes, codes.lengths)
    if kept is None:
        kept, lengths = np.empty((0, 1, TILE, 4), np.uint8), _or_empty(None, dtype)
    return (
        *(frame.scale, frame.shift, _or_empty(tiles, dtype)),
        *(kept, lengths, step, share, labels, upper, lower, size, first),
        np.empty(n_values, dtype=dtype),
        np.empty(n_moves, dtype=np.float32),
        np.empty(n_words, dtype=np.int32),
        *(block, level, _code_level(isa, d)),
        np.empty((parts, n_scratch), dtype=dtype),
        np.empty((parts, n_found), dtype=np.int32),
    )


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
    group = _lloyd.group_size(_level(isa), np.empty(0, dtype=X.dtype))
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
            _level(isa),
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
        slice_rows(len(X), len(sums)),
        _level(isa),
        n_threads,
    )


def label_distances(X, centers, labels, *, n_threads, isa):
    """Squared distance of each row to the centre of its label, float64."""
    distances = np.empty(len(X))
    _lloyd.label_distances(X, centers, labels, distances, _level(isa), n_threads)
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
    _lloyd_csr.nearest_centers_csr(
        data,
        indices,
        indptr,
        transposed,
        init,
        k,
        np.empty((max(1, min(n_threads, -(-n // _BLOCK))), padded)),
        labels,
        _level(isa),
    )
    return labels


def label_distances_csr(data, indices, indptr, centers, labels, *, n_threads, isa):
    """Squared distance to the centre of its label; one build serves every `isa`."""
    distances = np.empty(len(labels))
    _lloyd_csr.label_distances_csr(
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
    _lloyd_csr.move_rows_csr(
        data,
        indices,
        indptr,
        _no_weight(weight, data.dtype),
        old_labels,
        labels,
        sums,
        totals,
        counts,
        slice_rows(len(labels), len(sums)),
        n_threads,
    )
