"""The executor on a Ray cluster. Ray places the runs; the sweep repeats those that fail."""

import contextlib
import logging
import os
import secrets
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lra_bench.data.location import data_root
from lra_bench.errors import UsageError
from lra_bench.files.atomic import write_atomically
from lra_bench.files.locks import locked
from lra_bench.records.run_folder import COPIES
from lra_bench.runtime.source_files import is_reference, split
from lra_bench.sweep.executor import COMPILED_FOLDER, Ending, Launch, Needs
from lra_bench.sweep.process import GRACE_SECONDS, Process
from lra_bench.sweep.shared_programs import share_programs

_POLL_SECONDS = 0.2
# The files of a run that are sent back where no file system is shared.
_SMALL_FILES = ("config.json", "metrics.jsonl", "error.log", "record.json", *COPIES.values())
_TOKEN = ".shared"
_OLDEST_RAY = (2, 60)  # the first tried that asks for a token by default


@dataclass(frozen=True)
class Delivery:
    """A Delivery is what a worker sends back.

    Attributes:
        ending: how the attempt ended.
        log: its output; "" if the worker wrote to the sweep's own log.
        files: text of the small files of the run, by name; empty if the worker wrote them in place.
    """

    ending: Ending
    log: str
    files: dict[str, str]


class RayExecutor:
    """A RayExecutor carries out each attempt as a Ray task, which starts a process for it.

    A worker that shares the sweep's file system works in the sweep's folder. A run whose worker is
    lost then goes on from its latest checkpoint. Any other worker works in a temporary folder below
    its data and sends back the small files; a run whose worker is lost then starts again.

    Args:
        needs: the hardware of one run; 0 CPUs stand for one.
        jobs: how many runs go on at once, at most; None for as many as the nodes have room for.
        environment: variables added to the environment of every run.
        out: the sweep's folder.

    Raises:
        UsageError: Ray or a cluster is missing, or no node has what one run needs.
    """

    def __init__(
        self, needs: Needs, jobs: int | None, environment: Mapping[str, str], out: Path
    ) -> None:
        self._ray = _connect()
        self._needs = replace(needs, cpus=needs.cpus or 1)
        self._jobs, self._environment = jobs, dict(environment)
        self._running: dict[Any, tuple[Launch, float]] = {}
        self._token = out.resolve() / _TOKEN
        self._content = uuid.uuid4().hex
        if not self.capacity:
            raise UsageError(self._no_room())

    def _amounts(self) -> dict[str, float]:
        """Return the hardware of one run, by Ray's names of resources."""
        named = {"CPU": self._needs.cpus, "GPU": self._needs.gpus, "TPU": self._needs.tpus}
        return {name: float(amount) for name, amount in named.items() if amount}

    def _nodes(self) -> list[dict[str, float]]:
        """Return the resources of each living node."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _no_room(self) -> str:
        """Return the message that no node has what one run needs."""
        needed = ", ".join(f"{amount:g} {name}" for name, amount in self._amounts().items())
        nodes = [
            "/".join(f"{node.get(name, 0):g} {name}" for name in ("CPU", "GPU", "TPU"))
            for node in self._nodes()
        ]
        return f"no node of the Ray cluster has {needed} for a run; there are: {', '.join(nodes)}"

    @property
    def capacity(self) -> int:
        """Return how many runs can go on at once on the nodes of the moment."""
        amounts = self._amounts()
        room = [
            min(int(node.get(name, 0) // amount) for name, amount in amounts.items())
            for node in self._nodes()
        ]
        return min(sum(room), self._jobs or sum(room))

    def describe(self) -> str:
        """Return a phrase for people: how many nodes, and how many runs at a time."""
        count = len(self._nodes())
        nodes = f"{count} node{'s' * (count > 1)}"
        return f"on a Ray cluster of {nodes}, {self.capacity} at a time"

    def has_room(self, launch: Launch) -> bool:
        """Return whether another attempt can be handed to Ray now."""
        del launch
        return len(self._running) < max(self.capacity, 1)

    def start(self, launch: Launch) -> None:
        """Hand an attempt to Ray."""
        if not self._token.exists():
            self._token.write_text(self._content)
        amounts = self._amounts()
        options: dict[str, Any] = {"num_cpus": amounts.pop("CPU"), "max_retries": 0}
        options["num_gpus"] = amounts.pop("GPU", 0)
        options |= {"resources": amounts} if amounts else {}
        task = self._ray.remote(carry_out).options(name=launch.name, **options)
        launch = replace(launch, folder=launch.folder.resolve(), log=launch.log.resolve())
        token, files = str(self._token), files_of(launch)
        reference = task.remote(launch, self._environment, token, self._content, files)
        self._running[reference] = (launch, time.monotonic())

    def ended(self) -> list[tuple[Launch, Ending]]:
        """Return the attempts that have ended since the last call; wait a moment if none has."""
        if not self._running:
            time.sleep(_POLL_SECONDS)
            return []
        ready, _ = self._ray.wait(
            list(self._running), num_returns=len(self._running), timeout=_POLL_SECONDS
        )
        return [self._receive(reference) for reference in ready]

    def _receive(self, reference: Any) -> tuple[Launch, Ending]:
        """Return how a finished Ray task ended; put its files in place."""
        launch, started = self._running.pop(reference)
        try:
            delivery: Delivery = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:  # the worker or its node is gone
            message = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
            return launch, Ending(None, time.monotonic() - started, message=message)
        unpack(launch, delivery)
        return launch, delivery.ending

    def stop(self) -> None:
        """Ask all running attempts to save and stop; `ended` returns them once they have."""
        for reference in self._running:
            self._ray.cancel(reference)

    def close(self) -> None:
        """Kill the attempts that are still running and leave the cluster."""
        for reference in self._running:
            with contextlib.suppress(Exception):
                self._ray.cancel(reference, force=True)
        self._running.clear()
        self._token.unlink(missing_ok=True)
        self._ray.shutdown()


def _connect() -> Any:
    """Return Ray, connected to the running cluster, else to one that is started here.

    Raises:
        UsageError: Ray is missing or too old, or the cluster does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UsageError("--executor ray needs Ray: pip install 'lra-bench[ray]'") from None
    if tuple(map(int, ray.__version__.split(".")[:2])) < _OLDEST_RAY:
        raise UsageError(
            f"Ray {ray.__version__} starts clusters that ask for no token: "
            "pip install -U 'lra-bench[ray]'"
        )
    try:
        _connect_or_start(ray)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"can't connect to a Ray cluster: {str(error).strip().splitlines()[0]}"
        ) from None
    return ray


def _connect_or_start(ray: Any) -> None:
    """Connect to the cluster of $RAY_ADDRESS or of this machine; start one if there is none."""
    quietly = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = os.environ.get("RAY_ADDRESS") or "auto"
    try:
        if address != "local":
            ray.init(address=address, **quietly)
            return
    except ConnectionError:
        if address != "auto":
            raise
    _require_token()
    ray.init(address="local", include_dashboard=False, **quietly)


def _require_token() -> None:
    """Make sure that a cluster started here asks for a token that other users cannot read.

    Ray listens on all interfaces, and whoever it lets in can run anything as this user. By itself
    it would write its token where every user of the machine can read it.

    Raises:
        UsageError: the user has switched tokens off.
    """
    mode = os.environ.get("RAY_AUTH_MODE", "token")
    if mode.lower() != "token":
        raise UsageError(
            f"RAY_AUTH_MODE={mode}: a Ray cluster started here would let everybody on the network "
            "in; unset it, or start a cluster yourself with `ray start`"
        )
    if "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ:
        return
    path = Path("~/.ray/auth_token").expanduser()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    path.chmod(0o600)


def unpack(launch: Launch, delivery: Delivery) -> None:
    """Write the files of a worker without a shared file system to the sweep's folder."""
    if not delivery.files and not delivery.log:
        return
    launch.folder.mkdir(parents=True, exist_ok=True)
    for name, text in delivery.files.items():
        write_atomically(launch.folder / name, text)
    launch.log.parent.mkdir(parents=True, exist_ok=True)
    with launch.log.open("a") as log:
        log.write(delivery.log)


def files_of(launch: Launch) -> dict[str, str]:
    """Return the text of each file of the user among the arguments of a run, by its path."""
    paths = [split(word)[0] for word in launch.arguments if is_reference(word)]
    return {path: Path(path).read_text(encoding="utf-8") for path in paths}


def with_files(launch: Launch, files: Mapping[str, str], folder: Path) -> Launch:
    """Return a launch whose files are copies on this machine, which are written below a folder."""
    arguments = list(launch.arguments)
    for number, (path, text) in enumerate(files.items()):
        copy = folder / str(number) / Path(path).name
        copy.parent.mkdir(parents=True)
        write_atomically(copy, text)
        arguments = [
            word.replace(path, str(copy), 1) if is_reference(word) and split(word)[0] == path
            else word for word in arguments
        ]  # fmt: skip
    return replace(launch, arguments=tuple(arguments))


def carry_out(
    launch: Launch,
    environment: dict[str, str],
    token: str,
    content: str,
    files: Mapping[str, str] = MappingProxyType({}),
) -> Delivery:
    """Do one attempt on a worker, in the sweep's folder if the worker shares it.

    Args:
        launch: the attempt.
        environment: variables added to the environment of its process.
        token: a file in the sweep's folder.
        content: text of that file, by which a worker recognises the folder as shared.
        files: text of the files of the user that the run needs, by their paths in the arguments.
    """
    if _is_shared(Path(token), content):
        compiled = share_programs(Path(token).parent / COMPILED_FOLDER, launch)
        return Delivery(_wait(Process(launch, (), {**compiled, **environment})), "", {})
    root = _data_root(launch)
    with _work_folder(root / ".workers") as work:
        here = replace(launch, folder=work / launch.name, log=work / "log")
        here = with_files(here, files, work / "files")
        compiled = share_programs(root / f"{COMPILED_FOLDER}-{os.getuid()}", here)
        ending = _wait(Process(here, (), {**compiled, **environment}))
        paths = {name: here.folder / name for name in _SMALL_FILES}
        files = {name: path.read_text() for name, path in paths.items() if path.exists()}
        return Delivery(ending, here.log.read_text(errors="replace"), files)


def _data_root(launch: Launch) -> Path:
    """Return the root of the data on this worker."""
    words = list(launch.arguments)
    given = Path(words[words.index("--data-dir") + 1]) if "--data-dir" in words else None
    return data_root(given)


@contextlib.contextmanager
def _work_folder(root: Path) -> Iterator[Path]:
    """Make a folder for one attempt; remove it afterwards, and those that killed workers left."""
    with contextlib.ExitStack() as held:
        with locked(root / ".lock", wait=True):
            for old in root.glob("*/.lock"):
                with locked(old, wait=False) as is_left:
                    if is_left:
                        shutil.rmtree(old.parent, ignore_errors=True)
            folder = Path(tempfile.mkdtemp(dir=root))
            held.enter_context(locked(folder / ".lock", wait=False))
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


def _is_shared(token: Path, content: str) -> bool:
    """Return whether this machine sees the sweep's folder, by the content of a file there."""
    try:
        return token.read_text() == content
    except OSError:
        return False


def _wait(process: Process) -> Ending:
    """Return how a process ended; ask it to save and stop when Ray cancels this task."""
    deadline = float("inf")
    while True:
        try:
            while (ending := process.poll()) is None:
                if time.monotonic() > deadline:
                    process.end()
                time.sleep(_POLL_SECONDS)
            return ending
        except KeyboardInterrupt:
            process.stop()
            deadline = time.monotonic() + GRACE_SECONDS
