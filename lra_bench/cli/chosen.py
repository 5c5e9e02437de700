"""Choose records by the folders and names that a user gives."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lra_bench.cli.common import names, texts

if TYPE_CHECKING:
    from lra_bench.efficiency.measurement import Measurement
    from lra_bench.records.record import Record

    Item = TypeVar("Item", Record, Measurement, Record | Measurement)


def add_choice(parser: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    """Add the arguments that choose records: --attentions and --tasks."""
    of_rows = "named as in the tables; those of one mechanism if it is named without options"
    add = parser.add_argument
    add("--attentions", type=texts, default=(), metavar="A,B,...", help=f"only these, {of_rows}")
    add("--tasks", type=names, default=(), metavar="A,B,...", help="only these")


def chosen(args: argparse.Namespace, items: "Iterable[Item]") -> "list[Item]":
    """Return the records of the tasks and attentions that the arguments name; all by default.

    Raises:
        UsageError: no record has a wanted name; the message lists all names.
    """
    of_tasks = _named("task", args.tasks, [(item, _tasks(item)) for item in items])
    named = list(zip(of_tasks, _attentions(of_tasks), strict=True))
    return _named("attention", args.attentions, named)


def _tasks(item: "Record | Measurement") -> tuple[str, ...]:
    from lra_bench.records.record import Record

    return (item.task if isinstance(item, Record) else item.cell.size,)


def _attentions(items: "Sequence[Record | Measurement]") -> list[tuple[str, str]]:
    """Return the names of each attention, as in the tables and without options."""
    from lra_bench.records.labels import labels
    from lra_bench.records.record import Record
    from lra_bench.scaling import rows

    runs = [item for item in items if isinstance(item, Record)]
    lines = [item for item in items if not isinstance(item, Record)]
    of_runs, of_lines = iter(labels(runs)), iter(rows.labels(lines))
    return [
        (next(of_runs), item.attention)
        if isinstance(item, Record)
        else (next(of_lines), item.cell.attention)
        for item in items
    ]


def _named(
    kind: str, wanted: Sequence[str], items: "Sequence[tuple[Item, Sequence[str]]]"
) -> "list[Item]":
    """Return the items that have one of the wanted names; all if no name is wanted."""
    from lra_bench.errors import unknown

    known = sorted({name for _, names in items for name in names})
    for name in wanted:
        if name not in known:
            raise unknown(f"{kind} among the records", name, known)
    return [item for item, names in items if not wanted or {*names} & {*wanted}]


def only_efficiency(folders: Sequence[Path]) -> bool:
    """Return whether efficiency records are below the folders, and no records of runs."""
    from lra_bench.efficiency import records
    from lra_bench.records.find import find

    return not find(folders) and bool(records.find(folders))
