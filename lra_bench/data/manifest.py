"""The manifest of a token store: its contents, their source, and the checksums of its files."""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from lra_bench.contracts import HELD_OUT, SPLITS
from lra_bench.data.location import SCHEMA, Location
from lra_bench.errors import RunError
from lra_bench.files.json_files import (
    CHECKSUM,
    read_json,
    with_checksum,
    without_checksum,
    write_json,
)

Value = TypeVar("Value")

# The files of a split.
TOKENS, LABELS = "tokens.npy", "labels.npy"
_SHA256 = re.compile(r"[0-9a-f]{64}")
# A manifest with a note on each of 200,000 images is smaller.
_MOST_BYTES = 64 * 2**20


@dataclass(frozen=True)
class SplitManifest:
    """The manifest's entry for one split.

    Attributes:
        examples: their number.
        label_histogram: the number of examples of each label.
        files: the SHA-256 of each file of the split, by its name.
        token_histogram: how often each token id is predicted; None unless tokens are predicted.
    """

    examples: int
    label_histogram: list[int]
    files: dict[str, str]
    token_histogram: list[int] | None = None


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
        checksum: SHA-256 of the other keys; None in a manifest of version 0.2.0 or earlier, in
            which a change is not noticed.
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
    checksum: str | None = None

    @property
    def origin(self) -> str:
        """Return in words whether these are the published data."""
        return "the published data" if self.official else "not the published data"

    @property
    def sizes(self) -> dict[str, int]:
        """Return the number of examples of each split."""
        return {name: split.examples for name, split in self.splits.items()}


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write the manifest with its checksum as JSON, atomically."""
    fields = asdict(manifest)
    del fields[CHECKSUM]
    for split in fields["splits"].values():
        if split["token_histogram"] is None:
            del split["token_histogram"]
    write_json(path, with_checksum(fields))


def read_manifest(location: Location) -> Manifest:
    """Read the manifest of a store.

    Raises:
        RunError: it is damaged, or was changed after it was written.
    """
    try:
        return _manifest(read_json(location.manifest, _MOST_BYTES))
    except KeyError as error:
        reason = f"it has no {error}"
    except (OSError, ValueError, TypeError) as error:
        reason = str(error)
    raise RunError(f"{location.manifest} is damaged ({reason}); {location.remedy}") from None


def _manifest(value: Any) -> Manifest:
    """Build a manifest from JSON.

    Raises:
        TypeError, ValueError, KeyError: a value is of the wrong type, impossible or missing.
    """
    fields = without_checksum(_typed(value, dict, "the file"))
    path = fields["path"]
    splits = _typed(fields["splits"], dict, "splits")
    _require_keys(
        {name: split for name, split in splits.items() if name != HELD_OUT}, SPLITS, "splits"
    )
    if _count(fields["schema"], "schema") != SCHEMA:
        raise ValueError(f"schema {fields['schema']}, must be {SCHEMA}")
    return Manifest(
        schema=SCHEMA,
        task=_typed(fields["task"], str, "task"),
        source=_typed(fields["source"], str, "source"),
        path=None if path is None else _typed(path, str, "path"),
        inputs=_checksums(fields["inputs"], "inputs"),
        options=_typed(fields["options"], dict, "options"),
        version=_count(fields["version"], "version"),
        split_rule=_typed(fields["split_rule"], str, "split_rule"),
        splits={name: _split(name, split) for name, split in splits.items()},
        notes=[_typed(note, str, "a note") for note in _typed(fields["notes"], list, "notes")],
        official=_typed(fields["official"], bool, "official"),
        checksum=value.get(CHECKSUM),
    )


def _split(name: str, value: Any) -> SplitManifest:
    fields = _typed(value, dict, name)
    counts = _typed(fields["label_histogram"], list, f"{name} label_histogram")
    histogram = [_count(count, f"{name} label_histogram") for count in counts]
    examples = _count(fields["examples"], f"{name} examples")
    if not examples or sum(histogram) != examples:
        raise ValueError(f"{name}: {examples} examples, {sum(histogram)} labels")
    files = _checksums(fields["files"], f"{name} files")
    _require_keys(files, (TOKENS, LABELS), f"{name} files")
    tokens = fields.get("token_histogram")
    if tokens is not None:
        what = f"{name} token_histogram"
        tokens = [_count(count, what) for count in _typed(tokens, list, what)]
    return SplitManifest(examples, histogram, files, tokens)


def _require_keys(value: dict[str, Any], names: Iterable[str], what: str) -> None:
    if value.keys() != set(names):
        raise ValueError(f"{what} must be {', '.join(names)}")


def _checksums(value: Any, what: str) -> dict[str, str]:
    checksums = _typed(value, dict, what)
    for checksum in checksums.values():
        if not _SHA256.fullmatch(_typed(checksum, str, what)):
            raise ValueError(f"{what}: not a SHA-256")
    return checksums


def _count(value: Any, what: str) -> int:
    if isinstance(value, bool) or not 0 <= _typed(value, int, what) < 2**53:
        raise ValueError(f"{what}: not a count")
    return value


def _typed(value: Any, kind: type[Value], what: str) -> Value:
    if not isinstance(value, kind):
        raise TypeError(f"{what} must be a {kind.__name__}, is a {type(value).__name__}")
    return value
