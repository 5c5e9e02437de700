"""A sweep from its request to its end."""

import os
import shutil
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lra_bench.contracts import SPLITS
from lra_bench.data.location import data_root, locate
from lra_bench.data.obtain import load_data
from lra_bench.display.progress import Display
from lra_bench.display.units import duration
from lra_bench.efficiency import supervise
from lra_bench.errors import RunError, UsageError
from lra_bench.files import locked, refuse_file
from lra_bench.records import record
from lra_bench.registry import make_task
from lra_bench.runtime.stopping import StopRequest
from lra_bench.sweep.estimate import Estimate, Resources, calibrate, from_the_past
from lra_bench.sweep.executor import Executor, Needs
from lra_bench.sweep.history import Attempts, History
from lra_bench.sweep.local_executor import LocalExecutor, slots
from lra_bench.sweep.plan import Choice, Job, check_folders, jobs
from lra_bench.sweep.run_state import Standing, stand
from lra_bench.sweep.schedule import Patience, Schedule
from lra_bench.sweep.view import View, number, plan_table

# Of the sweep's folder: what runs have compiled, for those of other seeds.
_COMPILED = ".compiled"


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        out: the sweep's folder.
        data: where data live, if said.
        jobs: runs side by side; None for what there is room for.
        memory_limit: bytes of one run.
        calibrate: whether to time training steps for the estimates.
        dry_run: whether only to say what would be done.
    """

    choice: Choice
    out: Path
    data: Path | None
    executor: str
    jobs: int | None
    needs: Needs
    patience: Patience
    memory_limit: int | None
    calibrate: bool
    dry_run: bool


def execute(request: Request, display: Display) -> int:
    """Do the sweep; the exit status.

    Raises:
        UsageError: it can't be done as asked for; nothing has begun.
    """
    wanted = jobs(request.choice)
    refuse_file(request.out)
    with locked(request.out / ".lock", wait=False) as ours:
        if not ours:
            raise UsageError(f"another sweep is at work in {request.out}")
        check_folders(wanted, request.out)
        return _Sweep(request, wanted, display).execute()


class _Sweep:
    """The stages of a sweep: look, estimate, tell the plan, do it."""

    def __init__(self, request: Request, wanted: list[Job], display: Display) -> None:
        self.request, self.wanted, self.display = request, wanted, display
        self.history = History(request.out)
        self.data = data_root(request.data)
        self.attempts = self.history.attempts()
        self.standings = {job.name: self._stand(job) for job in wanted}
        self.left = [job for job in wanted if not self.standings[job.name].is_done]

    def _stand(self, job: Job) -> Standing:
        return stand(self.request.out / job.name, self.attempts.get(job.name, Attempts()))

    def execute(self) -> int:
        """Go through all; the exit status."""
        if not self.left:
            self.display.line(f"all {number(len(self.wanted), 'run')} are done")
            return 0
        executor, place = self._executor()
        with closing(executor):
            estimates = self._estimates(place)
            self._tell(executor, estimates)
            if self.request.dry_run:
                return 0
            self.history.plan(self.wanted)
            return self._run(executor, estimates)

    def _executor(self) -> tuple[Executor, Resources | None]:
        """Who carries the runs out, and what one has; None where that isn't here."""
        needs, wanted_jobs = self.request.needs, self.request.jobs
        if self.request.executor == "ray":
            from lra_bench.sweep.ray_executor import RayExecutor

            return RayExecutor(needs, wanted_jobs, self._environment(), self.request.out), None
        here = supervise.describe()
        platform = here["environment"]["platform"]
        found = slots(platform, here["devices"], needs, wanted_jobs)
        on_cpu = platform == "cpu"
        executor = LocalExecutor(found, self._environment(), watch_memory=on_cpu)
        each = max(needs.gpus, needs.tpus, 1)
        return executor, Resources(found[0].cores, here["devices"] if on_cpu else each)

    def _environment(self) -> dict[str, str]:
        """One run's compiled programs serve those of other seeds."""
        environment = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        if "JAX_COMPILATION_CACHE_DIR" in os.environ or self.request.executor == "ray":
            return environment
        compiled = (self.request.out / _COMPILED).resolve()
        return {"JAX_COMPILATION_CACHE_DIR": str(compiled), **environment}

    def _estimates(self, place: Resources | None) -> dict[str, Estimate]:
        """What is known from runs that ended, else by calibration, of each kind that is left."""
        past = from_the_past(self.wanted, self.standings, self.attempts)
        if place is None:
            return past
        sizes = self._sizes()
        kinds = {job.kind: job for job in self.left if job.kind not in past}
        if not self.request.calibrate or not kinds:
            return past
        display = self.display
        return past | calibrate(list(kinds.values()), sizes, place, self.request.out, display)

    def _sizes(self) -> dict[str, dict[str, int]]:
        """By kind, the examples of each split; data that aren't there yet are prepared."""
        found: dict[str, dict[str, int]] = {}
        known: dict[str, dict[str, int]] = {}
        for job in {job.kind: job for job in self.left}.values():
            settings = job.settings()
            key = repr((job.task, settings.data_source, settings.data))
            if key not in known:
                task = make_task(job.task, settings.data)
                location = locate(self.data, task, settings.data_source)
                store = load_data(task, location, self.display)
                known[key] = {split: len(store.splits[split]) for split in SPLITS}
            found[job.kind] = known[key]
        return found

    def _tell(self, executor: Executor, estimates: Mapping[str, Estimate]) -> None:
        """Print what will be done."""
        done = len(self.wanted) - len(self.left)
        self.display.line(
            f"{number(len(self.wanted), 'run')}, {done:,} done, preset "
            f"{self.request.choice.preset}, {executor.describe()}"
        )
        self.display.show(plan_table(self.left, estimates))
        seconds = [estimates.get(job.kind, Estimate()).seconds for job in self.left]
        if all(one is not None for one in seconds):
            total = sum(one or 0 for one in seconds) / executor.capacity
            self.display.line(f"in all about {duration(total)}")
        self.display.line()

    def _run(self, executor: Executor, estimates: Mapping[str, Estimate]) -> int:
        request = self.request
        self._put_unreadable_aside()
        view = View(
            self.display,
            request.out,
            self.wanted,
            self.standings,
            estimates,
            executor.capacity,
        )
        arguments = ("--processes", "1")  # not with those of a Slurm step or a TPU slice
        if request.executor == "local" or request.data is not None:
            arguments += ("--data-dir", str(self.data.resolve()))
        if request.memory_limit is not None:
            arguments += ("--memory-limit", str(request.memory_limit))
        schedule = Schedule(
            self.history, executor, view, self.data, estimates, request.patience, arguments
        )
        stop = StopRequest()
        with stop.listening(), self.display.live(view.render):
            schedule.run(self.left, stop)
        return self._conclude(schedule, stop)

    def _put_unreadable_aside(self) -> None:
        """Have the run write a record anew where the one that is there can't be read."""
        for job in self.left:
            path = self.request.out / job.name / record.FILE
            try:
                if path.exists():
                    record.read(path)
            except RunError as error:
                path.rename(path.with_suffix(".unreadable"))
                self.display.line(f"put aside: {error}")

    def _conclude(self, schedule: Schedule, stop: StopRequest) -> int:
        self.display.line()
        if schedule.failed:
            logs = self.history.log(self.wanted[0]).parent
            self.display.line(f"failed: {', '.join(schedule.failed)}; what they said is in {logs}")
        if stop.made:
            self.display.line("stopped; the same command goes on from here")
            return 1
        if all(self._stand(job).is_done for job in self.history.jobs()):
            shutil.rmtree(self.request.out / _COMPILED, ignore_errors=True)
        self.display.line(f"records in {self.request.out}: lra-bench table {self.request.out}")
        return 1 if schedule.failed else 0
