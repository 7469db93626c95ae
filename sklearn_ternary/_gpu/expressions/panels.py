"""Rows in panels, since temporaries are many times as large as the values."""

# Values of a panel, whose temporaries take some dozen bytes each.
_PANEL = 2**25


def panels(n_rows, n_columns):
    """Slices of rows of a panel each, at least one row."""
    step = max(1, _PANEL // max(1, n_columns))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def of_rows(parameter, rows):
    """The part of a parameter, which all rows may share, for some rows."""
    return parameter if parameter.shape[0] == 1 else parameter[rows]
