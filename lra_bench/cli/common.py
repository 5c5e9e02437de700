"""Arguments that several commands share."""

import argparse
from pathlib import Path


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """--data-dir."""
    text = "where data are kept; default: $LRA_BENCH_DATA, else ~/.cache/lra_bench"
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help=text)


def add_set(parser: argparse.ArgumentParser) -> None:
    """--set key=value, any number of times."""
    text = "change a setting, e.g. train.num_steps=100 or attention.num_features=64; repeatable"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)
