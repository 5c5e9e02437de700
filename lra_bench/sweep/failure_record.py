"""The record of a run whose process could not write it."""

from dataclasses import replace
from pathlib import Path

from lra_bench.data.location import locate
from lra_bench.data.store import chance_of, open_store
from lra_bench.records import record
from lra_bench.records.record import Status
from lra_bench.records.run_folder import RunFolder
from lra_bench.registry import make_task
from lra_bench.sweep.plan import Job


def write_failure(job: Job, folder: RunFolder, data: Path, status: Status, error: str) -> None:
    """Write the record of a run that failed, unless its data are missing.

    The data are needed for the chance accuracy, which every record holds.

    Args:
        job: the run.
        folder: folder of the run.
        data: folder of all data.
        status: status of the record.
        error: why the run failed.
    """
    settings = job.settings()
    task = make_task(job.task, settings.data)
    location = locate(data, task, settings.data_source)
    if not location.exists():
        return
    store = open_store(location)
    chance, source = chance_of(task, store.splits["test"]), store.provenance()
    begun = record.begin(settings, chance.accuracy, source, guess=chance.guess)
    result = replace(begun, status=status, error=error)
    with folder.held(settings, resume=True):
        folder.start(settings)
        record.write(folder.path, result)
