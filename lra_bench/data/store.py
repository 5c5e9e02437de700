"""The token store: a task's examples as memory-mapped arrays with a manifest.

    <data root>/<task>/<source>-<fingerprint>/manifest.json
                                             /<split>/tokens.npy   uint8 or uint16 (n, [2,] l)
                                             /<split>/labels.npy   int32 (n,)

The fingerprint is of the options that the data depend on, so that different data never meet in
one folder. A store is written beside its place and moved there when whole.
"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lra_bench.contracts import Task
from lra_bench.errors import RunError, UsageError
from lra_bench.files import sha256

SCHEMA = 2


@dataclass(frozen=True)
class Split:
    """The examples of one split."""

    tokens: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def example(self, index: int) -> tuple[np.ndarray, int]:
        """Tokens and label; the same for the same index, always and everywhere."""
        return np.asarray(self.tokens[index]), int(self.labels[index])

    def spread(self, count: int) -> list[int]:
        """At most `count` indices, evenly spread: neighbours may be of one class."""
        return np.linspace(0, len(self) - 1, min(count, len(self))).astype(int).tolist()

    def chance(self) -> float:
        """The accuracy of always naming the commonest label."""
        return Counter(self.labels.tolist()).most_common(1)[0][1] / len(self)


@dataclass(frozen=True)
class Store:
    """A checked store: its splits and its manifest."""

    splits: dict[str, Split]
    manifest: dict[str, Any]

    def example(self, split: str, index: int) -> tuple[np.ndarray, int]:
        """Example `index` of `split`."""
        return self.splits[split].example(index)

    def provenance(self) -> dict[str, Any]:
        """What a run's record says of its data."""
        splits = self.manifest["splits"]
        digests = json.dumps([splits[s]["files"] for s in sorted(splits)], sort_keys=True)
        return {
            "source": self.manifest["source"],
            "sha256": hashlib.sha256(digests.encode()).hexdigest(),
            "sizes": {name: split["examples"] for name, split in splits.items()},
            "official": self.manifest["official"],
        }


def location(root: Path, task: Task, source: str) -> Path:
    """Where the store of these data lies."""
    options = {"schema": SCHEMA, "version": task.version, **task.data_options(source)}
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()
    return root / task.name / f"{source}-{digest[:12]}"


def exists(place: Path) -> bool:
    """Whether a whole store lies there."""
    return (place / "manifest.json").exists()


def open_store(place: Path) -> Store:
    """Open a store and check its files against the manifest.

    Raises:
        UsageError: there is no store.
        RunError: the manifest can't be read, or a file isn't what it says.
    """
    if not exists(place):
        command = f"lra-bench data prepare {place.parent.name} [--source PATH] [--preset PRESET]"
        raise UsageError(f"no data at {place}; they are made by {command}{_others(place)}")
    manifest = read_manifest(place)
    try:
        digests = {
            place / split / name: digest
            for split, facts in manifest["splits"].items()
            for name, digest in facts["files"].items()
        }
    except (KeyError, TypeError, AttributeError):
        raise _damaged(place) from None
    for file, digest in digests.items():
        if not file.exists() or sha256(file) != digest:
            raise RunError(f"{file} doesn't match its checksum; {remedy(place)}")
    return Store({split: _open_split(place / split) for split in manifest["splits"]}, manifest)


def _others(place: Path) -> str:
    """Which other sources of the task there are stores of."""
    stores = {path.parent.name.rpartition("-")[0] for path in place.parent.glob("*/manifest.json")}
    others = sorted(stores - {place.name.rpartition("-")[0]})
    return f"; there are some of --source {' and '.join(others)}" if others else ""


def read_manifest(place: Path) -> dict[str, Any]:
    """The manifest of a store.

    Raises:
        RunError: it can't be read.
    """
    try:
        manifest = json.loads((place / "manifest.json").read_text())
    except ValueError:
        raise _damaged(place) from None
    if not isinstance(manifest, dict):
        raise _damaged(place)
    return manifest


def origin(manifest: dict[str, Any]) -> str:
    """Whose data these are, in words."""
    return "the published data" if manifest["official"] else "not the published data"


def _damaged(place: Path) -> RunError:
    return RunError(f"{place / 'manifest.json'} is damaged; {remedy(place)}")


def _open_split(folder: Path) -> Split:
    return Split(np.load(folder / "tokens.npy", mmap_mode="r"), np.load(folder / "labels.npy"))


def remedy(place: Path) -> str:
    """What to do about a store that is wrong."""
    return f"remove the folder {place} and prepare it again"
