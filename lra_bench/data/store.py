"""The token store: a task's examples as memory-mapped arrays with a manifest.

    <data root>/<task>/<source>-<fingerprint>/manifest.json
                                             /<split>/tokens.npy   uint8 or uint16 (n, [2,] l)
                                             /<split>/labels.npy   int32 (n,)

The fingerprint is of the options that the data depend on, so that different data never meet in
one folder. A store is written beside its place and moved there when whole.
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lra_bench.errors import RunError, UsageError
from lra_bench.files import locked, sha256, write_json
from lra_bench.registry import Task

SCHEMA = 1
SPLITS = ("train", "validation", "test")
Report = Callable[[str, int], None]


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
    options = {"version": task.version, **task.data_options(source)}
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()
    return root / task.name / f"{source}-{digest[:12]}"


def prepare(root: Path, task: Task, source: str, path: Path | None, report: Report) -> Path:
    """Make the store unless it is there; a second process waits for the first.

    Args:
        path: where the source's files are; None for generators.
        report: called with the split's name and how many of its examples are written.

    Raises:
        RunError: the source's files are missing or broken.
    """
    place = location(root, task, source)
    with locked(place.with_name(f".{place.name}.lock"), wait=True):
        if not (place / "manifest.json").exists():
            for leftover in place.parent.glob(f".{place.name}.*.tmp"):
                shutil.rmtree(leftover, ignore_errors=True)
            _write_store(place, task, source, path, report)
        elif path is not None:
            _refuse_other_path(place, path)
    return place


def _refuse_other_path(place: Path, path: Path) -> None:
    """Data that are there already aren't replaced by others unasked."""
    known = json.loads((place / "manifest.json").read_text()).get("path")
    if known != str(path.resolve()):
        raise RunError(f"{place} holds the data of {known}; {_remedy(place)}")


def _write_store(place: Path, task: Task, source: str, path: Path | None, report: Report) -> None:
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        splits = _write_splits(temporary, task, source, path, report)
        sizes = {name: split["examples"] for name, split in splits.items()}
        manifest = {
            "schema": SCHEMA,
            "task": task.name,
            "source": source,
            "path": str(path.resolve()) if path else None,
            "options": task.data_options(source),
            "version": task.version,
            "official": task.official(source, sizes),
            "splits": splits,
        }
        write_json(temporary / "manifest.json", manifest)
        if place.exists():  # without a manifest: not a store
            shutil.rmtree(place)
        temporary.rename(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_splits(
    folder: Path, task: Task, source: str, path: Path | None, report: Report
) -> dict[str, Any]:
    writers: dict[str, _SplitWriter] = {}
    try:
        for split, tokens, labels in task.read(source, path):
            if split not in writers:
                writers[split] = _SplitWriter(folder / split, task.num_classes)
            writers[split].add(tokens, labels)
            report(split, writers[split].examples)
        missing = [split for split in SPLITS if split not in writers]
        if missing:
            raise RunError(f"{task.name}: no examples in {', '.join(missing)}")
        return {name: writer.finish() for name, writer in writers.items()}
    finally:
        for writer in writers.values():
            writer.close()


class _SplitWriter:
    """Appends blocks to tokens.npy and keeps the labels until the end."""

    def __init__(self, folder: Path, num_classes: int) -> None:
        folder.mkdir(parents=True)
        self.folder, self.num_classes = folder, num_classes
        self.labels: list[np.ndarray] = []
        self.examples = 0
        self._file = (folder / "tokens.npy").open("wb")
        self._row: tuple[np.dtype, tuple[int, ...]] | None = None

    def add(self, tokens: np.ndarray, labels: np.ndarray) -> None:
        if self._row is None:
            self._row = (tokens.dtype, tokens.shape[1:])
            self._write_header()
        if len(labels) and not 0 <= labels.min() <= labels.max() < self.num_classes:
            raise RunError(f"{self.folder.name}: a label outside 0..{self.num_classes - 1}")
        self._file.write(np.ascontiguousarray(tokens).data)
        self.labels.append(labels)
        self.examples += len(labels)

    def _write_header(self) -> None:
        """The npy header; numpy leaves room in it for any number of rows."""
        assert self._row is not None
        dtype, shape = self._row
        header = {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False,
            "shape": (self.examples, *shape),
        }
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, header)

    def finish(self) -> dict[str, Any]:
        """Complete the files; what the manifest says of the split."""
        self._write_header()
        self.close()
        labels = np.concatenate(self.labels).astype(np.int32)
        np.save(self.folder / "labels.npy", labels)
        histogram = np.bincount(labels, minlength=self.num_classes).tolist()
        files = {name: sha256(self.folder / name) for name in ("tokens.npy", "labels.npy")}
        return {"examples": self.examples, "label_histogram": histogram, "files": files}

    def close(self) -> None:
        self._file.close()


def open_store(place: Path) -> Store:
    """Open a store and check its files against the manifest.

    Raises:
        UsageError: there is no store.
        RunError: the manifest can't be read, or a file isn't what it says.
    """
    if not (place / "manifest.json").exists():
        command = f"lra-bench data prepare {place.parent.name} [--source PATH] [--preset PRESET]"
        raise UsageError(f"no data at {place}; they are made by {command}")
    try:
        manifest = json.loads((place / "manifest.json").read_text())
        digests = {
            place / split / name: digest
            for split, facts in manifest["splits"].items()
            for name, digest in facts["files"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RunError(f"{place / 'manifest.json'} is damaged; {_remedy(place)}") from None
    for file, digest in digests.items():
        if not file.exists() or sha256(file) != digest:
            raise RunError(f"{file} doesn't match its checksum; {_remedy(place)}")
    return Store({split: _open_split(place / split) for split in manifest["splits"]}, manifest)


def _open_split(folder: Path) -> Split:
    return Split(np.load(folder / "tokens.npy", mmap_mode="r"), np.load(folder / "labels.npy"))


def _remedy(place: Path) -> str:
    return f"remove the folder {place} and prepare it again"
