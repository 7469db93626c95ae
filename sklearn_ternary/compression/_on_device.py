"""Samples on a device are multiplied there; scikit-learn is shown the outputs."""

import functools
from contextvars import ContextVar

from sklearn_ternary._gpu.arrays import (
    are_of_host,
    from_device,
    has_device_arrays,
    is_device_array,
    to_host,
)
from sklearn_ternary._in_kind import moved

_is_inside = ContextVar("is_inside", default=False)


def through_outputs(function):
    """Make a method take samples of a device, and return arrays that are there.

    The samples are its first argument, or called ``X``, and reach nothing but
    `checked_product`, which multiplies them where they are. What comes of it is copied
    to the host, where scikit-learn goes on.
    """
    first = _place_of_samples(function)

    @functools.wraps(function)
    def there_and_back(*args, **options):
        if are_of_host(args[first:]) and are_of_host(options.values()):
            return function(*args, **options)
        if _is_inside.get():  # called by another method
            return function(*args, **options)
        args = [from_device(value) for value in args]
        options = {key: from_device(value) for key, value in options.items()}
        home = None
        if has_device_arrays():
            home = next(filter(is_device_array, (*args, *options.values())), None)
        if home is None:
            return function(*args, **options)
        args = [a if i == first else to_host(a) for i, a in enumerate(args)]
        options = {k: a if k == "X" else to_host(a) for k, a in options.items()}
        token = _is_inside.set(True)
        try:
            result = function(*args, **options)
        finally:
            _is_inside.reset(token)
        return moved(result, home)

    return there_and_back


def _place_of_samples(function):
    """Number of the first argument, after an unbound method's `self`."""
    return 0 if hasattr(function, "__self__") else 1
