"""How large the work is that is measured, and what each piece of it is called."""

from typing import NamedTuple

MEBI = 2**20


class Sizes(NamedTuple):
    """Sizes of the work.

    Parameters
    ----------
    values : int
        That are quantized.
    few_values : int
        The same, where it takes longer to start than to do.
    many_values : int
        More than 32 bits can number.
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
    few_values: int
    many_values: int
    products: tuple
    clustering: tuple
    training: tuple
    ceiling: tuple


FULL = Sizes(
    values=100 * MEBI,
    few_values=MEBI,
    many_values=2**32 + 12_345,
    products=((8192, 8192, 8192), (1, 8192, 28672)),
    clustering=(1_000_000, 128, 1024),
    training=(((784, 256, 256, 10), 128), ((4096,) * 4, 4096)),
    ceiling=(512 * MEBI, 8192),
)
TINY = Sizes(
    values=4096,
    few_values=1024,
    many_values=9001,
    products=((9, 64, 70), (1, 64, 96)),
    clustering=(300, 5, 4),
    training=(((20, 16, 10), 8),),
    ceiling=(1024, 64),
)


def quantize_work(n, groups):
    return f"quantize and pack {_values(n)} float32, {groups}"


def unpack_work(sizes):
    return f"unpack {_values(sizes.values)} values"


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
        quantize_work(sizes.few_values, "one scale"),
        quantize_work(sizes.values, "one scale"),
        quantize_work(sizes.values, "groups of 64"),
        unpack_work(sizes),
        *(product_work(*product) for product in sizes.products),
        clustering_work(sizes, "labels"),
        clustering_work(sizes, "an iteration"),
        *(training_work(*network) for network in sizes.training),
    ]


def _values(n):
    return f"{n // MEBI} Mi" if n >= MEBI else str(n)
