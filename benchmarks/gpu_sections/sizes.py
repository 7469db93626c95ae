"""How large the work is that is measured, and what each piece of it is called."""

from typing import NamedTuple

MEBI = 2**20


class Sizes(NamedTuple):
    """Sizes of the work.

    Parameters
    ----------
    values : int
        That are quantized.
    products : tuple of (int, int, int)
        Rows of activations, inner size, results.
    clustering : (int, int, int)
        Rows, columns, clusters.
    training : tuple of (tuple of int, int)
        Sizes of the layers, rows of a batch.
    ceiling : (int, int)
        Bytes that are copied, side of the matrices that are multiplied.
    """

    values: int
    products: tuple
    clustering: tuple
    training: tuple
    ceiling: tuple


FULL = Sizes(
    values=100 * MEBI,
    products=((8192, 8192, 8192), (1, 8192, 28672)),
    clustering=(1_000_000, 128, 1024),
    training=(((784, 256, 256, 10), 128), ((4096,) * 4, 4096)),
    ceiling=(512 * MEBI, 8192),
)
TINY = Sizes(
    values=4096,
    products=((9, 64, 70), (1, 64, 96)),
    clustering=(300, 5, 4),
    training=(((20, 16, 10), 8),),
    ceiling=(1024, 64),
)


def quantize_work(sizes, groups):
    return f"quantize and pack {_values(sizes)} float32, {groups}"


def unpack_work(sizes):
    return f"unpack {_values(sizes)} values"


def product_work(n_rows, n_inner, n_results):
    return f"product {n_rows} × {n_inner} × {n_results}, int8"


def clustering_work(sizes, what):
    n, d, k = sizes.clustering
    return f"k-means, {n:,} × {d}, {k} clusters: {what}"


def training_work(layers, batch):
    return f"training step of {'-'.join(map(str, layers))}, {batch} rows"


def all_work(sizes):
    """What all sections measure, in their order."""
    return [
        quantize_work(sizes, "one scale"),
        quantize_work(sizes, "groups of 64"),
        unpack_work(sizes),
        *(product_work(*product) for product in sizes.products),
        clustering_work(sizes, "labels"),
        clustering_work(sizes, "an iteration"),
        *(training_work(*network) for network in sizes.training),
    ]


def _values(sizes):
    n = sizes.values
    return f"{n // MEBI} Mi" if n >= MEBI else str(n)
