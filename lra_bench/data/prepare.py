"""Make a token store from what a task reads."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lra_bench.contracts import SPLITS, Reading, Report, Task, silent, source_of
from lra_bench.data.location import SCHEMA, Location
from lra_bench.data.manifest import Manifest, SplitManifest, read_manifest, write_manifest
from lra_bench.errors import RunError
from lra_bench.files import locked, read_json, sha256, write_json


def prepare(
    task: Task, location: Location, path: Path | None = None, report: Report = silent
) -> None:
    """Make the store unless it exists; a second process waits for the first.

    Args:
        path: where the source's files are; None for generators.
        report: shows which step is under way, and how far it is.

    Raises:
        RunError: the source's files are missing or broken, or the store holds other data.
    """
    if location.exists():
        if path is not None:
            _refuse_other_files(task, location, path)
        return
    with _locked_telling(location.lock, report):
        if not location.exists():
            for leftover in location.leftovers():
                shutil.rmtree(leftover, ignore_errors=True)
            notes: list[str] = []
            reading = Reading(location.source, path, location.scratch, report, notes.append)
            _write_store(task, location, reading, notes)
        shutil.rmtree(location.scratch, ignore_errors=True)


@contextlib.contextmanager
def _locked_telling(lock: Path, report: Report) -> Iterator[None]:
    """Hold the lock; report the wait if another process holds it."""
    with locked(lock, wait=False) as ours:
        if ours:
            yield
            return
    report("waiting for another process", 0, None)
    with locked(lock, wait=True):
        yield


def remember(location: Location, path: Path) -> None:
    """Remember where the source's files are, for the stores of other presets."""
    with contextlib.suppress(PermissionError):  # the data root may belong to another user
        write_json(location.remembered, {"path": str(path.resolve())})


def remembered(task: Task, location: Location) -> Path | None:
    """Return where the source's files were read last; None if they are no longer there."""
    try:
        path = Path(read_json(location.remembered)["path"])
        task.inputs(location.source, path)
    except (OSError, ValueError, KeyError, TypeError, RunError):
        return None
    return path


def _refuse_other_files(task: Task, location: Location, path: Path) -> None:
    """Raise RunError if the store was made from other files than those at `path`."""
    manifest = read_manifest(location)
    inputs = {name: sha256(file) for name, file in task.inputs(location.source, path).items()}
    if manifest.inputs != inputs:
        raise RunError(f"{location.path} holds other data, of {manifest.path}; {location.remedy}")


def _write_store(task: Task, location: Location, reading: Reading, notes: list[str]) -> None:
    temporary = location.temporary
    try:
        inputs = _checksums(task, reading)
        splits = _write_splits(temporary, task, reading)
        manifest = _describe(task, reading, inputs, splits, notes)
        write_manifest(temporary / location.manifest.name, manifest)
        if location.path.exists():  # a folder without a manifest is not a store
            shutil.rmtree(location.path)
        temporary.rename(location.path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _checksums(task: Task, reading: Reading) -> dict[str, str]:
    """Return the SHA-256 of each of the source's files, by its name."""
    inputs = task.inputs(reading.source, reading.path)
    checksums = {}
    for number, (name, file) in enumerate(inputs.items()):
        reading.report("checksums", number, len(inputs))
        checksums[name] = sha256(file)
    return checksums


def _describe(
    task: Task,
    reading: Reading,
    inputs: dict[str, str],
    splits: dict[str, SplitManifest],
    notes: list[str],
) -> Manifest:
    sizes = {name: split.examples for name, split in splits.items()}
    return Manifest(
        schema=SCHEMA,
        task=task.name,
        source=reading.source,
        path=str(reading.path.resolve()) if reading.path else None,
        inputs=inputs,
        options=task.data_options(reading.source),
        version=task.version,
        split_rule=source_of(task, reading.source).splits,
        splits=splits,
        notes=notes,
        official=task.official(reading.source, inputs, sizes),
    )


def _write_splits(folder: Path, task: Task, reading: Reading) -> dict[str, SplitManifest]:
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
    """Append blocks of tokens to tokens.npy; keep the labels in memory until the end."""

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
        """Write the npy header; numpy leaves room in it for any number of rows."""
        assert self._row is not None
        dtype, shape = self._row
        header = {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False,
            "shape": (self.examples, *shape),
        }
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, header)

    def finish(self) -> SplitManifest:
        """Complete the files and return the split's part of the manifest."""
        self._write_header()
        self.close()
        labels = np.concatenate(self.labels).astype(np.int32)
        np.save(self.folder / "labels.npy", labels)
        histogram = np.bincount(labels, minlength=self.task.num_classes).tolist()
        files = {name: sha256(self.folder / name) for name in ("tokens.npy", "labels.npy")}
        return SplitManifest(self.examples, histogram, files)

    def close(self) -> None:
        self._file.close()
