"""Get a task's data: open the store, or prepare it first."""

from pathlib import Path

from lra_bench.contracts import Source, Task, source_of
from lra_bench.data.download import fetch
from lra_bench.data.location import Location
from lra_bench.data.prepare import prepare, remember, remembered
from lra_bench.data.store import Store, open_store
from lra_bench.display.progress import Display
from lra_bench.errors import UsageError


def load_data(task: Task, location: Location, display: Display) -> Store:
    """Open the store at `location`; prepare it first if it does not exist.

    Raises:
        UsageError: the user has to give the source's files, and has not yet.
        RunError: the data are broken, or can't be downloaded.
    """
    if not location.exists():
        prepare_data(task, location, None, display)
    return open_store(location)


def prepare_data(
    task: Task, location: Location, path: Path | None, display: Display, *, download: bool = False
) -> None:
    """Prepare the store at `location` and show the progress.

    Args:
        path: where the source's files are; if None, they are generated, or read from the path
            that is remembered, or downloaded.
        download: use the download, even if another path is remembered.

    Raises:
        UsageError: the user has to give the source's files, and has not yet.
        RunError: the source's files are missing or broken, or the store holds other data.
    """
    source = source_of(task, location.source)
    existed = location.exists()
    if download:
        path = fetch(task, source, location.downloads, display)
    elif not existed and path is None and source.files:
        path = _find(task, source, location, display)
    with display.bar(f"preparing {task.name}", None) as bar:

        def report(what: str, done: int, total: int | None) -> None:
            bar(done, what, total)

        prepare(task, location, path, report)
    if path is not None:
        remember(location, path)
    verb = "already prepared:" if existed else "prepared"
    display.line(f"{verb} {task.name} ({location.source}) in {location.path}")


def _find(task: Task, source: Source, location: Location, display: Display) -> Path:
    """Return the remembered path of the source's files, or download them."""
    path = remembered(task, location)
    if path is not None:
        return path
    if not source.sha256:
        raise UsageError(missing(task, source))
    return fetch(task, source, location.downloads, display)


def missing(task: Task, source: Source) -> str:
    """Return what to do where the source's files are missing and have no download of their own."""
    return (
        f"no data for {task.name} yet: get {source.files} from {source.url}, then "
        f"lra-bench data prepare {task.name} --source PATH"
    )
