"""The schedule of a sweep: runs are started as there is room, and repeated where they fail."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lra_bench.errors import KILLED_FOR_MEMORY, RunError, UsageError, says_out_of_memory
from lra_bench.files.paths import reason
from lra_bench.records import record
from lra_bench.records.record import Status
from lra_bench.records.run_folder import RunFolder
from lra_bench.runtime.stopping import StopRequest
from lra_bench.sweep import failure_record
from lra_bench.sweep.estimate import Estimate
from lra_bench.sweep.executor import Ending, Executor, Launch
from lra_bench.sweep.history import INTERRUPTED, STOPPED, Attempts, History
from lra_bench.sweep.plan import Job
from lra_bench.sweep.run_state import RESULTS, last_step, run_state
from lra_bench.sweep.view import View

_USAGE_STATUS = 2  # the exit status of a wrong call, which fails again in the same way


@dataclass(frozen=True)
class Patience:
    """Patience says how often a run is tried, and how long an attempt may take.

    Attributes:
        retries: how often a run that failed is tried again.
        time_limit: seconds that an attempt may take; None for ten times the estimate, and at least
            an hour. An attempt that has got further within these, which are a guess, is no failure.
    """

    retries: int = 2
    time_limit: float | None = None

    def limit(self, estimate: Estimate) -> float:
        """Return the seconds that an attempt may take."""
        return self.time_limit or max(10 * (estimate.seconds or 0), 3600.0)


@dataclass(frozen=True)
class Verdict:
    """A Verdict says what the ending of an attempt means.

    Attributes:
        outcome: the status of the run's record, or "stopped", "interrupted", "killed" or
            "timed_out".
        error: what went wrong, if anything.
        may_retry: whether another attempt may succeed.
    """

    outcome: str
    error: str | None = None
    may_retry: bool = False


class Schedule:
    """A Schedule does the runs that are left, as many at once as the executor has room for.

    Args:
        history: where attempts are noted.
        executor: carries the attempts out.
        view: shows how they go.
        data: folder of all data.
        estimates: time and memory of a run, by its kind.
        patience: limits on the attempts.
        arguments: further arguments of `lra-bench run`, for every run.

    Attributes:
        failed: names of the runs that failed for good.
    """

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
        self._began_at: dict[str, int] = {}  # the step, by the name of a run
        self._running: dict[str, Job] = {}

    def run(self, jobs: list[Job], stop: StopRequest) -> None:
        """Do these runs; on a stop request, start no more and ask the running ones to stop."""
        waiting, told_to_stop = deque(jobs), False
        while self._running or (waiting and not stop.made):
            if stop.made and not told_to_stop:
                told_to_stop = True
                self.executor.stop()
            while waiting and not stop.made and self._start_one(waiting):
                pass
            for launch, ending in self.executor.ended():
                job = self._running.pop(launch.name)
                if self._close(job, launch, ending, stopping=stop.made):
                    waiting.append(job)
            self.view.tick(self._running.values(), waiting)

    def _start_one(self, waiting: deque[Job]) -> bool:
        """Start the first waiting run that there is room for; return whether there was one."""
        for job in waiting:
            launch = self._launch(job)
            if self.executor.has_room(launch):
                waiting.remove(job)
                self._tries[job.name] = self._tries.get(job.name, 0) + 1
                self._began_at[job.name] = last_step(launch.folder)
                self.history.begin(job, fresh=not RunFolder(launch.folder).started)
                self._running[job.name] = job
                self.view.started(job)
                self.executor.start(launch)
                return True
        return False

    def _launch(self, job: Job) -> Launch:
        """Return the next attempt at a run."""
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
        """Note how an attempt ended; return whether the run is tried again."""
        if self._was_only_slow(job, launch, ending):
            ending = replace(ending, interrupted=True)
        verdict = judge(launch.folder, ending, stopping=stopping)
        self.history.end(job, verdict.outcome, verdict.error, ending.seconds)
        if verdict.outcome == INTERRUPTED:
            self._tries[job.name] -= 1
        again = verdict.may_retry and not stopping
        again &= self._tries[job.name] <= self.patience.retries
        if not again:
            self._conclude(job, launch, verdict)
        state = run_state(launch.folder, Attempts())
        self.view.ended(job, state, verdict.outcome, verdict.error, again=again)
        return again

    def _was_only_slow(self, job: Job, launch: Launch, ending: Ending) -> bool:
        """Return whether a run got further before a time limit that no user set ended it."""
        if not ending.timed_out or self.patience.time_limit is not None:
            return False
        return ending.returncode != 0 and last_step(launch.folder) > self._began_at[job.name]

    def _conclude(self, job: Job, launch: Launch, verdict: Verdict) -> None:
        """Count a run that failed for good; write its record if its process did not."""
        if verdict.outcome not in (*RESULTS, STOPPED):
            self.failed.append(job.name)
        if verdict.may_retry and not (launch.folder / record.FILE).exists():
            memory = verdict.outcome == "out_of_memory"
            status: Status = "out_of_memory" if memory else "failed"
            error = f"{verdict.outcome}: {verdict.error}"
            self._write_failure(job, launch, status, error)

    def _write_failure(self, job: Job, launch: Launch, status: Status, error: str) -> None:
        """Write the record of a run that failed; if that fails too, say so and go on."""
        try:
            failure_record.write_failure(job, RunFolder(launch.folder), self.data, status, error)
        except (UsageError, RunError, OSError) as fault:
            why = reason(fault) if isinstance(fault, OSError) else str(fault)
            self.view.say(f"{job.name}: no record of the failure: {why}")


def judge(folder: Path, ending: Ending, *, stopping: bool) -> Verdict:
    """Return what an ending means, by the record of the run if there is one.

    Args:
        folder: folder of the run.
        ending: how its process ended.
        stopping: whether the sweep was asked to stop.
    """
    if ending.timed_out and not ending.interrupted:
        return Verdict("timed_out", f"stopped after {ending.seconds:,.0f} s", may_retry=True)
    try:
        result = record.read(folder / record.FILE) if (folder / record.FILE).exists() else None
    except RunError as error:
        return Verdict("failed", str(error), may_retry=True)
    said = ending.returncode in (0, 1) and not ending.interrupted
    if result is not None and (result.status in RESULTS or said):
        return Verdict(result.status, result.error, may_retry=result.status == "failed")
    if stopping:
        return Verdict(STOPPED)
    if ending.interrupted:
        return Verdict(INTERRUPTED, may_retry=True)
    if ending.memory_ran_out and ending.returncode == -9:
        return Verdict("out_of_memory", KILLED_FOR_MEMORY, may_retry=True)
    if says_out_of_memory(ending.message):
        return Verdict("out_of_memory", ending.message, may_retry=True)
    if ending.returncode is None or ending.returncode < 0:
        return Verdict("killed", ending.message, may_retry=True)
    return Verdict("failed", ending.message, may_retry=ending.returncode != _USAGE_STATUS)
