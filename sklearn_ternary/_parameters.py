"""Parameters of estimators are validated where they are not the defaults."""

import functools
import inspect

from sklearn_ternary._sklearn_compat import validate_parameter_constraints


class QuickValidation:
    """A base of estimators: parameters that still are the defaults are not looked at.

    Looking at all of them takes longer than it takes to cluster a thousand rows.
    """

    def _validate_params(self):
        """Raise as `BaseEstimator` does."""
        known = _valid_defaults(type(self))
        values = {name: getattr(self, name) for name in known}
        validate_parameter_constraints(
            self._parameter_constraints,
            {name: v for name, v in values.items() if v is not known[name]},
            caller_name=type(self).__name__,
        )


@functools.lru_cache(maxsize=64)
def _valid_defaults(kind):
    """The parameters of a class of estimators, each with its default if valid."""
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
    return found
