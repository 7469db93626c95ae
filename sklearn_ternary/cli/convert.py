"""``convert`` and ``requantize``: models between checkpoints, containers and GGUF."""

import math
import os

import click

from sklearn_ternary.cli._console import (
    console,
    count_text,
    json_option,
    output_path,
    plain,
    print_json,
    progress,
    shape_text,
    size_text,
    table,
)
from sklearn_ternary.cli._options import force_option
from sklearn_ternary.language._convert import (
    EMBEDDING_TYPES,
    FILE_TYPES,
    FORMATS,
    convert_model,
)
from sklearn_ternary.persistence._formats import file_kind
from sklearn_ternary.quantization._scales import SCALES

_output_option = click.option(
    "-o", "--output", "target", metavar="OUT", required=True, help="File to write."
)
_weight_option = click.option(
    "--type",
    "weight_type",
    type=click.Choice(list(FILE_TYPES)),
    help="How the layers' matrices are stored in GGUF.",
)
_embedding_option = click.option(
    "--embedding-type",
    type=click.Choice(EMBEDDING_TYPES),
    help="How embeddings are stored in GGUF.",
)
_scale_option = click.option(
    "--scale",
    type=click.Choice(SCALES),
    default="absmean",
    show_default=True,
    help="How floats become ternary; ternary ones keep their scale.",
)
_order_option = click.option(
    "--i2-s-order",
    type=click.Choice(["x86", "arm"]),
    default="x86",
    show_default=True,
    help="Which machine's order I2_S tensors have.",
)


@click.command()
@click.argument("source", metavar="IN")
@_output_option
@click.option(
    "--to",
    type=click.Choice(FORMATS),
    help="Format of OUT.  [default: gguf for .gguf, else container]",
)
@_weight_option
@_embedding_option
@_scale_option
@click.option(
    "--vocabulary", metavar="GGUF", help="File whose tokenizer goes into the model."
)
@_order_option
@force_option
@json_option
def convert(
    source,
    target,
    to,
    weight_type,
    embedding_type,
    scale,
    vocabulary,
    i2_s_order,
    force,
    as_json,
):
    """Convert the BitNet model IN to another format.

    IN is a GGUF file, a packed container, or a checkpoint with Hugging Face's names:
    a .safetensors or .npz file beside its config.json, or a folder of both. Float
    weights are rounded to ternary ones, and the report says how near they are.
    """
    options = {"to": to, "vocabulary": vocabulary}
    _run(
        source,
        target,
        force,
        as_json,
        weight_type=weight_type,
        embedding_type=embedding_type,
        scale=scale,
        i2_s_order=i2_s_order,
        **options,
    )


@click.command()
@click.argument("source", metavar="IN")
@_output_option
@_weight_option
@_embedding_option
@_scale_option
@_order_option
@force_option
@json_option
def requantize(
    source, target, weight_type, embedding_type, scale, i2_s_order, force, as_json
):
    """Store the tensors of the GGUF file IN as other types.

    Tensors that keep their type keep their bytes, and ternary ones their codes.
    """
    if weight_type is None and embedding_type is None:
        raise click.UsageError("--type or --embedding-type says what to change")
    if os.path.isdir(source) or file_kind(source) != "a GGUF file":
        raise click.UsageError(f"{source} is no GGUF file; convert reads others")
    _run(
        source,
        target,
        force,
        as_json,
        to="gguf",
        weight_type=weight_type,
        embedding_type=embedding_type,
        scale=scale,
        i2_s_order=i2_s_order,
    )


def _run(source, target, force, as_json, **options):
    if target == "-":
        raise click.UsageError("a model is not written to stdout; name a file")
    with (
        output_path(target, force) as out,
        progress("converting", None) as advance,
    ):
        tensors = convert_model(source, out, progress=advance, **options)
        n_bytes = os.path.getsize(out)
    rows = [vars(tensor) | {"shape": list(tensor.shape)} for tensor in tensors]
    rounded = [row["snr_db"] for row in rows if row["snr_db"] not in (None, math.inf)]
    report = {
        "input": source,
        "output": target,
        "bytes": n_bytes,
        "tensors": rows,
        "rounded": len(rounded),
        "lowest_snr_db": min(rounded, default=None),
    }
    if as_json:
        print_json(report)
    else:
        _print(report)


def _print(report):
    out = console()
    rows = table(None, ["tensor", "shape", "was", "is", "size>", "zeros>", "SNR dB>"])
    for row in report["tensors"]:
        snr = row["snr_db"]
        rows.add_row(
            plain(row["name"]),
            shape_text(row["shape"]),
            row["source_type"],
            row["type"],
            size_text(row["n_bytes"]),
            "" if row["sparsity"] is None else f"{row['sparsity']:.1%}",
            "" if snr is None else "exact" if math.isinf(snr) else f"{snr:.2f}",
        )
    out.print(rows)
    text = f"{count_text(len(report['tensors']), 'tensor')}, "
    text += f"{size_text(report['bytes'])} in {report['output']}"
    if report["rounded"]:
        text += (
            f"; {count_text(report['rounded'], 'tensor')} rounded to ternary codes, "
            f"SNR from {report['lowest_snr_db']:.2f} dB"
        )
    out.print(text, markup=False, soft_wrap=True)
