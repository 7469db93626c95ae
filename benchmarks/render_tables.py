"""Turn measurements into the tables of the README and of the documentation.

    python benchmarks/render_tables.py --check    # 1 if the README is out of date
    python benchmarks/render_tables.py --write
    python benchmarks/render_tables.py --targets  # 1 if a result has gone

Between ``<!-- table: NAME -->`` and ``<!-- end of table -->`` in README.md no
figure is typed by hand. The documentation includes the same tables, and the larger
ones, as it is built (doc/conf.py calls `write_rst_tables`).
"""

import argparse
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from result_tables import TABLES
from result_tables.targets import NOT_FOUND, all_judged

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"

# Markdown


def markdown(table):
    """Return a table as lines of Markdown."""
    columns = range(len(table.header))
    align = ["---" if i in table.words else "--:" for i in columns]
    lines = [_cells(table.header), _cells(align)]
    lines += [_cells(row) for row in table.rows]
    if table.caption:
        lines += ["", table.caption]
    return "\n".join(lines)


def _cells(row):
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |"


_BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def filled(text):
    """Return the text of a README with its tables brought up to date."""

    def fill(match):
        return f"{match[1]}{markdown(TABLES[match[2]]())}\n{match[3]}"

    return _BLOCK.sub(fill, text)


# reStructuredText


def rst(table):
    """Return a table as reStructuredText."""
    # doc/_static/pages.css aligns the columns of these classes.
    columns = range(len(table.header))
    right = " ".join(f"right-{i + 1}" for i in columns if i not in table.words)
    lines = [".. list-table::", "   :header-rows: 1", f"   :class: {right}", ""]
    for row in (table.header, *table.rows):
        for i, cell in enumerate(row):
            # Markdown's code quotes are doubled in reStructuredText.
            lines.append(("   * - " if i == 0 else "     - ") + cell.replace("`", "``"))
    if table.caption:
        lines += ["", table.caption.replace("`", "``")]
    return "\n".join(lines) + "\n"


def write_rst_tables(folder):
    """Write every table to a file of its own in `folder`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in TABLES.items():
        text = rst(make())
        path = folder / f"{name}.rst"
        # An unchanged file keeps its time, and pages are not built again.
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def print_targets():
    """Print every target beside what was measured; return the exit code."""
    for name in TABLES:
        if name.startswith("targets_") or name == "unmet":
            print(markdown(TABLES[name]()), end="\n\n")
    gone = [one for one in all_judged() if one.verdict == NOT_FOUND]
    for one in gone:
        print(f"{one.subject}, {one.target['what']}: {NOT_FOUND}", file=sys.stderr)
    return 1 if gone else 0


def main():
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--check", action="store_true", help="change nothing")
    choice.add_argument("--write", action="store_true", help="change README.md")
    choice.add_argument(
        "--targets", action="store_true", help="print targets and measurements"
    )
    arguments = parser.parse_args()
    if arguments.targets:
        return print_targets()
    before = README.read_text(encoding="utf-8")
    after = filled(before)
    if before == after:
        print("README.md is up to date")
        return 0
    if arguments.check:
        print("README.md is out of date: run benchmarks/render_tables.py --write")
        return 1
    README.write_text(after, encoding="utf-8")
    print("README.md is written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
