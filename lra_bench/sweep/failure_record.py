"""The record of a run whose process could not write it."""

from pathlib import Path
from typing import Any

from lra_bench.data.store import exists, location, open_store
from lra_bench.records import record
from lra_bench.records.run_folder import RunFolder
from lra_bench.registry import TASKS
from lra_bench.sweep.plan import Job


def write_failure(job: Job, folder: RunFolder, data: Path, status: str, error: str) -> None:
    """Write that the run ended so, where the data are there to say what its chance is."""
    settings = job.settings()
    place = location(data, TASKS.get(job.task).target(**settings.data), settings.data_source)
    if not exists(place):
        return
    result: dict[str, Any] = record.blank(settings)
    store = open_store(place)
    result.update(status=status, error=error, data=store.provenance())
    result["chance"] = store.splits["test"].chance()
    with folder.held(settings, resume=True):
        folder.start(settings)
        record.write(folder.path, result)
