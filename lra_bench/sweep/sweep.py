"""A sweep, from its request to its exit status."""

import os
import shutil
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lra_bench.contracts import SPLITS
from lra_bench.data.location import data_root, locate
from lra_bench.data.obtain import load_data
from lra_bench.display.escape import terminal
from lra_bench.display.progress import Display
from lra_bench.display.units import duration
from lra_bench.efficiency import supervise
from lra_bench.errors import RunError, UsageError
from lra_bench.files import locked, refuse_file
from lra_bench.records import record
from lra_bench.registry import make_task
from lra_bench.runtime.stopping import StopRequest
from lra_bench.sweep.estimate import Estimate, Resources, calibrate, from_ended_runs
from lra_bench.sweep.executor import Executor, Needs
from lra_bench.sweep.history import Attempts, History
from lra_bench.sweep.local_executor import LocalExecutor, slots
from lra_bench.sweep.plan import Choice, Job, check_folders, jobs
from lra_bench.sweep.run_state import RunState, run_state
from lra_bench.sweep.schedule import Patience, Schedule
from lra_bench.sweep.tables import number, plan_table
from lra_bench.sweep.view import View

# The folder, in the sweep's, of compiled programs: runs of other seeds use them again.
_COMPILED = ".compiled"


@dataclass(frozen=True)
class Request:
    """A Request is what the user asks of a sweep.

    Attributes:
        choice: which runs it holds.
        out: the sweep's folder.
        data: folder of all data; None for the usual one.
        executor: "local" or "ray".
        jobs: how many runs go on at once; None for as many as there is room for.
        needs: the hardware of one run.
        patience: how often a run is tried, and how long an attempt may take.
        memory_limit: memory that one run may use, in bytes; None for no limit.
        calibrate: whether to time training steps for the estimates.
        dry_run: whether only to print what would be done.
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
    """Do a sweep and return the exit status: 0 if every run has a result.

    Raises:
        UsageError: it can't be done as requested; no run has begun.
    """
    planned = jobs(request.choice)
    refuse_file(request.out)
    with locked(request.out / ".lock", wait=False) as acquired:
        if not acquired:
            raise UsageError(f"another sweep is at work in {request.out}")
        check_folders(planned, request.out)
        return _Sweep(request, planned, display).execute()


class _Sweep:
    """A sweep goes through four stages: look, estimate, print the plan, carry it out.

    Attributes:
        jobs: the requested runs.
        attempts: earlier attempts at each run, by its name.
        states: state of each run before the sweep goes on, by its name.
        left: the runs without a result.
    """

    def __init__(self, request: Request, jobs: list[Job], display: Display) -> None:
        self.request, self.jobs, self.display = request, jobs, display
        self.history = History(request.out)
        self.data = data_root(request.data)
        self.attempts = self.history.attempts()
        self.states = {job.name: self._state(job) for job in jobs}
        self.left = [job for job in jobs if not self.states[job.name].is_done]

    def _state(self, job: Job) -> RunState:
        """Return the state of a run now, given the attempts before this sweep."""
        return run_state(self.request.out / job.name, self.attempts.get(job.name, Attempts()))

    def execute(self) -> int:
        """Go through all stages and return the exit status."""
        if not self.left:
            self.display.line(f"all {number(len(self.jobs), 'run')} are done")
            return 0
        executor, resources = self._executor()
        with closing(executor):
            estimates = self._estimates(resources)
            self._print_plan(executor, estimates)
            if self.request.dry_run:
                return 0
            self.history.plan(self.jobs)
            return self._run(executor, estimates)

    def _executor(self) -> tuple[Executor, Resources | None]:
        """Return the executor, and the resources of one run; None if it does not run here."""
        request = self.request
        if request.executor == "ray":
            from lra_bench.sweep.ray_executor import RayExecutor

            environment = self._environment()
            return RayExecutor(request.needs, request.jobs, environment, request.out), None
        host = supervise.describe()
        platform, devices = host.environment.platform or "cpu", host.devices
        shares = slots(platform, devices, request.needs, request.jobs)
        on_cpu = platform == "cpu"
        executor = LocalExecutor(shares, self._environment(), watch_memory=on_cpu)
        each = devices if on_cpu else max(request.needs.gpus, request.needs.tpus, 1)
        return executor, Resources(shares[0].cores, each)

    def _environment(self) -> dict[str, str]:
        """Return the variables by which runs share compiled programs."""
        environment = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        if "JAX_COMPILATION_CACHE_DIR" in os.environ or self.request.executor == "ray":
            return environment
        compiled = (self.request.out / _COMPILED).resolve()
        return {"JAX_COMPILATION_CACHE_DIR": str(compiled), **environment}

    def _estimates(self, resources: Resources | None) -> dict[str, Estimate]:
        """Return an estimate for each kind of run, as far as one is known or can be measured."""
        known = from_ended_runs(self.jobs, self.states, self.attempts)
        if resources is None:
            return known
        sizes = self._prepare_data()
        unknown = {job.kind: job for job in self.left if job.kind not in known}
        if not self.request.calibrate or not unknown:
            return known
        folder, first_jobs = self.request.out, list(unknown.values())
        return known | calibrate(first_jobs, sizes, resources, folder, self.display)

    def _prepare_data(self) -> dict[str, dict[str, int]]:
        """Prepare missing data; return the number of examples in each split, by kind of run."""
        sizes: dict[str, dict[str, int]] = {}
        prepared: dict[str, dict[str, int]] = {}
        for job in {job.kind: job for job in self.left}.values():
            settings = job.settings()
            key = repr((job.task, settings.data_source, settings.data))
            if key not in prepared:
                task = make_task(job.task, settings.data)
                location = locate(self.data, task, settings.data_source)
                store = load_data(task, location, self.display)
                prepared[key] = {split: len(store.splits[split]) for split in SPLITS}
            sizes[job.kind] = prepared[key]
        return sizes

    def _print_plan(self, executor: Executor, estimates: Mapping[str, Estimate]) -> None:
        """Print what will be done and, where every run has an estimate, how long it will take."""
        done = len(self.jobs) - len(self.left)
        self.display.line(
            f"{number(len(self.jobs), 'run')}, {done:,} done, preset "
            f"{self.request.choice.preset}, {executor.describe()}"
        )
        self.display.show(plan_table(self.left, estimates))
        seconds = [estimates.get(job.kind, Estimate()).seconds for job in self.left]
        known = [value for value in seconds if value is not None]
        if len(known) == len(seconds):
            self.display.line(f"about {duration(sum(known) / executor.capacity)} in all")
        self.display.line()

    def _run(self, executor: Executor, estimates: Mapping[str, Estimate]) -> int:
        """Carry out the runs that are left and return the exit status."""
        self._put_unreadable_aside()
        request, capacity = self.request, executor.capacity
        view = View(self.display, request.out, self.jobs, self.states, estimates, capacity)
        schedule = Schedule(
            self.history,
            executor,
            view,
            self.data,
            estimates,
            request.patience,
            self._common_arguments(),
        )
        stop = StopRequest()
        with stop.listening(), self.display.live(view.render):
            schedule.run(self.left, stop)
        return self._conclude(schedule, stop)

    def _common_arguments(self) -> tuple[str, ...]:
        """Return the arguments of `lra-bench run` that are the same for every run."""
        request = self.request
        # A run is one process: it must not join a Slurm step or a TPU slice around the sweep.
        arguments = ("--processes", "1")
        if request.executor == "local" or request.data is not None:
            arguments += ("--data-dir", str(self.data.resolve()))
        if request.memory_limit is not None:
            arguments += ("--memory-limit", str(request.memory_limit))
        return arguments

    def _put_unreadable_aside(self) -> None:
        """Rename each record that can't be read, so that its run writes a new one."""
        for job in self.left:
            path = self.request.out / job.name / record.FILE
            try:
                if path.exists():
                    record.read(path)
            except RunError as error:
                path.rename(path.with_suffix(".unreadable"))
                self.display.line(f"put aside as record.unreadable: {terminal(error)}")

    def _conclude(self, schedule: Schedule, stop: StopRequest) -> int:
        """Print how the sweep ended and return the exit status."""
        out = self.request.out
        self.display.line()
        if schedule.failed:
            logs = self.history.log(self.jobs[0]).parent
            self.display.line(f"failed: {', '.join(schedule.failed)}; their output is in {logs}")
        if stop.made:
            self.display.line("stopped; the same command continues the sweep")
            return 1
        if all(self._state(job).is_done for job in self.history.jobs()):
            shutil.rmtree(out / _COMPILED, ignore_errors=True)
        self.display.line(f"the records are in {out}; to see a table: lra-bench table {out}")
        return 1 if schedule.failed else 0
