"""What benchmarks of several sections share: their command line and their tables."""

import argparse
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

Sections = Mapping[str, Callable[[Any], None]]


def command_line(description: str | None, sections: Sections) -> argparse.ArgumentParser:
    """A command line that takes names of sections."""
    raw = functools.partial(argparse.RawDescriptionHelpFormatter, width=100)
    made = argparse.ArgumentParser(description=description, formatter_class=raw)
    made.add_argument("sections", nargs="*", choices=[[], *sections], metavar="SECTION")
    return made


def run_sections(sections: Sections, names: Sequence[str], bench: Any) -> None:
    """The sections named, or all, each under its own words."""
    for name in names or sections:
        print(f"## {name}: {(sections[name].__doc__ or '').strip()}\n", flush=True)
        sections[name](bench)


def show(rows: list[dict[str, Any]]) -> None:
    """A markdown table."""
    table = pd.DataFrame(rows).to_markdown(index=False, floatfmt=".3g", intfmt=",")
    print(table, end="\n\n", flush=True)
