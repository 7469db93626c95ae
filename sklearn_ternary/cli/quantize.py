"""``quantize``: float arrays to packed files."""

import fnmatch
import os
import tempfile
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
from sklearn_ternary.cli._entropy import entropy_code_file
from sklearn_ternary.cli._options import force_option
from sklearn_ternary.cli._streaming import (
    Options,
    describe,
    quantize_tensor,
    read_finite,
)
from sklearn_ternary.persistence import ContainerReader, ContainerWriter
from sklearn_ternary.persistence._formats import open_tensors
from sklearn_ternary.persistence._parts import PLAIN, declare_parts
from sklearn_ternary.quantization._allocation import allocate_precision
from sklearn_ternary.quantization._groups import matrix_shape, row_panels
from sklearn_ternary.quantization._scales import SCALES

# Biases and norms: packing them saves nothing and costs accuracy.
FEW_VALUES = 65_536


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
@click.option(
    "--entropy-code",
    is_flag=True,
    help="Code the codes in about the bits of their entropy; takes a byte of memory "
    "for each value of a tensor.",
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
    entropy_code,
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
        parts, snrs = _write(reader, plan, out, entropy_code)
        rows = [_row(reader, name, plan, parts, snrs) for name in reader.names]
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


def _write(reader, plan, out, entropy_code):
    """Write the packed file; return its parts by name, and the SNR of the packed."""
    if not entropy_code:
        return _write_packed(reader, plan, out)
    # How long codes will be is known when they are coded, and a file begins with it.
    where = os.path.dirname(os.path.abspath(out))
    with tempfile.TemporaryDirectory(prefix="sklearn-ternary-", dir=where) as folder:
        packed = os.path.join(folder, "packed")
        parts, snrs = _write_packed(reader, plan, packed)
        return entropy_code_file(packed, out, parts), snrs


def _write_packed(reader, plan, out):
    parts = {}
    for name in reader.names:
        shape, dtype = reader.shape(name), reader.dtype(name)
        if name in plan:
            part = describe(shape, dtype, plan[name])
        else:
            part = {PLAIN: (dtype, shape)}, None
        parts[_saved(reader, name)] = part
    declared, content, keys = declare_parts(parts)
    n_values = {name: _size(reader, name) for name in reader.names}
    snrs = {}
    with (
        ContainerWriter(out, declared, content) as writer,
        progress("quantizing", sum(n_values.values())) as advance,
    ):
        for name in reader.names:
            saved = _saved(reader, name)
            advance(0, str(plain(name))[-40:])
            if name not in plan:
                _copy(reader, name, writer, keys[saved, PLAIN])
                advance(n_values[name])
                continue
            result = quantize_tensor(
                reader,
                name,
                plan[name],
                lambda part, array, saved=saved: writer.write(keys[saved, part], array),
                advance,
            )
            snrs[name] = result.snr
    return parts, snrs


def _saved(reader, name):
    """The name in the packed file: the only array of a .npy file has none."""
    return "" if reader.kind == "npy" else name


def _size(reader, name):
    return int(np.prod(reader.shape(name), dtype=float))


def _row(reader, name, plan, parts, snrs):
    """A row of the report."""
    tensors, info = parts[_saved(reader, name)]
    n_values = _size(reader, name)
    n_bytes = sum(
        int(np.prod(shape, dtype=float)) * dtype.itemsize
        for dtype, shape in tensors.values()
    )
    quantized = name in plan
    return {
        "name": name,
        "shape": list(reader.shape(name)),
        "dtype": reader.stored_dtype(name),
        "quantized": quantized,
        "levels": plan[name].n_levels if quantized else None,
        "layout": info["layout"] if quantized else None,
        "entropy_coded": "coded" in tensors,
        "bytes": n_bytes,
        "float32_bytes": 4 * n_values,
        "bits_per_value": 8 * n_bytes / n_values if n_values else None,
        "ratio": 4 * n_values / n_bytes if n_bytes else None,
        "snr_db": snrs.get(name),
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
        if row["entropy_coded"]:
            packed += ", entropy coded"
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
