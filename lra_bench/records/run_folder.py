"""The folder of one run, and whose it is."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lra_bench.errors import RunError, UsageError
from lra_bench.files import locked, read_json, refuse_file, remove_leftovers, write_json
from lra_bench.records import record
from lra_bench.records.record import Record
from lra_bench.settings import Origin, RunSettings

CONFIG = "config.json"


class RunFolder:
    """Holds config.json, metrics.jsonl, checkpoints/ and, last of all, record.json."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def started(self) -> bool:
        """Whether a run has begun here."""
        return (self.path / CONFIG).exists()

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints lie."""
        return self.path / "checkpoints"

    def check(self, settings: RunSettings, *, resume: bool) -> Record | None:
        """See whether a run of `settings` may be done here; writes nothing.

        Returns:
            The record of this very run if it is finished and `resume` asks to go on with it.

        Raises:
            UsageError: the folder holds something else, or a run and `resume` is not asked for.
            RunError: what is there can't be read.
        """
        self.check_owner(settings)
        if not self.started:
            return None
        finished = (self.path / record.FILE).exists()
        if not resume:
            state = "a finished" if finished else "an unfinished"
            remedy = "show its result" if finished else "go on with it"
            raise UsageError(
                f"{self.path} holds {state} run of this; --resume to {remedy}, "
                "another --out or --seed for a new one, or remove the folder"
            )
        if not finished:
            return None
        result = record.read(self.path / record.FILE)
        return result if result.status in ("ok", "diverged") else None

    def check_owner(self, settings: RunSettings) -> None:
        """See that the folder is free, or holds a run of `settings`.

        Raises:
            UsageError: it holds something else.
            RunError: what it holds can't be read.
        """
        refuse_file(self.path)
        if self.started:
            self._refuse_other(settings)
        else:
            self._refuse_strangers()

    def _refuse_strangers(self) -> None:
        names = [entry.name for entry in self.path.iterdir()] if self.path.is_dir() else []
        if any(name != ".lock" and not name.startswith(f".{CONFIG}.") for name in names):
            raise UsageError(f"--out {self.path} is not empty and holds no run; choose another")

    def _refuse_other(self, settings: RunSettings) -> None:
        found = self._config()
        here = json.loads(json.dumps(settings.as_dict()))
        found_differences = list(differences(_identity(found), _identity(here)))
        if found_differences:
            what = "another config" if _same_keys(found, here) else "another version of lra-bench"
            raise UsageError(
                f"{self.path} holds a run of {what}: {'; '.join(found_differences[:3])}"
                f"{'; ...' if len(found_differences) > 3 else ''}; choose another --out"
            )

    def _config(self) -> dict[str, Any]:
        try:
            found = read_json(self.path / CONFIG)
            if isinstance(found, dict):
                return found
        except (OSError, ValueError):
            pass
        raise RunError(f"{self.path / CONFIG} can't be read; choose another --out")

    def origin(self, path: Path) -> Origin | None:
        """The checkpoint that the run here starts with, if it was given as `path`."""
        try:
            found = Origin(**self._config()["init_from"])
        except (RunError, KeyError, TypeError):
            return None
        return found if found.path == str(path) else None

    @contextlib.contextmanager
    def held(self, settings: RunSettings, *, resume: bool) -> Iterator[None]:
        """Make the folder and keep others out of it.

        Raises:
            UsageError: another process is at work in it, or was since `check`.
        """
        with locked(self.path / ".lock", wait=False) as ours:
            if not ours:
                raise UsageError(f"another process is running in {self.path}")
            if self.check(settings, resume=resume) is not None:
                raise UsageError(f"another process has just finished the run in {self.path}")
            yield

    def start(self, settings: RunSettings) -> None:
        """Write the config, and take away what is left of attempts that failed or were killed."""
        remove_leftovers(self.path)
        (self.path / record.FILE).unlink(missing_ok=True)
        write_json(self.path / CONFIG, settings.as_dict())


def _identity(config: Any) -> Any:
    """The config with the checkpoint of `init_from` told by its contents, wherever it lies."""
    match config:
        case {"init_from": {"sha256": sha256}}:
            return {**config, "init_from": sha256}
    return config


def _same_keys(found: dict[str, Any], here: dict[str, Any]) -> bool:
    """Whether both have the settings that this version has; a record may lack `init_from`."""
    old = {"init_from": None, **found}
    groups = [(old, here)] + [(found.get(name), here[name]) for name in ("model", "train")]
    return all(isinstance(one, dict) and one.keys() == other.keys() for one, other in groups)


def differences(found: Any, here: Any, at: str = "") -> Iterator[str]:
    """What differs, as "train.num_steps is 10 there, 20 here"."""
    if isinstance(found, dict) and isinstance(here, dict):
        for key in [*here, *(key for key in found if key not in here)]:
            where = f"{at}.{key}" if at else key
            yield from differences(found.get(key), here.get(key), where)
    elif found != here:
        yield f"{at} is {_said(found)} there, {_said(here)} here"


def _said(value: Any) -> str:
    return "missing" if value is None else json.dumps(value)
