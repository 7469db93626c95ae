"""The one place that imports private names of scikit-learn."""

from sklearn.base import _fit_context
from sklearn.utils._param_validation import (
    Interval,
    Options,
    StrOptions,
    validate_parameter_constraints,
    validate_params,
)
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import _check_sample_weight, _is_arraylike_not_scalar

__all__ = [
    "Interval",
    "Options",
    "StrOptions",
    "_check_sample_weight",
    "_fit_context",
    "_is_arraylike_not_scalar",
    "validate_parameter_constraints",
    "validate_params",
    "wants_dataframe",
]


def wants_dataframe(estimator):
    """Whether `set_output` asks `estimator` for something else than arrays."""
    return _get_output_config("transform", estimator)["dense"] != "default"
