"""``cluster``: k-means of the rows of an array in a file."""

import os
import sys
import time

import click
import numpy as np

from sklearn_ternary.cli._console import (
    console,
    count_text,
    input_path,
    json_option,
    output_path,
    plain,
    print_json,
    progress,
    seconds_text,
    shape_text,
    size_text,
    target_text,
)
from sklearn_ternary.cli._options import force_option
from sklearn_ternary.persistence import ContainerReader
from sklearn_ternary.persistence._formats import open_tensors, tensor_writer

_ENDINGS = (".npz", ".safetensors", ".npy")


@click.command()
@click.argument("source", metavar="FILE")
@click.option(
    "-k",
    "--n-clusters",
    type=click.IntRange(min=1),
    required=True,
    metavar="K",
    help="Number of clusters.",
)
@click.option(
    "-o", "--output", "target", metavar="OUT", required=True, help="File to write."
)
@click.option(
    "--array", "name", metavar="NAME", help="Which array, if FILE holds several."
)
@click.option(
    "--metric",
    type=click.Choice(["euclidean", "cosine"]),
    default="euclidean",
    show_default=True,
    help="cosine clusters directions.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    help="Rows of a mini-batch.  [default: all rows in each iteration]",
)
@click.option(
    "--init",
    type=click.Choice(["k-means++", "random"]),
    default="k-means++",
    show_default=True,
    help="Where to start from.",
)
@click.option(
    "--n-init",
    type=click.IntRange(min=1),
    help="Runs, the best of which counts.  [default: 1, and 10 for random]",
)
@click.option(
    "--max-iter",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="Most iterations of a run.",
)
@click.option(
    "--tol",
    type=click.FloatRange(min=0),
    default=1e-4,
    show_default=True,
    help="Relative tolerance of convergence.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of the start.",
)
@force_option
@json_option
def cluster(source, n_clusters, target, name, force, as_json, n_init, seed, **options):
    """Cluster the rows of the array in FILE by k-means.

    FILE is a .npy, .npz or .safetensors file of a matrix of numbers, or - for stdin. A
    .npy or .safetensors file of float32 or float64 is mapped rather than read, so that
    it may be larger than memory. OUT ends in .npz or .safetensors, or is - for a .npz
    file on stdout: cluster_centers, labels, inertia and n_iter. A .npy file gets the
    labels alone.
    """
    ending = ".npz" if target == "-" else os.path.splitext(target)[1]
    if ending not in _ENDINGS:
        raise click.UsageError(f"OUT must end in .npz, .safetensors or .npy: {target}")
    # Imported here: scikit-learn takes a second.
    from sklearn_ternary import ClusteredKMeans

    options["n_init"] = "auto" if n_init is None else n_init
    with (
        input_path(source) as (path, label),
        open_tensors(path, label) as reader,
        output_path(target, force) as out,
    ):
        name = _chosen(reader, name)
        X = reader.memory_map(name) if reader.maps(name) else reader.read(name)
        kmeans = ClusteredKMeans(n_clusters, random_state=seed, **options)
        started = time.perf_counter()
        try:
            _fit(kmeans, X)
        except ValueError as error:
            # Further lines of scikit-learn's advise on other estimators.
            raise reader.error(str(error).splitlines()[0]) from error
        seconds = time.perf_counter() - started
        _write(out, ending, kmeans)
        sizes = np.bincount(kmeans.labels_, minlength=n_clusters)
        report = {
            "input": source,
            "output": target,
            "array": name,
            "shape": list(X.shape),
            "dtype": reader.stored_dtype(name),
            "mapped": isinstance(X, np.memmap),
            "n_clusters": n_clusters,
            "inertia": kmeans.inertia_,
            "n_iter": kmeans.n_iter_,
            "smallest_cluster": int(sizes.min()),
            "largest_cluster": int(sizes.max()),
            "seconds": seconds,
            "output_bytes": os.path.getsize(out),
        }
    if as_json:
        stream = click.get_text_stream("stderr") if target == "-" else None
        print_json(report, stream)
    else:
        _print(report, to_stderr=target == "-")


def _chosen(reader, name):
    """Return the name of the array to cluster."""
    if isinstance(reader, ContainerReader):
        raise reader.error("holds packed arrays; dequantize unpacks them")
    matrices = [n for n in reader.names if len(reader.shape(n)) == 2]
    if name is None:
        if not matrices:
            raise reader.error("holds no matrix to cluster")
        if len(matrices) > 1:
            some = ", ".join(map(repr, matrices[:9]))
            raise reader.error(
                f"holds {len(matrices)} matrices; --array names one, such as {some}"
            )
        return matrices[0]
    if name not in reader.names:
        raise reader.error(f"holds no array {name!r}")
    if name not in matrices:
        shape = shape_text(reader.shape(name))
        raise reader.error(f"array {name!r} of the shape {shape} is no matrix")
    return name


def _fit(kmeans, X):
    """Fit k-means, with a bar on a terminal."""
    if not sys.stderr.isatty():
        kmeans.fit(X)
        return
    with progress("clustering", None) as advance:
        kmeans.set_callbacks(_Bar(advance)).fit(X)


class _Bar:
    """A callback that tells of each iteration."""

    def __init__(self, advance):
        self.advance = advance
        self.run = self.iteration = 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        if context.task_name == "run":
            self.run, self.iteration = self.run + 1, 0

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "iteration":
            self.iteration += 1
            self.advance(1, f"run {self.run}, iteration {self.iteration}")


def _write(out, ending, kmeans):
    """Write what was found."""
    if ending == ".npy":
        with open(out, "wb") as file:
            np.save(file, kmeans.labels_)
        return
    arrays = {
        "cluster_centers": kmeans.cluster_centers_,
        "labels": kmeans.labels_,
        "inertia": np.array(kmeans.inertia_, dtype=np.float64),
        "n_iter": np.array(kmeans.n_iter_, dtype=np.int64),
    }
    declared = [(name, array.dtype, array.shape) for name, array in arrays.items()]
    with tensor_writer(out, declared, ending) as writer:
        for name, array in arrays.items():
            writer.write(name, array)


def _print(report, to_stderr):
    out = console(stderr=to_stderr)
    out.print(
        f"{shape_text(report['shape'])} values of {plain(report['array'])} in "
        f"{count_text(report['n_clusters'], 'cluster')} of "
        f"{report['smallest_cluster']:,} to {report['largest_cluster']:,} rows",
        markup=False,
        soft_wrap=True,
    )
    out.print(
        f"inertia {report['inertia']:.6g} after "
        f"{count_text(report['n_iter'], 'iteration')} in "
        f"{seconds_text(report['seconds'])}; {size_text(report['output_bytes'])} in "
        f"{target_text(report['output'])}",
        markup=False,
        soft_wrap=True,
    )
