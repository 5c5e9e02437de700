"""Download archives with a published checksum, by TensorFlow Datasets' manager."""

import contextlib
import io
import shutil
import threading
import urllib.request
from pathlib import Path

from lra_bench.contracts import Source, Task
from lra_bench.data.location import Location
from lra_bench.display.progress import Display
from lra_bench.errors import RunError, is_disk_full, one_line
from lra_bench.files.locks import locked
from lra_bench.files.regular import sha256

_PROBE_SECONDS = 4.0
_AGENT = {"User-Agent": "lra-bench"}


def fetch(task: Task, source: Source, location: Location, display: Display) -> Path:
    """Download the source's file for a store, unless it is there, and return its path.

    Raises:
        RunError: the address doesn't answer within seconds, or the checksum differs.
    """
    folder = location.downloads
    file = folder / source.files
    if _is_whole(file, source):  # without the lock, so that the folder may be read-only
        return file
    with locked(folder / f".{source.files}.lock", wait=True):
        if _is_whole(file, source):
            return file
        _probe(task, source, location)
        display.line(f"downloading {source.url} ({source.size / 1e6:,.0f} MB)")
        parts = folder / f".{source.files}.parts"
        shutil.rmtree(parts, ignore_errors=True)  # of an interrupted download
        try:
            _download(task, source, location, parts).replace(file)
        finally:
            shutil.rmtree(parts, ignore_errors=True)
    return file


def _is_whole(file: Path, source: Source) -> bool:
    return file.is_file() and sha256(file) == source.sha256


def _download(task: Task, source: Source, location: Location, folder: Path) -> Path:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return Path(_manager(source, folder).download(source.url))
    except Exception as error:  # the manager raises whatever its transport does
        if is_disk_full(error):
            raise
        raise RunError(_refusal(task, source, location, one_line(error))) from None


def _probe(task: Task, source: Source, location: Location) -> None:
    """Ask for the headers first: without a network the manager itself tries for minutes."""
    answer: list[BaseException | None] = []
    thread = threading.Thread(target=lambda: answer.append(_ask(source.url)), daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)  # urlopen has no time limit for the name server
    error = answer[0] if answer else TimeoutError(f"no answer in {_PROBE_SECONDS:.0f} s")
    if error is not None:
        why = getattr(error, "reason", error)
        raise RunError(_refusal(task, source, location, str(why)))


def _ask(url: str) -> BaseException | None:
    """Ask for the headers; return the error, or None."""
    request = urllib.request.Request(url, headers=_AGENT, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_PROBE_SECONDS):
            return None
    except OSError as error:  # urllib's errors are among them
        return error


def _refusal(task: Task, source: Source, location: Location, why: str) -> str:
    return (
        f"{task.name}: {source.url} can't be downloaded ({why}); get {source.files} elsewhere, "
        f"then {location.prepared_by}"
    )


def _manager(source: Source, folder: Path):  # noqa: ANN202 - its module is slow to import
    from tensorflow_datasets.core import units
    from tensorflow_datasets.core.download import checksums, download_manager

    facts = checksums.UrlInfo(units.Size(source.size), source.sha256, source.files)
    return download_manager.DownloadManager(
        download_dir=folder,
        url_infos={source.url: facts},
        force_checksums_validation=True,
    )
