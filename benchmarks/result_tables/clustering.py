"""k-means."""

from result_tables._parts import NO_BREAK, Table, conditions, duration, results, times


def kmeans():
    """Exact k-means beside its peers."""
    data = results("kmeans")
    peers = ("scikit-learn", "scikit-learn-intelex", "faiss")
    cases = {}
    for row in data["results"]:
        if row["task"] == "int8":
            continue
        case = row["task"], tuple(row["shape"]), row["dtype"], row["n_threads"]
        cases.setdefault(case, {})[row["contestant"]] = row
    cells = []
    for (task, shape, dtype, n_threads), found in cases.items():
        ours = found["ours"]
        share = ours.get("of_sgemm")
        cells.append(
            (
                _KMEANS_TASKS[task],
                "×".join(f"{n:,}" for n in shape),
                dtype,
                str(n_threads),
                duration(ours["seconds"]),
                *(times(found.get(name, {}), "ratio_seconds") for name in peers),
                f"{found['scikit-learn']['inertia'] / ours['inertia']:.4f}",
                "" if share is None else f"{share:.2f}",
            )
        )
    header = (
        "",
        "rows × columns × clusters",
        "values",
        "threads",
        "time",
        *(f"{name} takes" for name in peers),
        "scikit-learn's inertia / ours",
        "of sgemm",
    )
    caption = conditions(
        data,
        "Shortest calls in turns in one process. Iterations: the same start, the same "
        "number of iterations, but for faiss until no label changes; the last column "
        "is the rate at which all rows would have to be multiplied by all centres, as "
        "a share of NumPy's matrix product. Fits: drawn starts, means of five; faiss "
        "makes its own number of iterations. To an inertia: fits of as many iterations "
        "as come within 0.1 % of where scikit-learn ends, from the same five starts.",
    )
    return Table(header, cells, caption, words=(0, 1, 2))


_KMEANS_TASKS = {
    "iterations": "iterations",
    "seeding": "k-means++",
    "sparse": "iterations, sparse rows",
    "fit": "fit",
    "reach": "to an inertia",
}


def kmeans_threads():
    """Two threads beside one, and what the machine gives."""
    data = results("kmeans_threads")
    cells = [
        (
            "×".join(f"{n:,}" for n in row["shape"]),
            *map(duration, row["seconds"]),
            *(f"{row[name]:.2f}×" for name in ("gain", "compute_gain", "memory_gain")),
        )
        for row in data["results"]
    ]
    header = (
        "rows × columns × clusters",
        "one thread",
        "two",
        "faster",
        "multiply-adds alone",
        "reading of memory alone",
    )
    caption = conditions(
        data,
        "float32; the same start and number of iterations, shortest fits in turns with "
        "a loop of multiply-adds (by the tile unit where there is one) and one that "
        "reads memory: where these gain less than two from a second thread, the "
        "processors of the machine share what they do it with.",
    )
    return Table(header, cells, caption)


def kmeans_int8():
    """Iterations by codes of 8 bits beside exact ones in floats."""
    data = results("kmeans")
    cases = {}
    for row in data["results"]:
        if row["task"] == "int8":
            case = tuple(row["shape"]), row["n_threads"]
            cases.setdefault(case, {})[row["contestant"]] = row
    cells = []
    for (shape, n_threads), found in cases.items():
        exact, coarse = found["ours"], found["ours, int8"]
        cells.append(
            (
                "×".join(f"{n:,}" for n in shape),
                str(n_threads),
                duration(exact["seconds"]),
                duration(found.get("ours, auto", {}).get("seconds")),
                duration(coarse["seconds"]),
                f"{exact['bytes_per_row']:,}",
                f"{coarse['bytes_per_row']:,}",
                f"{coarse['inertia'] / exact['inertia'] - 1:+.3%}",
                f"{coarse['centers_apart']:.2%}",
            )
        )
    header = (
        "rows × columns × clusters",
        "threads",
        '`"float"`',
        '`"auto"`',
        '`"int8"`',
        "bytes of a row, float",
        "int8",
        "inertia",
        "centres apart",
    )
    caption = conditions(
        data,
        "float32; the same start, the same number of iterations. How far the centres "
        'of `"int8"` are from the exact ones is relative to how far these are from '
        "their mean.",
    )
    return Table(header, cells, caption)


def kmeans_grid():
    """Iterations by the number of rows, beside scikit-learn and NumPy."""
    data = results("kmeans_grid")
    names = "NumPy, products", "NumPy, differences", "scikit-learn"
    cells = [
        (
            "×".join(f"{n:,}" for n in row["shape"]),
            str(row["n_threads"]),
            duration(row["seconds"]["ours"]),
            *(times(row["vs"], name) for name in names),
        )
        for row in data["results"]
    ]
    header = (
        "rows × columns × clusters",
        "threads",
        "an iteration",
        *(f"{name} takes" for name in names),
    )
    caption = conditions(
        data,
        "float32, the same start and number of iterations: 4 to 100. The first version "
        "in NumPy is of two matrix products, the second one subtracts all centres from "
        "all rows, where that fits 256 MiB.",
    )
    return Table(header, cells, caption)


def kmeans_rows():
    """Time of an iteration of k-means by the number of rows and where they are."""
    data = results("kmeans_scale")
    rows = [row for row in data["results"] if row["task"] == "rows"]
    places = list(dict.fromkeys(row["place"] for row in rows))
    found = {(row["n_threads"], row["n"], row["place"]): row["seconds"] for row in rows}
    cases = dict.fromkeys((row["n_threads"], row["n"]) for row in rows)
    caption = conditions(
        data,
        f"float32, {data['columns']} columns, {data['clusters']} clusters; time of an "
        "iteration and, in brackets, of a row in it. Shortest fits of "
        f"{data['rounds']} rounds.",
    )
    cells = [
        (
            f"{n:,}",
            str(n_threads),
            *(
                f"{duration(found[n_threads, n, place])} "
                f"({found[n_threads, n, place] / n * 1e9:.0f}{NO_BREAK}ns)"
                for place in places
            ),
        )
        for n_threads, n in cases
    ]
    return Table(("rows", "threads", *places), cells, caption, words=())


def kmeans_batches():
    """Mini-batches beside scikit-learn's."""
    data = results("kmeans_scale")
    rows = [row for row in data["results"] if row.get("contestant") == "scikit-learn"]
    names = {"fit": "fit", "partial_fit": "one pass of `partial_fit`"}
    cells = [
        (
            names[row["task"]],
            f"{row['batch_size']:,}",
            str(row["n_threads"]),
            duration(row["seconds"] / row["ratio"]),
            f"{row['ratio']:.1f}×",
            f"{row['inertia_ratio']:.4f}",
        )
        for row in rows
    ]
    header = (
        "",
        "rows in a batch",
        "threads",
        "time",
        "scikit-learn takes",
        "its inertia / ours",
    )
    caption = conditions(
        data,
        f"{rows[0]['n']:,} rows of float32, {data['columns']} columns, "
        f"{data['clusters']} clusters; shortest time and mean inertia of "
        f"{data['rounds']} seeds, beside `MiniBatchKMeans`.",
    )
    return Table(header, cells, caption)


def kmeans_balanced():
    """Clusters of equal sizes beside plain ones, and beside k-means-constrained."""
    data = results("kmeans_balanced")
    theirs = "k-means-constrained"
    cells = [
        (
            "×".join(f"{n:,}" for n in row["shape"]),
            str(row["n_threads"]),
            duration(row["plain"]),
            duration(row["ours"]),
            f"{row['ours'] / row['plain']:.0f}×",
            duration(row.get(theirs)),
            f"{row[theirs] / row['ours']:.1f}×" if theirs in row else "",
        )
        for row in data["results"]
    ]
    header = (
        "rows × columns × clusters",
        "threads",
        "without limits",
        "equal sizes",
        "longer",
        theirs,
        "it takes",
    )
    caption = conditions(
        data,
        f"float32; {data['iterations']} iterations from the same start, the shortest "
        f"of {data['rounds']} rounds. {theirs} is measured once, and only where it "
        "takes seconds.",
    )
    return Table(header, cells, caption)


def kmeans_memory():
    """Memory of a fit beyond its rows, beside scikit-learn's."""
    data = results("kmeans_memory")
    cells = [
        (
            "×".join(f"{n:,}" for n in row["shape"]),
            *(_mebibytes(row[name]) for name in ("ours", "scikit-learn", "limit")),
        )
        for row in data["results"]
        if row["task"] == "fit"
    ]
    header = (
        "rows × columns × clusters",
        "ours",
        "scikit-learn",
        "64 MiB and 8 bytes a row",
    )
    caption = conditions(
        data,
        "float32; three iterations from a given start. The most resident memory of a "
        "process from just before to the end of a fit, less what was resident before.",
    )
    return Table(header, cells, caption)


def kmeans_memory_training():
    """Memory of training on all rows and on centroids."""
    data = results("kmeans_memory")
    cells = [
        (
            f"{row['centroids']:,} centroids" if row["centroids"] else "all rows",
            _mebibytes(row["peak"]),
        )
        for row in data["results"]
        if row["task"] == "training"
    ]
    n, d = data["trained"]
    caption = conditions(
        data,
        f"An epoch of `ConstrainedTrainer((256,))` on {n:,} rows of {d} columns, "
        "float32; the rows or centroids included.",
    )
    return Table(("trained on", "peak memory"), cells, caption)


def _mebibytes(size):
    return f"{size / 2**20:.0f}{NO_BREAK}MiB"
