"""The token store: a task's examples as memory-mapped arrays with a manifest.

    <data root>/<task>/<source>-<fingerprint>/manifest.json
                                             /<split>/tokens.npy   uint8 or uint16 (n, [2,] l)
                                             /<split>/labels.npy   int32 (n,)

The fingerprint is a hash of the options that the data depend on, so different data never share a
folder. A store is written to a temporary folder, which is renamed when the store is complete.
"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lra_bench.data.location import Location
from lra_bench.data.manifest import Manifest, read_manifest
from lra_bench.errors import RunError, UsageError
from lra_bench.files import sha256


@dataclass(frozen=True)
class Split:
    """The examples of one split.

    Attributes:
        tokens: token ids, uint8 or uint16 (n, l), or (n, 2, l) for two documents an example.
        labels: class numbers, int32 (n,).
    """

    tokens: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def example(self, index: int) -> tuple[np.ndarray, int]:
        """Return the tokens, (l,) or (2, l), and the label of an example."""
        return np.asarray(self.tokens[index]), int(self.labels[index])

    def spread(self, count: int) -> list[int]:
        """Return at most `count` indices, evenly spaced: neighbours may share a class."""
        return np.linspace(0, len(self) - 1, min(count, len(self))).astype(int).tolist()

    def chance(self) -> float:
        """Return the accuracy, in [0, 1], of always predicting the most frequent label."""
        return Counter(self.labels.tolist()).most_common(1)[0][1] / len(self)


@dataclass(frozen=True)
class Provenance:
    """The data of a run, as its record describes them.

    Attributes:
        source: name of the task's source; None if unknown.
        sha256: checksum of all arrays; None if unknown.
        sizes: examples of each split.
        official: whether these are the published data of the benchmark.
    """

    source: str | None
    sha256: str | None
    sizes: dict[str, int]
    official: bool


@dataclass(frozen=True)
class Store:
    """The examples of a task, whose files match their checksums.

    Attributes:
        splits: by name: train, validation, test.
        manifest: what the data are.
    """

    splits: dict[str, Split]
    manifest: Manifest

    def example(self, split: str, index: int) -> tuple[np.ndarray, int]:
        """Return the tokens and the label of example `index` of `split`."""
        return self.splits[split].example(index)

    def provenance(self) -> Provenance:
        """Return what the record of a run says of its data."""
        splits = self.manifest.splits
        digests = json.dumps([splits[name].files for name in sorted(splits)], sort_keys=True)
        return Provenance(
            source=self.manifest.source,
            sha256=hashlib.sha256(digests.encode()).hexdigest(),
            sizes=self.manifest.sizes,
            official=self.manifest.official,
        )


def open_store(location: Location) -> Store:
    """Open a store and check its files against the manifest.

    Raises:
        UsageError: there is no store.
        RunError: the manifest is damaged, or a file does not match its checksum.
    """
    if not location.exists():
        raise UsageError(_no_data(location))
    manifest = read_manifest(location)
    for name, split in manifest.splits.items():
        for file, digest in split.files.items():
            _check(location, location.path / name / file, digest)
    return Store({name: _open_split(location.path / name) for name in manifest.splits}, manifest)


def _check(location: Location, file: Path, digest: str) -> None:
    if not file.exists() or sha256(file) != digest:
        raise RunError(f"{file} doesn't match its checksum; {location.remedy}")


def _no_data(location: Location) -> str:
    """Return the message that says how to prepare the store, and which other sources have one."""
    command = f"lra-bench data prepare {location.task} [--source PATH] [--preset PRESET]"
    manifests = (location.root / location.task).glob("*/manifest.json")
    sources = {path.parent.name.rpartition("-")[0] for path in manifests}
    others = " and ".join(sorted(sources - {location.source}))
    hint = f"; there are data of --source {others}" if others else ""
    return f"no data at {location.path}; prepare them with {command}{hint}"


def _open_split(folder: Path) -> Split:
    return Split(np.load(folder / "tokens.npy", mmap_mode="r"), np.load(folder / "labels.npy"))
