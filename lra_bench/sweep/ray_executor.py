"""Runs on a Ray cluster. Ray hands them out; trying again is left to the sweep."""

import contextlib
import logging
import os
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lra_bench.errors import UsageError
from lra_bench.files import write_atomically
from lra_bench.sweep.executor import Ending, Launch, Needs
from lra_bench.sweep.process import GRACE_SECONDS, Process

_POLL_SECONDS = 0.2
# What a run leaves that is worth bringing home where no file system is shared.
_SMALL_FILES = ("config.json", "metrics.jsonl", "error.log", "record.json")
_TOKEN = ".shared"


@dataclass(frozen=True)
class Delivery:
    """What a worker sends back: how the attempt ended, its log, and its small files by name."""

    ending: Ending
    log: str
    files: dict[str, str]


class RayExecutor:
    """Ray tasks, each of which carries out one attempt in a process of its own.

    A worker that sees the sweep's folder works in it, so that a run goes on where another worker
    was lost. One that doesn't works in a folder of its own and sends back what is small: there a
    run that was lost begins anew.
    """

    def __init__(
        self, needs: Needs, jobs: int | None, environment: Mapping[str, str], out: Path
    ) -> None:
        self._ray = _connect()
        self._needs = replace(needs, cpus=needs.cpus or 1)
        self._jobs, self._environment = jobs, dict(environment)
        self._running: dict[Any, tuple[Launch, float]] = {}
        self._token = out.resolve() / _TOKEN
        self._word = uuid.uuid4().hex
        if not self.capacity:
            raise UsageError(self._complaint())

    def _amounts(self) -> dict[str, float]:
        """What a run needs, in Ray's names."""
        named = {"CPU": self._needs.cpus, "GPU": self._needs.gpus, "TPU": self._needs.tpus}
        return {name: float(amount) for name, amount in named.items() if amount}

    def _nodes(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _complaint(self) -> str:
        wanted = ", ".join(f"{amount:g} {name}" for name, amount in self._amounts().items())
        has = [
            "/".join(f"{node.get(name, 0):g} {name}" for name in ("CPU", "GPU", "TPU"))
            for node in self._nodes()
        ]
        return f"no node of the Ray cluster has {wanted} for a run; there are: {', '.join(has)}"

    @property
    def capacity(self) -> int:
        """How many runs the nodes of now have room for at once."""
        amounts = self._amounts()
        room = [
            min(int(node.get(name, 0) // amount) for name, amount in amounts.items())
            for node in self._nodes()
        ]
        return min(sum(room), self._jobs or sum(room))

    def describe(self) -> str:
        """What it runs on, for people."""
        count = len(self._nodes())
        nodes = f"{count} node{'s' * (count > 1)}"
        return f"on a Ray cluster of {nodes}, {self.capacity} at a time"

    def has_room(self, launch: Launch) -> bool:
        """Whether this may be handed to Ray now."""
        del launch
        return len(self._running) < max(self.capacity, 1)

    def start(self, launch: Launch) -> None:
        """Hand it to Ray."""
        if not self._token.exists():
            self._token.write_text(self._word)
        amounts = self._amounts()
        options: dict[str, Any] = {"num_cpus": amounts.pop("CPU"), "max_retries": 0}
        options["num_gpus"] = amounts.pop("GPU", 0)
        options |= {"resources": amounts} if amounts else {}
        work = self._ray.remote(carry_out).options(name=launch.name, **options)
        whole = replace(launch, folder=launch.folder.resolve(), log=launch.log.resolve())
        reference = work.remote(whole, self._environment, str(self._token), self._word)
        self._running[reference] = (whole, time.monotonic())

    def ended(self) -> list[tuple[Launch, Ending]]:
        """Those that have ended since the last call; waits a moment if there is none."""
        if not self._running:
            time.sleep(_POLL_SECONDS)
            return []
        ready, _ = self._ray.wait(
            list(self._running), num_returns=len(self._running), timeout=_POLL_SECONDS
        )
        return [self._receive(reference) for reference in ready]

    def _receive(self, reference: Any) -> tuple[Launch, Ending]:
        launch, started = self._running.pop(reference)
        try:
            delivery: Delivery = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:  # the worker or its node is gone
            said = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
            return launch, Ending(None, time.monotonic() - started, said=said)
        unpack(launch, delivery)
        return launch, delivery.ending

    def stop(self) -> None:
        """Have all that run save and stop; `ended` tells of them."""
        for reference in self._running:
            self._ray.cancel(reference)

    def close(self) -> None:
        """End what is still there, by force."""
        for reference in self._running:
            with contextlib.suppress(Exception):
                self._ray.cancel(reference, force=True)
        self._token.unlink(missing_ok=True)
        self._ray.shutdown()


def _connect() -> Any:
    """Ray, connected to the cluster that is there, else to one that is started here."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UsageError("--executor ray needs Ray: pip install 'lra-bench[ray]'") from None
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UsageError(f"no Ray cluster: {str(error).strip().splitlines()[0]}") from None
    return ray


def unpack(launch: Launch, delivery: Delivery) -> None:
    """Put what came from a worker without our file system where it belongs."""
    if not delivery.files and not delivery.log:
        return
    launch.folder.mkdir(parents=True, exist_ok=True)
    for name, text in delivery.files.items():
        write_atomically(launch.folder / name, text)
    launch.log.parent.mkdir(parents=True, exist_ok=True)
    with launch.log.open("a") as log:
        log.write(delivery.log)


def carry_out(launch: Launch, environment: dict[str, str], token: str, word: str) -> Delivery:
    """On a worker: do one attempt, in the sweep's folder if that is here."""
    # One a machine: programs are compiled for its very processor.
    compiled = Path(tempfile.gettempdir()) / f"lra-bench-compiled-{os.getuid()}"
    environment = {"JAX_COMPILATION_CACHE_DIR": str(compiled), **environment}
    if _is_shared(Path(token), word):
        return Delivery(_wait(Process(launch, (), environment)), "", {})
    with tempfile.TemporaryDirectory(prefix="lra-bench-") as place:
        here = replace(launch, folder=Path(place) / launch.name, log=Path(place) / "log")
        ending = _wait(Process(here, (), environment))
        paths = {name: here.folder / name for name in _SMALL_FILES}
        files = {name: path.read_text() for name, path in paths.items() if path.exists()}
        return Delivery(ending, here.log.read_text(errors="replace"), files)


def _is_shared(token: Path, word: str) -> bool:
    try:
        return token.read_text() == word
    except OSError:
        return False


def _wait(process: Process) -> Ending:
    """Until it ends; when Ray cancels this, have it save and stop."""
    patience = float("inf")
    while True:
        try:
            while (ending := process.poll()) is None:
                if time.monotonic() > patience:
                    process.end()
                time.sleep(_POLL_SECONDS)
            return ending
        except KeyboardInterrupt:
            process.stop()
            patience = time.monotonic() + GRACE_SECONDS
