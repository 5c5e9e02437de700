"""Arguments that several commands share."""

import argparse
import contextlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lra_bench.cli.paths import input_file, output_folder
from lra_bench.display.units import parse_duration, parse_size, parse_whole
from lra_bench.errors import unknown
from lra_bench.runtime.source_files import is_reference

if TYPE_CHECKING:
    from lra_bench.display.progress import Display

_MOST_SEEDS = 10_000
# For help; imports of all configs take a second.
PRESETS = ("smoke", "mini", "small", "nystromformer", "skyformer", "lra", "paper", "regular",
           "imagenet64", "progen")  # fmt: skip


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Add the argument --data-dir."""
    text = "folder of all data; default: $LRA_BENCH_DATA, else ~/.cache/lra_bench"
    parser.add_argument("--data-dir", type=output_folder, metavar="DIR", help=text)


def add_preset(
    parser: argparse.ArgumentParser, text: str = "preset", default: str = "mini"
) -> None:
    """Add the argument --preset, whose default is the same for all commands that train."""
    listed = f"{text}: {', '.join(PRESETS)}, if the task has it; default: %(default)s"
    parser.add_argument("--preset", default=default, metavar="NAME", help=listed)


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the argument --config, and the hidden one by which a sweep passes on its file."""
    text = "file of settings, .yaml or .py, on top of the preset; --set wins over it"
    parser.add_argument("--config", type=input_file, metavar="FILE", help=text)


def add_track(parser: argparse.ArgumentParser) -> None:
    """Add the argument --track."""
    trackers = ("tensorboard", "trackio", "wandb", "csv")
    text = f"where metrics go besides DIR: {', '.join(trackers)}; several with commas"
    kind = several(one_of("tracker", trackers, tb="tensorboard"), "tensorboard,csv")
    parser.add_argument("--track", type=kind, default=(), metavar="NAMES", help=text)


def add_limit(parser: argparse.ArgumentParser) -> None:
    """Add the argument --limit."""
    text = (
        "a quick look: at most N training steps, and N examples of validation and test; records "
        "and tables name what was cut"
    )
    parser.add_argument("--limit", type=positive, metavar="N", help=text)


def add_names(parser: argparse.ArgumentParser, *kinds: str) -> None:
    """List the names of tasks or attentions of this package below the help of a command.

    Args:
        parser: of the command.
        kinds: "tasks", "attentions" or both.
    """
    parts = [f"{kind.capitalize()}: {', '.join(names_in(kind))}" for kind in kinds]
    parser.epilog = ". ".join([*parts, "lra-bench list says what each is."])


def names_in(kind: str) -> list[str]:
    """Return the names of the tasks or attentions of this package, by their files.

    Nothing is imported: help has to be fast.
    """
    files = (Path(__file__).resolve().parents[1] / kind).glob("[!_]*.py")
    return sorted(path.stem.replace("_", "-") for path in files)


def add_seeds(parser: argparse.ArgumentParser) -> None:
    """Add the argument --seeds."""
    text = "numbers of the seeds, not how many: such as 0,5 or 0-4; default: 0,1,2"
    parser.add_argument("--seeds", type=seeds, default=(0, 1, 2), metavar="N,N,...", help=text)


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Add the argument --jobs of a command that does many runs."""
    text = (
        "number of runs at a time, which may share GPUs; default: 1 on CPU, else as many as there "
        "are devices for"
    )
    parser.add_argument("--jobs", type=positive, metavar="N", help=text)


def add_calibration(parser: argparse.ArgumentParser) -> None:
    """Add the argument --calibration; None stands for yes, but no with --dry-run."""
    text = (
        "whether to time some training steps, which tells how long the sweep will take; default: "
        "yes, but no with --dry-run"
    )
    parser.add_argument("--calibration", action=argparse.BooleanOptionalAction, help=text)


def add_dry_run(parser: argparse.ArgumentParser, *, timed: bool = True) -> None:
    """Add the argument --dry-run; `timed`: it says how long the command takes by itself."""
    plan, time = "print the plan", "about how long it takes"
    text = (
        f"{plan}, what data it needs and {time}; write nothing"
        if timed
        else f"{plan} and what data it needs; write nothing; with --calibration also {time}"
    )
    parser.add_argument("--dry-run", action="store_true", help=text)


def calibrates(args: argparse.Namespace) -> bool:
    """Return whether a command times training steps, by --calibration and --dry-run."""
    return not args.dry_run if args.calibration is None else args.calibration


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    """Add the arguments --quiet and --verbose."""
    either = parser.add_mutually_exclusive_group()
    quiet = "print errors only; results are in the files"
    either.add_argument("-q", "--quiet", action="store_true", help=quiet)
    verbose = "print more of what is done"
    either.add_argument("-v", "--verbose", action="store_true", help=verbose)


def display_of(args: argparse.Namespace, *, quiet: bool = False) -> "Display":
    """Return the display that --quiet and --verbose ask for.

    Args:
        args: the arguments.
        quiet: print nothing in any case.
    """
    from lra_bench.display.progress import Display

    return Display(quiet=quiet or args.quiet, verbose=args.verbose)


def add_resume(parser: argparse.ArgumentParser) -> None:
    """Add the argument --resume to a command that goes on by itself with what is in its folder."""
    text = "say so if there is nothing in DIR to go on with; going on is the default"
    parser.add_argument("--resume", action="store_true", help=text)


def nothing_to_resume(folder: Path) -> str:
    """Return the note that --resume found nothing in a folder."""
    return f"nothing to resume in {folder}: starting from the beginning"


def add_set(parser: argparse.ArgumentParser) -> None:
    """Add the argument --set key=value, which may be repeated."""
    text = "change a setting, e.g. train.num_steps=100 or attention.num_features=64; repeatable"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)


def add_strict(parser: argparse.ArgumentParser) -> None:
    """Add the argument --strict; see `strictly`."""
    text = "exit with status 1 if a file, a line or a record was left out"
    parser.add_argument("--strict", action="store_true", help=text)


def strictly(strict: bool, do: Callable[[], int]) -> int:
    """Return the exit status of a command that names what it leaves out, each thing once.

    Args:
        strict: whether the status is 1 if anything was left out.
        do: does what the command does, and returns its exit status.
    """
    from lra_bench.records.find import naming

    with naming() as named:
        status = do()
    return 1 if strict and named and status == 0 else status


def checked(
    parse: Callable[[str], Any], valid: Callable[[Any], bool], expected: str
) -> Callable[[str], Any]:
    """Return a parser of an argument that also checks the value.

    Args:
        parse: turns the text into a value; may raise ValueError.
        valid: tells whether a value is allowed.
        expected: what the message asks for, such as "a whole number from 1 on, such as 1000".
    """

    def checked_parse(text: str) -> Any:
        with contextlib.suppress(ValueError):
            if valid(value := parse(text)):
                return value
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")

    return checked_parse


def whole_number(lowest: int, remark: str = "") -> Callable[[str], int]:
    """Return a parser of whole numbers from `lowest` to 2^32 - 1; `remark` ends its message."""
    expected = f"a whole number from {lowest} to {2**32 - 1}, such as 1000 or 1e3"
    return checked(parse_whole, lambda value: lowest <= value < 2**32, expected + remark)


natural = whole_number(0)
positive = whole_number(1)


def several(
    parse: Callable[[str], Any], example: str, *, repeats: bool = False
) -> Callable[[str], tuple[Any, ...]]:
    """Return a parser of values separated by commas.

    Args:
        parse: parses one value.
        example: a list, for the message about an empty value.
        repeats: whether a value that is there twice stays so.
    """

    def parse_all(text: str) -> tuple[Any, ...]:
        # A comma between brackets is part of a value, such as "name (a=1, b=2)".
        parts = [part.strip() for part in re.split(r",(?![^(]*\))", text)]
        if not all(parts):
            raise argparse.ArgumentTypeError(
                f"{text!r} has an empty value; a list is written {example}"
            )
        values = tuple(map(parse, parts))
        return values if repeats else tuple(dict.fromkeys(values))

    return parse_all


def one_of(kind: str, valid: Sequence[str], **also: str) -> Callable[[str], str]:
    """Return a parser of one of some words, in upper or lower case.

    Args:
        kind: what the words are, for the message.
        valid: the words.
        also: other spellings, and the word for each.
    """

    def parse(text: str) -> str:
        word = also.get(text.lower(), text.lower())
        if word not in valid:
            raise argparse.ArgumentTypeError(str(unknown(kind, text, valid)))
        return word

    return parse


def _seed_range(text: str) -> range:
    """Return the seeds that "0-2" or "3" stands for.

    Raises:
        ValueError: the text is neither.
    """
    first, dash, last = text.partition("-")
    start = parse_whole(first)
    stop = parse_whole(last) if dash else start
    return range(start, stop + 1)


_one_range = checked(
    _seed_range,
    lambda seeds: 0 < len(seeds) <= _MOST_SEEDS and 0 <= seeds[0] <= seeds[-1] < 2**32,
    f"a seed from 0 to {2**32 - 1}, or a range of at most {_MOST_SEEDS:,}; write 0,1,2 or 0-2",
)


def seeds(text: str) -> tuple[int, ...]:
    """Return the seeds of a list such as "0,1,2", "0-2" or "0-2,7"."""
    ranges = several(_one_range, "0,1,2 or 0-2")(text)
    return tuple(dict.fromkeys(seed for each in ranges for seed in each))


_one_name = checked(
    str,
    lambda text: is_reference(text) or not re.search(r"[\s;|]", text),
    "one name; names are separated by commas",
)
texts = several(str, "A,B,C")
# Headings may have commas: "1,000,2,000" are two.
headings = several(str, "A,B,C", repeats=True)
names = several(_one_name, "A,B,C")
counts = several(positive, "512,1024")
seconds = checked(
    parse_duration,
    lambda value: 0 < value < 1e7,
    "a time above 0 and below 1e7 seconds, such as 90, 90s, 30m, 1.5h or 1h30m",
)
size = checked(
    parse_size,
    lambda value: 2**20 <= value < 2**63,
    "a size from 1MiB on, such as 16GiB, 16G or 500MB",
)
