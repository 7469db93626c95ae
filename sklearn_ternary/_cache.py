"""Small JSON files in the user's cache folder, which nobody has to trust."""

import json
import os
import stat
from pathlib import Path

from sklearn_ternary.persistence._atomic import atomic_file

MAX_FILE_BYTES = 64 * 1024


def cache_folder():
    """The cache folder. Raises RuntimeError if the user has no home."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    root = Path(cache) if os.path.isabs(cache) else Path.home() / ".cache"
    return root / "sklearn_ternary"


def write_json(content, path):
    """Write a file that its owner alone may read, atomically."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with atomic_file(path) as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(json.dumps(content, indent=1).encode())


def read_json(path):
    """The content of a regular file of at most 64 KiB.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is larger or malformed, or if names occur twice or numbers are none.
    """
    # A FIFO in its place must not block.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        check(stat.S_ISREG(os.fstat(fd).st_mode), "not a regular file")
        data = file.read(MAX_FILE_BYTES + 1)
    check(len(data) <= MAX_FILE_BYTES, f"more than {MAX_FILE_BYTES} bytes")
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=lambda name: check(False, name),
        )
    except RecursionError:
        raise ValueError("malformed: nested too deeply") from None


def check(condition, field):
    """Raise ValueError naming the field unless the condition holds."""
    if not condition:
        raise ValueError(f"malformed: {field}")


def _unique(pairs):
    row = dict(pairs)
    check(len(row) == len(pairs), "duplicate key")
    return row
