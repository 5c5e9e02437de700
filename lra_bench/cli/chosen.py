"""Choose records by the folders and names that a user gives."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lra_bench.cli.common import names, texts

if TYPE_CHECKING:
    from lra_bench.efficiency.measurement import Measurement
    from lra_bench.records.record import Record

    Item = TypeVar("Item", Record, Measurement, Record | Measurement)


def add_choice(parser: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    """Add the arguments that choose records: --attentions and --tasks."""
    of_rows = "named as in the tables, without their options, or by your own file"
    add = parser.add_argument
    add("--attentions", type=texts, default=(), metavar="A,B,...", help=f"only these, {of_rows}")
    add(
        "--tasks", type=names, default=(), metavar="A,B,...", help="only these, or of your own file"
    )


def chosen(args: argparse.Namespace, items: "Iterable[Item]") -> "list[Item]":
    """Return the records of the tasks and attentions that the arguments name; all by default.

    Raises:
        UsageError: no record has a wanted name; the message lists all names.
    """
    of_tasks = _named("task", args.tasks, [(item, _tasks(item)) for item in items])
    named = list(zip(of_tasks, _attentions(of_tasks), strict=True))
    return _named("attention", args.attentions, named)


def _tasks(item: "Record | Measurement") -> tuple[str, ...]:
    """Return the names of a task: its own, then those by its file, if it is the user's own."""
    from lra_bench.records.record import Record

    is_run = isinstance(item, Record)
    name, config = (item.task, item.config) if is_run else (item.cell.size, item.cell.config)
    return (name, *_by_file(name, config.get("task_file")))


def _by_file(name: str, file: Any) -> tuple[str, ...]:
    """Return the names of an attention or a task by what a config holds of the user's file."""
    path = file.get("name") if isinstance(file, dict) else None
    return (path, f"{path}:{name}") if isinstance(path, str) else ()


def _attentions(items: "Sequence[Record | Measurement]") -> list[tuple[str, ...]]:
    """Return the names of each attention: as in the tables, without options, by its file."""
    from lra_bench.records.labels import labels
    from lra_bench.records.record import Record
    from lra_bench.scaling import rows

    runs = [item for item in items if isinstance(item, Record)]
    lines = [item for item in items if not isinstance(item, Record)]
    of_runs, of_lines = iter(labels(runs)), iter(rows.labels(lines))
    found: list[tuple[str, ...]] = []
    for item in items:
        shown = next(of_runs if isinstance(item, Record) else of_lines)
        owner = item if isinstance(item, Record) else item.cell
        by_file = _by_file(owner.attention, owner.config.get("attention_file"))
        found.append((shown, owner.attention, *by_file))
    return found


def _named(
    kind: str, wanted: Sequence[str], items: "Sequence[tuple[Item, Sequence[str]]]"
) -> "list[Item]":
    """Return the items that have one of the wanted names; all if no name is wanted."""
    from lra_bench.errors import unknown
    from lra_bench.runtime.source_files import is_reference

    known = {name for _, names in items for name in names}
    meant = {name: _without_folder(name) if is_reference(name) else name for name in wanted}
    for name in wanted:
        if meant[name] not in known:
            valid = sorted(x for x in known if not is_reference(x))
            raise unknown(f"{kind} among the records", name, valid)
    return [item for item, names in items if not wanted or {*names} & {*meant.values()}]


def _without_folder(reference: str) -> str:
    """Return "my.py:name" for "path/to/my.py:name": records have the name of a file alone."""
    return reference.rpartition("/")[2]


def only_efficiency(folders: Sequence[Path]) -> bool:
    """Return whether efficiency records are below the folders, and no records of runs."""
    from lra_bench.efficiency import records
    from lra_bench.records.find import find

    return not find(folders) and bool(records.find(folders))
