"""The folder of one run, and which run it belongs to."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lra_bench.display.escape import terminal
from lra_bench.errors import RunError, UsageError
from lra_bench.files.atomic import remove_leftovers, write_atomically
from lra_bench.files.json_files import read_json, write_json
from lra_bench.files.locks import locked
from lra_bench.ranges import checked
from lra_bench.records import record
from lra_bench.records.record import Record
from lra_bench.registry import ATTENTIONS, TASKS
from lra_bench.runtime.source_files import SourceFile
from lra_bench.settings import OPTIONAL, Origin, RunSettings

CONFIG = "config.json"
# The copies of the files of the user that define the attention and the task of a run.
COPIES = {"attention_file": "attention.py", "task_file": "task.py"}
# A run with one of these is not done again: the same would come of it.
ENDED = ("ok", "diverged")
# A config may hold anything; a message shows no more of a key or of a value.
_MOST_CHARACTERS = 100


class RunFolder:
    """A folder with config.json, metrics.jsonl, checkpoints/ and, written last, record.json."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def started(self) -> bool:
        """Return whether a run has begun here."""
        return (self.path / CONFIG).exists()

    @property
    def checkpoints(self) -> Path:
        """Return the folder of the checkpoints."""
        return self.path / "checkpoints"

    def check(self, settings: RunSettings, *, resume: bool) -> Record | None:
        """Check whether a run of `settings` may be done here; nothing is written.

        Returns:
            The record of this very run if it is finished and `resume` asks to go on with it.

        Raises:
            UsageError: the folder holds something else, or a run and `resume` is false.
            RunError: its contents cannot be read.
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
        return result if result.status in ENDED else None

    def check_owner(self, settings: RunSettings) -> None:
        """Check that the folder is free, or holds a run of `settings`.

        Raises:
            UsageError: it holds something else.
            RunError: its contents cannot be read.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"--out {self.path}: is a file, not a folder")
        if self.started:
            self._refuse_other(settings)
        else:
            self._refuse_strangers()

    def _refuse_strangers(self) -> None:
        names = [entry.name for entry in self.path.iterdir()] if self.path.is_dir() else []
        if any(name != ".lock" and not name.startswith(f".{CONFIG}.") for name in names):
            raise UsageError(f"--out {self.path} is not empty and holds no run; choose another")

    def _refuse_other(self, settings: RunSettings) -> None:
        there, here = self._config(), json.loads(json.dumps(settings.as_dict()))
        self._refuse_changed_files(there, here)
        found = list(differences(_identity(there), _identity(here)))
        if found:
            what = "another config" if _same_keys(there, here) else "another version of lra-bench"
            raise UsageError(
                f"{self.path} holds a run of {what}: {'; '.join(found[:3])}"
                f"{'; ...' if len(found) > 3 else ''}; choose another --out"
            )

    def _refuse_changed_files(self, there: dict[str, Any], here: dict[str, Any]) -> None:
        """Raise UsageError if a file of the user is not what it was when the run began."""
        for key, copy in COPIES.items():
            match there.get(key), here.get(key):
                case {"sha256": str(old)}, {"sha256": new, "name": name} if old != new:
                    raise UsageError(
                        f"{self.path} holds a run of another version of {name}: sha256 "
                        f"{terminal(old[:8])} there, {new[:8]} here; the run's own copy is "
                        f"{self.path / copy}; for the changed file choose another --out, or "
                        "remove this folder"
                    )

    def _config(self) -> dict[str, Any]:
        try:
            config = read_json(self.path / CONFIG)
            if isinstance(config, dict):
                return config
        except (OSError, ValueError):
            pass
        raise RunError(f"{self.path / CONFIG} can't be read; choose another --out")

    def origin(self, path: Path) -> Origin | None:
        """Return the checkpoint that the run here started with, if it was given as `path`."""
        try:
            origin = checked(Origin, self._config().get("init_from"))
        except (RunError, ValueError):
            return None
        return origin if origin.path == str(path) else None

    @contextlib.contextmanager
    def held(self, settings: RunSettings, *, resume: bool) -> Iterator[None]:
        """Make the folder and keep other processes out of it while the block runs.

        Raises:
            UsageError: another process works in it, or has worked in it since `check`.
        """
        with locked(self.path / ".lock", wait=False) as ours:
            if not ours:
                raise UsageError(f"another process is running in {self.path}")
            if self.check(settings, resume=resume) is not None:
                raise UsageError(f"another process has just finished the run in {self.path}")
            yield

    def start(self, settings: RunSettings) -> None:
        """Write the config, and remove what failed or killed attempts left behind."""
        remove_leftovers(self.path)
        (self.path / record.FILE).unlink(missing_ok=True)
        # First of all: without it the folder is not that of a run, and --resume is refused.
        write_json(self.path / CONFIG, settings.as_dict())
        for key, file in files_of(settings).items():
            write_atomically(self.path / COPIES[key], file.text)


def usual_folder(
    task: str, attention: str, preset: str, seed: int, *, finetuned: bool = False
) -> Path:
    """Return the folder of a run for which no other is chosen."""
    name = f"{task}-{attention}-{preset}-seed{seed}"
    return Path("runs") / (f"{name}-finetuned" if finetuned else name)


def files_of(settings: RunSettings) -> dict[str, SourceFile]:
    """Return the files of the user that define a run, by their keys in its config."""
    entries = {
        "attention_file": ATTENTIONS.get(settings.attention),
        "task_file": TASKS.get(settings.task),
    }
    return {key: entry.file for key, entry in entries.items() if entry.file is not None}


def _identity(config: Any) -> Any:
    """Return the config with files and the checkpoint of `init_from` named by their contents.

    Which file settings came from does not count.
    """
    if not isinstance(config, dict):
        return config
    return {
        key: value["sha256"] if key in OPTIONAL and _has_checksum(value) else value
        for key, value in config.items()
        if key != "config_file"
    }


def _has_checksum(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("sha256"), str)


def _same_keys(there: dict[str, Any], here: dict[str, Any]) -> bool:
    """Return whether both have the settings of this version; a config may lack some."""
    pairs = [({**OPTIONAL, **there}, {**OPTIONAL, **here})]
    pairs += [(there.get(name), here[name]) for name in ("model", "train")]
    return all(isinstance(theirs, dict) and theirs.keys() == ours.keys() for theirs, ours in pairs)


def differences(there: Any, here: Any, at: str = "") -> Iterator[str]:
    """Yield what differs, as "train.num_steps is 10 there, 20 here"."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in dict.fromkeys([*here, *there]):
            where = f"{at}.{key}" if at else key
            yield from differences(there.get(key), here.get(key), where)
    elif there != here:
        yield f"{_cut(terminal(at))} is {_text(there)} there, {_text(here)} here"


def _text(value: Any) -> str:
    return "missing" if value is None else _cut(json.dumps(value))


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."
