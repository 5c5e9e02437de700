"""The command lra-bench new: write an attention or a task to begin with, and its test."""

import argparse
from pathlib import Path

from lra_bench.cli.common import one_of
from lra_bench.cli.new_texts import IMPORTED, KINDS, texts
from lra_bench.cli.paths import output_folder

NAME = "new"
HELP = "write an attention or a task of your own to begin with, and its test"
DESCRIPTION = """\
Write a Python file with a mechanism or a task that works, and a test that it keeps the contract. No
other file has to change, and nothing has to be installed: the other commands take the path of the
file wherever they take the name of an attention or of a task.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    kind = one_of("kind", KINDS, attentions="attention", tasks="task")
    what = f"what to write: {' or '.join(KINDS)}"
    parser.add_argument("kind", type=kind, metavar="KIND", help=what)
    named = "its name: lower-case words joined by hyphens, such as my-attention"
    parser.add_argument("name", metavar="NAME", help=named)
    where = "folder of the files; default: the working folder"
    parser.add_argument("--out", type=output_folder, default=Path(), metavar="DIR", help=where)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Write both files, and print the command to type next."""
    del argv
    from importlib.util import find_spec

    from lra_bench.display import command
    from lra_bench.display.progress import Display
    from lra_bench.errors import UsageError

    _check(args.kind, args.name)
    written = {args.out / name: text for name, text in texts(args.kind, args.name).items()}
    for path in written:
        if path.exists():
            raise UsageError(f"{path} is there already; choose another name or another --out")
        if find_spec(path.stem) is not None:
            raise UsageError(f"{path} would hide the module {path.stem}; choose another name")
    args.out.mkdir(parents=True, exist_ok=True)
    for path, text in written.items():
        path.write_text(text)
    display, (code, test) = Display(), written
    display.line(f"{code}   the {args.kind} {args.name}")
    display.line(f"{test}   its test, for pytest")
    display.line(f"next: {command.command('verify', command.path(code))}")
    return 0


def _check(kind: str, name: str) -> None:
    """Raise UsageError for a name that is malformed, taken, or no name in Python."""
    from keyword import iskeyword

    from lra_bench.conformance import check_name
    from lra_bench.errors import UsageError
    from lra_bench.registry import ATTENTIONS, TASKS

    try:
        check_name(kind, name)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if kind == "attention" and name in IMPORTED:
        raise UsageError(f"attention name {name!r}: its file imports something of that name")
    if not name.replace("-", "_").isidentifier() or iskeyword(name):
        raise UsageError(f"{kind} name {name!r}: begins with a digit, or is a word of Python")
    if (ATTENTIONS if kind == "attention" else TASKS).has(name):
        raise UsageError(f"{kind} {name} exists already; choose another name")
