"""Classes of compressed estimators, made from the original ones."""

import functools

import numpy as np
from sklearn.base import BaseEstimator


class CompressedEstimator:
    """What all compressed estimators have in common.

    Their classes are made when they are needed, one for each class of scikit-learn
    that is compressed: a subclass of it in which only the products with the
    weights differ, so that parameters, tags, `predict` and the rest stay.
    """

    _original_class = None

    def __reduce__(self):
        # The class has no name in a module: it is made again from the original.
        return _new, (self._original_class,), self.__getstate__()

    def __sklearn_clone__(self):
        """Keep the options of the compression, which are no parameters."""
        result = super().__sklearn_clone__()
        if "_compression" in vars(self):
            result._compression = self._compression
        return result

    def _refit(self, *args, **kwargs):
        """Fit the original class, then compress with the same options."""
        from sklearn_ternary.compression._compress import compress_again

        original = self._original_class(**self.get_params(deep=False))
        # Requests for metadata and the container of the output stay set.
        kept = ("_metadata_request", "_sklearn_output_config")
        vars(original).update({k: v for k, v in vars(self).items() if k in kept})
        original.fit(*args, **kwargs)
        X = args[0] if args else kwargs["X"]
        compressed = compress_again(original, X, getattr(self, "_compression", None))
        vars(self).clear()
        vars(self).update(vars(compressed))
        return self


class _Absent:
    """An attribute that the original class has and the compressed one lacks."""

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner=None):
        name = owner.__name__ if owner else type(instance).__name__
        raise AttributeError(f"{name!r} object has no attribute {self.name!r}")


# They change float weights in place.
_ABSENT = ("partial_fit", "densify", "sparsify")


def compressed_class(original_class, mixin):
    """Return the class of compressed estimators for a class of scikit-learn.

    Parameters
    ----------
    original_class : type
    mixin : type
        Defines what differs. Its attribute `public_methods` holds functions by
        name that go into the class itself, where scikit-learn's own machinery
        (`set_output`) looks for them.
    """
    return _make(original_class, mixin)


@functools.cache
def _make(original_class, mixin):
    @functools.wraps(original_class.fit)
    def fit(self, *args, **kwargs):
        return self._refit(*args, **kwargs)

    namespace = {
        "__doc__": (
            f"{original_class.__name__} that predicts through packed ternary weights.\n"
            "\n    It is what `sklearn_ternary.compress` returns."
        ),
        "__module__": __name__,
        "_original_class": original_class,
        "fit": fit,
        **mixin.public_methods,
    }
    namespace |= {n: _Absent() for n in _ABSENT if hasattr(original_class, n)}
    name = f"Compressed{original_class.__name__}"
    return type(name, (mixin, original_class), namespace)


def _new(original_class):
    from sklearn_ternary.compression._compress import mixin_of

    return object.__new__(compressed_class(original_class, mixin_of(original_class)))


def with_state(cls, state):
    """Return an instance of a compressed class with this `__dict__`."""
    result = object.__new__(cls)
    vars(result).update(state)
    return result


def class_name(estimator):
    """Name of the class of an estimator, of the original one if compressed."""
    cls = getattr(estimator, "_original_class", None) or type(estimator)
    return cls.__name__


def output_dtype(X, dtype):
    """Type that NumPy gives the product of X and float weights of this type."""
    return np.result_type(X.dtype, dtype)


def is_estimator(thing):
    """Whether it is an estimator of scikit-learn, not a word such as "drop"."""
    return isinstance(thing, BaseEstimator)
