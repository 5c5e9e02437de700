"""A sweep, from its request to its exit status."""

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lra_bench.data.location import data_root
from lra_bench.data.need import Need
from lra_bench.display import command
from lra_bench.display.escape import terminal
from lra_bench.display.progress import Display
from lra_bench.display.units import duration
from lra_bench.efficiency import supervise
from lra_bench.errors import RunError, UsageError
from lra_bench.files.locks import locked
from lra_bench.records import record
from lra_bench.runtime.stopping import StopRequest
from lra_bench.settings import ConfigFile
from lra_bench.sweep import sweep_data
from lra_bench.sweep.estimate import Estimate, Resources, calibrate, from_ended_runs
from lra_bench.sweep.executor import COMPILED, COMPILED_FOLDER, Executor, Needs
from lra_bench.sweep.history import Attempts, History
from lra_bench.sweep.local_executor import LocalExecutor, slots
from lra_bench.sweep.plan import (
    Choice,
    Job,
    check_folders,
    jobs,
    not_planned,
    with_copies,
)
from lra_bench.sweep.run_state import RunState, run_state
from lra_bench.sweep.schedule import Patience, Schedule
from lra_bench.sweep.slurm_executor import check_options
from lra_bench.sweep.tables import number, plan_table
from lra_bench.sweep.view import View


@dataclass(frozen=True)
class Request:
    """A Request is what the user asks of a sweep.

    Attributes:
        choice: which runs it holds.
        out: the sweep's folder.
        data: folder of all data; None for the usual one.
        executor: "local", "ray" or "slurm".
        jobs: how many runs go on at once; None for as many as there is room for.
        needs: the hardware of one run.
        patience: how often a run is tried, and how long an attempt may take.
        memory_limit: memory that one run may use, in bytes; None for no limit.
        calibrate: whether to time training steps for the estimates.
        dry_run: whether only to look, and to print what would be done; nothing is written.
        skip_missing_data: whether to leave out runs whose data are missing.
        without_missing_data: the command that does so, for a message.
        slurm: options of sbatch, as pairs of a name and a value; only for "slurm".
        config_file: the file that some of the settings came from, if any.
        track: names of trackers that get the metrics of the runs too.
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
    skip_missing_data: bool
    without_missing_data: str
    slurm: tuple[tuple[str, str], ...] = ()
    config_file: ConfigFile | None = None
    track: tuple[str, ...] = ()

    @property
    def shares_files(self) -> bool:
        """Return whether the runs see the files of this machine, its data among them."""
        return self.executor != "ray"


def execute(request: Request, display: Display) -> int:
    """Do a sweep and return the exit status: 0 if every run has a result.

    Raises:
        UsageError: it can't be done as requested; no run has begun.
    """
    if request.executor == "slurm":
        check_options(request.slurm)
    planned = jobs(request.choice)
    check_folders(planned, request.out)
    for line in not_planned(request.choice):
        display.line(line)
    sweep = _Sweep(request, planned, display)
    if request.dry_run:
        return sweep.look()
    sweep.check_data()
    with locked(request.out / ".lock", wait=False) as acquired:
        if not acquired:
            raise UsageError(f"another sweep is at work in {request.out}")
        check_folders(planned, request.out)
        return _Sweep(request, with_copies(planned, request.out), display).execute()


class _Sweep:
    """A sweep goes through four stages: look, estimate, print the plan, carry it out.

    Until `execute` is called, nothing is written.

    Attributes:
        jobs: the requested runs.
        attempts: earlier attempts at each run, by its name.
        states: state of each run before the sweep goes on, by its name.
        left: the runs without a result.
        needs: the data that these need, by the kind of run; {} if each machine has its own.
    """

    def __init__(self, request: Request, jobs: list[Job], display: Display) -> None:
        self.request, self.jobs, self.display = request, jobs, display
        self.history = History(request.out)
        self.data = data_root(request.data)
        self.attempts = self.history.attempts()
        self.states = {job.name: self._state(job) for job in jobs}
        self.left = [job for job in jobs if not self.states[job.name].is_done]
        self.needs = sweep_data.needs(self.left, self.data) if request.shares_files else {}

    def _state(self, job: Job) -> RunState:
        """Return the state of a run now, given the attempts before this sweep."""
        return run_state(self.request.out / job.name, self.attempts.get(job.name, Attempts()))

    def look(self) -> int:
        """Print what is missing and what would be done, and return the exit status, 0."""
        if not self.left:
            self._say_all_done()
            return 0
        if self.request.shares_files:
            sweep_data.show(sweep_data.distinct(self.needs), self.display)
            self.display.line()
        if self.request.skip_missing_data:
            missing = self._missing()
            self._leave_out(missing if self._others(missing) else [])
        if self.request.executor != "local":
            known = from_ended_runs(self.jobs, self.states, self.attempts)
            where = {"ray": "on a Ray cluster", "slurm": "as Slurm jobs"}[self.request.executor]
            self._print_plan(where, None, known)
        else:
            executor, resources = self._executor()
            sizes = {kind: need.sizes() for kind, need in self.needs.items()}
            estimates = self._estimates(resources, sizes)
            self._print_plan(executor.describe(), executor.capacity, estimates)
        return 0

    def check_data(self) -> None:
        """Check that the data of all runs are there or can be prepared, unless others are skipped.

        Raises:
            UsageError: some are not; all of them are printed.
        """
        missing = self._missing()
        if missing and not (self.request.skip_missing_data and self._others(missing)):
            for need in missing:
                self.display.line(need.describe())
            raise UsageError(self._refusal(missing))

    def _missing(self) -> list[Need]:
        """Return the data that are missing, each once."""
        return [need for need in sweep_data.distinct(self.needs) if need.is_missing]

    def _others(self, missing: Sequence[Need]) -> list[Job]:
        """Return the runs that are left and whose data are not among the missing ones."""
        return [job for job in self.left if self.needs.get(job.kind) not in missing]

    def _refusal(self, missing: Sequence[Need]) -> str:
        """Return what is missing, and the command that goes on with the other runs."""
        text = f"no data for {sweep_data.names(missing)}"
        others = len(self._others(missing))
        if not others:
            return f"{text}, and no other run is left to do"
        command = self.request.without_missing_data
        return f"{text}; to go on with the other {number(others, 'run')}: {command}"

    def execute(self) -> int:
        """Go through all stages and return the exit status."""
        if not self.left:
            self._say_all_done()
            return 0
        self._leave_out(self._missing())
        executor, resources = self._executor()
        with closing(executor):
            sizes = self._prepare_data()
            estimates = self._estimates(resources, sizes)
            self._print_plan(executor.describe(), executor.capacity, estimates)
            self.history.plan(self.jobs)
            return self._run(executor, estimates)

    def _say_all_done(self) -> None:
        self.display.line(f"all {number(len(self.jobs), 'run')} are done")

    def _leave_out(self, missing: Sequence[Need]) -> None:
        """Leave out the runs whose data are missing, and print which tasks they are of."""
        if not missing:
            return
        others = self._others(missing)
        left_out = {job.name for job in self.left} - {job.name for job in others}
        self.jobs = [job for job in self.jobs if job.name not in left_out]
        self.states = {name: state for name, state in self.states.items() if name not in left_out}
        self.left = others
        self.needs = {job.kind: self.needs[job.kind] for job in others}
        what = f"{number(len(left_out), 'run')} of {sweep_data.names(missing)}"
        self.display.line(f"left out, as their data are missing: {what}")

    def _executor(self) -> tuple[Executor, Resources | None]:
        """Return the executor, and the resources of one run; None if it does not run here."""
        request = self.request
        if request.executor == "ray":
            from lra_bench.sweep.ray_executor import RayExecutor

            environment = self._environment()
            return RayExecutor(request.needs, request.jobs, environment, request.out), None
        if request.executor == "slurm":
            from lra_bench.sweep.slurm_executor import SlurmExecutor

            environment = self._environment()
            needs, jobs, out = request.needs, request.jobs, request.out
            return SlurmExecutor(needs, jobs, environment, out, request.slurm), None
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
        if COMPILED in os.environ or self.request.executor != "local":
            return environment
        compiled = (self.request.out / COMPILED_FOLDER).resolve()
        return {COMPILED: str(compiled), **environment}

    def _estimates(
        self, resources: Resources | None, sizes: Mapping[str, Mapping[str, int]]
    ) -> dict[str, Estimate]:
        """Return an estimate for each kind of run, as far as one is known or can be measured.

        Args:
            resources: the resources of one run; None if it does not run here.
            sizes: number of examples in each split, by the kind of run.
        """
        known = from_ended_runs(self.jobs, self.states, self.attempts)
        unknown = {job.kind: job for job in self.left if job.kind not in known}
        if resources is None or not unknown:
            return known
        return known | calibrate(
            list(unknown.values()),
            sizes,
            resources,
            self.request.out,
            self.display,
            measure=self.request.calibrate,
            keep=not self.request.dry_run,
        )

    def _prepare_data(self) -> Mapping[str, Mapping[str, int]]:
        """Prepare missing data; return the number of examples in each split, by kind of run.

        Raises:
            RunError: some cannot be prepared, and their runs are not to be left out.
        """
        sizes, failed = sweep_data.prepare(self.needs, self.display)
        if failed and not (self.request.skip_missing_data and self._others(failed)):
            raise RunError(self._refusal(failed))
        self._leave_out(failed)
        return sizes

    def _print_plan(
        self, where: str, capacity: int | None, estimates: Mapping[str, Estimate]
    ) -> None:
        """Print what will be done and, where every run has an estimate, how long it will take.

        Args:
            where: where the runs take place, in words.
            capacity: how many runs can go on at once; None if that is not known.
            estimates: time and memory of a run, by its kind.
        """
        done = len(self.jobs) - len(self.left)
        self.display.line(
            f"{number(len(self.jobs), 'run')}, {done:,} done, preset "
            f"{self.request.choice.preset}, {where}"
        )
        self.display.show(plan_table(self.left, estimates))
        seconds = [estimates.get(job.kind, Estimate()).seconds for job in self.left]
        known = [value for value in seconds if value is not None]
        if capacity and len(known) == len(seconds):
            self.display.line(f"about {duration(max(sum(known) / capacity, *known))} in all")
        elif self.request.dry_run and not self.request.calibrate:
            self.display.line("times are unknown; --calibration measures them")
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
        if request.shares_files or request.data is not None:
            arguments += ("--data-dir", str(self.data.resolve()))
        if request.config_file is not None:
            file = request.config_file
            arguments += ("--config-origin", file.path, file.sha256)
        if request.track:
            arguments += ("--track", ",".join(request.track))
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
            shutil.rmtree(out / COMPILED_FOLDER, ignore_errors=True)
        table = command.command("table", command.path(out))
        self.display.line(f"the records are in {out}; to see a table: {table}")
        return 1 if schedule.failed else 0
