"""Parse the docstring of an attention: equation, cost, options, references."""

import re
import textwrap
from dataclasses import dataclass, field

_SECTION = re.compile(r"^(Args|Raises|Returns|References|Attributes):$")
_COST = re.compile(r"(?:^|(?<=\s))Time O\(.*", re.DOTALL)


@dataclass(frozen=True)
class Docstring:
    """The parts of an attention's docstring.

    Attributes:
        about: paragraphs on what it computes, with its equation.
        cost: time and memory, such as "Time O(l d)."; "" if not given.
        options: the meaning of each argument, by name.
        references: papers; "" if none.
    """

    about: list[str]
    cost: str
    options: dict[str, str] = field(default_factory=dict)
    references: str = ""


def parse(text: str) -> Docstring:
    """Return the parts of a docstring that `inspect.getdoc` has cleaned."""
    parts = _sections(text)
    about, cost = [], ""
    for paragraph in parts[""].split("\n\n"):
        match = _COST.search(paragraph)
        cost = cost or (match[0].strip() if match else "")
        rest = paragraph[: match.start()] if match else paragraph
        about += [rest.strip()] if rest.strip() else []
    return Docstring(about, cost, _options(parts.get("Args", "")), parts.get("References", ""))


def _sections(text: str) -> dict[str, str]:
    """Return the text of each section by its heading; the text before the first is under ""."""
    sections: dict[str, list[str]] = {"": []}
    name = ""
    for line in text.splitlines():
        heading = _SECTION.match(line)
        name = heading[1] if heading else name
        sections.setdefault(name, [])
        if not heading:
            sections[name].append(line)
    return {key: textwrap.dedent("\n".join(lines)).strip() for key, lines in sections.items()}


def _options(text: str) -> dict[str, str]:
    """Return the meaning of each argument; an entry begins at the margin, its next lines do not."""
    entries = re.split(r"\n(?=\S)", text)
    pairs = [entry.partition(":") for entry in entries if ":" in entry]
    return {
        name.strip(): " ".join(meaning.split())
        for names, _, meaning in pairs
        for name in names.split(",")
    }
