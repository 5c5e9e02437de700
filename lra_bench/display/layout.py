"""The changes to tables that a user asks for: which columns, in which order, under which title."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from lra_bench.errors import UsageError, unknown

# The first number of a cell and its unit, such as those of "~31.1 ± 0.5 (-)", "below 1,024" or
# "74 KiB".
_NUMBER = re.compile(
    r"^(below |above )?[~<>= ]*([+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)(?: ([A-Za-z]+)\b)?"
)
_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "us": 1e-6, "ms": 1e-3}
# A unit or sign at the end of a heading: "512 (ms)", "image %".
_UNIT = re.compile(r"\s*(\([^)]*\)|%)$")
_ORDERS = ("asc", "desc")
# The rows of tables that come last, whatever the order.
LAST = ("chance", "uniform")


@dataclass(frozen=True)
class TableLayout:
    """The changes to tables that a user asks for.

    Attributes:
        columns: headings of the columns to show, in this order, after the first one; all if empty.
        sort: heading of the column to sort by, with ":asc" or ":desc" at its end if wanted; "" for
            the usual order.
        caption: stands in place of the title; before it where there are several tables.
        label: of a table in LaTeX; with a number where there are several.
    """

    columns: tuple[str, ...] = ()
    sort: str = ""
    caption: str = ""
    label: str = ""

    def __call__(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table with its columns chosen and its rows sorted.

        Columns that other tables have may be missing here.
        """
        first = table.columns[0]
        shown = _sorted(table, self.sort) if self.sort else table
        if not self.columns:
            return shown
        found = _meant(self.columns, list(table.columns))
        kept = dict.fromkeys(x for _, x in found if x is not None and x != first)
        return shown.loc[:, [first, *kept]]


PLAIN = TableLayout()


def check(layout: TableLayout, tables: Sequence[pd.DataFrame]) -> None:
    """Check that each column that is asked for is in one of the tables.

    Raises:
        UsageError: it is in none; the message lists the columns and suggests the nearest.
    """
    headings = list(dict.fromkeys(name for table in tables for name in table.columns))
    sort = (_split(layout.sort)[0],) if layout.sort else ()
    for name, heading in (*_meant(layout.columns, headings), *_meant(sort, headings)):
        if heading is None:
            raise unknown("column", name, headings)


def _meant(parts: Sequence[str], headings: Sequence[str]) -> list[tuple[str, str | None]]:
    """Return each name with the heading that it means, None if there is none.

    A heading may have a comma of its own, so several parts of a list can be one name: the most
    parts that are a heading are.
    """
    if not parts:
        return []
    names = {end: ",".join(parts[:end]) for end in range(len(parts), 0, -1)}
    end = next((end for end, name in names.items() if _found(name, headings)), 1)
    return [(names[end], _found(names[end], headings)), *_meant(parts[end:], headings)]


def _found(name: str, headings: Sequence[str]) -> str | None:
    """Return the heading that a name means: in any case, without its unit or its commas too."""
    plain = _folded(name)
    for text in (_folded, lambda heading: _folded(_UNIT.sub("", heading))):
        for heading in headings:
            if text(heading) == plain:
                return heading
    return None


def _folded(name: str) -> str:
    return name.strip().casefold().replace(",", "")


def _split(sort: str) -> tuple[str, str]:
    """Return the column and the order, "asc", "desc" or ""."""
    name, _, order = sort.rpartition(":")
    return (name, order.lower()) if name and order.lower() in _ORDERS else (sort, "")


def _sorted(table: pd.DataFrame, sort: str) -> pd.DataFrame:
    """Return a table sorted by a column: numbers from the largest on, and texts from A on.

    Cells without a number come after those with one, and the rows `LAST` at the end. A table
    without the column stays as it is.
    """
    name, order = _split(sort)
    heading = _found(name, list(table.columns))
    if heading is None:
        return table
    cells = table[heading].tolist()
    numbers = [_number(cell) for cell in cells]
    last = [place for place, name in enumerate(table.iloc[:, 0]) if str(name) in LAST]
    places = [place for place in range(len(cells)) if place not in last]
    if all(number is None for number in numbers):
        places.sort(key=lambda place: str(cells[place]).casefold(), reverse=order == "desc")
    else:
        sign = 1 if order == "asc" else -1
        places.sort(key=lambda place: _rank(numbers[place], sign))
    return table.iloc[[*places, *last]]


def _rank(number: float | None, sign: int) -> tuple[bool, float]:
    """Return what numbers are sorted by; cells without one come last."""
    return number is None, sign * (number or 0)


def _number(cell: object) -> float | None:
    """Return the number of a cell, or that with which its text begins; None if it has none.

    It is in bytes or seconds if it has such a unit. "below 512" is just below 512.
    """
    match = _NUMBER.match(str(cell))
    if match is None:
        return None
    number = float(match[2].replace(",", "")) * _UNITS.get(match[3], 1)
    side = {"below ": -math.inf, "above ": math.inf}.get(match[1])
    return number if side is None else math.nextafter(number, side)


def numbered(text: str, label: str) -> str:
    """Return LaTeX in which several tables have labels that differ."""
    command = rf"\label{{{label}}}"
    if not label or text.count(command) < 2:
        return text
    parts = text.split(command)
    labels = [rf"\label{{{label}-{number}}}" for number in range(1, len(parts))]
    return "".join(part + end for part, end in zip(parts, [*labels, ""], strict=True))


def check_label(label: str) -> str:
    r"""Return a label that LaTeX can have.

    Raises:
        UsageError: it has a sign that ends the argument of `\label`.
    """
    if not re.fullmatch(r"[\w:.\-+/ ]*", label, re.ASCII):
        raise UsageError(f"--label {label}: letters, digits and : . - + / _ are allowed")
    return label
