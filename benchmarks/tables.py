"""Writes the tables and figures of README.md and docs/ from docs/results/*.json, so that no number is typed twice.

    python benchmarks/tables.py            # fills everything between markers
    python benchmarks/tables.py --check    # exit code 1 where a page differs from the results

A result file is flat: a figure's name to a number; names that begin with `_` say where the figures come from. A page marks a table with
`<!-- table: NAME -->` and `<!-- end -->` on lines of their own, and a single figure with `<!-- figure: FILE KEY -->` and `<!-- end -->`.
Intervals of success rates are Wilson's, from the rate and the number of pairs. Differences were bootstrapped over pairs when they were
measured, and are stored.
"""

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import arm_tables
import belief_tables
import game_tables
import house_tables
import imagination_tables
import world_tables
from table_cells import ROOT, Row, plain, results

_PARTS = (world_tables, imagination_tables, belief_tables, arm_tables, house_tables, game_tables)
TABLES: Mapping[str, Callable[[], Sequence[Row]]] = {name: rows for part in _PARTS for name, rows in part.TABLES.items()}
_TABLE = re.compile(r"(<!-- table: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_FIGURE = re.compile(r"(<!-- figure: ([\w-]+) (\S+) -->)(.*?)(<!-- end -->)", re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 where a page differs")
    check = parser.parse_args().check
    stale = []
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if (filled := fill(text)) != text:
            stale.append(str(page.relative_to(ROOT)))
            if not check:
                page.write_text(filled, encoding="utf-8")
    for name in stale:
        print(f"{name} {'differs from docs/results; run `make tables`' if check else 'written'}")
    return int(check and bool(stale))


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def fill(text: str) -> str:
    """`text` with what stands between its markers taken from the results; raises `KeyError` for a name that is not known."""
    assert "\n<!-- figure" not in text, "a line that begins with a comment is no part of its paragraph: move a word to its front"
    text = _TABLE.sub(lambda found: f"{found[1]}{markdown(TABLES[found[2]]())}\n{found[4]}", text)
    return _FIGURE.sub(lambda found: f"{found[1]}{plain(results(found[2])[found[3]])}{found[5]}", text)


def markdown(rows: Sequence[Row]) -> str:
    """The first row is the header."""
    assert len({len(row) for row in rows}) == 1 and len(rows[0]) <= 6, f"a table has at most six columns, all rows alike: {rows}"
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


if __name__ == "__main__":
    sys.exit(main())
