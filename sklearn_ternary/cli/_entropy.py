"""Packed files to entropy-coded ones."""

import math

from sklearn_ternary.cli._console import plain, progress
from sklearn_ternary.persistence import ContainerReader, ContainerWriter
from sklearn_ternary.persistence._parts import declare_parts, parts_of
from sklearn_ternary.quantization._entropy_coding import entropy_coded


def entropy_code_file(source, target, parts):
    """Write a packed file once more, with entropy-coded codes.

    Tensors are coded twice, first to know their lengths, so that one at a time is in
    memory.

    Parameters
    ----------
    source, target : str
        What there is, and what to write.
    parts : dict
        What the source declares, as ``declare_parts`` takes it.

    Returns
    -------
    parts : dict
        The same of the target.
    """
    total = sum(_packed_bytes(*part) for part in parts.values())
    with (
        ContainerReader(source) as reader,
        progress("entropy coding", 2 * total) as advance,
    ):
        keys = {name: keys for name, (keys, _) in parts_of(reader).items()}

        def coded(name):
            info = parts[name][1]
            read = {part: reader.read(key) for part, key in keys[name].items()}
            if info is not None:
                read, info = entropy_coded(read, info)
                advance(_packed_bytes(*parts[name]), str(plain(name))[-40:])
            return read, info

        found = {}
        for name in parts:
            arrays, info = coded(name)
            found[name] = {p: (a.dtype, a.shape) for p, a in arrays.items()}, info
        declared, content, new_keys = declare_parts(found)
        with ContainerWriter(target, declared, content) as writer:
            for name in parts:
                for part, array in coded(name)[0].items():
                    writer.write(new_keys[name, part], array)
    return found


def _packed_bytes(tensors, info):
    return 0 if info is None else math.prod(tensors["packed"][1])
