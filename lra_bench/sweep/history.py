"""The history of a sweep, in two files of its folder.

`sweep.json` lists its runs; `sweep.jsonl` has a line for the begin and the end of each attempt.
"""

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lra_bench.errors import RunError
from lra_bench.files.atomic import remove_leftovers
from lra_bench.files.json_files import read_json, write_json
from lra_bench.files.json_lines import BrokenLine, append_line, each_line, text_of_lines
from lra_bench.records.find import leave_out_lines
from lra_bench.records.values import is_number, is_text
from lra_bench.sweep.plan import Job

PLAN, EVENTS, LOGS = "sweep.json", "sweep.jsonl", "logs"
SCHEMA = 1
STOPPED, INTERRUPTED = "stopped", "interrupted"


@dataclass
class Attempts:
    """Attempts summarises the events of one run.

    Attributes:
        ended: number of attempts that ended without being asked to stop or make room.
        errors: errors of the attempts that failed, in order.
        seconds: duration of a successful attempt that did the run from its start; None if none did.
        unfinished: the begin event of an attempt that has no end event, with the `host` and `pid`
            of its sweep; None if there is none.
        begin_is_sure: whether no event was lost since that begin event.
    """

    ended: int = 0
    errors: list[str] = field(default_factory=list)
    seconds: float | None = None
    unfinished: dict[str, Any] | None = None
    begin_is_sure: bool = True

    def is_running(self) -> bool:
        """Return whether an attempt goes on; a sweep on another host is taken to be alive."""
        if self.unfinished is None:
            return False
        return self.unfinished["host"] != platform.node() or _is_alive(self.unfinished["pid"])


class History:
    """A History reads and writes the two history files in a sweep's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def log(self, job: Job) -> Path:
        """Return the file that the output of a run is appended to."""
        return self.folder / LOGS / f"{job.name}.log"

    def plan(self, jobs: Iterable[Job]) -> list[Job]:
        """Add runs to the sweep and return all runs that it then holds."""
        earlier = {job.name: job for job in self.jobs()}
        all_jobs = list({**earlier, **{job.name: job for job in jobs}}.values())
        if len(all_jobs) > len(earlier):
            remove_leftovers(self.folder)
            runs = [job.as_dict() for job in all_jobs]
            write_json(self.folder / PLAN, {"schema": SCHEMA, "runs": runs})
        return all_jobs

    def jobs(self) -> list[Job]:
        """Return all runs that the sweep holds.

        Raises:
            RunError: sweep.json is unreadable.
        """
        path = self.folder / PLAN
        if not path.exists():
            return []
        try:
            return [_job(run) for run in read_json(path)["runs"]]
        except (OSError, ValueError, KeyError, TypeError):
            raise RunError(f"{path} can't be read; remove it (the runs are kept)") from None

    def begin(self, job: Job, *, fresh: bool) -> None:
        """Write that an attempt begins; it is `fresh` if it does the run from its start."""
        self._append(job, event="begin", fresh=fresh, pid=os.getpid(), host=platform.node())

    def end(self, job: Job, outcome: str, error: str | None, seconds: float) -> None:
        """Write how an attempt ended, and after how many seconds."""
        self._append(job, event="end", outcome=outcome, error=error, seconds=round(seconds, 2))

    def _append(self, job: Job, **event: Any) -> None:
        time = datetime.now(UTC).isoformat(timespec="seconds")
        append_line(self.folder / EVENTS, {"time": time, "run": job.name, **event})

    def attempts(self) -> dict[str, Attempts]:
        """Return the attempts at each run, by its name; unreadable events are left out.

        An end after an unreadable event may be of another begin than the one before; its duration
        does not count.
        """
        attempts: dict[str, Attempts] = {}
        for event in self._events():
            if isinstance(event, BrokenLine):
                for summary in attempts.values():
                    summary.begin_is_sure = False
            elif isinstance(event, dict) and isinstance(event.get("run"), str):
                _add(event, attempts.setdefault(event["run"], Attempts()))
        return attempts

    def _events(self) -> list[Any]:
        path = self.folder / EVENTS
        events = list(each_line(text_of_lines(path)))
        if broken := sum(isinstance(event, BrokenLine) for event in events):
            leave_out_lines(broken, path)
        return events


def _job(run: Any) -> Job:
    """Return the run that an entry of sweep.json describes.

    Raises:
        ValueError: it describes none.
    """
    job = Job(**{**run, "overrides": tuple(run["overrides"])})
    files = [path for path in (job.attention_file, job.task_file) if path is not None]
    texts = (job.kind, job.task, job.attention, job.preset, *job.overrides, *files)
    if not (all(map(is_text, texts)) and isinstance(job.seed, int)):
        raise ValueError("not a run")
    if Path(job.name).name != job.name:  # it names the folder of the run
        raise ValueError("not the name of a folder")
    return job


def _add(event: dict[str, Any], attempts: Attempts) -> None:
    """Add an event of a run to its summary."""
    match event:
        case {"event": "begin", "host": str(), "pid": int(pid), "fresh": bool()} if 0 < pid < 2**31:
            attempts.unfinished, attempts.begin_is_sure = event, True
        case {"event": "end", "outcome": str(outcome), "seconds": seconds} if is_number(seconds):
            begun = attempts.unfinished
            fresh = begun is not None and begun["fresh"] and attempts.begin_is_sure
            attempts.unfinished = None
            attempts.ended += outcome not in (STOPPED, INTERRUPTED)
            if outcome == "ok" and fresh:
                attempts.seconds = seconds
            if event.get("error"):
                attempts.errors.append(f"{outcome}: {event['error']}")


def _is_alive(pid: int) -> bool:
    """Return whether a process on this host is alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
