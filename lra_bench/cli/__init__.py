"""The command line. A command imports JAX, pandas and the like only once it has been chosen."""

import argparse
import io
import os
import sys
from collections.abc import Sequence

from lra_bench import __version__
from lra_bench.cli import (
    analyze,
    data,
    efficiency,
    listing,
    report,
    run,
    submit_check,
    sweep,
    table,
)
from lra_bench.display.escape import terminal
from lra_bench.errors import RunError, UsageError, is_disk_full, one_line

COMMANDS = (run, sweep, efficiency, table, report, submit_check, analyze, data, listing)


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, without the usage above it."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(2, f"{self.prog}: {terminal(message)} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = _Parser(
        prog="lra-bench",
        description="Compare efficient attention mechanisms on the Long Range Arena.",
        epilog="lra-bench COMMAND --help explains a command.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"lra-bench {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = commands.add_parser(
            command.NAME,
            help=command.HELP,
            description=command.DESCRIPTION,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_arguments(sub)
        sub.set_defaults(command=command)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    It is 0 if all is done, 1 if a run or a check failed, 2 if the call was wrong.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    args = parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # examples may hold any character
    try:
        return args.command.main(args, argv)
    except UsageError as error:
        return _complain(error, 2)
    except BrokenPipeError:  # the reader, such as head, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (RunError, OSError) as error:
        full = is_disk_full(error) and isinstance(error, OSError)
        return _complain(f"no space left: {error}" if full else error, 1)
    except KeyboardInterrupt:
        return _complain("interrupted", 1)
    except Exception as error:
        if not is_disk_full(error):  # some libraries raise no OSError for a full disk
            raise
        return _complain(f"no space left: {one_line(error)}", 1)


def _complain(error: object, status: int) -> int:
    """Print an error on standard error and return the exit status."""
    print(f"lra-bench: {terminal(error)}", file=sys.stderr)
    return status
