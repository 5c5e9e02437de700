"""The data that runs need: whether they are there, where they come from, how large they are.

Nothing is written or downloaded, and no connection is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lra_bench.contracts import SPLITS, Source, Task, source_of
from lra_bench.data.location import Location, data_root, locate
from lra_bench.data.manifest import read_manifest
from lra_bench.data.prepare import remembered
from lra_bench.display import command
from lra_bench.display.units import size_text
from lra_bench.errors import UsageError
from lra_bench.settings import RunSettings

_LABEL_BYTES = 4


@dataclass(frozen=True)
class Need:
    """The data that one or more runs need.

    Attributes:
        task: the task.
        location: where its store is, or would be.
        source: where the data come from.
        words: the options of a command that choose the data.
    """

    task: Task
    location: Location
    source: Source
    words: tuple[str, ...]

    @cached_property
    def is_there(self) -> bool:
        """Return whether the store exists."""
        return self.location.exists()

    @cached_property
    def path(self) -> Path | None:
        """Return where the source's files are; None if that is unknown or there are none."""
        if not self.source.files:
            return None
        download = self.location.downloads / self.source.files
        if (
            self.source.sha256
            and download.is_file()
            and download.stat().st_size == self.source.size
        ):
            return download
        return remembered(self.task, self.location)

    @property
    def is_missing(self) -> bool:
        """Return whether the user has to give files before the store can be prepared."""
        by_itself = not self.source.files or bool(self.source.sha256)
        return not (self.is_there or by_itself or self.path is not None)

    @property
    def download_bytes(self) -> int:
        """Return the bytes that are downloaded when the store is prepared."""
        downloads = bool(self.source.sha256) and not self.is_there and self.path is None
        return self.source.size if downloads else 0

    def sizes(self) -> dict[str, int]:
        """Return the examples of each split; {} if they are unknown before the files are read.

        They are those of the store; else those that the generator makes, or at most as many as the
        published files hold.
        """
        if self.is_there:
            return read_manifest(self.location).sizes
        if sizes := self.task.sizes(self.source.name):
            return sizes
        limits = [getattr(self.task, f"{split}_size", 0) for split in SPLITS]
        # A generator has no published examples, and a task outside this package may know none.
        pairs = zip(SPLITS, self.source.examples, limits, strict=False)
        return {split: min(count, limit or count) for split, count, limit in pairs}

    @property
    def disk_bytes(self) -> int | None:
        """Return the bytes that the prepared store takes; None if they are unknown."""
        # Ids above the ordinary ones, such as that of a start token, are in no store.
        _, highest = getattr(self.task, "ordinary", (0, self.task.vocab_size - 1))
        token_bytes = (1 if highest < 256 else 2) * (2 if self.task.paired else 1)
        sizes = self.sizes()
        return sum(sizes.values()) * (self.task.max_len * token_bytes + _LABEL_BYTES) or None

    def require_files(self) -> None:
        """Check that the store is there or can be prepared.

        Raises:
            UsageError: the user has to give files; the message has the command for it.
        """
        if self.is_missing:
            raise UsageError(f"no data for {self.task.name} yet: {self.remedy()}")

    def prepare_command(self) -> str:
        """Return the command that prepares the store; PATH stands for that of the user's files."""
        given = "PATH" if self.source.files else self.source.name
        source = "download" if self.source.sha256 else given
        return command.command("data", "prepare", self.task.name, "--source", source, *self.words)

    def remedy(self) -> str:
        """Return what the user has to do if files are missing."""
        return f"get {self.source.files} from {self.source.url}, then {self.location.prepared_by}"

    def describe(self) -> str:
        """Return in a line how the store is prepared and how large it will be."""
        disk = "unknown size" if self.disk_bytes is None else f"about {size_text(self.disk_bytes)}"
        if self.is_missing:
            how = f"missing ({disk} on disk): {self.remedy()}"
        elif self.download_bytes:
            how = f"download of {size_text(self.download_bytes)}, then {disk} on disk"
        elif self.path is not None:
            how = f"read from {self.path}, {disk} on disk"
        else:
            how = f"generated, {disk} on disk"
        return f"{self.task.name} ({self.source.name}): {how}"


def need(task: Task, settings: RunSettings, root: Path, overrides: Sequence[str]) -> Need:
    """Return what data a run needs.

    Args:
        task: the task of the run, with its options.
        settings: of the run.
        root: the root of all data.
        overrides: the "group.key=value" overrides of the run.
    """
    source = source_of(task, settings.data_source)
    of_data = [item for item in overrides if item.startswith("data.")]
    of_data = [item for item in of_data if not item.startswith("data.source=")]
    words = command.option("--preset", settings.preset)
    if root != data_root(None):
        words += command.option("--data-dir", root)
    words += command.settings(of_data)
    location = locate(root, task, source.name, command.from_files(task.name, *words))
    return Need(task, location, source, tuple(words))
