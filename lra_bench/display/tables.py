"""Format tables: for people with a title and notes; for programs as csv or json."""

import html as markup
import json
from dataclasses import dataclass

import pandas as pd

FOR_PROGRAMS = ("csv", "json")


def for_programs(table: pd.DataFrame, style: str) -> str:
    """Format a table as csv or json; an unknown value is empty in csv, null in json."""
    if style == "csv":
        return table.to_csv(index=False, lineterminator="\n")
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
    """Format one table as "markdown", "latex" or "html"; cells are text or `Marked`."""
    return _RENDERERS[style](title, table, notes)


def _markdown(title: str, table: pd.DataFrame, notes: str) -> str:
    aligned = ["left"] + ["right"] * (len(table.columns) - 1)
    marked = table.map(_signs_of_markdown)
    body = marked.to_markdown(index=False, disable_numparse=True, colalign=aligned)
    return f"### {title}\n\n{body}\n\n{notes}\n"


def _signs_of_markdown(cell: str | Marked) -> str:
    if isinstance(cell, Marked):
        return f"**{cell}**" if cell.bold else f"<u>{cell}</u>"
    return cell


def _latex(title: str, table: pd.DataFrame, notes: str) -> str:
    escaped = table.map(_tex).rename(columns=_tex)
    columns = "l" + "r" * (len(table.columns) - 1)
    rows = [" & ".join(row) + r" \\" for row in escaped.itertuples(index=False)]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_tex(title)}: {_tex(notes)}}}",
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


_TEX = {sign: rf"\{sign}" for sign in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "µ": r"$\mu$",
    "<": "$<$",
    ">": "$>$",
}


def _tex(cell: str | Marked) -> str:
    text = str(cell).translate(str.maketrans(_TEX))
    if isinstance(cell, Marked):
        return rf"\textbf{{{text}}}" if cell.bold else rf"\underline{{{text}}}"
    return text


def _html(title: str, table: pd.DataFrame, notes: str) -> str:
    """Format as html; a wide table scrolls inside a box."""
    escaped = table.map(_signs_of_html).rename(columns=markup.escape)
    rows = escaped.to_html(index=False, border=0, escape=False)
    body = f'<div class="table">\n{rows}\n</div>'
    return f"<h3>{markup.escape(title)}</h3>\n{body}\n<p>{markup.escape(notes)}</p>\n"


def _signs_of_html(cell: str | Marked) -> str:
    text = markup.escape(str(cell))
    if isinstance(cell, Marked):
        return f"<b>{text}</b>" if cell.bold else f"<u>{text}</u>"
    return text


_RENDERERS = {"markdown": _markdown, "latex": _latex, "html": _html}
