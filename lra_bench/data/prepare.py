"""Making a token store from what a task reads."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lra_bench.contracts import SPLITS, Reading, Report, Task, silent, source_of
from lra_bench.data.store import SCHEMA, exists, location, read_manifest, remedy
from lra_bench.errors import RunError
from lra_bench.files import locked, sha256, write_json


def prepare(
    root: Path, task: Task, source: str, path: Path | None = None, report: Report = silent
) -> Path:
    """Make the store unless it is there; a second process waits for the first.

    Args:
        path: where the source's files are; None for generators.
        report: tells people what is being done, how far, and out of how many, where known.

    Raises:
        RunError: the source's files are missing or broken.
    """
    place = location(root, task, source)
    if exists(place):
        if path is not None:
            _refuse_other_files(place, task, source, path)
        return place
    with _locked_telling(_beside(place, "lock"), report):
        scratch = _beside(place, "scratch")
        if not exists(place):
            for leftover in place.parent.glob(f".{place.name}.*.tmp"):
                shutil.rmtree(leftover, ignore_errors=True)
            notes: list[str] = []
            reading = Reading(source, path, scratch, report, notes.append)
            _write_store(place, task, reading, notes)
        shutil.rmtree(scratch, ignore_errors=True)
    return place


@contextlib.contextmanager
def _locked_telling(lock: Path, report: Report) -> Iterator[None]:
    """Hold the lock; say so where another process has it."""
    with locked(lock, wait=False) as ours:
        if ours:
            yield
            return
    report("waiting for another process", 0, None)
    with locked(lock, wait=True):
        yield


def remember(root: Path, task: Task, source: str, path: Path) -> None:
    """Keep in mind where a source's files are, for the stores of other presets."""
    with contextlib.suppress(PermissionError):  # a data directory that others keep
        write_json(_memory(root, task, source), {"path": str(path.resolve())})


def remembered(root: Path, task: Task, source: str) -> Path | None:
    """Where the source's files were when they were last read; None if they aren't any more."""
    try:
        path = Path(json.loads(_memory(root, task, source).read_text())["path"])
        task.inputs(source, path)
    except (OSError, ValueError, KeyError, TypeError, RunError):
        return None
    return path


def _memory(root: Path, task: Task, source: str) -> Path:
    return root / task.name / f".{source}.json"


def _beside(place: Path, suffix: str) -> Path:
    return place.with_name(f".{place.name}.{suffix}")


def _refuse_other_files(place: Path, task: Task, source: str, path: Path) -> None:
    """Data that are there already aren't replaced by others unasked."""
    known = read_manifest(place)
    found = {name: sha256(file) for name, file in task.inputs(source, path).items()}
    if known.get("inputs") != found:
        raise RunError(f"{place} holds other data, of {known.get('path')}; {remedy(place)}")


def _write_store(place: Path, task: Task, reading: Reading, notes: list[str]) -> None:
    temporary = _beside(place, f"{os.getpid()}.tmp")
    try:
        manifest = _describe(task, reading)
        manifest["splits"] = splits = _write_splits(temporary, task, reading)
        manifest["notes"] = notes
        sizes = {name: split["examples"] for name, split in splits.items()}
        manifest["official"] = task.official(reading.source, manifest["inputs"], sizes)
        write_json(temporary / "manifest.json", manifest)
        if place.exists():  # without a manifest: not a store
            shutil.rmtree(place)
        temporary.rename(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _describe(task: Task, reading: Reading) -> dict[str, Any]:
    """The manifest, but for what is known only when all is read."""
    inputs = task.inputs(reading.source, reading.path)
    checksums = {}
    for number, (name, file) in enumerate(inputs.items()):
        reading.report("checksums", number, len(inputs))
        checksums[name] = sha256(file)
    return {
        "schema": SCHEMA,
        "task": task.name,
        "source": reading.source,
        "path": str(reading.path.resolve()) if reading.path else None,
        "inputs": checksums,
        "options": task.data_options(reading.source),
        "version": task.version,
        "split_rule": source_of(task, reading.source).splits,
    }


def _write_splits(folder: Path, task: Task, reading: Reading) -> dict[str, Any]:
    writers: dict[str, _SplitWriter] = {}
    sizes = task.sizes(reading.source)
    try:
        for split, tokens, labels in task.read(reading):
            if split not in writers:
                writers[split] = _SplitWriter(folder / split, task)
            writers[split].add(tokens, labels)
            if sizes:
                reading.report(split, writers[split].examples, sizes[split])
        missing = [split for split in SPLITS if split not in writers]
        if missing:
            raise RunError(f"{task.name}: no examples in {', '.join(missing)}")
        return {name: writer.finish() for name, writer in writers.items()}
    finally:
        for writer in writers.values():
            writer.close()


class _SplitWriter:
    """Appends blocks to tokens.npy and keeps the labels until the end."""

    def __init__(self, folder: Path, task: Task) -> None:
        folder.mkdir(parents=True)
        self.folder, self.task = folder, task
        self.labels: list[np.ndarray] = []
        self.examples = 0
        self._file = (folder / "tokens.npy").open("wb")
        self._row: tuple[np.dtype, tuple[int, ...]] | None = None

    def add(self, tokens: np.ndarray, labels: np.ndarray) -> None:
        if self._row is None:
            self._row = (tokens.dtype, tokens.shape[1:])
            self._write_header()
        self._require("label", labels, self.task.num_classes)
        self._require("token", tokens, self.task.vocab_size)
        self._file.write(np.ascontiguousarray(tokens).data)
        self.labels.append(labels)
        self.examples += len(labels)

    def _require(self, what: str, values: np.ndarray, limit: int) -> None:
        if len(values) and not 0 <= values.min() <= values.max() < limit:
            raise RunError(f"{self.task.name} {self.folder.name}: a {what} outside 0..{limit - 1}")

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
        histogram = np.bincount(labels, minlength=self.task.num_classes).tolist()
        files = {name: sha256(self.folder / name) for name in ("tokens.npy", "labels.npy")}
        return {"examples": self.examples, "label_histogram": histogram, "files": files}

    def close(self) -> None:
        self._file.close()
