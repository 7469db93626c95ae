"""Parameters of estimators are validated where they are not known to be valid."""

import functools
import inspect

from sklearn_ternary._sklearn_compat import validate_parameter_constraints

# Of these types equal values are equally valid.
_PLAIN = frozenset((bool, float, int, str))
# Of a class so many values are kept.
_MOST_SEEN = 256


class QuickValidation:
    """A base of estimators: defaults and values that were valid are not looked at.

    Looking at all of them takes longer than it takes to cluster a thousand rows.
    """

    def _validate_params(self):
        """Raise as `BaseEstimator` does."""
        known, seen = _valid_values(type(self))
        unknown, plain = {}, []
        for name, default in known.items():
            value = getattr(self, name)
            if value is default:
                continue
            key = name, type(value), value
            if type(value) not in _PLAIN:
                unknown[name] = value
            elif key not in seen:
                unknown[name] = value
                plain.append(key)
        validate_parameter_constraints(
            self._parameter_constraints, unknown, caller_name=type(self).__name__
        )
        if len(seen) < _MOST_SEEN:
            seen.update(plain)


@functools.lru_cache(maxsize=64)
def _valid_values(kind):
    """The parameters of a class, each with its default if valid; others seen valid."""
    signature = inspect.signature(kind.__init__)
    found = {}
    for name in kind._get_param_names():
        found[name] = default = signature.parameters[name].default
        try:
            validate_parameter_constraints(
                kind._parameter_constraints, {name: default}, kind.__name__
            )
        except ValueError:
            # Nothing that anybody sets is this object.
            found[name] = object()
    return found, set()
