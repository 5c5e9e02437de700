"""Getting at a task's data: from the store, else from wherever its source lets them be had."""

from pathlib import Path

from lra_bench.contracts import Source, Task, source_of
from lra_bench.data.download import fetch
from lra_bench.data.prepare import prepare, remember, remembered
from lra_bench.data.store import Store, exists, location, open_store
from lra_bench.display.progress import Display
from lra_bench.errors import UsageError


def load_data(task: Task, source: str, root: Path, display: Display) -> Store:
    """The store of a task's data, made first if nobody has to be asked for a file.

    Raises:
        UsageError: the source's files are to be given, and nobody has.
        RunError: the data are broken, or can't be downloaded.
    """
    place = location(root, task, source)
    if not exists(place):
        prepare_data(task, source, None, root, display)
    return open_store(place)


def prepare_data(
    task: Task,
    source: str,
    path: Path | None,
    root: Path,
    display: Display,
    *,
    download: bool = False,
) -> Path:
    """Make the store of a task's data, telling of it.

    Args:
        path: where the source's files are; if None, they are generated, or taken from where they
            were found before, or downloaded.
        download: take the download, whatever was found before.

    Raises:
        UsageError: the source's files are to be given, and nobody has.
        RunError: the source's files are missing or broken, or the store holds those of another
            path.
    """
    facts = source_of(task, source)
    there = exists(location(root, task, source))
    if download:
        path = fetch(task, facts, root, display)
    elif not there and path is None and facts.files:
        path = _find(task, facts, root, display)
    with display.bar(f"preparing {task.name}", None) as bar:

        def report(what: str, done: int, total: int | None) -> None:
            bar(done, what, total)

        place = prepare(root, task, source, path, report)
    if path is not None:
        remember(root, task, source, path)
    verb = "already there:" if there else "prepared"
    display.line(f"{verb} {task.name} ({source}) in {place}")
    return place


def _find(task: Task, source: Source, root: Path, display: Display) -> Path:
    """Where the source's files were last time, or where they have been downloaded to."""
    known = remembered(root, task, source.name)
    if known is not None:
        return known
    if not source.sha256:
        raise UsageError(missing(task, source))
    return fetch(task, source, root, display)


def missing(task: Task, source: Source) -> str:
    """What to do where the source's files are not there and can't be downloaded as they are."""
    return (
        f"no data for {task.name} yet: get {source.files} from {source.url}, then "
        f"lra-bench data prepare {task.name} --source PATH"
    )
