"""The command `lra-bench doctor` tells whether this machine is ready, and what it has."""

import argparse
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lra_bench.cli.common import add_data_dir, add_preset

if TYPE_CHECKING:
    from lra_bench.data.need import Need

NAME = "doctor"
HELP = "tell whether this machine is ready, and what it has"
DESCRIPTION = """\
Tell the versions, the devices, the memory, the room on the disks, which data are there or missing,
and the cache of compiled programs. Each line begins with ok, note or WRONG; with WRONG comes what
to do. The exit status is 1 if anything is WRONG. Nothing is written.
"""
# What is installed with each extra.
_EXTRAS = {
    "ray": "ray",
    "completion": "shtab",
    "tensorboard": "tensorboardX",
    "trackio": "trackio",
    "wandb": "wandb",
    "parquet": "pyarrow",
}
_LEAST_DISK, _LEAST_MEMORY = 2 * 2**30, 2 * 2**30
_CACHE = "JAX_COMPILATION_CACHE_DIR"

# Whether it is as it should be, None for a remark; what it is about; and the text.
Finding = tuple[bool | None, str, str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_preset(parser, "preset whose data are looked for")
    add_data_dir(parser)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Print what is found, and return the exit status: 1 if anything is wrong."""
    del argv
    from lra_bench.display.progress import Display

    display, wrong = Display(), 0
    for ok, what, text in _findings(args):
        wrong += ok is False
        display.verdict(ok, f"{what:<12} {text}")
    return 1 if wrong else 0


def _findings(args: argparse.Namespace) -> Iterator[Finding]:
    from lra_bench.cli.data_stores import needs
    from lra_bench.data.location import data_root

    root = data_root(args.data_dir)
    needed = needs(args.preset, root)  # refuses an unknown preset before anything is said
    yield from _versions()
    yield from _devices()
    yield _memory()
    yield _disk("data", root)
    yield _disk("runs", Path.cwd())
    yield _data(needed, args.preset)
    yield _compiled()


def _versions() -> Iterator[Finding]:
    from importlib.util import find_spec

    from lra_bench.runtime.environment import git_commit, versions

    yield True, "versions", ", ".join(f"{name} {text}" for name, text in versions().items())
    commit = git_commit()
    if commit is not None:
        yield None, "commit", commit
    have = [extra for extra, module in _EXTRAS.items() if find_spec(module) is not None]
    lack = [extra for extra in _EXTRAS if extra not in have]
    yield (
        None,
        "extras",
        f"installed: {', '.join(have) or 'none'}; not: {', '.join(lack) or 'none'}",
    )


def _devices() -> Iterator[Finding]:
    from lra_bench.display.units import size_text
    from lra_bench.efficiency import supervise
    from lra_bench.errors import RunError

    try:
        host = supervise.describe()
    except RunError as error:
        yield False, "devices", f"{error}; run python -c 'import jax; jax.devices()' to see why"
        return
    place = host.environment
    memory = size_text(host.device_bytes)
    of = "of the machine" if place.platform == "cpu" else "each"
    yield True, "devices", f"{place.device}, {place.platform}, {memory} {of}"
    cores = place.host_cpu_count
    yield None, "host", f"{place.host}, {cores} cores, huge pages: {place.huge_pages or 'unknown'}"
    if flags := os.environ.get("XLA_FLAGS"):
        yield None, "XLA_FLAGS", flags


def _memory() -> Finding:
    from lra_bench.display.units import size_text
    from lra_bench.runtime import memory

    total, free = memory.of_the_machine(), memory.available()
    text = f"{size_text(total)}" + ("" if free is None else f", {size_text(free)} of it free")
    if free is not None and free < _LEAST_MEMORY:
        return None, "memory", f"{text}: little; use --preset smoke or mini, or end other programs"
    return True, "memory", text


def _disk(what: str, folder: Path) -> Finding:
    """Return whether a folder, or the one above that is there, can be written and has room."""
    from lra_bench.display.units import size_text

    there = next(each for each in (folder, *folder.parents) if each.exists())
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        return False, what, f"{folder}: {error.strerror}; choose another"
    text = f"{folder}, {size_text(free)} free"
    option = "--data-dir" if what == "data" else "--out"
    if not os.access(there, os.W_OK | os.X_OK):
        return False, what, f"{folder}: you may not write there; choose another with {option}"
    if free < _LEAST_DISK:
        return None, what, f"{text}: little; choose another disk with {option}"
    return True, what, text


def _data(needed: "list[Need]", preset: str) -> Finding:
    there = [need.task.name for need in needed if need.is_there]
    missing = [need.task.name for need in needed if need.is_missing]
    fetched = [need.task.name for need in needed if need.download_bytes]
    others = [x.task.name for x in needed if x.task.name not in {*there, *missing, *fetched}]
    kinds = {"there": there, "generated": others, "downloaded": fetched, "missing": missing}
    text = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names)
    see = f"; see lra-bench data list --preset {preset}" if missing else ""
    return None if missing else True, f"{preset} data", f"{text}{see}"


def _compiled() -> Finding:
    from lra_bench.data.stores import size
    from lra_bench.display.units import size_text

    folder = os.environ.get(_CACHE)
    if not folder:
        text = f"none: programs are compiled for each run; {_CACHE}=DIR keeps them"
        return None, "compiled", text
    return True, "compiled", f"{folder}, {size_text(size(Path(folder)))}"
