"""What is compressed, and the classes of compressed models by their names."""

from sklearn_ternary.compression import _linear, _networks, _projections
from sklearn_ternary.compression._classes import NAME, compressed_class

# What differs in the compressed class, by class.
FAMILIES = dict([*_linear.families(), *_networks.families(), *_projections.families()])


def __getattr__(name):
    # Where skops, which stores a class as a module and a name, looks for it.
    for original_class, mixin in FAMILIES.items():
        if name == NAME.format(original_class.__name__):
            return compressed_class(original_class, mixin)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
