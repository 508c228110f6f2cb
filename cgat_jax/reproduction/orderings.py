"""The paper's claims about a table: which defense is above which, here as well?"""

from collections.abc import Sequence

import pandas as pd

from cgat_jax.report import names
from cgat_jax.reproduction.comparison import HEADER, Row, cell_names

# Under attack a defense is above what comes before it; on clean queries below.
_ORDER = ("none", "atrdh", "cgat")


def paper_layout(rows: Sequence[Row]) -> pd.DataFrame:
    """The rows as the paper prints them: a network a row, an attack a column.

    Where the paper prints a number it stands in parentheses behind ours.
    """
    printed = []
    for row in rows:
        ours = "-" if row.ours is None else f"{row.ours:.2f}"
        text = ours if row.paper is None else f"{ours} ({row.paper:.2f})"
        printed.append([*cell_names(row.cell), text])
    *network, attack = HEADER
    table = pd.DataFrame(printed, columns=[*HEADER, "text"])
    table = table.pivot_table("text", network, attack, aggfunc="last", sort=False)
    return table.fillna("-").rename_axis(columns=None).reset_index()


def orderings(rows: Sequence[Row]) -> list[str]:
    """A line for each of the paper's orderings: how often it holds, and where not.

    CgAT above ATRDH and ATRDH above no defense under attack, the opposite on clean
    queries; by the measured means, whatever their intervals.
    """
    measured = {
        row.cell._replace(paper=None): row.ours for row in rows if row.ours is not None
    }
    lines = []
    for clean in (False, True):
        for weaker, stronger in zip(_ORDER, _ORDER[1:], strict=False):
            pairs = [
                (cell, measured[other], ours)
                for cell, ours in measured.items()
                if cell.defense == stronger and (cell.attack == "clean") == clean
                if (other := cell._replace(defense=weaker)) in measured
            ]
            if pairs:
                lines.append(_line(weaker, stronger, clean, pairs))
    return lines


def _line(weaker: str, stronger: str, clean: bool, pairs: list) -> str:
    high, low = (weaker, stronger) if clean else (stronger, weaker)
    high, low = (names.display(names.DEFENSES, name) for name in (high, low))
    wrong = [
        f"{', '.join(cell_names(cell)[1:3])} bits, "
        f"{names.display(names.ATTACKS, cell.attack)} ({names.signed(ours - other)})"
        for cell, other, ours in pairs
        if (ours >= other if clean else ours <= other)
    ]
    where = "on clean queries" if clean else "under attack"
    text = f"{high} above {low} {where}: {len(pairs) - len(wrong)} of {len(pairs)}"
    return f"{text}; not {'; '.join(wrong)}." if wrong else f"{text}."
