"""Format tables: for people with a title and notes; for programs as csv or json."""

import json
from dataclasses import dataclass

import pandas as pd

from lra_bench.display import escape, terminal_tables

FOR_PROGRAMS = ("csv", "json")
TERMINAL = "terminal"


def for_programs(table: pd.DataFrame, style: str) -> str:
    """Format a table as csv or json; an unknown value is empty in csv, null in json."""
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


def render(style: str, title: str, table: pd.DataFrame, notes: str) -> str:
    """Format one table as "markdown", "latex", "html" or, for a terminal, as `TERMINAL`.

    Cells are text or `Marked`.
    """
    return _RENDERERS[style](title, table, notes)


def _markdown(title: str, table: pd.DataFrame, notes: str) -> str:
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


def _latex(title: str, table: pd.DataFrame, notes: str) -> str:
    escaped = table.map(_tex).rename(columns=escape.latex)
    columns = "l" + "r" * (len(table.columns) - 1)
    rows = [" & ".join(row) + r" \\" for row in escaped.itertuples(index=False)]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape.latex(title)}: {escape.latex(notes)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(escaped.columns) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _tex(cell: str | Marked) -> str:
    text = escape.latex(cell)
    if isinstance(cell, Marked):
        return rf"\textbf{{{text}}}" if cell.bold else rf"\underline{{{text}}}"
    return text


def _html(title: str, table: pd.DataFrame, notes: str) -> str:
    """Format as html; a wide table scrolls inside a box."""
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


def _terminal(title: str, table: pd.DataFrame, notes: str) -> str:
    return terminal_tables.render(title, table, notes, _style_of_terminal)


def _style_of_terminal(cell: str | Marked) -> str:
    if isinstance(cell, Marked):
        return "bold" if cell.bold else "underline"
    return ""


_RENDERERS = {"markdown": _markdown, "latex": _latex, "html": _html, TERMINAL: _terminal}
