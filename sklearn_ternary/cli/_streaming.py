"""Quantize and dequantize one tensor of a file, in panels of rows if it is large."""

from dataclasses import dataclass

import numpy as np

from sklearn_ternary import _dispatch
from sklearn_ternary._config import get_config
from sklearn_ternary._layouts import DENSEST, get_layout
from sklearn_ternary._reference.groups import n_groups
from sklearn_ternary._reference.sums import CHUNK, LANES
from sklearn_ternary.quantization import TernaryArray, ternarize
from sklearn_ternary.quantization._allocation import quantize_array
from sklearn_ternary.quantization._groups import grouping, matrix_shape, row_panels

AXES = {"tensor": None, "row": 1, "column": 0, "block": None}
# Copies of a panel that are alive at once: itself, the values to compare with,
# and what is computed between them.
_COPIES = 4
# Values whose float64 copies stay in the cache.
_CACHED = 8192


@dataclass(frozen=True)
class Options:
    """How tensors are quantized; `layout` None is the densest."""

    scale: str
    n_levels: int
    layout: str | None
    granularity: str
    block_size: int | None
    on_nonfinite: str
    mixed: bool = False

    @property
    def axis(self):
        """The axis of a matrix that shares a scale."""
        return AXES[self.granularity]


class Result:
    """Squared sums of a tensor and of its error."""

    def __init__(self):
        self.signal = 0.0
        self.noise = 0.0

    def add(self, X, values):
        """Add rows and what they became."""
        X, values = X.reshape(-1), values.reshape(-1)
        for start in range(0, X.size, _CACHED):
            x = X[start : start + _CACHED].astype(np.float64)
            error = x - values[start : start + _CACHED]
            self.signal += float(x @ x)
            self.noise += float(error @ error)

    @property
    def snr(self):
        """Signal-to-noise ratio in dB; infinite without error."""
        if self.noise == 0:
            return np.inf
        with np.errstate(divide="ignore"):
            return float(10 * np.log10(self.signal / self.noise))


def computing_dtype(dtype):
    """Dtype of the scales of a tensor of floats of `dtype`."""
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def describe(shape, dtype, options):
    """Return what the packed tensor will be: tensors with shapes, and info.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
    options : Options

    Returns
    -------
    tensors : dict
        Part to ``(dtype, shape)``.
    info : dict
    """
    n_rows, n_columns = matrix_shape(shape)
    layout = get_layout(options.layout or DENSEST[options.n_levels])
    group_size, per_row = grouping(
        (n_rows, n_columns), options.axis, options.block_size
    )
    scale_shape = n_rows if per_row else 1, n_groups(n_columns, group_size)
    tensors = {
        "packed": (np.dtype(np.uint8), (n_rows, layout.row_bytes(n_columns))),
        "scale": (computing_dtype(dtype), scale_shape),
    }
    info = {"shape": list(shape), "layout": layout.name, "group_size": group_size}
    return tensors, info


def quantize_tensor(reader, name, options, write, advance):
    """Quantize one tensor.

    Parameters
    ----------
    reader : object
        From ``open_tensors``.
    name : str
    options : Options
    write : callable
        ``write(part, array)`` for the parts ``packed`` and ``scale``.
    advance : callable
        Called with the number of values done.

    Returns
    -------
    result : Result
    """
    panels = _panels(reader, name, options)
    scale = options.scale
    shared = options.granularity in ("tensor", "column")
    if len(panels) > 1 and shared:
        scale = _running_scale(reader, name, panels, options)
    result = Result()
    for i, rows in enumerate(panels):
        X = _read(reader, name, rows, options.on_nonfinite)
        if options.mixed:
            A = quantize_array(
                X,
                options.n_levels,
                scale=options.scale,
                axis=options.axis,
                block_size=options.block_size,
            )
        else:
            A = ternarize(
                X,
                scale=scale,
                axis=options.axis,
                block_size=options.block_size,
                n_levels=options.n_levels,
                layout=options.layout,
                on_nonfinite=options.on_nonfinite,
            )
        write("packed", A.packed)
        if not shared or i == 0:
            write("scale", A.scale)
        result.add(X, A.toarray())
        advance(X.size)
    return result


def _panels(reader, name, options):
    """Rows to quantize at once: all, unless they are many and allow for parts."""
    n_rows, n_columns = matrix_shape(reader.shape(name))
    whole = [slice(0, n_rows)]
    if not reader.streams_rows(name) or options.mixed:
        return whole
    if options.granularity in ("tensor", "column") and (
        options.scale not in ("absmean", "absmax")
        or options.on_nonfinite == "propagate"
    ):
        return whole
    bytes_per_value = _COPIES * computing_dtype(reader.dtype(name)).itemsize
    memory = get_config()["working_memory"]
    return list(row_panels(n_rows, n_columns, bytes_per_value, memory)) or whole


def _read(reader, name, rows, on_nonfinite="raise"):
    """Read rows as float32 or float64; ValueError names the first NaN."""
    X = reader.read_rows(name, rows.start, rows.stop)
    X = X.astype(computing_dtype(X.dtype), copy=False)
    if on_nonfinite == "propagate":
        return X
    position = _dispatch.find_nonfinite(X)
    if position < 0:
        return X
    if on_nonfinite == "zero":
        return np.where(np.isfinite(X), X, X.dtype.type(0))
    row, column = divmod(position, X.shape[1])
    raise reader.error(
        f"tensor {name!r} contains {X[row, column]}, first at row {row + rows.start}, "
        f"column {column}; --on-nonfinite zero or propagate accepts it"
    )


def read_finite(reader, name, on_nonfinite):
    """Read a tensor as a float matrix without NaN and infinities."""
    rows = slice(0, matrix_shape(reader.shape(name))[0])
    return _read(reader, name, rows, on_nonfinite)


def _running_scale(reader, name, panels, options):
    """Scales of the whole tensor, from a first pass over its panels.

    They have the bits that the whole tensor at once would give.
    """
    n_rows, n_columns = matrix_shape(reader.shape(name))
    dtype = computing_dtype(reader.dtype(name))
    total, largest = np.zeros(n_columns), np.zeros(n_columns, dtype)
    running = RunningSum()
    for rows in panels:
        X = _read(reader, name, rows, options.on_nonfinite)
        if options.scale == "absmax":
            _dispatch.column_abs_max(X, largest)
        elif options.granularity == "column":
            _dispatch.column_abs_sum(X, total)
        else:
            running.add(np.abs(X).reshape(-1))
    if options.scale == "absmax":
        return largest if options.granularity == "column" else largest.max()
    if options.granularity == "column":
        return (total / n_rows).astype(dtype)
    return dtype.type(running.value() / (n_rows * n_columns))


class RunningSum:
    """``ordered_sum`` of values that come in parts, with the same bits."""

    def __init__(self):
        self._total = 0.0
        self._rest = np.zeros(0)

    def add(self, x):
        """Add the 1-D array `x` behind what came before."""
        if self._rest.size:
            n_missing = min(CHUNK - self._rest.size, x.size)
            self._rest = np.concatenate([self._rest, x[:n_missing]])
            x = x[n_missing:]
            if self._rest.size < CHUNK:
                return
            self._add_chunks(self._rest)
        n_whole = x.size // CHUNK * CHUNK
        for start in range(0, n_whole, 64 * CHUNK):
            self._add_chunks(x[start : min(start + 64 * CHUNK, n_whole)])
        self._rest = x[n_whole:].astype(np.float64)

    def _add_chunks(self, x):
        steps = x.astype(np.float64).reshape(-1, CHUNK // LANES, LANES)
        lanes = np.zeros((len(steps), LANES))
        for i in range(CHUNK // LANES):
            lanes += steps[:, i]
        while lanes.shape[1] > 1:
            half = lanes.shape[1] // 2
            lanes = lanes[:, :half] + lanes[:, half:]
        for chunk in lanes[:, 0]:
            self._total += chunk

    def value(self):
        """Return the sum."""
        if self._rest.size:
            rest, self._rest = self._rest, np.zeros(0)
            self._add_chunks(np.pad(rest, (0, CHUNK - rest.size)))
        return float(self._total)


def unpacked_panels(reader, keys, info):
    """Yield the values of a packed tensor, in panels of rows.

    Parameters
    ----------
    reader : ContainerReader
    keys : dict
        The tensors ``packed`` (or ``coded``) and ``scale`` in the file.
    info : dict

    Yields
    ------
    values : ndarray of shape (rows, values per row)

    Raises
    ------
    ValueError
        If a checksum or a description does not fit.
    """
    for key in keys.values():
        reader.check(key)
    dtype, n_rows, n_columns, scale_rows = packed_facts(reader, keys, info)
    if not n_columns:
        return  # however many rows
    memory = get_config()["working_memory"]
    per_value = _COPIES * dtype.itemsize
    panels = row_panels(n_rows, n_columns, per_value, memory)
    if "coded" in keys:  # decoded from the first code on, so all at once
        parts = {part: reader.read(key) for part, key in keys.items()}
        A = TernaryArray._from_parts(parts, info | {"shape": [n_rows, n_columns]})
        yield from (A[rows].toarray() for rows in panels)
        return
    for rows in panels:
        here = rows if scale_rows == n_rows else slice(0, 1)
        yield TernaryArray(
            reader.read_rows(keys["packed"], rows.start, rows.stop),
            reader.read_rows(keys["scale"], here.start, here.stop),
            (rows.stop - rows.start, n_columns),
            info["layout"],
            # A group ends with its row, whatever the file says.
            group_size=min(info["group_size"], n_columns),
        ).toarray()


def packed_facts(reader, keys, info):
    """Return dtype, rows, columns and rows of scales of a packed tensor.

    Raises
    ------
    ValueError
        If the description is not that of one.
    """
    empty_parts = {
        "packed": np.zeros((1, 0), np.uint8),
        "coded": np.zeros(0, np.uint8),
        "scale": np.zeros((1, 0), np.float32),
    }
    # The class checks the kinds of the fields; the sizes are checked below.
    TernaryArray._from_parts(
        {part: empty_parts.get(part) for part in keys}, _emptied(info)
    )
    layout = get_layout(info["layout"])
    n_rows, n_columns = matrix_shape(tuple(info["shape"]))
    groups = n_groups(n_columns, info["group_size"])
    scale, dtype = reader.shape(keys["scale"]), reader.dtype(keys["scale"])
    if "coded" in keys:  # decoding finds out whether it is all of them
        codes, fits = keys["coded"], len(reader.shape(keys["coded"])) == 1
    else:
        codes = keys["packed"]
        fits = reader.shape(codes) == (n_rows, layout.row_bytes(n_columns))
    if (
        len(info["shape"]) > 32
        or not fits
        or scale not in ((n_rows, groups), (1, groups))
        or reader.dtype(codes) != np.uint8
        or dtype not in (np.float32, np.float64)
    ):
        raise reader.error(f"the tensors {keys} do not fit their description {info}")
    return dtype, n_rows, n_columns, scale[0]


def _emptied(info):
    if not isinstance(info, dict) or not isinstance(info.get("shape"), list):
        return info
    whole = [type(n) is int and n >= 0 for n in info["shape"]]
    return info | {"shape": [0]} if all(whole) else info
