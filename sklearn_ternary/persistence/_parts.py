"""Named objects in one container, each of some tensors and a description.

The content is ``{"parts": {name: {"tensors": {part: key}, "info": info}}}``,
where `key` is the name of the tensor in the file.
"""

import numpy as np

from sklearn_ternary.persistence._container import ContainerReader, ContainerWriter

PLAIN = "array"


def declare_parts(parts):
    """Return what a container of these parts declares.

    Parameters
    ----------
    parts : dict
        Name to ``(tensors, info)``, where `tensors` maps a part's name to
        ``(dtype, shape)``.

    Returns
    -------
    declared : list of (key, dtype, shape)
    content : dict
    keys : dict
        ``(name, part)`` to key.
    """
    declared, content, keys, taken = [], {}, {}, set()
    for name, (tensors, info) in parts.items():
        if not isinstance(name, str):
            raise ValueError(f"the name {name!r} is not text")
        for part, (dtype, shape) in tensors.items():
            keys[name, part] = key = _free_key(name, part, taken)
            taken.add(key)
            declared.append((key, dtype, shape))
        content[name] = {"tensors": {p: keys[name, p] for p in tensors}, "info": info}
    return declared, {"parts": content}, keys


def _free_key(name, part, taken):
    # A plain array keeps its name, for other readers of safetensors files.
    key = name if part == PLAIN and name else f"{name}.{part}" if name else part
    while key in taken or key == "__metadata__":
        key += "_"
    return key


def parts_of(reader):
    """Return the ``(tensor keys, info)`` of each name in a container.

    Raises
    ------
    ValueError
        If the content describes something else.
    """
    content = reader.content
    if not isinstance(content, dict) or not isinstance(content.get("parts"), dict):
        raise reader.error("content has no parts")
    found, used = {}, set()
    for name, part in content["parts"].items():
        if not isinstance(part, dict) or set(part) != {"tensors", "info"}:
            raise reader.error(f"part {name!r} of content needs tensors and info")
        keys = part["tensors"]
        if not isinstance(keys, dict) or not all(
            isinstance(key, str) and key in reader.names_set for key in keys.values()
        ):
            raise reader.error(f"part {name!r} of content names no tensors")
        found[name] = keys, part["info"]
        used.update(keys.values())
    if used != reader.names_set:
        raise reader.error("content does not name every tensor")
    return found


def save_tensors(path, parts):
    """Write named groups of tensors to one file.

    Parameters
    ----------
    path : str or os.PathLike
    parts : dict
        Name to ``(tensors, info)``: a dict of arrays, and anything JSON can hold.
    """
    parts = {
        name: ({part: np.asarray(a) for part, a in tensors.items()}, info)
        for name, (tensors, info) in parts.items()
    }
    declared, content, keys = declare_parts(
        {
            name: ({part: (a.dtype, a.shape) for part, a in tensors.items()}, info)
            for name, (tensors, info) in parts.items()
        }
    )
    with ContainerWriter(path, declared, content) as writer:
        for name, (tensors, _) in parts.items():
            for part, array in tensors.items():
                writer.write(keys[name, part], array)


def load_tensors(path):
    """Read what `save_tensors` wrote, every checksum compared.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    parts : dict
        Name to ``(tensors, info)``.

    Raises
    ------
    ValueError
        If the file is something else, or damaged.
    """
    with ContainerReader(path) as reader:
        return {
            name: ({part: reader.read(key) for part, key in keys.items()}, info)
            for name, (keys, info) in parts_of(reader).items()
        }
