"""The command line. A command imports JAX, pandas and the like only once it has been chosen."""

import contextlib
import errno
import io
import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from lra_bench import __version__
from lra_bench.cli import (
    ablate,
    analyze,
    completion,
    data,
    doctor,
    efficiency,
    export,
    listing,
    new,
    report,
    run,
    submit_check,
    sweep,
    table,
    verify,
)
from lra_bench.cli.parser import Parser
from lra_bench.cli.paths import Given, blame, check, given
from lra_bench.display.busy import busy, silent
from lra_bench.display.escape import terminal
from lra_bench.errors import RunError, UsageError, is_disk_full, is_out_of_memory, one_line
from lra_bench.files.paths import reason
from lra_bench.runtime import memory, numerics, signals

COMMANDS = (
    run,
    sweep,
    ablate,
    efficiency,
    table,
    report,
    export,
    submit_check,
    analyze,
    data,
    listing,
    new,
    verify,
    doctor,
    completion,
)
# The commands that compute with JAX.
_COMPUTING = (run, sweep, ablate, efficiency, analyze, verify)
_MORE_MEMORY = "raise the limit (ulimit -v, or that of the job), or take a smaller --preset"


def parser() -> Parser:
    """Return the parser of all commands."""
    top = Parser(
        prog="lra-bench",
        description="Compare efficient attention mechanisms on the Long Range Arena.",
        epilog="lra-bench COMMAND --help explains a command.",
    )
    top.add_argument("--version", action="version", version=f"lra-bench {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = commands.add_parser(command.NAME, help=command.HELP, description=command.DESCRIPTION)
        command.add_arguments(sub)
        sub.set_defaults(command=command)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    It is 0 if all is done, 1 if a run or a check failed, 2 if the call was wrong.
    """
    args, paths = Namespace(), []
    _open_closed_streams()
    try:
        try:
            return _do(list(sys.argv[1:] if argv is None else argv), args, paths)
        finally:
            sys.stdout.flush()  # a full disk behind it is noticed here, not when Python ends
    except UsageError as error:
        return _complain(error, 2)
    except BrokenPipeError:  # the reader, such as head, has closed the pipe
        _drop_output()
        return 1
    except OSError as error:
        return _of_the_system(error, paths, args)
    except RunError as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        return _complain("interrupted", 1)
    except Exception as error:
        if is_disk_full(error):  # some libraries raise no OSError for a full disk
            return _complain(f"no space left: {one_line(error)}", 1)
        if is_out_of_memory(error):
            return _complain(f"out of memory ({one_line(error)}); {_MORE_MEMORY}", 1)
        raise


def _open_closed_streams() -> None:
    """Give standard streams that are closed, as under some daemons, a place to write to."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - open to the end


def _do(argv: list[str], args: Namespace, paths: Given) -> int:
    """Do what the words ask for and return the exit status.

    Args:
        argv: the words.
        args: gets the arguments.
        paths: gets the paths among them, by which an error is named.
    """
    top = parser()
    top.parse_args(argv, args)
    _require_working_folder()
    paths += given(top.leaf(argv).actions, args)
    args.check_paths = partial(check, paths)
    if args.command is not run:  # its processes, on several hosts, check together
        args.check_paths()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # examples hold any character
    is_quiet = getattr(args, "quiet", False)
    doing = silent() if is_quiet else busy(f"lra-bench {args.command.NAME}")
    with _interruptible(), doing:
        if args.command in _COMPUTING:
            numerics.pin()
            memory.require_address_space(memory.TO_COMPUTE, "to compute")
        return args.command.main(args, argv)


def _require_working_folder() -> None:
    """Raise UsageError if the working folder was removed: relative paths lead nowhere then."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UsageError("the working folder was removed; change to another with cd") from None


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt at a request to stop, whatever a library makes of it."""
    with signals.interruptible() as was_interrupted:
        try:
            yield
        except Exception as error:
            if was_interrupted():
                raise KeyboardInterrupt from error
            raise


def _of_the_system(error: OSError, paths: Given, args: Namespace) -> int:
    """Print an error of the operating system, by the path that was typed; return the status.

    Status 2 means that another path would do, 1 that the system failed.
    """
    if error.filename is None:
        _drop_output()
    if (message := blame(error, paths, args)) is not None:
        return _complain(message, 2)
    path = "" if error.filename is None else os.fsdecode(error.filename)
    if is_disk_full(error):
        where = f"of {path}" if path else "that is written to"
        return _complain(f"no space left on the disk {where}", 1)
    if error.errno == errno.EFBIG:
        text = "a file would be larger than the shell's limit (ulimit -f) or its disk allows"
        return _complain(f"{path}: {text}" if path else text, 1)
    return _complain(f"{path}: {reason(error)}" if path else reason(error), 1)


def _drop_output() -> None:
    """Let what is left in the buffer of standard output go nowhere, since it cannot be written."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(error: object, status: int) -> int:
    """Print an error on standard error and return the exit status."""
    print(f"lra-bench: {terminal(error)}", file=sys.stderr)
    return status
