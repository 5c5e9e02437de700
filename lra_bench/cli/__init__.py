"""The command line. Nothing heavy is imported before a command is chosen."""

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
from lra_bench.errors import RunError, UsageError, is_disk_full, one_line

COMMANDS = (run, sweep, efficiency, table, report, submit_check, analyze, data, listing)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage above it."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = _Parser(
        prog="lra-bench",
        description="Compare efficient attention mechanisms on the Long Range Arena.",
        epilog="lra-bench COMMAND --help tells more of each command.",
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
    """Run a command; its exit status: 0 done, 1 a run or check failed, 2 the call was wrong."""
    argv = list(sys.argv[1:] if argv is None else argv)
    args = parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # examples may hold any character
    try:
        return args.command.main(args, argv)
    except UsageError as error:
        return _complain(error, 2)
    except BrokenPipeError:  # whoever reads has read enough, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (RunError, OSError) as error:
        full = is_disk_full(error) and isinstance(error, OSError)
        return _complain(f"no space left: {error}" if full else error, 1)
    except KeyboardInterrupt:
        return _complain("interrupted", 1)
    except Exception as error:
        if not is_disk_full(error):  # libraries raise other types for it
            raise
        return _complain(f"no space left: {one_line(error)}", 1)


def _complain(what: object, status: int) -> int:
    print(f"lra-bench: {what}", file=sys.stderr)
    return status
