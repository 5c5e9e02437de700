"""Downloads of archives whose checksum is published, by TensorFlow Datasets' manager."""

import contextlib
import io
import urllib.error
import urllib.request
from pathlib import Path

from lra_bench.errors import RunError
from lra_bench.faults import is_disk_full, one_line
from lra_bench.progress import Display
from lra_bench.registry import Source, Task

_PROBE_SECONDS = 4
_AGENT = {"User-Agent": "lra-bench"}


def fetch(task: Task, source: Source, root: Path, display: Display) -> Path:
    """The file at the source's address, in `root/downloads`; kept from an earlier call.

    Raises:
        RunError: it can't be reached, within seconds; or it isn't what its checksum says.
    """
    _probe(task, source)
    display.line(f"downloading {source.url} ({source.size / 1e6:,.0f} MB)")
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return Path(_manager(source, root / "downloads").download(source.url))
    except Exception as error:  # the manager raises whatever its transport does
        if is_disk_full(error):
            raise
        raise RunError(_refusal(task, source, one_line(error))) from None


def _probe(task: Task, source: Source) -> None:
    """Ask for the headers only: the manager itself tries for minutes where there is no network."""
    request = urllib.request.Request(source.url, headers=_AGENT, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_PROBE_SECONDS):
            return
    except (OSError, urllib.error.URLError) as error:
        why = getattr(error, "reason", error)
        raise RunError(_refusal(task, source, str(why))) from None


def _refusal(task: Task, source: Source, why: str) -> str:
    return (
        f"{task.name}: {source.url} can't be downloaded ({why}); get {source.files} elsewhere, "
        f"then lra-bench data prepare {task.name} --source PATH"
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
