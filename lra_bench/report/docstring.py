"""A mechanism's docstring, taken apart: equation, cost, options, references."""

import re
import textwrap
from dataclasses import dataclass, field

_SECTION = re.compile(r"^(Args|Raises|Returns|References|Attributes):$")
_COST = re.compile(r"(?:^|(?<=\s))Time O\(.*", re.DOTALL)


@dataclass(frozen=True)
class Docstring:
    """Its parts.

    Attributes:
        about: paragraphs: what it computes, by which equation.
        cost: time and memory; "" if it doesn't say.
        options: what each argument means.
        references: of it.
    """

    about: list[str]
    cost: str
    options: dict[str, str] = field(default_factory=dict)
    references: str = ""


def parse(text: str) -> Docstring:
    """Take apart one that `inspect.getdoc` has cleaned."""
    parts = _sections(text)
    about, cost = [], ""
    for paragraph in parts[""].split("\n\n"):
        found = _COST.search(paragraph)
        cost = cost or (found[0].strip() if found else "")
        rest = paragraph[: found.start()] if found else paragraph
        about += [rest.strip()] if rest.strip() else []
    return Docstring(about, cost, _options(parts.get("Args", "")), parts.get("References", ""))


def _sections(text: str) -> dict[str, str]:
    """By their headings; what stands before the first is ""."""
    found: dict[str, list[str]] = {"": []}
    name = ""
    for line in text.splitlines():
        heading = _SECTION.match(line)
        name = heading[1] if heading else name
        found.setdefault(name, [])
        if not heading:
            found[name].append(line)
    return {key: textwrap.dedent("\n".join(lines)).strip() for key, lines in found.items()}


def _options(text: str) -> dict[str, str]:
    """An entry begins at the margin, its further lines are indented."""
    entries = re.split(r"\n(?=\S)", text)
    pairs = [entry.partition(":") for entry in entries if ":" in entry]
    return {
        name.strip(): " ".join(said.split())
        for names, _, said in pairs
        for name in names.split(",")
    }
