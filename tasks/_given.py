"""Base classes of tasks whose data are files that the user gives."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from lra_bench.contracts import SPLITS, Range, Source, check_ranges
from lra_bench.tasks import _archive


@dataclass(frozen=True)
class Given:
    """A task whose data are files.

    Attributes:
        train_size, validation_size, test_size: the largest number of examples; 0 for all.
    """

    train_size: Annotated[int, Range(0, 10**8)] = 0
    validation_size: Annotated[int, Range(0, 10**8)] = 0
    test_size: Annotated[int, Range(0, 10**8)] = 0

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_ranges(self)

    def limits(self) -> dict[str, int | None]:
        """Return the largest number of examples of each split; None for any."""
        sizes = (self.train_size, self.validation_size, self.test_size)
        return {split: size or None for split, size in zip(SPLITS, sizes, strict=True)}

    def data_options(self, source: str) -> dict[str, Any]:
        """Return all options."""
        del source
        return asdict(self)

    def sizes(self, source: str) -> dict[str, int]:
        """Return {}: sizes are known once all files are read."""
        del source
        return {}


@dataclass(frozen=True)
class FromArchive(Given):
    """A task whose files are one archive with a published checksum."""

    name: ClassVar[str]
    sources: ClassVar[tuple[Source, ...]]

    def inputs(self, source: str, path: Path | None) -> dict[str, Path]:
        """Return the archive by its published name."""
        del source
        (facts,) = self.sources
        return {facts.files: _archive.find(self.name, path, facts)}

    @classmethod
    def remedy(cls) -> str:
        """Return where to get the archive, for messages."""
        (facts,) = cls.sources
        return f"get {facts.files} from {facts.url}"

    def official(self, source: str, checksums: dict[str, str], sizes: dict[str, int]) -> bool:
        """Return whether the archive has the published checksum."""
        del source, sizes
        (facts,) = self.sources
        return checksums.get(facts.files) == facts.sha256
