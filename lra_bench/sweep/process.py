"""Starting the process of one run, watching it and ending it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from lra_bench.runtime import memory
from lra_bench.sweep.executor import Ending, Launch

# How long a run may take to save its state when it is asked to stop.
GRACE_SECONDS = 30.0
_TAIL = 4096


class Process:
    """One attempt, in a process of its own that outlives neither its time nor its sweep."""

    def __init__(
        self, launch: Launch, cores: Sequence[int], environment: Mapping[str, str]
    ) -> None:
        self.launch = launch
        launch.log.parent.mkdir(parents=True, exist_ok=True)
        launch.folder.mkdir(parents=True, exist_ok=True)
        self._kills, self._started = memory.kills(), time.monotonic()
        self._asked: float | None = None
        self._timed_out = False
        request = {"cores": list(cores), "folder": str(launch.folder)}
        request["arguments"] = list(launch.arguments)
        with launch.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lra_bench.cli.sweep_child"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        self._say(json.dumps(request) + "\n")

    def _say(self, text: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(text.encode())
            self._process.stdin.flush()

    @property
    def seconds(self) -> float:
        """Since its start."""
        return time.monotonic() - self._started

    def poll(self) -> Ending | None:
        """How it ended, if it has; one that is over its time is stopped."""
        returncode = self._process.poll()
        if returncode is None:
            self._enforce()
            return None
        self._kill()  # what it may have left behind
        self._close()
        wanting = memory.kills() > self._kills
        return Ending(returncode, self.seconds, self._timed_out, wanting, _last_line(self.launch))

    def _enforce(self) -> None:
        if self._asked is None and self.seconds > self.launch.time_limit:
            self._timed_out = True
            self.stop()
        if self._asked is not None and time.monotonic() - self._asked > GRACE_SECONDS:
            self._kill()

    def stop(self) -> None:
        """Ask it to save its state and stop."""
        if self._asked is None:
            self._asked = time.monotonic()
            self._process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """End it by force."""
        self._kill()
        self._process.wait()
        self._close()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()


def _last_line(launch: Launch) -> str:
    with launch.log.open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL))
        lines = log.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
