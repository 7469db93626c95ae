"""How many blocks of a kernel share a multiprocessor, by name of the device.

The results of kernels that go through their items in strides of the grid do not
depend on it. What `tuning` measured is kept in the user's cache folder.
"""

import warnings

from sklearn_ternary import __version__
from sklearn_ternary._cache import cache_folder, check, read_json, write_json

DEFAULT = 16
CANDIDATES = (1, 2, 4, 8, 16, 32)
FORMAT = "sklearn-ternary grids 1"

# "table": {name of a device: blocks}, once it was looked for.
_loaded = {}


def blocks_per_multiprocessor(name):
    """Blocks for each multiprocessor of a device of this name."""
    table = _loaded.get("table")
    if table is None:
        table = _loaded.setdefault("table", _read_table())
    return table.get(name, DEFAULT)


def use(name, blocks):
    """Have so many blocks for each multiprocessor of devices of this name."""
    blocks_per_multiprocessor(name)
    _loaded["table"] = {**_loaded["table"], name: blocks}


def default_path():
    """Where numbers for this version are looked for."""
    return cache_folder() / f"grids-{__version__}.json"


def read_grids(path):
    """Read ``{name of a device: blocks}``; ValueError if it is malformed."""
    content = read_json(path)
    check(isinstance(content, dict) and content.keys() == {"format", "blocks"}, "keys")
    check(content["format"] == FORMAT, "format")
    table = content["blocks"]
    check(isinstance(table, dict), "blocks")
    check(all(type(n) is int and n in CANDIDATES for n in table.values()), "blocks")
    return table


def _read_table():
    path = None
    try:
        path = default_path()
        return read_grids(path)
    except (FileNotFoundError, NotADirectoryError, RuntimeError):
        return {}  # nothing saved, or no home
    except (OSError, ValueError) as error:
        warnings.warn(
            f"the grids {path} are ignored ({error}); remove the file, or write a new "
            "one with cuda.tune(save=True)",
            RuntimeWarning,
            stacklevel=5,
        )
        return {}


def save(name, blocks):
    """Keep the number for devices of this name; return the path."""
    path = default_path()
    try:
        table = read_grids(path)
    except (OSError, ValueError):
        table = {}
    write_json({"format": FORMAT, "blocks": {**table, name: blocks}}, path)
    return path
