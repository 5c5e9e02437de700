"""The executor on a Slurm cluster: each attempt is a job, submitted by submitit."""

import logging
import math
import os
import re
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lra_bench.errors import RunError, UsageError
from lra_bench.files.json_files import read_json, write_json
from lra_bench.files.private import private_folder
from lra_bench.sweep.executor import COMPILED_FOLDER, Ending, Launch, Needs

FOLDER = ".slurm"
_JOBS = "jobs.json"
_POLL_SECONDS = 0.5
# Clusters that put a job they have preempted back into the queue do so within seconds; some end it.
_REQUEUE_SECONDS = 300.0
# The most jobs in the queue at once: clusters accept arrays of 1,000, and queues have limits.
_MOST_JOBS = 256
# A run stops by itself one minute before the limit of its job; after that Slurm has to.
_RESERVE_SECONDS, _SIGNAL_SECONDS, _FEWEST_MINUTES = 60, 20, 3
# Options of sbatch that a sweep sets, and how to set them.
_OURS = {
    "time": "--time-limit",
    "cpus-per-task": "--cpus",
    "gpus-per-node": "--gpus",
    "array": "--jobs",
}
_FIXED = ("error", "job-name", "nodes", "ntasks", "ntasks-per-node", "output", "signal")


class SlurmExecutor:
    """A SlurmExecutor submits each attempt as a Slurm job, several at once as an array.

    The jobs work in the sweep's folder, which all nodes must see. They go on if the sweep is
    killed; the next sweep in the same folder waits for those that are still in the queue.

    Args:
        needs: the hardware of one run; 0 CPUs stand for one.
        jobs: how many runs are in the queue at once, at most; None for 256.
        environment: variables added to the environment of every run.
        out: the sweep's folder.
        options: options of sbatch by their long names, such as partition; and `cluster`, which is
            "slurm", or "local" for jobs on this machine without Slurm.

    Raises:
        UsageError: submitit or Slurm is missing, or an option cannot be set.
    """

    def __init__(
        self,
        needs: Needs,
        jobs: int | None,
        environment: Mapping[str, str],
        out: Path,
        options: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._submitit, chosen = _import(), check_options(options)
        self._cluster = chosen.pop("cluster", "slurm")
        self._queue = chosen.get("partition")
        self._environment, self._out = dict(environment), out.resolve()
        self._capacity = jobs or _MOST_JOBS
        self._waiting: list[Launch] = []
        self._running: list[tuple[Any, Launch, float]] = []
        self._preempted: dict[str, float] = {}  # since when, by the number of the job
        self._parameters = _parameters(needs, self._capacity, chosen)
        self._folder = private_folder(self._out / FOLDER)
        self._executor = self._make_executor()
        self._earlier = self._earlier_jobs()

    def _make_executor(self) -> Any:
        """Return the executor of submitit.

        Raises:
            UsageError: there is no Slurm here.
        """
        try:
            executor = self._submitit.AutoExecutor(self._folder, cluster=self._cluster)
        except RuntimeError:
            raise UsageError(
                "--executor slurm: there is no Slurm here (srun is not found); --slurm "
                "cluster=local does the jobs on this machine"
            ) from None
        executor.update_parameters(**self._parameters)
        return executor

    @property
    def capacity(self) -> int:
        """Return how many runs can be in the queue at once."""
        return self._capacity

    def describe(self) -> str:
        """Return a phrase for people: where the jobs go, and how many at a time."""
        if self._cluster == "local":
            return f"as jobs on this machine, at most {self._capacity} at a time"
        where = f", partition {self._queue}" if self._queue else ""
        return f"as Slurm jobs{where}, at most {self._capacity} at a time"

    def has_room(self, launch: Launch) -> bool:
        """Return whether another attempt may be put into the queue now."""
        del launch
        return len(self._waiting) + len(self._running) < self._capacity

    def start(self, launch: Launch) -> None:
        """Gather an attempt for the next array, or go on with its job of an earlier sweep."""
        launch = replace(launch, folder=launch.folder.resolve(), log=launch.log.resolve())
        job = self._earlier.pop(launch.name, None)
        if job is not None and not job.done():
            self._running.append((job, launch, time.monotonic()))
        else:
            self._waiting.append(launch)

    def ended(self) -> list[tuple[Launch, Ending]]:
        """Submit what was gathered and return the attempts that have ended since the last call.

        Raises:
            RunError: Slurm refused the jobs.
        """
        self._submit()
        done = [each for each in self._running if self._is_over(each[0])]
        if not done:
            time.sleep(_POLL_SECONDS)
            return []
        self._running = [each for each in self._running if each not in done]
        endings = [(launch, self._ending(job, since)) for job, launch, since in done]
        self._note_jobs()
        return endings

    def _is_over(self, job: Any) -> bool:
        """Return whether a job has ended, or was preempted and not put back into the queue."""
        if job.done():
            return True
        if job.state != "PREEMPTED":
            self._preempted.pop(job.job_id, None)
            return False
        since = self._preempted.setdefault(job.job_id, time.monotonic())
        return time.monotonic() - since >= _REQUEUE_SECONDS

    def _submit(self) -> None:
        """Submit the gathered attempts: an array for those of one time limit."""
        by_minutes: dict[int, list[Launch]] = {}
        for launch in self._waiting:
            by_minutes.setdefault(_minutes(launch), []).append(launch)
        self._waiting = []
        for minutes, launches in by_minutes.items():
            jobs = self._submit_array(minutes, launches)
            now = time.monotonic()
            self._running += [
                (job, launch, now) for job, launch in zip(jobs, launches, strict=True)
            ]
            self._note_jobs()

    def _submit_array(self, minutes: int, launches: Sequence[Launch]) -> list[Any]:
        """Return the jobs of some attempts, as long as the longest of them."""
        from lra_bench.sweep.slurm_job import SlurmAttempt

        compiled = self._out / COMPILED_FOLDER
        attempts = [
            SlurmAttempt(_within(launch, minutes), self._environment, compiled)
            for launch in launches
        ]
        self._executor.update_parameters(timeout_min=minutes)
        try:
            with self._submitit.helpers.clean_env():
                return self._executor.submit_array(attempts)
        except (RuntimeError, OSError) as error:
            raise RunError(f"Slurm refused the jobs: {_last(str(error))}") from None

    def _ending(self, job: Any, since: float) -> Ending:
        """Return how a job ended that is over."""
        if not job.done():
            job.cancel(check=False)
            return Ending(None, time.monotonic() - since, interrupted=True)
        try:
            return job.result()
        except Exception as error:  # whatever the function of the job raised
            state = str(job.state).split()[0]
            job.cancel(check=False)  # Slurm may have put it back into the queue
            ran_out = state == "OUT_OF_MEMORY"
            message = f"Slurm job {job.job_id}: {state}: {_last(str(error))}"
            seconds = time.monotonic() - since
            returncode = -signal.SIGKILL if ran_out else None
            return Ending(returncode, seconds, memory_ran_out=ran_out, message=message)

    def stop(self) -> None:
        """Ask all running attempts to save and stop, and take the others out of the queue."""
        for job, _, _ in self._running:
            self._end(job)

    def _end(self, job: Any) -> None:
        """Send SIGTERM to a job that runs; take it out of the queue if it does not."""
        if self._cluster == "slurm":
            job.cancel(check=False)
        elif not job.done():
            os.kill(int(job.job_id), signal.SIGTERM)  # its job ids are process ids

    def close(self) -> None:
        """Cancel the attempts that are still in the queue; remove their files if there are none."""
        for job, _, _ in self._running:
            job.cancel(check=False)
        for job, _, _ in self._running if self._cluster == "local" else ():
            job.wait()
        self._running = []
        if self._earlier:
            self._note_jobs()
        else:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _note_jobs(self) -> None:
        """Write which jobs are in the queue, for a sweep that goes on after this one was killed."""
        jobs = {name: job.job_id for name, job in self._earlier.items()}
        jobs |= {launch.name: job.job_id for job, launch, _ in self._running}
        write_json(self._folder / _JOBS, jobs)

    def _earlier_jobs(self) -> dict[str, Any]:
        """Return the jobs that an earlier sweep left in the queue, by the name of the run."""
        path = self._folder / _JOBS
        if self._cluster != "slurm" or not path.exists():
            return {}
        try:
            noted = dict(read_json(path))
        except (OSError, ValueError, TypeError):
            return {}
        return {
            name: self._submitit.SlurmJob(self._folder, str(number))
            for name, number in noted.items()
        }


def _import() -> Any:
    """Return submitit, which prints nothing.

    Raises:
        UsageError: it is missing.
    """
    try:
        import submitit
    except ImportError:
        raise UsageError(
            "--executor slurm needs submitit: pip install 'lra-bench[slurm]'"
        ) from None
    logging.getLogger("submitit").setLevel(logging.CRITICAL)
    return submitit


def check_options(options: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the options by their names, with hyphens.

    Raises:
        UsageError: one is set by another argument, or is not the name of an option.
    """
    chosen = {name.lstrip("-").replace("_", "-"): value for name, value in options}
    for name, value in chosen.items():
        if name in _OURS:
            raise UsageError(f"--slurm {name}={value}: write {_OURS[name]} instead")
        if name in _FIXED or not re.fullmatch("[a-z][a-z-]*", name):
            raise UsageError(f"--slurm {name}={value}: a sweep can't set this option of sbatch")
    if chosen.get("cluster", "slurm") not in ("slurm", "local"):
        raise UsageError(f"--slurm cluster={chosen['cluster']}: must be slurm or local")
    return chosen


def _parameters(needs: Needs, jobs: int, options: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters of submitit for the hardware of one run and options of sbatch.

    Raises:
        UsageError: TPUs are asked for, whose name differs between clusters.
    """
    if needs.tpus:
        raise UsageError("--tpus: on Slurm name them as your cluster does, --slurm gres=tpu:4")
    gpus = {"gpus_per_node": needs.gpus} if needs.gpus else {}
    return {
        "name": "lra-bench",
        "nodes": 1,
        "tasks_per_node": 1,
        "cpus_per_task": needs.cpus or 1,
        "stderr_to_stdout": True,
        "slurm_array_parallelism": jobs,
        "slurm_signal_delay_s": _SIGNAL_SECONDS,
        "slurm_additional_parameters": dict(options),
        **gpus,
    }


def _minutes(launch: Launch) -> int:
    """Return the time limit of the job of an attempt, in minutes."""
    return max(math.ceil(launch.time_limit / 60), _FEWEST_MINUTES)


def _within(launch: Launch, minutes: int) -> Launch:
    """Return an attempt whose process is asked to save and stop before its job is killed."""
    return replace(launch, time_limit=min(launch.time_limit, 60 * minutes - _RESERVE_SECONDS))


def _last(text: str) -> str:
    """Return the last line of a text that is not blank."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
