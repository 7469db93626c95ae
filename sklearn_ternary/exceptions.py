"""Warnings of this package."""

__all__ = ["BackendFallbackWarning"]


class BackendFallbackWarning(RuntimeWarning):
    """A backend is missing or failed, and another one did the work.

    Shown once per process for each backend and kind of error. With
    ``config_context(strict=True)`` there is a ``RuntimeError`` instead.
    """
