"""The command line and the tables of benchmarks with several sections."""

import argparse
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

Sections = Mapping[str, Callable[[Any], None]]


def command_line(description: str | None, sections: Sections) -> argparse.ArgumentParser:
    """Return a command line that takes names of sections."""
    raw = functools.partial(argparse.RawDescriptionHelpFormatter, width=100)
    parser = argparse.ArgumentParser(description=description, formatter_class=raw)
    parser.add_argument("sections", nargs="*", choices=[[], *sections], metavar="SECTION")
    return parser


def run_sections(sections: Sections, names: Sequence[str], bench: Any) -> None:
    """Run the sections of these names, or all, each under its name and description."""
    for name in names or sections:
        print(f"## {name}: {(sections[name].__doc__ or '').strip()}\n", flush=True)
        sections[name](bench)


def show(rows: list[dict[str, Any]]) -> None:
    """Print rows as a markdown table."""
    table = pd.DataFrame(rows).to_markdown(index=False, floatfmt=".3g", intfmt=",")
    print(table, end="\n\n", flush=True)
