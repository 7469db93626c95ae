"""The one place that imports private names of scikit-learn."""

from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils._set_output import _get_output_config

__all__ = [
    "Interval",
    "Options",
    "StrOptions",
    "_fit_context",
    "wants_dataframe",
]


def wants_dataframe(estimator):
    """Whether `set_output` asks `estimator` for something else than arrays."""
    return _get_output_config("transform", estimator)["dense"] != "default"
