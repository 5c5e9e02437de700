"""What happened in a sweep: sweep.json, the runs it holds, and sweep.jsonl, attempt by attempt."""

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lra_bench.errors import RunError
from lra_bench.files import append_line, read_lines, write_json
from lra_bench.sweep.plan import Job

PLAN, EVENTS, LOGS = "sweep.json", "sweep.jsonl", "logs"
SCHEMA = 1
STOPPED = "stopped"


@dataclass
class Attempts:
    """What is known of one run's attempts.

    Attributes:
        ended: how many came to an end that wasn't asked for.
        errors: what went wrong in those that failed, in order.
        seconds: of an attempt that did the whole run and succeeded.
        begun: of an attempt that has no end: on which host, and by which process's sweep.
    """

    ended: int = 0
    errors: list[str] = field(default_factory=list)
    seconds: float | None = None
    begun: dict[str, Any] | None = None

    def is_running(self) -> bool:
        """Whether its sweep is there; one on another host is believed to be."""
        if self.begun is None:
            return False
        return self.begun["host"] != platform.node() or _is_alive(self.begun["pid"])


class History:
    """The files of a sweep's folder that tell of all its runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def log(self, job: Job) -> Path:
        """Where what a run prints goes."""
        return self.folder / LOGS / f"{job.name}.log"

    def plan(self, jobs: Iterable[Job]) -> list[Job]:
        """Add runs to those that the sweep holds; all of them."""
        there = {job.name: job for job in self.jobs()}
        everything = list({**there, **{job.name: job for job in jobs}}.values())
        runs = [job.as_dict() for job in everything]
        if len(everything) > len(there):
            write_json(self.folder / PLAN, {"schema": SCHEMA, "runs": runs})
        return everything

    def jobs(self) -> list[Job]:
        """All runs that the sweep holds.

        Raises:
            RunError: the plan is unreadable.
        """
        path = self.folder / PLAN
        if not path.exists():
            return []
        try:
            runs = json.loads(path.read_text())["runs"]
            return [Job(**{**run, "overrides": tuple(run["overrides"])}) for run in runs]
        except (ValueError, KeyError, TypeError):
            raise RunError(f"{path} can't be read; remove it, the runs stay") from None

    def begin(self, job: Job, *, fresh: bool) -> None:
        """Note that this process has an attempt begun; `fresh` if it does the whole run."""
        self._append(job, event="begin", fresh=fresh, pid=os.getpid(), host=platform.node())

    def end(self, job: Job, outcome: str, error: str | None, seconds: float) -> None:
        """Note how an attempt ended."""
        self._append(job, event="end", outcome=outcome, error=error, seconds=round(seconds, 2))

    def _append(self, job: Job, **event: Any) -> None:
        time = datetime.now(UTC).isoformat(timespec="seconds")
        append_line(self.folder / EVENTS, {"time": time, "run": job.name, **event})

    def attempts(self) -> dict[str, Attempts]:
        """What is known of each run's attempts, by its name; events that can't be are left out."""
        found: dict[str, Attempts] = {}
        for event in read_lines(self.folder / EVENTS)[0]:
            if isinstance(event, dict) and isinstance(event.get("run"), str):
                _take(found.setdefault(event["run"], Attempts()), event)
        return found


def _take(attempts: Attempts, event: dict[str, Any]) -> None:
    match event:
        case {"event": "begin", "host": str(), "pid": int(), "fresh": bool()}:
            attempts.begun = event
        case {"event": "end", "outcome": str(outcome), "seconds": int() | float() as seconds}:
            fresh = attempts.begun is not None and attempts.begun["fresh"]
            attempts.begun = None
            attempts.ended += outcome != STOPPED
            if outcome == "ok" and fresh:
                attempts.seconds = seconds
            if event.get("error"):
                attempts.errors.append(f"{outcome}: {event['error']}")


def _is_alive(pid: int) -> bool:
    """Whether a process of this host is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
