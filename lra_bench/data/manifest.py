"""The manifest of a token store: its contents, their source, and the checksums of its files."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from lra_bench.data.location import Location
from lra_bench.errors import RunError
from lra_bench.files import read_json, write_json

Value = TypeVar("Value")


@dataclass(frozen=True)
class SplitManifest:
    """The manifest's entry for one split.

    Attributes:
        examples: their number.
        label_histogram: the number of examples of each label.
        files: the SHA-256 of each file of the split, by its name.
    """

    examples: int
    label_histogram: list[int]
    files: dict[str, str]


@dataclass(frozen=True)
class Manifest:
    """The description of a store. The JSON file has the same keys in the same order.

    Attributes:
        schema: the version of the store's format.
        task, source: their names.
        path: the path that the source's files were read from; None for generated data.
        inputs: the SHA-256 of each of the source's files, by its name.
        options: the options that the data depend on.
        version: the version of the task's code that reads or generates the data.
        split_rule: the rule by which examples fall into splits.
        splits: by name of the split.
        notes: remarks of the task, such as a file that was skipped.
        official: whether these are the benchmark's published data.
    """

    schema: int
    task: str
    source: str
    path: str | None
    inputs: dict[str, str]
    options: dict[str, Any]
    version: int
    split_rule: str
    splits: dict[str, SplitManifest]
    notes: list[str]
    official: bool

    @property
    def origin(self) -> str:
        """Return in words whether these are the published data."""
        return "the published data" if self.official else "not the published data"

    @property
    def sizes(self) -> dict[str, int]:
        """Return the number of examples of each split."""
        return {name: split.examples for name, split in self.splits.items()}


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write the manifest as JSON, atomically."""
    write_json(path, asdict(manifest))


def read_manifest(location: Location) -> Manifest:
    """Read the manifest of a store.

    Raises:
        RunError: it is damaged.
    """
    try:
        return _manifest(read_json(location.manifest))
    except (ValueError, TypeError, KeyError):
        raise RunError(f"{location.manifest} is damaged; {location.remedy}") from None


def _manifest(value: Any) -> Manifest:
    """Build a manifest from JSON.

    Raises:
        TypeError, KeyError: a value is of the wrong type or missing.
    """
    fields = _typed(value, dict)
    path = fields["path"]
    return Manifest(
        schema=_typed(fields["schema"], int),
        task=_typed(fields["task"], str),
        source=_typed(fields["source"], str),
        path=None if path is None else _typed(path, str),
        inputs=_texts(fields["inputs"]),
        options=_typed(fields["options"], dict),
        version=_typed(fields["version"], int),
        split_rule=_typed(fields["split_rule"], str),
        splits={name: _split(split) for name, split in _typed(fields["splits"], dict).items()},
        notes=[_typed(note, str) for note in _typed(fields["notes"], list)],
        official=_typed(fields["official"], bool),
    )


def _split(value: Any) -> SplitManifest:
    fields = _typed(value, dict)
    histogram = _typed(fields["label_histogram"], list)
    return SplitManifest(
        examples=_typed(fields["examples"], int),
        label_histogram=[_typed(count, int) for count in histogram],
        files=_texts(fields["files"]),
    )


def _texts(value: Any) -> dict[str, str]:
    return {key: _typed(text, str) for key, text in _typed(value, dict).items()}


def _typed(value: Any, kind: type[Value]) -> Value:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value
