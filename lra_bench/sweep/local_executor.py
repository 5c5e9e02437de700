"""Runs on this machine, each in a process of its own with its own devices."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lra_bench.errors import UsageError
from lra_bench.runtime import memory
from lra_bench.sweep.executor import Ending, Launch, Needs
from lra_bench.sweep.process import Process

_POLL_SECONDS = 0.05
# Of the machine's memory, what runs side by side may be thought to take together.
SHARE = 0.8
# How a process is given some of a TPU host's chips: the box that they form.
_CHIP_BOXES = {1: "1,1,1", 2: "1,2,1", 4: "2,2,1", 8: "2,4,1"}


@dataclass(frozen=True)
class Slot:
    """What one run at a time is given: cores, none for any, and an environment."""

    cores: tuple[int, ...]
    environment: Mapping[str, str]


def slots(platform: str, devices: int, needs: Needs, jobs: int | None) -> list[Slot]:
    """The slots of a machine: on CPU one by default, elsewhere as many as its devices suffice for.

    Raises:
        UsageError: there aren't so many devices.
    """
    if platform == "cpu":
        return _cpu_slots(needs, jobs)
    each = max(needs.tpus if platform == "tpu" else needs.gpus, 1)
    most = devices // each
    wanted = jobs or most
    if wanted > most or not most:
        raise UsageError(
            f"{wanted or 1} at a time with {each} {platform.upper()}s each: there are {devices}"
        )
    places = [range(n * each, (n + 1) * each) for n in range(wanted)]
    return [Slot((), _pinned(platform, place, devices)) for place in places]


def _cpu_slots(needs: Needs, jobs: int | None) -> list[Slot]:
    """Cores in equal parts; where there are fewer cores than runs, some share one."""
    if needs.gpus or needs.tpus:
        raise UsageError(f"--{'gpus' if needs.gpus else 'tpus'}: jax finds none here")
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if needs.cpus > len(cores) > 0:
        raise UsageError(f"--cpus {needs.cpus}: there are {len(cores)}")
    jobs = jobs or (len(cores) // needs.cpus if needs.cpus else 1)
    each = needs.cpus or max(len(cores) // jobs, 1)
    parts = [[cores[(n * each + i) % len(cores)] for i in range(each)] for n in range(jobs)]
    return [Slot(tuple(part) if jobs > 1 or needs.cpus else (), {}) for part in parts]


def _pinned(platform: str, place: range, devices: int) -> dict[str, str]:
    """The variables that leave a process only these devices."""
    if len(place) == devices:
        return {}
    if platform == "tpu":
        box = _CHIP_BOXES.get(len(place))
        if box is None:
            raise UsageError(f"--tpus {len(place)}: one of {', '.join(map(str, _CHIP_BOXES))}")
        chips = ",".join(map(str, place))
        bounds = {"TPU_CHIPS_PER_PROCESS_BOUNDS": box, "TPU_PROCESS_BOUNDS": "1,1,1"}
        return {"TPU_VISIBLE_DEVICES": chips, **bounds}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = visible if len(visible) >= devices else [str(n) for n in range(devices)]
    return {"CUDA_VISIBLE_DEVICES": ",".join(names[n] for n in place)}


class LocalExecutor:
    """A pool of processes, one a slot; on CPU, not more than memory suffices for."""

    def __init__(
        self, slots: Sequence[Slot], environment: Mapping[str, str], *, watch_memory: bool
    ) -> None:
        self._slots, self._environment = slots, environment
        self._running: dict[int, Process] = {}
        self._memory = SHARE * memory.of_the_machine() if watch_memory else None

    @property
    def capacity(self) -> int:
        """How many runs there is room for at once."""
        return len(self._slots)

    def describe(self) -> str:
        """What it runs on, for people."""
        cores = len(self._slots[0].cores)
        each = f", {cores} core{'s' * (cores > 1)} each" if cores else ""
        return "one at a time" if self.capacity == 1 else f"{self.capacity} at a time{each}"

    def has_room(self, launch: Launch) -> bool:
        """Whether a slot is free, and memory for it beside what runs."""
        if len(self._running) == len(self._slots):
            return False
        if not self._running or self._memory is None:
            return True
        taken = [process.launch.memory or 0 for process in self._running.values()]
        return sum(taken) + (launch.memory or 0) <= self._memory

    def start(self, launch: Launch) -> None:
        """Start it in a free slot."""
        place = next(n for n in range(len(self._slots)) if n not in self._running)
        slot = self._slots[place]
        environment = {**self._environment, **slot.environment}
        self._running[place] = Process(launch, slot.cores, environment)

    def ended(self) -> list[tuple[Launch, Ending]]:
        """Those that have ended since the last call; waits a moment if there is none."""
        found = []
        for place, process in list(self._running.items()):
            if (ending := process.poll()) is not None:
                del self._running[place]
                found.append((process.launch, ending))
        if not found:
            time.sleep(_POLL_SECONDS)
        return found

    def stop(self) -> None:
        """Have all that run save and stop; `ended` tells of them."""
        for process in self._running.values():
            process.stop()

    def close(self) -> None:
        """End what is still there, by force."""
        for process in self._running.values():
            process.end()
        self._running.clear()
