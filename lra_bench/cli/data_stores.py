"""The actions of `lra-bench data` on stores: list them, and remove them."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lra_bench.cli.common import display_of
from lra_bench.display.busy import say
from lra_bench.display.escape import terminal
from lra_bench.display.units import size_text

if TYPE_CHECKING:
    from lra_bench.data.need import Need
    from lra_bench.data.stores import Found
    from lra_bench.display.progress import Display


def show(args: argparse.Namespace) -> int:
    """Print the stores on this disk, and what a preset needs of each task."""
    from lra_bench.data.location import data_root
    from lra_bench.data.stores import stores

    root = data_root(args.data_dir)
    found, needed = stores(root), needs(args.preset, root)
    if args.json:
        rows = [_row(store) for store in found]
        preset = {need.task.name: _state(need) for need in needed}
        say(json.dumps({"root": str(root), "stores": rows, args.preset: preset}, indent=2))
        return 0
    display = display_of(args)
    display.line(f"stores in {root}: {size_text(sum(store.bytes for store in found))}")
    for store in found:
        display.line(f"  {_line(store)}")
    display.line()
    show_needs(needed, args.preset, display)
    return 0


def show_needs(needed: "list[Need]", preset: str, display: "Display") -> None:
    """Print for each task whether the data of a preset are there."""
    display.line(f"data of preset {preset}:")
    width = max(len(need.task.name) for need in needed)
    for need in needed:
        display.line(terminal(f"  {need.task.name:<{width}}  {_text(need)}"))


def needs(preset: str, root: Path) -> "list[Need]":
    """Return the data that a preset needs, for each task that has it.

    Raises:
        UsageError: no task has it.
    """
    from lra_bench.config import make_settings, presets
    from lra_bench.data.need import need
    from lra_bench.errors import unknown
    from lra_bench.registry import IDENTITY, TASKS, make_task

    names = {task: presets(task) for task in TASKS.names()}
    having = [task for task in names if preset in names[task]]
    if not having:
        valid = dict.fromkeys(name for each in names.values() for name in each)
        raise unknown("preset", preset, list(valid))
    chosen = [make_settings(task, IDENTITY, preset, 0) for task in having]
    return [need(make_task(each.task, each.data), each, root, ()) for each in chosen]


def remove(data: "Need", display: "Display", *, every: bool, dry_run: bool) -> int:
    """Remove the store of these data, or every store of the task; return the exit status.

    Raises:
        UsageError: there is none.
    """
    from lra_bench.data import stores
    from lra_bench.errors import UsageError

    place = data.location
    found = [each for each in stores.stores(place.root) if each.location.task == place.task]
    chosen = [each for each in found if every or each.location.path == place.path]
    if not chosen:
        others = f"; {len(found)} other, which --all removes" if found else ""
        raise UsageError(f"no data at {place.path}{others}; lra-bench data list says what is there")
    for store in chosen:
        if not dry_run:
            stores.remove(store.location)
        display.line(f"{'would remove' if dry_run else 'removed'} {_line(store)}")
    return 0


def _line(store: "Found") -> str:
    manifest = store.manifest
    sizes = "damaged" if manifest is None else f"{sum(manifest.sizes.values()):,} examples"
    place = store.location
    return f"{place.task} ({place.source}): {sizes}, {size_text(store.bytes)}, {place.path}"


def _row(store: "Found") -> dict[str, Any]:
    manifest, place = store.manifest, store.location
    return {
        "task": place.task,
        "source": place.source,
        "path": str(place.path),
        "bytes": store.bytes,
        "sizes": manifest and manifest.sizes,
        "official": manifest and manifest.official,
        "options": manifest and manifest.options,
    }


def _text(need: "Need") -> str:
    return f"there, {need.source.name}" if need.is_there else need.describe().partition(": ")[2]


def _state(need: "Need") -> str:
    if need.is_there:
        return "there"
    return "missing" if need.is_missing else "download" if need.download_bytes else "generated"
