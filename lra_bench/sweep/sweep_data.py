"""The data that a sweep needs: what is missing, and preparing it."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lra_bench.contracts import SPLITS
from lra_bench.data.need import Need, need
from lra_bench.data.obtain import load_data
from lra_bench.display.progress import Display
from lra_bench.display.units import size_text
from lra_bench.errors import RunError
from lra_bench.registry import make_task
from lra_bench.suggest import listed
from lra_bench.sweep.plan import Job


def needs(jobs: Iterable[Job], root: Path) -> dict[str, Need]:
    """Return the data that runs need, by the kind of run; kinds that share a store share one need.

    Args:
        jobs: the runs.
        root: the root of all data.
    """
    stores: dict[Path, Need] = {}
    by_kind: dict[str, Need] = {}
    for job in {job.kind: job for job in jobs}.values():
        settings = job.settings()
        task = make_task(job.task, settings.data)
        wanted = need(task, settings, root, job.overrides)
        by_kind[job.kind] = stores.setdefault(wanted.location.path, wanted)
    return by_kind


def distinct(needs: Mapping[str, Need]) -> list[Need]:
    """Return each store that is needed, once."""
    return list({id(each): each for each in needs.values()}.values())


def names(needs: Iterable[Need]) -> str:
    """Return the tasks of some data, such as "retrieval and text"."""
    return listed(sorted({each.task.name for each in needs}), "and")


def show(needs: Sequence[Need], display: Display) -> None:
    """Print which data are not prepared yet, how they are, and how large they will be."""
    absent = [each for each in needs if not each.is_there]
    if not absent:
        display.line("all data are prepared")
        return
    display.line("data that are not prepared yet:")
    for each in absent:
        display.line(f"  {each.describe()}")
    # Tasks may share an archive.
    download = sum({each.source.files: each.download_bytes for each in absent}.values())
    disk = sum(each.disk_bytes or 0 for each in absent)
    root = absent[0].location.root
    display.line(
        f"in all: {size_text(download)} to download, about {size_text(disk)} on disk; "
        f"{size_text(_free(root))} are free in {root}"
    )


def _free(folder: Path) -> int:
    """Return the free bytes of the disk that holds a folder, or will hold it."""
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    return shutil.disk_usage(there).free


def prepare(
    needs: Mapping[str, Need], display: Display
) -> tuple[dict[str, dict[str, int]], list[Need]]:
    """Prepare the data that are not there yet; print why some could not be prepared.

    Returns:
        The number of examples in each split, by the kind of run; and the data that could not be
        prepared.
    """
    sizes: dict[int, dict[str, int]] = {}
    failed: list[Need] = []
    for each in distinct(needs):
        try:
            store = load_data(each.task, each.location, display)
            sizes[id(each)] = {split: len(store.splits[split]) for split in SPLITS}
        except RunError as error:
            display.line(f"{each.task.name}: {error}")
            failed.append(each)
    by_kind = {kind: sizes[id(each)] for kind, each in needs.items() if id(each) in sizes}
    return by_kind, failed
