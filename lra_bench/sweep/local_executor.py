"""The executor on this machine: each run has its own process and its own devices."""

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lra_bench.errors import UsageError
from lra_bench.runtime import cores, gpu_share, memory
from lra_bench.sweep.executor import COMPILED, Ending, Launch, Needs
from lra_bench.sweep.process import Process
from lra_bench.sweep.shared_programs import programs_in

_POLL_SECONDS = 0.05
# Share of the machine's memory that the estimates of concurrent runs may add up to.
SHARE = 0.8
# Share of a GPU's memory that its runs take together: each process also needs some for CUDA itself.
SHARED = 0.9
# The shape (x,y,z) of the chips of a TPU host that one process sees, by their number.
_CHIP_BOXES = {1: "1,1,1", 2: "1,2,1", 4: "2,2,1", 8: "2,4,1"}


@dataclass(frozen=True)
class Slot:
    """A Slot is the share of the machine that one run at a time is given.

    Attributes:
        cores: numbers of the CPU cores; empty for all.
        environment: variables that restrict a process to its devices.
    """

    cores: tuple[int, ...]
    environment: Mapping[str, str]


def slots(platform: str, devices: int, needs: Needs, jobs: int | None) -> list[Slot]:
    """Return the slots of a machine: by default one on CPU, else as many as there are devices for.

    More runs than GPUs share them, unless `needs` says how many GPUs a run has for itself.

    Args:
        platform: "cpu", "gpu" or "tpu".
        devices: number of devices of the machine.
        needs: the hardware of one run.
        jobs: how many runs go on at once; None for the default.

    Raises:
        UsageError: there are too few devices.
    """
    if platform == "cpu":
        return _cpu_slots(needs, jobs)
    each = max(needs.tpus if platform == "tpu" else needs.gpus, 1)
    count = jobs or max(devices // each, 1)
    if platform == "gpu" and not needs.gpus and count > devices:
        return _shared_gpus(devices, count)
    if count * each > devices:
        unit = platform.upper() + "s" * (each > 1)
        raise UsageError(f"{count} at a time with {each} {unit} each: only {devices} here")
    shares = [range(n * each, (n + 1) * each) for n in range(count)]
    return [Slot((), _restriction(platform, share, devices)) for share in shares]


def _shared_gpus(devices: int, count: int) -> list[Slot]:
    """Return slots of one GPU each, which runs take in turn, with equal shares of its memory."""
    limit = {gpu_share.variable(): f"{SHARED / math.ceil(count / devices):.4f}"}
    shares = [range(n % devices, n % devices + 1) for n in range(count)]
    return [Slot((), {**_restriction("gpu", share, devices), **limit}) for share in shares]


def _cpu_slots(needs: Needs, jobs: int | None) -> list[Slot]:
    """Return slots of equally many cores; with fewer cores than runs, some runs share a core."""
    if needs.gpus or needs.tpus:
        raise UsageError(f"--{'gpus' if needs.gpus else 'tpus'}: JAX finds none here")
    usable = cores.least_taken_first()
    if needs.cpus > len(usable):
        raise UsageError(f"--cpus {needs.cpus}: there are {len(usable)} here")
    jobs = jobs or (len(usable) // needs.cpus if needs.cpus else 1)
    each = needs.cpus or max(len(usable) // jobs, 1)
    parts = [[usable[(n * each + i) % len(usable)] for i in range(each)] for n in range(jobs)]
    pinned = cores.can_pin() and (jobs > 1 or needs.cpus > 0)
    return [Slot(tuple(part) if pinned else (), {}) for part in parts]


def _restriction(platform: str, share: range, devices: int) -> dict[str, str]:
    """Return the variables that let a process see only its share of the devices."""
    if len(share) == devices:
        return {}
    if platform == "tpu":
        box = _CHIP_BOXES.get(len(share))
        if box is None:
            raise UsageError(
                f"--tpus {len(share)}: must be one of {', '.join(map(str, _CHIP_BOXES))}"
            )
        chips = ",".join(map(str, share))
        bounds = {"TPU_CHIPS_PER_PROCESS_BOUNDS": box, "TPU_PROCESS_BOUNDS": "1,1,1"}
        return {"TPU_VISIBLE_DEVICES": chips, **bounds}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = visible if len(visible) >= devices else [str(n) for n in range(devices)]
    return {"CUDA_VISIBLE_DEVICES": ",".join(names[n] for n in share)}


class LocalExecutor:
    """A LocalExecutor runs one process in each slot.

    Args:
        slots: the shares of the machine, one for each concurrent run.
        environment: variables added to the environment of every run.
        watch_memory: whether runs start only while their estimates fit in memory together.
    """

    def __init__(
        self, slots: Sequence[Slot], environment: Mapping[str, str], *, watch_memory: bool
    ) -> None:
        self._slots, self._environment = slots, environment
        self._running: dict[int, Process] = {}  # by the number of the slot
        self._memory = SHARE * memory.of_the_machine() if watch_memory else None

    @property
    def capacity(self) -> int:
        """Return how many runs can go on at once."""
        return len(self._slots)

    def describe(self) -> str:
        """Return a phrase for people: how many runs at a time, with how many cores."""
        cores = len(self._slots[0].cores)
        each = f", {cores} core{'s' * (cores > 1)} each" if cores else ""
        return "one at a time" if self.capacity == 1 else f"{self.capacity} at a time{each}"

    def has_room(self, launch: Launch) -> bool:
        """Return whether a slot is free, and enough memory beside the runs that go on."""
        if len(self._running) == len(self._slots):
            return False
        if not self._running or self._memory is None:
            return True
        taken = [process.launch.memory or 0 for process in self._running.values()]
        return sum(taken) + (launch.memory or 0) <= self._memory

    def start(self, launch: Launch) -> None:
        """Start an attempt in a free slot."""
        free = next(n for n in range(len(self._slots)) if n not in self._running)
        slot = self._slots[free]
        environment = {**self._environment, **slot.environment}
        if compiled := self._environment.get(COMPILED):
            environment |= programs_in([Path(compiled)], launch)
        self._running[free] = Process(launch, slot.cores, environment)

    def ended(self) -> list[tuple[Launch, Ending]]:
        """Return the attempts that have ended since the last call; wait a moment if none has."""
        endings = []
        for number, process in list(self._running.items()):
            if (ending := process.poll()) is not None:
                del self._running[number]
                endings.append((process.launch, ending))
        if not endings:
            time.sleep(_POLL_SECONDS)
        return endings

    def stop(self) -> None:
        """Ask all running attempts to save and stop; `ended` returns them once they have."""
        for process in self._running.values():
            process.stop()

    def close(self) -> None:
        """Kill the attempts that are still running."""
        for process in self._running.values():
            process.end()
        self._running.clear()
