"""The process of one attempt at a run: it is started, watched and ended."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from lra_bench.runtime import huge_pages, memory
from lra_bench.sweep.executor import Ending, Launch

# Seconds that a run may take to save its state when it is asked to stop.
GRACE_SECONDS = 30.0
_TAIL_BYTES = 4096


class Process:
    """A Process carries out one attempt; it ends with its time limit and with its sweep.

    Args:
        launch: the attempt.
        cores: numbers of the CPU cores that it may use; empty for all.
        environment: variables added to this process's environment.
    """

    def __init__(
        self, launch: Launch, cores: Sequence[int], environment: Mapping[str, str]
    ) -> None:
        self.launch = launch
        launch.log.parent.mkdir(parents=True, exist_ok=True)
        launch.folder.mkdir(parents=True, exist_ok=True)
        self._kills, self._started = memory.kills(), time.monotonic()
        self._asked_at: float | None = None  # the time when it was asked to stop
        self._timed_out = False
        request = {"cores": list(cores), "folder": str(launch.folder)}
        request["arguments"] = list(launch.arguments)
        variables = {**os.environ, **environment}
        with launch.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lra_bench.cli.sweep_child"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**variables, **huge_pages.variables(variables)},
                start_new_session=True,
            )
        self._send(json.dumps(request) + "\n")

    def _send(self, text: str) -> None:
        """Write to the standard input of the process, which stays open until it ends."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(text.encode())
            self._process.stdin.flush()

    @property
    def seconds(self) -> float:
        """Return the seconds since its start."""
        return time.monotonic() - self._started

    def poll(self) -> Ending | None:
        """Return how it ended, or None while it runs; stop it once its time is over."""
        returncode = self._process.poll()
        if returncode is None:
            self._enforce()
            return None
        self._kill()  # processes that it started and left
        self._close()
        return Ending(
            returncode=returncode,
            seconds=self.seconds,
            timed_out=self._timed_out,
            memory_ran_out=memory.kills() > self._kills,
            message=_last_line(self.launch),
        )

    def _enforce(self) -> None:
        """Stop it at its time limit, and kill it if it does not stop within the grace time."""
        if self._asked_at is None and self.seconds > self.launch.time_limit:
            self._timed_out = True
            self.stop()
        if self._asked_at is not None and time.monotonic() - self._asked_at > GRACE_SECONDS:
            self._kill()

    def stop(self) -> None:
        """Ask it to save its state and stop; asking again has no effect."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            self._process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """Kill it and wait until it has ended."""
        self._kill()
        self._process.wait()
        self._close()

    def _kill(self) -> None:
        """Kill the process and all processes that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()


def _last_line(launch: Launch) -> str:
    """Return the last line of the log that is not blank; "" if there is none."""
    with launch.log.open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
        lines = log.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
