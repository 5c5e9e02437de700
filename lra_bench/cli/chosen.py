"""Choose records by the folders and names that a user gives."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from lra_bench.errors import unknown

Item = TypeVar("Item")


def chosen(
    kind: str, wanted: Sequence[str], items: Iterable[Item], names: Callable[[Item], Sequence[str]]
) -> list[Item]:
    """Return the items that have one of the wanted names; all if no name is wanted.

    Args:
        kind: what a name is of, for the message.
        wanted: the names.
        items: to choose from.
        names: of an item.

    Raises:
        UsageError: nothing has a wanted name; the message lists all names.
    """
    every = list(items)
    if not wanted:
        return every
    known = sorted({name for item in every for name in names(item)})
    for name in wanted:
        if name not in known:
            raise unknown(f"{kind} among the records", name, known)
    return [item for item in every if {*names(item)} & {*wanted}]


def only_efficiency(folders: Sequence[Path]) -> bool:
    """Return whether efficiency records are below the folders, and no records of runs."""
    from lra_bench.efficiency import records
    from lra_bench.records.find import find

    return not find(folders) and bool(records.find(folders))
