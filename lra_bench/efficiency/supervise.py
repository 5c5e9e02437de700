"""Starting the process of one measurement, and telling how it ended."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from lra_bench.efficiency.cells import ESTIMATE, HERE, Cell
from lra_bench.errors import KILLED_FOR_MEMORY, RunError, UsageError, says_out_of_memory
from lra_bench.runtime import memory

Result = dict[str, Any]

# With these fusions XLA's plan doesn't hold all memory that the program takes; and exact softmax
# is a fifth slower with them.
PLANNED = "--xla_cpu_experimental_ynn_fusion_type="


def describe() -> Result:
    """What machine this is: `devices`, `bytes` a device has, `environment`, `xla_flags`.

    Raises:
        RunError: JAX can't start here.
    """
    for flags in (PLANNED, ""):  # a jaxlib that doesn't know a flag doesn't start with it
        found = _Process(None, None, _environment(HERE, flags)).wait(300)
        if "environment" in found:
            return {**found, "xla_flags": flags}
    raise RunError(f"JAX can't start: {found['error']}")


def measure(
    cell: Cell,
    budget: float | None,
    time_limit: float,
    xla_flags: str,
    programs: Path | None = None,
) -> Result:
    """What a process of its own finds of a cell, or how it ended: `status` and `error`.

    Args:
        budget: seconds of timing; None for none, one call to see whether it fits.
        programs: a folder where what was compiled is kept for the next time.

    Raises:
        UsageError: the process says that the call was wrong.
    """
    kills = memory.kills()
    environment = _environment(cell.target, xla_flags, programs)
    found = _Process(cell, budget, environment).wait(time_limit)
    if found["status"] == "usage":
        raise UsageError(found["error"])
    if found.get("signal") == signal.SIGKILL and memory.kills() > kills:
        found.update(status="out_of_memory", error=KILLED_FOR_MEMORY)
    found.pop("signal", None)
    return found


def _environment(target: str, xla_flags: str, programs: Path | None = None) -> dict[str, str]:
    environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"}
    if programs is not None and target == HERE:
        environment["JAX_ENABLE_COMPILATION_CACHE"] = "true"
        environment["JAX_COMPILATION_CACHE_DIR"] = str(programs)
        environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {xla_flags}".strip()
    if target != HERE:  # compiled only: whatever accelerator is here is not to be touched
        environment["JAX_PLATFORMS"] = "cpu"
    if target not in (HERE, ESTIMATE):
        environment["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "")
        environment.setdefault("TPU_LOG_DIR", "disabled")
        environment.setdefault("TPU_STDERR_LOG_LEVEL", "3")
    return environment


class _Process:
    """A measuring process, its place for results and what it says on standard error."""

    def __init__(self, cell: Cell | None, budget: float | None, environment: Any) -> None:
        self.request = {"cell": None if cell is None else cell.as_dict(), "budget": budget}
        self.environment = environment

    def wait(self, time_limit: float) -> Result:
        """Run it to its end, or for so many seconds."""
        with tempfile.TemporaryDirectory(prefix="lra-bench-") as folder:
            result, errors = Path(folder) / "result.json", Path(folder) / "errors"
            command = [sys.executable, "-m", "lra_bench.efficiency.child", str(result)]
            with errors.open("wb") as stream:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=stream,
                    stderr=stream,
                    env=self.environment,
                    start_new_session=True,
                )
                try:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.communicate(json.dumps(self.request).encode(), time_limit)
                finally:
                    hung = process.poll() is None
                    _end(process)
            found = json.loads(result.read_text()) if result.exists() else {"status": "crashed"}
            if hung:
                return {**found, "status": "timed_out", "error": f"after {time_limit:,.0f} s"}
            return _explain(found, process.returncode, errors.read_text(errors="replace"))


def _end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _explain(found: Result, returncode: int, errors: str) -> Result:
    """The result, with why a process died that did not tell itself."""
    if returncode == 0:
        return found
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    sign = next(filter(says_out_of_memory, lines), None)
    if sign:
        asked = memory.bytes_asked(sign)
        return {**found, "status": "out_of_memory", "error": sign, "bytes_asked": asked}
    name = signal.Signals(-returncode).name if returncode < 0 else f"exit status {returncode}"
    said = f": {lines[-1]}" if lines else ""
    died = {"status": "crashed", "error": f"{name}{said}"}
    return {**found, **died, "signal": -returncode}
