"""Parse the docstring of an attention or of settings: equation, cost, options, references."""

import inspect
import re
import textwrap
from dataclasses import dataclass, field
from typing import Any

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
    options = {**_options(parts.get("Attributes", "")), **_options(parts.get("Args", ""))}
    return Docstring(about, cost, options, parts.get("References", ""))


def meanings(target: Any) -> dict[str, str]:
    """Return the meaning of each option of a function or a class, with those of its bases."""
    bases = target.__mro__[::-1] if isinstance(target, type) else [target]
    texts = [inspect.cleandoc(each.__doc__ or "") for each in bases if each is not object]
    return {name: text for doc in texts for name, text in parse(doc).options.items()}


def _sections(text: str) -> dict[str, str]:
    """Return the text of each section by its heading; text outside of sections is under "".

    A section ends where a line is not indented.
    """
    sections: dict[str, list[str]] = {"": []}
    name = ""
    for line in text.splitlines():
        heading = _SECTION.match(line)
        if line[:1].strip():
            name = heading[1] if heading else ""
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
