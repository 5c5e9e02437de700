"""Tables for terminals: what does not fit beside each other stands below each other."""

import io
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd
from rich.box import ASCII2, SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lra_bench.display.escape import terminal

# Between columns, and of a column whose cells are broken between words; in characters.
_GAP, _WIDEST = 2, 24
_NARROWEST = 8  # terminals that say less are taken to have so many columns
_NOTE_STYLE = "dim"


def render(
    title: str, table: pd.DataFrame, notes: str, style_of: Callable[[Any], str] = lambda _: ""
) -> str:
    """Return a table with its title and notes, as wide as the terminal at most.

    Columns that do not fit follow in further tables, each with the first column. Notes are wrapped.

    Args:
        title: of the table.
        table: cells are shown by their text.
        notes: sentences below the table.
        style_of: returns the style of a cell, such as "bold"; "" for none.
    """
    width = max(_NARROWEST, shutil.get_terminal_size().columns)
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, highlight=False)
    console.print(Text(terminal(title), "bold"))
    columns = [_Column(name, table.iloc[:, n], style_of) for n, name in enumerate(table.columns)]
    columns[0].width = min(columns[0].width, width // 2)
    for column in columns[1:]:
        column.width = min(column.width, width - columns[0].width - _GAP)
    for block in _blocks(columns, width):
        console.print()
        console.print(_table(block))
    console.print()
    for line in textwrap.wrap(terminal(notes), width, break_on_hyphens=False):
        console.print(Text(line, _NOTE_STYLE))
    return f"{file.getvalue()}\n"


class _Column:
    """A column: its title, its cells, and how wide it is if its words are not broken."""

    def __init__(self, title: object, cells: pd.Series, style_of: Callable[[Any], str]) -> None:
        self.title = terminal(title)
        self.cells = [Text.assemble((terminal(cell), style_of(cell))) for cell in cells]
        texts = [cell.plain for cell in self.cells]
        self.has_figures = any(text[:1].isdigit() for text in texts)
        longest = max(map(cell_len, texts), default=0)
        unbroken = (word for text in [self.title, *texts] for word in text.split())
        self.width = max(min(longest, _WIDEST), *map(cell_len, unbroken), 1)


def _blocks(columns: Sequence[_Column], width: int) -> Iterator[list[_Column]]:
    """Yield the columns that fit beside each other, each time with the first."""
    first, *others = columns
    room = width - first.width
    block: list[_Column] = []
    for column in others:
        if block and sum(x.width + _GAP for x in [*block, column]) > room:
            yield [first, *block]
            block = []
        block.append(column)
    yield [first, *block]


def _table(columns: Sequence[_Column]) -> Table:
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    box = SIMPLE_HEAD if is_unicode else ASCII2
    table = Table(box=box, pad_edge=False, padding=(0, _GAP - 1, 0, 0), show_edge=False)
    for column in columns:
        justify = "right" if column.has_figures and column is not columns[0] else "left"
        title = Text("\n".join(textwrap.wrap(column.title, column.width)), justify=justify)
        table.add_column(title, justify=justify, width=column.width, overflow="fold")
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*row)
    return table
