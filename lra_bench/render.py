"""Tables as markdown, LaTeX or HTML: a title, a table of text, and what its signs mean."""

import html as markup

import pandas as pd


def render(style: str, title: str, table: pd.DataFrame, notes: str) -> str:
    """One table as "markdown", "latex" or "html"; all its cells are text."""
    return _RENDERERS[style](title, table, notes)


def _markdown(title: str, table: pd.DataFrame, notes: str) -> str:
    aligned = ["left"] + ["right"] * (len(table.columns) - 1)
    body = table.to_markdown(index=False, disable_numparse=True, colalign=aligned)
    return f"### {title}\n\n{body}\n\n{notes}\n"


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


def _tex(text: str) -> str:
    return text.translate(str.maketrans(_TEX))


def _html(title: str, table: pd.DataFrame, notes: str) -> str:
    """A wide table scrolls in a box of its own."""
    body = f'<div class="table">\n{table.to_html(index=False, border=0)}\n</div>'
    return f"<h3>{markup.escape(title)}</h3>\n{body}\n<p>{markup.escape(notes)}</p>\n"


_RENDERERS = {"markdown": _markdown, "latex": _latex, "html": _html}
