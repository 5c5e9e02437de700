"""Get a task's data: open the store, or prepare it first."""

from pathlib import Path

from lra_bench.contracts import Source, Task, source_of
from lra_bench.data.download import fetch
from lra_bench.data.location import Location
from lra_bench.data.prepare import (
    prepare,
    refuse_other_files,
    remember,
    remembered,
    try_open,
    writable,
)
from lra_bench.data.store import Store, open_store
from lra_bench.display.progress import Display
from lra_bench.errors import UsageError


def load_data(task: Task, location: Location, display: Display) -> Store:
    """Open the store at `location`; prepare it first if it does not exist.

    Raises:
        UsageError: the user has to give the source's files, and has not yet.
        RunError: the data are broken, or can't be downloaded.
    """
    if location.exists():
        with display.busy(f"checking the data of {task.name}"):
            return open_store(location)
    return prepare_data(task, location, None, display)


def prepare_data(
    task: Task, location: Location, path: Path | None, display: Display, *, download: bool = False
) -> Store:
    """Prepare the store at `location`, show the progress, and open it.

    A store that is there is verified; a damaged one is made again.

    Args:
        path: where the source's files are; if None, they are generated, or read from the path
            that is remembered, or downloaded.
        download: use the download, even if another path is remembered.

    Raises:
        UsageError: the user has to give the source's files, and has not yet.
        RunError: the source's files are missing or broken, or the store holds other data.
    """
    source = source_of(task, location.source)
    store, why = try_open(location)
    if why is not None:
        display.line(f"{why.partition('; ')[0]}; preparing the data again")
    with writable(location):
        if download:
            path = fetch(task, source, location, display)
        elif store is None and path is None and source.files:
            path = _find(task, source, location, display)
    verb = "prepared" if store is None else "already prepared:"
    with display.bar(f"preparing {task.name}", None) as bar:

        def report(what: str, done: int, total: int | None) -> None:
            bar(done, what, total)

        if store is None:
            store = prepare(task, location, path, report)
        elif path is not None:
            refuse_other_files(task, location, path, report)
    if path is not None:
        remember(location, path)
    display.line(f"{verb} {task.name} ({location.source}) in {location.path}")
    return store


def _find(task: Task, source: Source, location: Location, display: Display) -> Path:
    """Return the remembered path of the source's files, or download them."""
    path = remembered(task, location)
    if path is not None:
        return path
    if not source.sha256:
        where = f"get {source.files} from {source.url}"
        raise UsageError(f"no data for {task.name} yet: {where}, then {location.prepared_by}")
    return fetch(task, source, location, display)
