"""Classes of compressed estimators, made from the original ones."""

import copy
import functools
import inspect

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from sklearn_ternary._in_kind import through_host
from sklearn_ternary.compression._job import Options
from sklearn_ternary.compression._on_device import through_outputs
from sklearn_ternary.compression._run import run

# What scikit-learn hangs on estimators beside parameters and results: requests for
# metadata, the container of the output, callbacks.
CARRIED = (
    "_metadata_request",
    "_parent_callback_ctx",
    "_skl_callbacks",
    "_sklearn_output_config",
)


NAME = "Compressed{}"
# The module that has the classes made of scikit-learn's.
_OF_SKLEARN = "sklearn_ternary.compression._families"


class CompressedEstimator:
    """What all compressed estimators have in common.

    Their classes are made when they are needed, one for each class of scikit-learn
    that is compressed: a subclass of it in which only the products with the
    weights differ, so that parameters, tags, `predict` and the rest stay.
    """

    _original_class = None
    # Methods that do nothing with samples but `checked_product`.
    of_outputs = ()

    def __reduce__(self):
        # The class is made again from the original, which may be of any module.
        return _new, (self._original_class, self._mixin), self.__getstate__()

    def __sklearn_clone__(self):
        """Keep the options of the compression, which are no parameters."""
        result = super().__sklearn_clone__()
        if "_compression" in vars(self):
            result._compression = self._compression
        return result

    def _refit(self, *args, **kwargs):
        """Fit the original class, then compress with the same options."""
        original = self._original_class(**self.get_params(deep=False))
        carried = {k: v for k, v in vars(self).items() if k in CARRIED}
        vars(original).update(carried)
        original.fit(*args, **kwargs)
        X = args[0] if args else kwargs["X"]
        options = getattr(self, "_compression", Options())
        X = X if options.calibrate else None
        compressed = run(original, options, X, self._mixin.compress_part)
        vars(self).clear()
        vars(self).update({**vars(compressed), **carried})
        return self


class _Absent:
    """An attribute that the original class has and the compressed one lacks."""

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner=None):
        name = owner.__name__ if owner else type(instance).__name__
        raise AttributeError(f"{name!r} object has no attribute {self.name!r}")


# What is given samples.
_OF_SAMPLES = (
    "decision_function",
    "fit",
    "fit_transform",
    "inverse_transform",
    "predict",
    "predict_joint_log_proba",
    "predict_log_proba",
    "predict_proba",
    "score",
    "score_samples",
    "transform",
)


class _Wrapped:
    """A method that the class has under conditions, wrapped."""

    def __init__(self, method, wrap):
        self.method = method
        self.wrap = wrap

    def __get__(self, instance, owner=None):
        return self.wrap(self.method.__get__(instance, owner))


# They change float weights in place.
_ABSENT = ("partial_fit", "densify", "sparsify")


@functools.cache
def compressed_class(original_class, mixin):
    """Return the class of compressed estimators for a class of scikit-learn.

    Parameters
    ----------
    original_class : type
    mixin : type
        Defines what differs. Its attribute `public_methods` holds functions by
        name that go into the class itself, where scikit-learn's own machinery
        (`set_output`) looks for them, and its class method `compress_part` is
        how one of the original class is compressed. What a class outside of
        scikit-learn defines itself is not replaced.
    """

    @functools.wraps(original_class.fit)
    def fit(self, *args, **kwargs):
        return self._refit(*args, **kwargs)

    namespace = {
        "__doc__": (
            f"{original_class.__name__} that predicts through packed ternary weights.\n"
            "\n    It is what `sklearn_ternary.compress` returns."
        ),
        "__module__": _OF_SKLEARN if _is_of_sklearn(original_class) else __name__,
        "_original_class": original_class,
        "_mixin": mixin,
        "fit": fit,
    }
    namespace |= {
        name: method
        for name, method in mixin.public_methods.items()
        if getattr(original_class, name, method).__module__.startswith("sklearn")
    }
    namespace |= {n: _Absent() for n in _ABSENT if hasattr(original_class, n)}
    name = NAME.format(original_class.__name__)
    cls = type(name, (mixin, original_class), namespace)
    for name in _OF_SAMPLES:
        method = inspect.getattr_static(cls, name, None)
        if method is not None:
            wrap = through_outputs if _is_of_outputs(cls, name) else through_host
            if inspect.isfunction(method):
                method = wrap(method)
                # Scorers ask a method for its name, and call what is so called.
                method.__name__, method.__qualname__ = name, f"{cls.__name__}.{name}"
            else:
                method = _Wrapped(method, wrap)
            setattr(cls, name, method)
    return cls


def _is_of_sklearn(cls):
    return cls.__module__.startswith("sklearn.")


def _is_of_outputs(cls, name):
    """Whether a method looks at samples through products with the weights alone."""
    definer = next(base for base in cls.__mro__ if name in vars(base))
    return name in cls.of_outputs and definer.__module__.startswith("sklearn")


def _new(original_class, mixin):
    return object.__new__(compressed_class(original_class, mixin))


def with_state(cls, state):
    """Return an instance of a compressed class with this `__dict__`."""
    result = object.__new__(cls)
    vars(result).update(state)
    return result


def unfitted(estimator, mixin, options):
    """Return an unfitted compressed estimator with the parameters of another."""
    state = {**vars(clone(estimator)), "_compression": options}
    return with_state(compressed_class(type(estimator), mixin), state)


def state_without(estimator, *names):
    """Copy of what an estimator holds, without the attributes named."""
    shared = {k: v for k, v in vars(estimator).items() if k == "_skl_callbacks"}
    names += (*shared, "_parent_callback_ctx")
    state = {k: v for k, v in vars(estimator).items() if k not in names}
    return {**copy.deepcopy(state), **shared}


def get_feature_names_out(self, input_features=None):
    """Names of the outputs, those that the original class gives.

    Parameters
    ----------
    input_features : None
        Ignored.

    Returns
    -------
    names : ndarray of shape (n_outputs,), object
    """
    check_is_fitted(self, "_n_features_out")
    prefix = self._original_class.__name__.lower()
    names = [f"{prefix}{i}" for i in range(self._n_features_out)]
    return np.asarray(names, dtype=object)
