"""Fitted scikit-learn models that predict through packed ternary weights."""

import importlib

# Loaded at first use: the report imports no scikit-learn, the rest does.
_PUBLIC = {
    "CompressionReport": "_report",
    "LayerReport": "_report",
    "compress": "_compress",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *__all__])
