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


def add_preset(parser: argparse.ArgumentParser, text: str = "preset") -> None:
    """Add the argument --preset, whose default is the same for all commands that train."""
    parser.add_argument("--preset", default="mini", help=f"{text}; default: %(default)s")


def add_resume(parser: argparse.ArgumentParser) -> None:
    """Add the argument --resume to a command that goes on by itself with what is in its folder."""
    text = "the default: go on with what is in DIR; --resume also says if nothing is there"
    parser.add_argument("--resume", action="store_true", help=text)


def nothing_to_resume(folder: Path) -> str:
    """Return the note that --resume found nothing in a folder."""
    return f"nothing to resume in {folder}: starting from the beginning"


def add_set(parser: argparse.ArgumentParser) -> None:
    """Add the argument --set key=value, which may be repeated."""
    text = "change a setting, e.g. train.num_steps=100 or attention.num_features=64; repeatable"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)


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
