"""Arguments that several commands share."""

import argparse
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lra_bench.display.units import parse_size


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """--data-dir."""
    text = "where data are kept; default: $LRA_BENCH_DATA, else ~/.cache/lra_bench"
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help=text)


def add_set(parser: argparse.ArgumentParser) -> None:
    """--set key=value, any number of times."""
    text = "change a setting, e.g. train.num_steps=100 or attention.num_features=64; repeatable"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)


def checked(
    parse: Callable[[str], Any], valid: Callable[[Any], bool], what: str
) -> Callable[[str], Any]:
    """A parser that refuses what `parse` raises ValueError at, and what isn't valid.

    Args:
        what: it should be, such as "a whole number from 1 on".
    """

    def checked_parse(text: str) -> Any:
        with contextlib.suppress(ValueError):
            if valid(value := parse(text)):
                return value
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")

    return checked_parse


def whole_number(lowest: int, what: str) -> Callable[[str], int]:
    """A parser of whole numbers; `what` says which."""
    return checked(
        lambda text: int(text) if text.isdecimal() else -1,
        lambda value: lowest <= value < 2**32,
        what,
    )


natural = whole_number(0, "a whole number from 0 on")
positive = whole_number(1, "a whole number from 1 on")


def several(parse: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """A parser of lists with commas between; of equal ones the first is kept."""

    def parse_all(text: str) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(parse(part.strip()) for part in text.split(",")))

    return parse_all


names = several(checked(str, bool, "a name"))
seconds = checked(float, lambda value: 0 < value < 1e6, "a number of seconds")
size = checked(parse_size, lambda value: value >= 2**20, "a size from 1MiB on, such as 16GiB")
