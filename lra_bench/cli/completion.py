"""The command `lra-bench completion` writes what a shell needs to complete its words."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lra_bench.cli.common import PRESETS, names_in, one_of
from lra_bench.cli.paths import PathArgument
from lra_bench.display.busy import say

if TYPE_CHECKING:
    from lra_bench.cli.parser import Parser

NAME = "completion"
HELP = "write a script that completes words in a shell"
DESCRIPTION = """\
Write a script by which a shell completes commands, options, and names of tasks, attentions and
presets (pip install 'lra-bench[completion]'):

bash  lra-bench completion bash > ~/.local/share/bash-completion/completions/lra-bench
zsh   lra-bench completion zsh > ~/.zfunc/_lra-bench, where ~/.zfunc is in $fpath
tcsh  lra-bench completion tcsh > ~/.lra-bench.tcsh, and source it in ~/.tcshrc
"""
_SHELLS = ("bash", "zsh", "tcsh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    shell = one_of("shell", _SHELLS)
    parser.add_argument("shell", type=shell, metavar="SHELL", help=", ".join(_SHELLS))


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Print the script of a shell.

    Raises:
        UsageError: shtab is not installed.
    """
    del argv
    from lra_bench.cli import parser
    from lra_bench.errors import UsageError

    try:
        import shtab  # type: ignore[import-not-found]
    except ImportError:
        raise UsageError("completion needs shtab: pip install 'lra-bench[completion]'") from None
    top = parser()
    choices = {
        "task": names_in("tasks"),
        "tasks": names_in("tasks"),
        "attention": names_in("attentions"),
        "attentions": names_in("attentions"),
        "preset": list(PRESETS),
    }
    for action in _actions(top):
        if isinstance(action.type, PathArgument):
            is_folder = action.type.folder
            action.complete = shtab.DIRECTORY if is_folder else shtab.FILE  # type: ignore[attr-defined]
        elif action.dest in choices:
            action.choices = choices[action.dest]
    say(shtab.complete(top, args.shell), end="")
    return 0


def _actions(parser: "Parser") -> Iterator[argparse.Action]:
    """Yield the definitions of all arguments of a parser and of its commands."""
    yield from parser.actions
    for sub in parser.commands().values():
        yield from _actions(sub)
