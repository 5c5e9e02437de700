"""Arguments that several commands share."""

import argparse
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lra_bench.display.units import parse_size


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Add the argument --data-dir."""
    text = "folder of all data; default: $LRA_BENCH_DATA, else ~/.cache/lra_bench"
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help=text)


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
        expected: what the message asks for, such as "a whole number from 1 on".
    """

    def checked_parse(text: str) -> Any:
        with contextlib.suppress(ValueError):
            if valid(value := parse(text)):
                return value
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")

    return checked_parse


def whole_number(lowest: int, expected: str) -> Callable[[str], int]:
    """Return a parser of whole numbers from `lowest` to 2^32 - 1; `expected` as in `checked`."""
    return checked(
        lambda text: int(text) if text.isdecimal() else -1,
        lambda value: lowest <= value < 2**32,
        expected,
    )


natural = whole_number(0, "a whole number from 0 on")
positive = whole_number(1, "a whole number from 1 on")


def several(parse: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """Return a parser of values separated by commas; repeated values are dropped."""

    def parse_all(text: str) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(parse(part.strip()) for part in text.split(",")))

    return parse_all


names = several(checked(str, bool, "a name"))
seconds = checked(float, lambda value: 0 < value < 1e6, "a number of seconds")
size = checked(parse_size, lambda value: value >= 2**20, "a size from 1MiB on, such as 16GiB")
