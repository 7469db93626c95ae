"""``quantize`` and ``dequantize``: float arrays to packed files and back."""

import fnmatch
import os
from dataclasses import replace

import click
import numpy as np

from sklearn_ternary._layouts import LAYOUTS
from sklearn_ternary.cli._console import (
    console,
    count_text,
    input_path,
    json_option,
    output_path,
    plain,
    print_json,
    progress,
    shape_text,
    size_text,
    table,
    target_text,
)
from sklearn_ternary.cli._streaming import (
    Options,
    describe,
    packed_facts,
    quantize_tensor,
    read_finite,
    unpacked_panels,
)
from sklearn_ternary.persistence import ContainerReader, ContainerWriter
from sklearn_ternary.persistence._formats import open_tensors, tensor_writer
from sklearn_ternary.persistence._parts import PLAIN, declare_parts, parts_of
from sklearn_ternary.quantization._allocation import allocate_precision
from sklearn_ternary.quantization._groups import matrix_shape, row_panels
from sklearn_ternary.quantization._scales import SCALES

# Biases and norms: packing them saves nothing and costs accuracy.
FEW_VALUES = 65_536

force_option = click.option("--force", is_flag=True, help="Overwrite OUT if it exists.")


@click.command()
@click.argument("source", metavar="IN")
@click.option(
    "-o", "--output", "target", metavar="OUT", required=True, help="File to write."
)
@click.option(
    "--scale",
    type=click.Choice(SCALES),
    default="mse",
    show_default=True,
    help="How the scale of a group of values is found; mse has the least error.",
)
@click.option(
    "--levels",
    type=click.Choice(["3", "5"]),
    help="Levels of a code.  [default: 3]",
)
@click.option(
    "--layout",
    type=click.Choice([row.name for row in LAYOUTS.values() if row.n_levels <= 5]),
    help="How codes are packed.  [default: the densest, t5 or q3]",
)
@click.option(
    "--granularity",
    type=click.Choice(["tensor", "row", "column", "block"]),
    default="row",
    show_default=True,
    help="Which values share a scale.",
)
@click.option(
    "--block-size",
    type=click.IntRange(min=1),
    metavar="N",
    help="Values of a block, along rows.  [default: 256]",
)
@click.option(
    "--target-bits",
    type=float,
    metavar="BITS",
    help="Choose 3, 5, 15 or 255 levels for each tensor so that the stored bits "
    "per value stay below this.",
)
@click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help="Quantize tensors whose name matches, such as '*.weight', and no others; "
    "may be repeated.",
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Copy tensors whose name matches; may be repeated.",
)
@click.option(
    "--on-nonfinite",
    type=click.Choice(["raise", "propagate", "zero"]),
    default="raise",
    show_default=True,
    help="What NaN and infinities do.",
)
@force_option
@json_option
def quantize(
    source,
    target,
    scale,
    levels,
    layout,
    granularity,
    block_size,
    target_bits,
    include,
    exclude,
    on_nonfinite,
    force,
    as_json,
):
    """Pack the arrays of IN into few-level codes.

    IN is a .npy, .npz or .safetensors file, or - for stdin; OUT is a packed
    .safetensors file, or - for stdout. Tensors are read one by one, large ones by
    rows where scale and granularity allow, so that a file larger than memory works.

    Tensors that are not floats, and vectors of less than 65,536 values, are copied
    as they are (bfloat16 as float32), unless --include names them.
    """
    if target != "-" and not target.endswith(".safetensors"):
        raise click.UsageError(f"OUT must end in .safetensors, and {target} does not")
    if block_size is not None and granularity != "block":
        raise click.UsageError("--block-size needs --granularity block")
    if target_bits is not None:
        for name, value in (("--levels", levels), ("--layout", layout)):
            if value is not None:
                raise click.UsageError(f"--target-bits chooses what {name} sets")
        if on_nonfinite == "propagate":
            raise click.UsageError("--target-bits needs finite values: use zero")
    n_levels = int(levels or (LAYOUTS[layout].n_levels if layout else 3))
    if layout and LAYOUTS[layout].n_levels != n_levels:
        raise click.UsageError(f"--layout {layout} does not store {n_levels} levels")
    if scale == "twn" and (n_levels == 5 or target_bits is not None):
        raise click.UsageError("--scale twn is defined for 3 levels only")
    options = Options(
        scale=scale,
        n_levels=n_levels,
        layout=layout,
        granularity=granularity,
        block_size=(block_size or 256) if granularity == "block" else None,
        on_nonfinite=on_nonfinite,
        mixed=target_bits is not None,
    )
    with (
        input_path(source) as (path, label),
        open_tensors(path, label) as reader,
        output_path(target, force) as out,
    ):
        if isinstance(reader, ContainerReader):
            raise reader.error("already packed")
        chosen = [n for n in reader.names if _is_chosen(reader, n, include, exclude)]
        if not chosen:
            raise reader.error(
                "no tensor to quantize: none is a float matrix that the patterns "
                "select (--include names vectors)"
            )
        plan = _plan(reader, chosen, options, target_bits)
        rows = _write(reader, plan, out)
        summary = _summary(reader, rows, os.path.getsize(out))
    report = {"input": source, "output": target, "tensors": rows, "total": summary}
    _print_report(report, as_json, to_stderr=target == "-")


def _is_chosen(reader, name, include, exclude):
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in exclude):
        return False
    named = any(fnmatch.fnmatchcase(name, pattern) for pattern in include)
    if (include and not named) or reader.dtype(name).kind != "f":
        return False
    shape = reader.shape(name)
    size = matrix_shape(shape)[0] * matrix_shape(shape)[1]
    large = len(shape) >= 2 or size >= FEW_VALUES
    return size > 0 and (large or (named and len(shape) == 1))


def _plan(reader, chosen, options, target_bits):
    """Return the options of each tensor that is quantized."""
    if target_bits is None:
        return dict.fromkeys(chosen, options)
    total = sum(np.prod(reader.shape(name), dtype=float) for name in chosen)
    with progress("choosing levels", total) as advance:

        def arrays():
            for name in chosen:
                X = read_finite(reader, name, options.on_nonfinite)
                yield name, X
                advance(X.size)

        n_levels = allocate_precision(
            arrays(),
            target_bits,
            scale=options.scale,
            axis=options.axis,
            block_size=options.block_size,
        )
    return {n: replace(options, n_levels=n_levels[n]) for n in chosen}


def _write(reader, plan, out):
    """Write the packed file; return one row of the report for each tensor."""
    # The only array of a .npy file is a packed array itself, not one of a dict.
    alone = reader.kind == "npy"
    parts = {}
    for name in reader.names:
        shape, dtype = reader.shape(name), reader.dtype(name)
        if name in plan:
            part = describe(shape, dtype, plan[name])
        else:
            part = {PLAIN: (dtype, shape)}, None
        parts["" if alone else name] = part
    declared, content, keys = declare_parts(parts)
    n_values = {n: int(np.prod(reader.shape(n), dtype=float)) for n in reader.names}
    rows = []
    with (
        ContainerWriter(out, declared, content) as writer,
        progress("quantizing", sum(n_values.values())) as advance,
    ):
        for name in reader.names:
            saved = "" if alone else name
            advance(0, str(plain(name))[-40:])
            if name not in plan:
                _copy(reader, name, writer, keys[saved, PLAIN])
                advance(n_values[name])
                rows.append(_row(reader, name, n_values[name], parts[saved][0]))
                continue
            result = quantize_tensor(
                reader,
                name,
                plan[name],
                lambda part, array, saved=saved: writer.write(keys[saved, part], array),
                advance,
            )
            row = _row(reader, name, n_values[name], parts[saved][0])
            row |= {
                "quantized": True,
                "levels": plan[name].n_levels,
                "layout": parts[saved][1]["layout"],
                "snr_db": result.snr,
            }
            rows.append(row)
    return rows


def _row(reader, name, n_values, tensors):
    n_bytes = sum(
        int(np.prod(shape, dtype=float)) * dtype.itemsize
        for dtype, shape in tensors.values()
    )
    return {
        "name": name,
        "shape": list(reader.shape(name)),
        "dtype": reader.stored_dtype(name),
        "quantized": False,
        "levels": None,
        "layout": None,
        "bytes": n_bytes,
        "float32_bytes": 4 * n_values,
        "bits_per_value": 8 * n_bytes / n_values if n_values else None,
        "ratio": 4 * n_values / n_bytes if n_bytes else None,
        "snr_db": None,
    }


def _copy(reader, name, writer, key):
    n_rows, n_columns = matrix_shape(reader.shape(name))
    if not reader.streams_rows(name):
        writer.write(key, reader.read(name))
    elif n_columns:
        for rows in row_panels(n_rows, n_columns, reader.dtype(name).itemsize, 64):
            writer.write(key, reader.read_rows(name, rows.start, rows.stop))


def _summary(reader, rows, file_bytes):
    quantized = [row for row in rows if row["quantized"]]
    n_values = sum(row["float32_bytes"] for row in quantized) // 4
    n_bytes = sum(row["bytes"] for row in quantized)
    return {
        "n_tensors": len(rows),
        "n_quantized": len(quantized),
        "input_bytes": reader.n_bytes,
        "output_bytes": file_bytes,
        "file_ratio": reader.n_bytes / file_bytes,
        "bits_per_value": 8 * n_bytes / n_values,
        "ratio": 4 * n_values / n_bytes,
    }


def _print_report(report, as_json, to_stderr):
    if as_json:
        print_json(report, click.get_text_stream("stderr") if to_stderr else None)
        return
    out = console(stderr=to_stderr)
    columns = ["tensor", "shape", "packed", "bits>", "ratio>", "SNR dB>"]
    rows = table(None, columns)
    for row in report["tensors"]:
        packed = row["layout"] if row["quantized"] else f"copied {row['dtype']}"
        rows.add_row(
            plain(row["name"]),
            shape_text(row["shape"]),
            plain(packed),
            *(
                "" if value is None else format(value, form)
                for value, form in (
                    (row["bits_per_value"], ".2f"),
                    (row["ratio"], ".1f"),
                    (row["snr_db"], ".2f"),
                )
            ),
        )
    out.print(rows)
    total = report["total"]
    out.print(
        f"{total['n_quantized']} of {count_text(total['n_tensors'], 'tensor')} "
        "quantized: "
        f"{total['bits_per_value']:.2f} bits per value, {total['ratio']:.1f} times "
        "smaller than float32",
        soft_wrap=True,
    )
    out.print(
        f"{size_text(total['input_bytes'])} -> {size_text(total['output_bytes'])} "
        f"in {target_text(report['output'])}",
        markup=False,
        soft_wrap=True,
    )


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
