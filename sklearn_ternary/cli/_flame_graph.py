"""Flame graphs: times of nested parts as an SVG picture, without a library."""

from xml.sax.saxutils import escape

from sklearn_ternary.cli._console import seconds_text

_WIDTH, _ROW = 1200, 18
_LETTER = 6.6  # width of a letter
_LEAST = 0.5  # width of what is drawn
_COLORS = ("#e8a33d", "#e0783c", "#d9594c", "#c9a227", "#e58f65")


def flame_graph(stacks):
    """Return a picture in which the width of a box is the time of a part.

    Parameters
    ----------
    stacks : dict of tuple of str to float
        Seconds of each innermost part, by the names of those around it and its own.

    Returns
    -------
    svg : str
    """
    root = {}
    for stack, seconds in stacks.items():
        inside = root
        for name in stack:
            total, below = inside.get(name, (0.0, {}))
            inside[name] = total + seconds, below
            inside = below
    total = sum(stacks.values())
    depth = 1 + max(map(len, stacks), default=0)
    boxes = list(_boxes({"all": (total, root)}, 0.0, 0, total or 1.0))
    height = depth * _ROW + 2
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="monospace" font-size="11">',
        *(_drawn(*box, total or 1.0, height) for box in boxes),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _boxes(parts, left, level, total):
    """Name, seconds, left side and level of each part that can be seen."""
    for name, (seconds, below) in parts.items():
        if seconds / total * _WIDTH >= _LEAST:
            yield name, seconds, left, level
            yield from _boxes(below, left, level + 1, total)
        left += seconds / total * _WIDTH


def _drawn(name, seconds, left, level, total, height):
    width = seconds / total * _WIDTH
    top = height - (level + 1) * _ROW - 1
    letters = int((width - 4) / _LETTER)
    shown = name if len(name) <= letters else name[: max(letters - 1, 0)] + "…"
    text = ""
    if letters >= 2:
        text = f'<text x="{left + 2:.2f}" y="{top + 13}">{escape(shown)}</text>'
    color = _COLORS[sum(map(ord, name)) % len(_COLORS)]
    title = f"{name}: {seconds_text(seconds)}, {seconds / total:.1%}"
    return (
        f'<g><title>{escape(title)}</title><rect x="{left:.2f}" y="{top}" '
        f'width="{width:.2f}" height="{_ROW - 1}" rx="1" fill="{color}"/>{text}</g>'
    )
