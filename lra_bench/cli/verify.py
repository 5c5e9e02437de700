"""The command lra-bench verify: check that an attention or a task keeps its contract."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lra_bench.display.progress import Display
    from lra_bench.verification.promise import CheckedPromise

NAME = "verify"
HELP = "check that an attention or a task keeps its contract"
DESCRIPTION = """\
Check each promise of the contract and print ok, or a counter-example in small numbers: at which
token the output is wrong, and by how much. This takes less than a minute on two CPU cores. The exit
status is 1 if a promise is broken.

NAME is an attention or a task, or a Python file of your own, such as my.py or my.py:name. The
tests of this package check the same.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    what = "an attention, a task, or a Python file that registers some"
    parser.add_argument("name", metavar="NAME", help=what)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Check the promises and return the exit status: 1 if one is broken."""
    del argv
    from lra_bench.display.progress import Display
    from lra_bench.verification.verify import subjects, verdicts

    display, broken = Display(), 0
    for kind, name in subjects(args.name):
        display.line(f"{kind} {name}")
        with display.bar(f"checking {name}", None) as bar:
            for number, verdict in enumerate(verdicts(kind, name), 1):
                _show(display, verdict)
                bar(number, "promises checked")
                broken += verdict.kept is False
    display.line(f"{broken} broken" if broken else "every promise is kept")
    return 1 if broken else 0


def _show(display: "Display", verdict: "CheckedPromise") -> None:
    display.verdict(verdict.kept, verdict.promise)
    if verdict.detail:
        display.line(f"      {verdict.detail}")
