"""Bytes that were changed, and files that were cut."""

import tempfile
import warnings
from pathlib import Path

from breaking_checkpoints.checkpoints import LostError, check, expect, save
from sklearn_ternary.persistence import load_checkpoint, load_latest


def bitflip(size=700, stride=1):
    """Change every byte and cut at every length; all has to be noticed."""
    n_damaged = 0
    with tempfile.TemporaryDirectory() as folder:
        path = save(folder, 5, size)
        good = Path(path).read_bytes()
        check(load_checkpoint(path))

        def refuse(data, what):
            Path(path).write_bytes(data)
            try:
                load_checkpoint(path)
            except ValueError:
                return
            raise LostError(f"{what} was not noticed")

        for position in range(0, len(good), stride):
            for mask in (0xFF, 1 << position % 8):
                data = bytearray(good)
                data[position] ^= mask
                refuse(data, f"byte {position} ^ {mask:#x}")
            refuse(good[:position], f"the length {position}")
            n_damaged += 3
        refuse(good + b"\0", "a byte more")
        # The one before is loaded instead, with a warning that names the damaged one.
        Path(path).write_bytes(good)
        newest = save(folder, 6, size)
        data = bytearray(Path(newest).read_bytes())
        data[-1] ^= 1
        Path(newest).write_bytes(data)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            expect(check(load_latest(folder)) == 5, "the one before was not loaded")
        named = any(newest in str(w.message) for w in caught)
        expect(named, "no warning names the damaged file")
    return f"{n_damaged + 1} damaged files of {len(good)} bytes: all refused"
