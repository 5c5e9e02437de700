"""Markdown of facts: tables, escapes, and what docstrings say."""

import csv
import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lra_bench.leaderboard.board import in_order
from lra_bench.registry import ATTENTIONS, TASKS, Entry, Registry
from lra_bench.report.docstring import Docstring, parse

# Characters that markdown would interpret, outside of words.
_SIGN = re.compile(r"(?<!\w)_|_(?!\w)|[*~<\[|]")


def table(rows: Iterable[dict[str, str]]) -> str:
    """Return a markdown table of rows that have the same keys."""
    rows = list(rows)
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def rows_of(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def plain(text: str) -> str:
    """Escape everything in a text that markdown would interpret, except `code`."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part[:1] == "`" else _SIGN.sub(r"\\\g<0>", part) for part in parts)


def joined(text: str) -> str:
    """Return the text on one line, escaped, for a cell of a table."""
    return plain(" ".join(text.split()))


def value_text(value: Any) -> str:
    """Return a value as `--set` takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _own(registry: Registry[Any]) -> list[Entry[Any]]:
    """Return the entries of this package, without those of other installed packages."""
    entries = [registry.get(name) for name in registry.names()]
    return [entry for entry in entries if entry.module.startswith("lra_bench.")]


def attentions() -> list[Entry[Any]]:
    """Return the attentions, exact ones first."""
    return sorted(_own(ATTENTIONS), key=lambda entry: not entry.traits.exact)


def tasks() -> list[Entry[Any]]:
    """Return the tasks, in the order of the tables of accuracy."""
    return [TASKS.get(name) for name in in_order(entry.name for entry in _own(TASKS))]


def docstring_of(entry: Entry[Any]) -> Docstring:
    """Return the parsed docstring of a mechanism or a task."""
    return parse(inspect.getdoc(entry.target) or "")


def references(docstring: Docstring) -> str:
    """Return the references with links to arXiv, or "" if there are none."""
    text = joined(docstring.references)
    linked = re.sub(r"arXiv:([0-9.]+[0-9])", r"[\g<0>](https://arxiv.org/abs/\1)", text)
    return f"Reference: {linked}" if linked else ""
