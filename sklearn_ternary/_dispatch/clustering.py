"""Operations of k-means.

Rows and frame come `ready`, the estimator made them; the work of a step with k
centres counts as k / 16 values each.
"""

from sklearn_ternary._config import current_config
from sklearn_ternary._dispatch._choice import (
    choose,
    cpu_level,
    device_numbers,
    on_host,
    ready,
    run,
    try_device,
    wants_device,
)
from sklearn_ternary._gpu.arrays import is_device_array


def goes_to_device(X, *, config):
    """Whether rows are clustered on devices: CuPy arrays, or where it is asked for.

    Raises
    ------
    RuntimeError
        If there is no device and the configuration is strict.
    TypeError
        For a CuPy array where another backend is asked for.
    """
    if not (is_device_array(X) or wants_device(config)):
        return False
    on_device = is_device_array(X)
    choice = choose(
        "nearest_centers", X.size, X.dtype, config=config, on_device=on_device
    )
    return choice.backend == "cuda"


def device_pieces(X, *, config):
    """The `Pieces` of rows that `goes_to_device` is true for."""
    return _pieces(X, device_numbers(config), config)


def _pieces(X, numbers, config):
    from sklearn_ternary._gpu.lanes import Pieces

    return Pieces(X, numbers, config.max_device_fraction)


def placed(X, *, config):
    """Dense rows on the device that is asked for, if it has room, else as they are.

    Of several devices the first.
    """
    if is_device_array(X) or not goes_to_device(X, config=config):
        return X
    first, *_ = device_numbers(config)
    blocks = _pieces(X, (first,), config).stay
    return blocks[0].X if blocks else X


def silhouette_sums(X, labelings, directions, *, config=None):
    """Sum of the silhouettes of each labelling, or None where the host has to help.

    X is a CuPy array of shape (n, d), and the labels of the host are numbers from 0 on,
    all of which occur.
    """
    from sklearn_ternary._gpu.silhouettes import silhouette_sums

    config = config or current_config()
    return try_device(
        "silhouette_sums",
        lambda: silhouette_sums(X, labelings, directions, config.max_device_fraction),
        config,
    )


def row_tiles(X, frame, *, config=None):
    """Rows in the frame, transposed in tiles."""
    return run("row_tiles", X.size, X.dtype, (X, frame), config)


def makes_tiles(n_features, dtype, *, config=None):
    """Whether steps take no tiles as of `row_tiles`, and `iterate` makes others."""
    level = cpu_level(config)
    if level is None:
        return False
    from sklearn_ternary._cpu.lloyd import makes_tiles

    return makes_tiles(n_features, dtype, level)


def nearest_centers(X, centers, frame, tiles=None, codes=None, *, config=None):
    """Label of each row."""
    args = X, ready(centers), frame, tiles, codes
    return run("nearest_centers", _steps(X.size, centers), X.dtype, args, config)


def row_codes(X, frame, step, *, config=None):
    """Codes of 8 bits of the rows."""
    return run("row_codes", X.size, X.dtype, (X, frame, step), config)


def codes_are_fast(*, config=None):
    """Whether products of codes take much less time than those of floats."""
    return cpu_level(config) == "avx512"


def update_labels(
    X, centers, frame, tiles, labels, upper, lower, moved, codes=None, *, config=None
):
    """Find the labels of the rows anew where bounds leave them open."""
    args = X, ready(centers), frame, tiles, labels, upper, lower, moved, codes
    run("update_labels", _steps(X.size, centers), X.dtype, args, config)


def iterates(*, config=None):
    """Whether `iterate` is as fast as a step after another, or faster."""
    return not wants_device(current_config() if config is None else config)


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
    config=None,
):
    """Make iterations of Lloyd's algorithm up to the last, or to an empty cluster."""
    args = X, weight, ready(centers), previous, frame, tiles, labels, upper, lower
    args = *args, sums, totals, counts, max_iter, tol, codes
    return run("iterate", _steps(X.size, centers), X.dtype, args, config)


def label_distances(X, centers, labels, *, config=None):
    """Squared distance of each row to the centre of its label."""
    args = X, ready(centers), labels
    return run("label_distances", X.size, X.dtype, args, config)


def move_rows(X, weight, old_labels, labels, sums, totals, counts, *, config=None):
    """Move rows between clusters, in their sums."""
    args = X, weight, old_labels, labels, sums, totals, counts
    run("move_rows", X.size, X.dtype, args, config)


def potentials(
    X, frame, tiles, candidates, closest, weight, minima=None, *, config=None
):
    """Partial sums of the potential with each candidate as a further centre."""
    args = X, frame, tiles, candidates, closest, weight, minima
    return run("potentials", X.size, X.dtype, args, config)


def cheapest(costs, prices, *, config=None):
    """Where each row goes, by costs and prices. It is always done on the host."""
    args = costs, prices
    return run("cheapest", costs.size, costs.dtype, args, on_host(config))


def follow_paths(
    costs, labels, given, surplus, smallest, largest, tolerance, *, config=None
):
    """Move rows along shortest paths between clusters, in place, on the host."""
    args = costs, labels, given, surplus, smallest, largest, tolerance
    return run("follow_paths", costs.size, costs.dtype, args, on_host(config))


def nearest_centers_csr(data, indices, indptr, centers, *, config=None):
    """Label of each sparse row."""
    args = data, indices, indptr, ready(centers)
    size = _steps(data.size, centers)
    return run("nearest_centers_csr", size, data.dtype, args, config)


def label_distances_csr(data, indices, indptr, centers, labels, *, config=None):
    """Squared distance of each sparse row to the centre of its label."""
    args = data, indices, indptr, ready(centers), labels
    return run("label_distances_csr", data.size, data.dtype, args, config)


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
    config=None,
):
    """Move sparse rows between clusters, in their sums.

    It is always done on the host: the sums follow the order of the rows.
    """
    args = data, indices, indptr, weight, old_labels, labels, sums, totals, counts
    run("move_rows_csr", data.size, data.dtype, args, on_host(config))


def _steps(size, centers):
    return size * len(centers) // 16
