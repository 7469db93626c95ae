"""The command line ``sklearn-ternary``."""

from sklearn_ternary.cli._app import app as main

__all__ = ["main"]
