"""Start the process of one measurement, and tell how it ended."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from lra_bench.display.busy import busy
from lra_bench.efficiency import gpus, records, targets
from lra_bench.efficiency.cells import ESTIMATE, HERE, Cell
from lra_bench.efficiency.measurement import Measurement
from lra_bench.errors import KILLED_FOR_MEMORY, RunError, UsageError, says_out_of_memory
from lra_bench.files.json_lines import parse_lines
from lra_bench.records.record import parse_environment
from lra_bench.registry import ATTENTIONS, TASKS
from lra_bench.runtime import huge_pages, memory
from lra_bench.runtime.environment import Environment

# With these fusions XLA's plan does not contain all memory that the program takes, and exact
# softmax is a fifth slower with them.
PLANNED = "--xla_cpu_experimental_ynn_fusion_type="
_START_SECONDS = 300.0
# The compiler for TPUs, which touches none here: it shall write no logs, ask no server what this
# machine is, and let other processes compile at the same time.
_COMPILER = {
    "TPU_LOG_DIR": "disabled",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
# The folder in which a process finds its open files by their numbers.
_OPEN_FILES = "/proc/self/fd" if Path("/proc/self/fd").is_dir() else "/dev/fd"


@dataclass(frozen=True)
class Host:
    """The machine that measures.

    Attributes:
        devices: number of its devices.
        device_bytes: memory of a device; on CPUs, of the machine.
        environment: its devices, host and versions.
        xla_flags: that measuring processes get.
    """

    devices: int
    device_bytes: int
    environment: Environment
    xla_flags: str


def describe(target: str = HERE) -> Host:
    """Return what machine this is.

    Args:
        target: of the cells; unless they run here, no accelerator is started, and the host's
            devices are its CPU.

    Raises:
        RunError: JAX cannot start here.
    """
    error, kind = None, HERE if target == HERE else ESTIMATE
    for flags in (PLANNED, ""):  # a jaxlib that does not know a flag does not start with it
        with busy("starting JAX"):
            end = _run(None, None, _environment(kind, flags), _START_SECONDS)
        if "environment" in end.result:
            here = end.result
            environment = parse_environment(here["environment"]) or Environment()
            return Host(here["devices"], here["bytes"], environment, flags)
        error = {**end.result, **_explanation(end)}["error"]
    raise RunError(f"JAX can't start: {error}")


def check_devices(target: str, count: int) -> None:
    """Check that programs can be compiled for `count` GPUs that this machine may lack.

    Raises:
        UsageError: the compiler cannot use the description, or there are not so many in a host.
    """
    with busy(f"starting the compiler for {target}"):
        end = _run(None, None, _environment(target, ""), _START_SECONDS, (target, count))
    if end.result["status"] == "usage":
        raise UsageError(end.result["error"])
    if reason := gpus.reason(end.errors):
        raise UsageError(f"--target {target}: {reason}")
    if end.result["status"] != "ok":
        error = {**end.result, **_explanation(end)}["error"]
        raise UsageError(f"--target {target}: the compiler installed here fails: {error}")


def measure(
    cell: Cell,
    budget: float | None,
    time_limit: float,
    xla_flags: str,
    programs: Path | None = None,
) -> Measurement:
    """Measure a cell in a process of its own, and return what that finds, or how it ended.

    Args:
        cell: what to measure.
        budget: seconds of timing; None for no timing, but one call to see whether it fits.
        time_limit: seconds after which the process is ended.
        xla_flags: of the process, after those of this one.
        programs: a folder that keeps the compiled program for the next time.

    Returns:
        `status` and, unless that is "ok", `error`; and all that the process had found when it
        ended: times in seconds of a call, memory in bytes of a device, see `Measurement`. `machine`
        is empty, `round` and `finished` are None.

    Raises:
        UsageError: the process says that the call was wrong.
    """
    kills = memory.kills()
    end = _run(cell, budget, _environment(cell.target, xla_flags, programs), time_limit)
    if end.result["status"] == "usage":
        raise UsageError(end.result["error"])
    measurement = records.parse({**Measurement(cell, machine="").as_dict(), **end.result})
    measurement = replace(measurement, **_explanation(end))
    killed = end.returncode == -signal.SIGKILL and measurement.status == "crashed"
    if killed and memory.kills() > kills:
        return replace(measurement, status="out_of_memory", error=KILLED_FOR_MEMORY)
    return measurement


def _environment(target: str, xla_flags: str, programs: Path | None = None) -> dict[str, str]:
    """Return the environment variables of a measuring process."""
    environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"}
    if programs is not None and target == HERE:
        environment["JAX_ENABLE_COMPILATION_CACHE"] = "true"
        environment["JAX_COMPILATION_CACHE_DIR"] = str(programs)
        environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {xla_flags}".strip()
    environment.update(huge_pages.variables(environment))
    if target != HERE:  # compiled only: an accelerator of this machine must not be touched
        environment["JAX_PLATFORMS"] = "cpu"
    if target not in (HERE, ESTIMATE):
        environment["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "")
    if targets.is_gpu(target):
        environment["XLA_FLAGS"] += f" {gpus.XLA_FLAGS}"
        environment["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"  # the driver may be missing
        environment["CUDA_VISIBLE_DEVICES"] = ""
    elif target in targets.TOPOLOGIES:
        for name, value in _COMPILER.items():
            environment.setdefault(name, value)
    return environment


@dataclass(frozen=True)
class _End:
    """The end of a measuring process.

    Attributes:
        result: the JSON object that it left; always with `status` and `error`.
        returncode: exit status, or minus a signal; None if it was ended at the time limit.
        errors: what it wrote on standard output and standard error.
        time_limit: seconds that it had.
    """

    result: dict[str, Any]
    returncode: int | None
    errors: str
    time_limit: float


def _run(
    cell: Cell | None,
    budget: float | None,
    environment: dict[str, str],
    time_limit: float,
    wanted: tuple[str, int] | None = None,
) -> _End:
    """Run a measuring process to its end, or for `time_limit` seconds.

    Args:
        cell: what to measure; None to be told of the devices here, or of those that are wanted.
        budget: seconds of timing.
        environment: the environment variables of the process.
        time_limit: seconds.
        wanted: a target and how many of its devices.
    """
    plain = None if cell is None else cell.as_dict()
    request = {"cell": plain, "budget": budget, "wanted": wanted, "files": _files(cell)}
    with _unnamed_file() as results, _unnamed_file() as errors:
        path = f"{_OPEN_FILES}/{results.fileno()}"
        command = [sys.executable, "-m", "lra_bench.efficiency.child", path]
        keep = (results.fileno(),)
        returncode = _wait(command, json.dumps(request), errors, environment, time_limit, keep)
        left = {"status": "crashed", "error": None, **_last_result(_content(results))}
        return _End(left, returncode, _content(errors), time_limit)


def _files(cell: Cell | None) -> list[tuple[str, str, str]]:
    """Return path, text and checksum of the user's files that register attention and task."""
    if cell is None:
        return []
    task = str(cell.config.get("task"))
    entries = [registry.get(name) for registry, name in (
        (ATTENTIONS, cell.attention), (TASKS, task)) if registry.has(name)]  # fmt: skip
    files = [entry.file for entry in entries if entry.file]
    return [(str(file.path), file.text, file.sha256) for file in files]


def _unnamed_file() -> IO[bytes]:
    """Return a file that has no name, so that nothing stays if this process is killed."""
    if hasattr(os, "memfd_create"):  # needs no room on a disk
        return os.fdopen(os.memfd_create("lra-bench"), "w+b")
    return tempfile.TemporaryFile()


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _last_result(text: str) -> dict[str, Any]:
    """Return the last whole result of a measuring process; {} if there is none."""
    results = [value for value in parse_lines(text)[0] if isinstance(value, dict)]
    return results[-1] if results else {}


def _wait(
    command: list[str],
    request: str,
    stream: IO[bytes],
    environment: dict[str, str],
    time_limit: float,
    keep: tuple[int, ...],
) -> int | None:
    """Return the exit status of a process; None if it was still running after `time_limit` s.

    Args:
        keep: numbers of open files that the process gets.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=stream,
        stderr=stream,
        env=environment,
        pass_fds=keep,
        start_new_session=True,
    )
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(request.encode(), time_limit)
    finally:
        hung = process.poll() is None
        _end(process)
    return None if hung else process.returncode


def _end(process: subprocess.Popen) -> None:
    """End a process and its children, if it is still running."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _explanation(end: _End) -> dict[str, Any]:
    """Return the parts of a measurement that tell why a process died; {} if it told itself."""
    if end.returncode is None:
        return {
            "status": "timed_out",
            "error": f"after {end.time_limit:,.0f} s",
            "time_limit": end.time_limit,
        }
    if end.returncode == 0 and end.result["status"] != "crashed":
        return {}
    lines = [line.strip() for line in end.errors.splitlines() if line.strip()]
    if sign := next(filter(says_out_of_memory, lines), None):
        asked = memory.bytes_asked(sign)
        return {"status": "out_of_memory", "error": sign, "bytes_asked": asked}
    code = end.returncode
    name = _signal(-code) if code < 0 else f"exit status {code}"
    return {"status": "crashed", "error": f"{name}: {lines[-1]}" if lines else name}


def _signal(number: int) -> str:
    """Return the name of a signal; most real-time signals have none."""
    names = {each.value: each.name for each in signal.Signals}
    return names.get(number, f"signal {number}")
