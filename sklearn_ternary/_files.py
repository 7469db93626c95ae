"""The public `save` and `load`."""

import os

import numpy as np

from sklearn_ternary._gpu.arrays import from_device, to_host
from sklearn_ternary.persistence import load_tensors, save_tensors
from sklearn_ternary.persistence._formats import file_kind
from sklearn_ternary.persistence._parts import PLAIN
from sklearn_ternary.quantization import TernaryArray
from sklearn_ternary.quantization._groups import matrix_shape

_HINTS = {
    "npy": "a NumPy .npy file; numpy.load reads it, and "
    "'sklearn-ternary quantize' packs it",
    "npz": "a zip or NumPy .npz file; numpy.load reads the latter, and "
    "'sklearn-ternary quantize' packs it",
    "safetensors": "a safetensors file of another program; the safetensors "
    "package reads it, and 'sklearn-ternary quantize' packs it",
}


def save(obj, path, *, entropy_code=False):
    """Write packed arrays to a file.

    The file is a safetensors file: it holds numbers and a JSON description, and
    no code. It appears when it is complete and on the disk; until then a file
    that was there before stays.

    Parameters
    ----------
    obj : TernaryArray, ConstrainedTrainer or dict
        A packed array, a trained network, or a dict of names to packed arrays
        and arrays of booleans, integers or floats, which a device may hold.
    path : str or path-like
    entropy_code : bool, default=False
        Store the codes of packed arrays in as few bits as their frequencies allow,
        rather than in those of their layout. Such a file takes longer to write and
        to read; what is read has the same layout again.

    Raises
    ------
    ValueError
        If `obj` is something else or holds an array that cannot be stored, or for
        ``entropy_code=True`` with a network.

    See Also
    --------
    load : Read it again.

    Examples
    --------
    >>> import numpy as np, os, tempfile
    >>> from sklearn_ternary import load, save, ternarize
    >>> path = os.path.join(tempfile.mkdtemp(), "layer.safetensors")
    >>> A = ternarize(np.eye(3))
    >>> save({"weight": A, "bias": np.zeros(3)}, path)
    >>> load(path)["weight"] == A
    True
    """
    if hasattr(obj, "to_numpy_state"):  # scikit-learn is not imported for it
        if entropy_code:
            raise ValueError("entropy_code=True is for packed arrays, not for networks")
        obj.save(path)
    elif isinstance(obj, TernaryArray):
        save_tensors(path, {"": obj._to_parts(entropy_code)})
    elif isinstance(obj, dict):
        parts = {_checked(n): _parts(n, v, entropy_code) for n, v in obj.items()}
        save_tensors(path, parts)
    else:
        raise ValueError(
            f"obj is a {type(obj).__name__}; a TernaryArray, a ConstrainedTrainer "
            "or a dict of names to "
            "TernaryArray and ndarray can be saved"
        )


def load(path):
    """Read a file written by `save`.

    Every byte is checked; nothing in the file is executed.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    obj : TernaryArray, ConstrainedTrainer or dict
        What was saved.

    Raises
    ------
    ValueError
        If the file is damaged or of another kind; it says of which.

    See Also
    --------
    save : Write such a file, with an example.
    """
    kind = file_kind(path)
    if kind != "container":
        raise ValueError(
            f"{os.fsdecode(path)} is {_HINTS.get(kind, kind)}. load reads files "
            "written by sklearn_ternary.save"
        )
    parts = load_tensors(path)
    if isinstance(parts.get("", (None, None))[1], dict) and "estimator" in parts[""][1]:
        from sklearn_ternary.neural_network import ConstrainedTrainer

        return ConstrainedTrainer.load(path)
    objects = {name: _object(path, name, *part) for name, part in parts.items()}
    return objects[""] if set(objects) == {""} else objects


def _checked(name):
    if not isinstance(name, str) or not name:
        raise ValueError(f"the name {name!r} must be text that is not empty")
    return name


def _parts(name, value, entropy_code):
    if isinstance(value, TernaryArray):
        return value._to_parts(entropy_code)
    value = to_host(from_device(value))
    if isinstance(value, np.ndarray):
        return {PLAIN: value}, None
    raise ValueError(
        f"obj[{name!r}] is a {type(value).__name__}; TernaryArray and ndarray "
        "can be saved"
    )


def _object(path, name, tensors, info):
    if info is None and set(tensors) == {PLAIN}:
        return tensors[PLAIN]
    try:
        A = TernaryArray._from_parts(tensors, info)
    except ValueError as error:
        raise ValueError(f"{os.fsdecode(path)}: {name or 'array'}: {error}") from None
    n_values = matrix_shape(A.shape)[1]
    if A.group_size <= n_values:
        return A
    # A group longer than a row ends with it; its number is not to be trusted.
    parts = A.packed, A.scale, A.shape, A.layout
    return TernaryArray(*parts, group_size=max(n_values, 1))
