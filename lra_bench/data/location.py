"""The root of all data, and the paths of one task's store."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from lra_bench.contracts import Task
from lra_bench.display import command
from lra_bench.errors import UsageError
from lra_bench.files.paths import expanded
from lra_bench.runtime.source_files import PREFIX

# The version of the store's format; part of the fingerprint.
SCHEMA = 2
OTHER_ROOT = "choose a folder of data with --data-dir DIR or $LRA_BENCH_DATA"


def data_root(argument: Path | None) -> Path:
    """Return the root of all data: the argument, else $LRA_BENCH_DATA, else ~/.cache/lra_bench.

    Raises:
        UsageError: it lies in the home folder, and this user has none.
    """
    text = str(argument) if argument else os.environ.get("LRA_BENCH_DATA") or "~/.cache/lra_bench"
    try:
        return expanded(text)
    except UsageError as error:
        raise UsageError(f"no folder of data: {error}; {OTHER_ROOT}") from None


@dataclass(frozen=True)
class Location:
    """The paths of one store of a task's data; the store may not exist yet.

    Attributes:
        root: the root of all data.
        task: the name of the task.
        source: the name of the source.
        fingerprint: 12 hexadecimal digits of a hash of the options that the data depend on.
        definition: the task itself, with which a store is compared when it is opened; None to
            believe the store.
        prepared_by: the command that prepares the store from files, in which PATH stands for
            theirs, as messages show it.
    """

    root: Path
    task: str
    source: str
    fingerprint: str
    definition: Task | None = field(default=None, compare=False, repr=False)
    prepared_by: str = field(default="", compare=False, repr=False)

    @property
    def path(self) -> Path:
        """Return the folder of the store."""
        return self.root / self.task / f"{self.source}-{self.fingerprint}"

    @property
    def manifest(self) -> Path:
        """Return the path of the manifest, the file that is written last."""
        return self.path / "manifest.json"

    def exists(self) -> bool:
        """Return whether a complete store lies here."""
        return self.manifest.exists()

    @property
    def lock(self) -> Path:
        """Return the file that a process locks while it prepares the store."""
        return self._beside("lock")

    @property
    def scratch(self) -> Path:
        """Return the folder for partial work, kept after an interruption until the store exists."""
        return self._beside("scratch")

    @property
    def temporary(self) -> Path:
        """Return the folder in which this process writes the store before it moves it to `path`."""
        return self._beside(f"{os.getpid()}.tmp")

    def leftovers(self) -> list[Path]:
        """Return the temporary folders of all processes."""
        return list(self.path.parent.glob(f".{self.path.name}.*.tmp"))

    @property
    def remembered(self) -> Path:
        """Return the file that remembers where the source's files are, for all its stores."""
        return self.root / self.task / f".{self.source}.json"

    @property
    def downloads(self) -> Path:
        """Return the folder of downloaded files, shared by all tasks."""
        return self.root / "downloads"

    @property
    def remedy(self) -> str:
        """Return the advice for a store that is wrong."""
        return f"remove the folder {self.path} and prepare it again"

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(f".{self.path.name}.{suffix}")


def locate(root: Path, task: Task, source: str, prepared_by: str = "") -> Location:
    """Return the location of the task's data from `source`, for the task's options.

    Args:
        root: the root of all data.
        task: the task, with its options.
        source: the name of the source.
        prepared_by: see `Location`; without it, that for the usual options.
    """
    options = {"schema": SCHEMA, "version": task.version, **task.data_options(source)}
    module = type(task).__module__
    if module.startswith(PREFIX):  # a file of the user; its checksum stands for its version
        options["file"] = module
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()
    prepared_by = prepared_by or command.from_files(task.name, "--data-dir", str(root))
    return Location(root, task.name, source, digest[:12], task, prepared_by)
