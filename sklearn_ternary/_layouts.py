"""The packed formats: one row of a table for each.

A packed array is a matrix of bytes, one row per row of codes, and every row
starts on a byte (on a *unit*) of its own, so that rows can be sliced without
unpacking. A layout is added by adding a row here and a pack/unpack pair of the
same name in each backend.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """How codes are stored.

    Parameters
    ----------
    name : str
    n_levels : int
        Number of levels a code can take; codes run from ``-(n_levels // 2)``
        to ``n_levels // 2``.
    unit_values, unit_bytes : int
        `unit_values` codes are stored in `unit_bytes` bytes.
    description : str
        Where each code lies, in one line.
    """

    name: str
    n_levels: int
    unit_values: int
    unit_bytes: int
    description: str

    @property
    def bits(self):
        """Bits per code, without scales."""
        return 8 * self.unit_bytes / self.unit_values

    def row_bytes(self, n_values):
        """Bytes of a row of `n_values` codes."""
        return -(-n_values // self.unit_values) * self.unit_bytes


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("t2", 3, 4, 1, "code + 1 of value 4b + i in bits 2i, 2i+1 of byte b"),
        Layout("t5", 3, 5, 1, "byte b = sum of (code + 1) * 3**i of value 5b + i"),
        Layout(
            "q3",
            5,
            24,
            7,
            "7-bit field j of a 56-bit little-endian unit = sum of "
            "(code + 2) * 5**i of value 3j + i",
        ),
        Layout("i4", 15, 2, 1, "code + 8 of value 2b + i in bits 4i .. 4i+3 of byte b"),
        Layout("i8", 255, 1, 1, "the code itself, as int8"),
        # Those of other programs; their scales are kept apart, as ours are.
        Layout(
            "tq1_0",
            3,
            256,
            52,
            "ggml's TQ1_0, without its scale: byte = ceil(256 / 243 of the sum of "
            "(code + 1) * 3**(4 - i)) of values 32i + m, then 16i + m, then 4i + m",
        ),
        Layout(
            "tq2_0",
            3,
            256,
            64,
            "ggml's TQ2_0, without its scale: code + 1 of value 128h + 32i + m in "
            "bits 2i, 2i+1 of byte 32h + m",
        ),
        Layout(
            "i2_s_x86",
            3,
            128,
            32,
            "bitnet.cpp's I2_S on x86: code + 1 of value 32i + m in bits 6-2i, 7-2i "
            "of byte m",
        ),
        Layout(
            "i2_s_arm",
            3,
            64,
            16,
            "bitnet.cpp's I2_S on Arm: code + 1 of value 16i + m in bits 6-2i, 7-2i "
            "of byte m",
        ),
    )
}

# Known, and refused.
_LUT_REASON = (
    "its bytes interleave rows in tiles whose sizes are chosen for each matrix shape "
    "when bitnet.cpp is built, and files do not name them. Convert the model to I2_S "
    "(layouts 'i2_s_x86', 'i2_s_arm') or to TQ1_0 or TQ2_0 ('tq1_0', 'tq2_0')"
)
_REFUSED = {"tl1": _LUT_REASON, "tl2": _LUT_REASON}

# The densest layout of each number of levels.
DENSEST = {3: "t5", 5: "q3", 15: "i4", 255: "i8"}


def get_layout(name, n_levels=None):
    """Return the row of the table called `name`.

    Raises
    ------
    ValueError
        If there is no such layout, or it does not store `n_levels` levels, or
        its bytes cannot be known (``"tl1"`` and ``"tl2"`` of bitnet.cpp).
    """
    row = LAYOUTS.get(name)
    if row is not None and n_levels in (None, row.n_levels):
        return row
    if name in _REFUSED:
        raise ValueError(f"layout={name!r} is not supported: {_REFUSED[name]}")
    allowed = [
        row.name
        for row in LAYOUTS.values()
        if n_levels is None or row.n_levels == n_levels
    ]
    levels = "" if n_levels is None else f" for {n_levels} levels"
    raise ValueError(
        f"layout={name!r} is not a layout{levels}; choose one of {allowed}"
    )
