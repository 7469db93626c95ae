"""The files of results, from which the tables are made."""

import json

from sklearn_ternary.persistence import atomic_file


def write_results(path, results):
    """Write results, JSON-able, to a file, which is replaced as a whole."""
    with atomic_file(path) as file:
        file.write((json.dumps(results, indent=1) + "\n").encode())
