"""``dequantize``: packed files to float arrays."""

import os

import click
import numpy as np

from sklearn_ternary.cli._console import (
    console,
    count_text,
    input_path,
    json_option,
    output_path,
    print_json,
    progress,
    size_text,
    target_text,
)
from sklearn_ternary.cli._options import force_option
from sklearn_ternary.cli._streaming import packed_facts, unpacked_panels
from sklearn_ternary.persistence import ContainerReader
from sklearn_ternary.persistence._formats import open_tensors, tensor_writer
from sklearn_ternary.persistence._parts import PLAIN, parts_of


@click.command()
@click.argument("source", metavar="IN")
@click.option(
    "-o", "--output", "target", metavar="OUT", required=True, help="File to write."
)
@click.option(
    "--dtype",
    type=click.Choice(["float16", "float32", "float64"]),
    help="Of the unpacked tensors.  [default: that of the scales]",
)
@force_option
@json_option
def dequantize(source, target, dtype, force, as_json):
    """Unpack the packed file IN to float arrays.

    IN is what quantize or save wrote, or - for stdin. OUT ends in .npy (a single
    array), .npz or .safetensors, or is - for a .npy array on stdout.
    """
    ending = ".npy" if target == "-" else os.path.splitext(target)[1]
    with (
        input_path(source) as (path, label),
        open_tensors(path, label) as reader,
        output_path(target, force) as out,
    ):
        if not isinstance(reader, ContainerReader):
            raise reader.error("not a packed file; quantize makes one")
        parts = parts_of(reader)
        declared = [
            (name or PLAIN, *_unpacked_kind(reader, keys, info, dtype))
            for name, (keys, info) in parts.items()
        ]
        total = sum(np.prod(shape, dtype=float) for _, _, shape in declared)
        with (
            tensor_writer(out, declared, ending) as writer,
            progress("unpacking", total) as advance,
        ):
            for (name, kind, _), (keys, info) in zip(
                declared, parts.values(), strict=True
            ):
                for panel in _unpacked(reader, keys, info, kind):
                    writer.write(name, panel)
                    advance(panel.size)
        report = {
            "input": source,
            "output": target,
            "tensors": [
                {"name": name, "shape": list(shape), "dtype": str(kind)}
                for name, kind, shape in declared
            ],
            "total": {
                "n_tensors": len(declared),
                "input_bytes": reader.n_bytes,
                "output_bytes": os.path.getsize(out),
            },
        }
    stream = click.get_text_stream("stderr") if target == "-" else None
    if as_json:
        print_json(report, stream)
        return
    total = report["total"]
    console(stderr=target == "-").print(
        f"{count_text(total['n_tensors'], 'tensor')}, "
        f"{size_text(total['input_bytes'])} -> {size_text(total['output_bytes'])} "
        f"in {target_text(target)}",
        markup=False,
        soft_wrap=True,
    )


def _is_plain(keys, info):
    return info is None and set(keys) == {PLAIN}


def _unpacked_kind(reader, keys, info, dtype):
    """Return dtype and shape of a part once unpacked."""
    if _is_plain(keys, info):
        return reader.dtype(keys[PLAIN]), reader.shape(keys[PLAIN])
    stored = packed_facts(reader, keys, info)[0]
    return np.dtype(dtype or stored), tuple(info["shape"])


def _unpacked(reader, keys, info, dtype):
    if _is_plain(keys, info):
        yield reader.read(keys[PLAIN])
        return
    for panel in unpacked_panels(reader, keys, info):
        with np.errstate(over="ignore"):
            yield panel.astype(dtype, copy=False)
