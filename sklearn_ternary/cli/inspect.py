"""``inspect``: what a file holds, and whether it is whole."""

import math

import click

from sklearn_ternary._layouts import LAYOUTS
from sklearn_ternary.cli._console import (
    console,
    count_text,
    input_path,
    json_option,
    plain,
    print_json,
    progress,
    shape_text,
    size_text,
    table,
)
from sklearn_ternary.persistence import ContainerReader, GGUFReader
from sklearn_ternary.persistence._formats import file_kind, open_tensors
from sklearn_ternary.persistence._parts import PLAIN, parts_of

_TERNARY = ("TQ1_0", "TQ2_0", "I2_S")
# Of a list or a text in the metadata, so much is shown.
_FIRST_ENTRIES = 8
_TEXT_CHARACTERS = 200


@click.command()
@click.argument("source", metavar="FILE")
@click.option(
    "--verify/--no-verify",
    default=True,
    show_default=True,
    help="Compare the checksums, which reads the whole file.",
)
@json_option
@click.pass_context
def inspect(context, source, verify, as_json):
    """List what FILE holds and check it.

    FILE is a packed file, .npy, .npz, .safetensors or .gguf, or - for stdin. The exit
    code is 1 if a checksum does not match.
    """
    with input_path(source) as (path, label):
        if file_kind(path, label) == "a GGUF file":
            _inspect_gguf(source, path, label, as_json)
            return
        report, damaged = _inspected(source, path, label, verify)
    if as_json:
        print_json(report)
    else:
        _print(report)
    if damaged:
        context.exit(1)


def _inspected(source, path, label, verify):
    with open_tensors(path, label) as reader:
        ours = isinstance(reader, ContainerReader)
        rows = _container_rows(reader) if ours else _plain_rows(reader)
        damaged = _damaged(reader) if ours and verify else []
        report = {
            "file": source,
            "format": "sklearn-ternary" if ours else reader.kind,
            "bytes": reader.n_bytes,
            "n_values": sum(math.prod(row["shape"]) for row in rows),
            "tensors": rows,
            "checksums": _verdict(ours, verify, damaged),
            "damaged": damaged,
        }
    return report, damaged


def _inspect_gguf(source, path, label, as_json):
    with GGUFReader(path, label=label) as reader:
        rows = [
            {
                "name": name,
                "shape": list(tensor.shape),
                "kind": tensor.type,
                "levels": 3 if tensor.type in _TERNARY else None,
                "bytes": tensor.n_bytes,
                "bits_per_value": _bits(tensor.n_bytes, tensor.shape),
            }
            for name, tensor in reader.tensors.items()
        ]
        report = {
            "file": source,
            "format": "gguf",
            "version": reader.version,
            "alignment": reader.alignment,
            "bytes": reader.n_bytes,
            "n_values": sum(math.prod(row["shape"]) for row in rows),
            "metadata": [
                {
                    "key": key,
                    "type": reader.metadata_types[key],
                    "value": _shown_value(value),
                    "length": len(value) if hasattr(value, "__len__") else None,
                }
                for key, value in reader.metadata.items()
            ],
            "tensors": rows,
            "checksums": "none in this format",
            "damaged": [],
        }
    if as_json:
        print_json(report)
        return
    _print_metadata(report)
    _print(report)


def _shown_value(value):
    """A value of the metadata, of long lists only the beginning."""
    if isinstance(value, (bool, int, float, str)):
        return value
    first = value[:_FIRST_ENTRIES]
    return first.tolist() if hasattr(first, "tolist") else list(first)


def _print_metadata(report):
    out = console()
    rows = table(None, ["key", "type", "value"])
    for row in report["metadata"]:
        text = str(row["value"])
        if isinstance(row["value"], list):
            text = ", ".join(map(repr, row["value"]))
            if row["length"] > _FIRST_ENTRIES:
                text += f", ... ({row['length']:,})"
        elif len(text) > _TEXT_CHARACTERS:
            text = f"{text[:_TEXT_CHARACTERS]}... ({row['length']:,})"
        rows.add_row(plain(row["key"]), row["type"], plain(text))
    out.print(rows)
    sizes = {}
    for row in report["tensors"]:
        n, n_bytes = sizes.get(row["kind"], (0, 0))
        sizes[row["kind"]] = n + 1, n_bytes + row["bytes"]
    for kind, (n, n_bytes) in sorted(sizes.items(), key=lambda item: -item[1][1]):
        out.print(f"{kind}: {count_text(n, 'tensor')}, {size_text(n_bytes)}")


def _verdict(ours, verify, damaged):
    if not ours:
        return "none in this format"
    if not verify:
        return "not compared"
    return "damaged" if damaged else "ok"


def _plain_rows(reader):
    return [
        {
            "name": name,
            "shape": list(reader.shape(name)),
            "kind": reader.stored_dtype(name),
            "levels": None,
            "bytes": reader.stored_bytes(name),
            "bits_per_value": _bits(reader.stored_bytes(name), reader.shape(name)),
        }
        for name in reader.names
    ]


def _bits(n_bytes, shape):
    size = math.prod(shape)
    return 8 * n_bytes / size if size else None


def _container_rows(reader):
    rows = []
    for name, (keys, info) in parts_of(reader).items():
        packed = info is not None
        n_bytes = sum(reader.stored_bytes(key) for key in keys.values())
        if packed:
            shape, layout = _packed_facts(reader, info)
        elif set(keys) == {PLAIN}:
            shape = reader.shape(keys[PLAIN])
        else:
            raise reader.error(f"part {name!r} has no description")
        rows.append(
            {
                "name": name or PLAIN,
                "shape": list(shape),
                "kind": _kind(layout, info)
                if packed
                else str(reader.dtype(keys[PLAIN])),
                "levels": layout.n_levels if packed else None,
                "bytes": n_bytes,
                "bits_per_value": _bits(n_bytes, shape),
            }
        )
    return rows


def _kind(layout, info):
    return f"{layout.name}, entropy coded" if "frequencies" in info else layout.name


def _packed_facts(reader, info):
    shape = info.get("shape") if isinstance(info, dict) else None
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise reader.error(f"the description {str(info)[:100]} has no shape")
    layout = info.get("layout")
    if not isinstance(layout, str) or layout not in LAYOUTS:
        raise reader.error(f"layout {layout!r} is not known to this version")
    return tuple(shape), LAYOUTS[layout]


def _damaged(reader):
    damaged = []
    with progress("comparing checksums", reader.n_bytes) as advance:
        for name in reader.names:
            try:
                reader.check(name)
            except ValueError:
                damaged.append(name)
            advance(reader.stored_bytes(name))
    return damaged


def _print(report):
    out = console()
    rows = table(None, ["tensor", "shape", "kind", "levels>", "bits>", "size>"])
    for row in report["tensors"]:
        bits = row["bits_per_value"]
        rows.add_row(
            plain(row["name"]),
            shape_text(row["shape"]),
            plain(row["kind"]),
            "" if row["levels"] is None else str(row["levels"]),
            "" if bits is None else f"{bits:.2f}",
            size_text(row["bytes"]),
        )
    out.print(rows)
    out.print(
        f"{report['format']} file of {size_text(report['bytes'])}, "
        f"{count_text(len(report['tensors']), 'tensor')}, "
        f"{count_text(report['n_values'], 'value')}; "
        f"checksums: {report['checksums']}",
        markup=False,
        soft_wrap=True,
    )
    for name in report["damaged"]:
        out.print("damaged:", plain(name), style="red")
