"""Carrying out the runs of a sweep: what is done is left, what fails is tried again."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lra_bench.errors import KILLED_FOR_MEMORY, RunError, says_out_of_memory
from lra_bench.records import record
from lra_bench.records.run_folder import RunFolder
from lra_bench.runtime.stopping import StopRequest
from lra_bench.sweep import failure_record
from lra_bench.sweep.estimate import Estimate
from lra_bench.sweep.executor import Ending, Executor, Launch
from lra_bench.sweep.history import STOPPED, Attempts, History
from lra_bench.sweep.plan import Job
from lra_bench.sweep.run_state import RESULTS, stand
from lra_bench.sweep.view import View

_USAGE = 2


@dataclass(frozen=True)
class Patience:
    """What a run is given.

    Attributes:
        retries: how often a run that failed is tried again.
        time_limit: seconds of an attempt; None for ten times the estimate, at least an hour.
    """

    retries: int = 2
    time_limit: float | None = None

    def limit(self, estimate: Estimate) -> float:
        """Seconds that an attempt may take."""
        return self.time_limit or max(10 * (estimate.seconds or 0), 3600.0)


@dataclass(frozen=True)
class Verdict:
    """What an ending means: an outcome, what went wrong, and whether it may go better again."""

    outcome: str
    error: str | None = None
    may_retry: bool = False


class Schedule:
    """Does the runs that are left, as many at once as the executor has room for."""

    def __init__(
        self,
        history: History,
        executor: Executor,
        view: View,
        data: Path,
        estimates: Mapping[str, Estimate],
        patience: Patience,
        arguments: tuple[str, ...] = (),
    ) -> None:
        self.history, self.executor, self.view, self.data = history, executor, view, data
        self.estimates, self.patience, self.arguments = estimates, patience, arguments
        self.failed: list[str] = []
        self._tries: dict[str, int] = {}
        self._running: dict[str, Job] = {}

    def run(self, jobs: list[Job], stop: StopRequest) -> None:
        """Do these runs; on request, have those that run stop, and start no more."""
        waiting, asked = deque(jobs), False
        while self._running or (waiting and not stop.made):
            if stop.made and not asked:
                asked = True
                self.executor.stop()
            while waiting and not stop.made and self._start_one(waiting):
                pass
            for launch, ending in self.executor.ended():
                job = self._running.pop(launch.name)
                if self._close(job, launch, ending, stopping=stop.made):
                    waiting.append(job)
            self.view.tick(self._running.values(), waiting)

    def _start_one(self, waiting: deque[Job]) -> bool:
        """Start the first of those waiting that there is room for."""
        for job in waiting:
            launch = self._launch(job)
            if self.executor.has_room(launch):
                waiting.remove(job)
                self._tries[job.name] = self._tries.get(job.name, 0) + 1
                self.history.begin(job, fresh=not RunFolder(launch.folder).started)
                self._running[job.name] = job
                self.view.started(job)
                self.executor.start(launch)
                return True
        return False

    def _launch(self, job: Job) -> Launch:
        estimate = self.estimates.get(job.kind, Estimate())
        return Launch(
            name=job.name,
            arguments=(*job.arguments(), *self.arguments),
            folder=self.history.folder / job.name,
            log=self.history.log(job),
            time_limit=self.patience.limit(estimate),
            memory=estimate.memory,
        )

    def _close(self, job: Job, launch: Launch, ending: Ending, *, stopping: bool) -> bool:
        """Note how an attempt ended; whether the run is to be tried again."""
        verdict = judge(launch.folder, ending, stopping=stopping)
        self.history.end(job, verdict.outcome, verdict.error, ending.seconds)
        again = verdict.may_retry and not stopping
        again &= self._tries[job.name] <= self.patience.retries
        if not again:
            self._conclude(job, launch, verdict)
        standing = stand(launch.folder, Attempts())
        self.view.ended(job, standing, verdict.outcome, verdict.error, again=again)
        return again

    def _conclude(self, job: Job, launch: Launch, verdict: Verdict) -> None:
        """Count a run that failed for good, and see that it has a record, whoever writes it."""
        if verdict.outcome not in (*RESULTS, STOPPED):
            self.failed.append(job.name)
        if verdict.may_retry and not (launch.folder / record.FILE).exists():
            status = "out_of_memory" if verdict.outcome == "out_of_memory" else "failed"
            error = f"{verdict.outcome}: {verdict.error}"
            failure_record.write_failure(job, RunFolder(launch.folder), self.data, status, error)


def judge(folder: Path, ending: Ending, *, stopping: bool) -> Verdict:
    """What became of an attempt, by its record if it wrote one."""
    if ending.timed_out:
        return Verdict("timed_out", f"stopped after {ending.seconds:,.0f} s", may_retry=True)
    try:
        found = record.read(folder / record.FILE) if (folder / record.FILE).exists() else None
    except RunError as error:
        return Verdict("failed", str(error), may_retry=True)
    if found is not None and (found.status in RESULTS or ending.returncode in (0, 1)):
        return Verdict(found.status, found.error, may_retry=found.status == "failed")
    if stopping:
        return Verdict(STOPPED)
    if ending.wanting and ending.returncode == -9:
        return Verdict("out_of_memory", KILLED_FOR_MEMORY, may_retry=True)
    if says_out_of_memory(ending.said):
        return Verdict("out_of_memory", ending.said, may_retry=True)
    if ending.returncode is None or ending.returncode < 0:
        return Verdict("killed", ending.said, may_retry=True)
    return Verdict("failed", ending.said, may_retry=ending.returncode != _USAGE)
