"""The work of a Slurm job of a sweep: one attempt at a run, which saves before the job ends."""

import signal
import time
from dataclasses import replace
from pathlib import Path
from types import FrameType

from submitit import JobEnvironment
from submitit.helpers import Checkpointable

from lra_bench.sweep.executor import Ending, Launch
from lra_bench.sweep.process import Process
from lra_bench.sweep.run_state import last_step
from lra_bench.sweep.shared_programs import share_programs

_POLL_SECONDS = 0.2


class SlurmAttempt(Checkpointable):
    """A SlurmAttempt is the function of one Slurm job; the job may be requeued, and then goes on.

    Slurm warns a job that it preempts by a signal. On that of submitit (SIGUSR2) the run saves its
    state, and the same job is put back into the queue. On SIGTERM the run saves its state, and the
    sweep submits a new job. A run that has reached its time limit after it had saved a further step
    has been interrupted too.

    Args:
        launch: the attempt; its time limit is a little less than that of the job.
        environment: variables added to the environment of the run.
        compiled: folder of the compiled programs of all machines.
    """

    def __init__(self, launch: Launch, environment: dict[str, str], compiled: Path) -> None:
        self._launch, self._environment, self._compiled = launch, environment, compiled
        self._seconds = 0.0  # of the earlier parts of a requeued job

    def __call__(self) -> Ending:
        """Return how the attempt ended; it does not return if the job is requeued."""
        warnings = _Warnings()
        before = last_step(self._launch.folder)
        ending = self._carry_out(warnings)
        self._seconds = ending.seconds
        if ending.returncode != 0:
            warnings.requeue_if_asked()
        further = last_step(self._launch.folder) > before
        interrupted = warnings.told_to_end or (ending.timed_out and further)
        return replace(ending, interrupted=interrupted and ending.returncode != 0)

    def _carry_out(self, warnings: "_Warnings") -> Ending:
        """Do the attempt in a process of its own; ask it to save and stop on the first warning."""
        compiled = share_programs(self._compiled, self._launch)
        process = Process(self._launch, (), {**compiled, **self._environment})
        while (ending := process.poll()) is None:
            if warnings.any:
                process.stop()
            time.sleep(_POLL_SECONDS)
        return replace(ending, seconds=self._seconds + ending.seconds)


class _Warnings:
    """The signals that this job has got: handlers only note them, the loop above acts on them."""

    def __init__(self) -> None:
        self._number = signal.Signals[f"SIG{JobEnvironment.USR_SIG}"]
        self._of_submitit = signal.getsignal(self._number)
        self._got: set[int] = set()
        for number in (self._number, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._got.add(number)

    @property
    def any(self) -> bool:
        """Return whether this job must go."""
        return bool(self._got)

    @property
    def told_to_end(self) -> bool:
        """Return whether Slurm ends this job without putting it back into the queue."""
        return signal.SIGTERM in self._got

    def requeue_if_asked(self) -> None:
        """Let submitit put this job back into the queue, which ends this process."""
        if self._number in self._got and callable(self._of_submitit):
            self._of_submitit(self._number, None)
