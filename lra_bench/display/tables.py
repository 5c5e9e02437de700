"""Format tables: for people with a title and notes; for programs as csv or json."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from lra_bench.display import escape, terminal_tables
from lra_bench.display.layout import PLAIN, TableLayout, check, numbered

FOR_PROGRAMS = ("csv", "json")
TERMINAL = "terminal"


def for_programs(table: pd.DataFrame, style: str, layout: TableLayout = PLAIN) -> str:
    """Format a table as csv or json; an unknown value is empty in csv, null in json."""
    check(layout, [table])
    table = layout(table)
    if style == "csv":
        is_numeric = pd.api.types.is_numeric_dtype
        texts = [name for name in table.columns if not is_numeric(table[name])]
        shown = table.assign(**{name: table[name].map(escape.csv) for name in texts})
        return shown.to_csv(index=False, lineterminator="\n")
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return json.dumps(rows, indent=2) + "\n"


@dataclass(frozen=True)
class Marked:
    """A cell whose text is bold, or else underlined."""

    text: str
    bold: bool

    def __str__(self) -> str:
        return self.text


# Characters beyond which a cell of LaTeX is set in several lines.
_LONG_TEXT = 40


@dataclass(frozen=True)
class Sheet:
    """A table for people.

    Attributes:
        title: what it shows.
        table: text or `Marked` in each cell.
        notes: how to read it, as sentences.
    """

    title: str
    table: pd.DataFrame
    notes: str


def render(style: str, title: str, table: pd.DataFrame, notes: str) -> str:
    """Format one table as "markdown", "latex", "html" or, for a terminal, as `TERMINAL`.

    Cells are text or `Marked`.
    """
    return render_all(style, [Sheet(title, table, notes)])


def render_all(style: str, sheets: Sequence[Sheet], layout: TableLayout = PLAIN) -> str:
    """Format tables as "markdown", "latex" or "html", laid out as a user asks for.

    Raises:
        UsageError: no table has a column that is asked for.
    """
    check(layout, [sheet.table for sheet in sheets])
    parts = []
    for sheet in sheets:
        table = layout(sheet.table)
        if layout.columns and len(table.columns) < 2:
            continue
        title = _titled(layout.caption, sheet.title, several=len(sheets) > 1)
        parts.append(_RENDERERS[style](title, table, sheet.notes, layout.label))
    return numbered("\n".join(parts), layout.label)


def _titled(caption: str, title: str, *, several: bool) -> str:
    """Return the title of a table: its own unless a user gave one."""
    if not caption:
        return title
    return f"{caption.rstrip('.')}: {title}" if several else caption


def _markdown(title: str, table: pd.DataFrame, notes: str, label: str) -> str:
    del label
    aligned = ["left"] + ["right"] * (len(table.columns) - 1)
    marked = table.map(_signs_of_markdown).rename(columns=escape.markdown)
    body = marked.to_markdown(index=False, disable_numparse=True, colalign=aligned)
    heading, below = (escape.markdown(text, in_table=False) for text in (title, notes))
    return f"### {heading}\n\n{body}\n\n{below}\n"


def _signs_of_markdown(cell: str | Marked) -> str:
    text = escape.markdown(cell)
    if isinstance(cell, Marked):
        return f"**{text}**" if cell.bold else f"<u>{text}</u>"
    return text


def _latex(title: str, table: pd.DataFrame, notes: str, label: str) -> str:
    """Format as LaTeX; a caption is a sentence, and the notes stand below the table."""
    escaped = table.map(_tex).rename(columns=escape.latex)
    columns = "".join(_alignment(table.iloc[:, i], i == 0) for i in range(table.shape[1]))
    rows = [" & ".join(row) + r" \\" for row in escaped.itertuples(index=False)]
    lines = [
        r"% \usepackage{array,booktabs,threeparttable}",
        r"\begin{table}",
        r"\centering",
        r"\begin{threeparttable}",
        rf"\caption{{{_sentence(title)}}}",
        *([rf"\label{{{label}}}"] if label else []),
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(escaped.columns) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        *([r"\begin{tablenotes}", r"\footnotesize", rf"\item {escape.latex(notes)}",
           r"\end{tablenotes}"] if notes else []),
        r"\end{threeparttable}",
        r"\end{table}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _alignment(cells: pd.Series, is_first: bool) -> str:
    """Return how LaTeX sets a column: long texts, such as sources, are broken into lines."""
    if max(map(len, map(str, cells)), default=0) > _LONG_TEXT:
        return r">{\raggedright\arraybackslash}p{0.3\linewidth}"
    return "l" if is_first else "r"


def _sentence(title: str) -> str:
    """Return a title as a sentence of LaTeX."""
    text = escape.latex(title)
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _tex(cell: str | Marked) -> str:
    text = escape.latex(cell)
    if isinstance(cell, Marked):
        return rf"\textbf{{{text}}}" if cell.bold else rf"\underline{{{text}}}"
    return text


def _html(title: str, table: pd.DataFrame, notes: str, label: str) -> str:
    """Format as html; a wide table scrolls inside a box."""
    del label
    escaped = table.map(_signs_of_html).rename(columns=_text_of_html)
    rows = escaped.to_html(index=False, border=0, escape=False)
    body = f'<div class="table">\n{rows}\n</div>'
    return f"<h3>{_text_of_html(title)}</h3>\n{body}\n<p>{_text_of_html(notes)}</p>\n"


def _text_of_html(text: object) -> str:
    return escape.html(escape.terminal(text))


def _signs_of_html(cell: str | Marked) -> str:
    text = _text_of_html(cell)
    if isinstance(cell, Marked):
        return f"<b>{text}</b>" if cell.bold else f"<u>{text}</u>"
    return text


def _terminal(title: str, table: pd.DataFrame, notes: str, label: str) -> str:
    del label
    return terminal_tables.render(title, table, notes, _style_of_terminal)


def _style_of_terminal(cell: str | Marked) -> str:
    if isinstance(cell, Marked):
        return "bold" if cell.bold else "underline"
    return ""


_RENDERERS = {"markdown": _markdown, "latex": _latex, "html": _html, TERMINAL: _terminal}
