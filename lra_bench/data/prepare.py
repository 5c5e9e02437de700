"""Make a token store from what a task reads."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lra_bench.contracts import (
    HELD_OUT,
    SPLITS,
    Reading,
    Report,
    Task,
    TokenTask,
    silent,
    source_of,
)
from lra_bench.data.location import OTHER_ROOT, SCHEMA, Location
from lra_bench.data.manifest import (
    LABELS,
    TOKENS,
    Manifest,
    SplitManifest,
    read_manifest,
    write_manifest,
)
from lra_bench.data.store import Store, open_store
from lra_bench.errors import NOT_ALLOWED, RunError, UsageError, is_disk_full
from lra_bench.files.json_files import read_json, write_json
from lra_bench.files.locks import locked
from lra_bench.files.regular import sha256
from lra_bench.runtime.memory import TO_READ_ARCHIVES, require_address_space


def prepare(
    task: Task, location: Location, path: Path | None = None, report: Report = silent
) -> Store:
    """Make the store unless it is there and undamaged; a second process waits for the first.

    Args:
        path: where the source's files are; None for generators.
        report: shows which step is under way, and how far it is.

    Raises:
        UsageError: the folder of all data can't be written to.
        RunError: the source's files are missing or broken, or the store holds other data.
    """
    store, _ = try_open(location)
    if store is None:
        if path is not None:
            require_address_space(TO_READ_ARCHIVES, "to read files")
        with writable(location), _locked_telling(location.lock, report):
            return try_open(location)[0] or _make(task, location, path, report)
    if path is not None:
        refuse_other_files(task, location, path)
    return store


def try_open(location: Location) -> tuple[Store | None, str | None]:
    """Return the store, and why it can't be used; None and None if there is none."""
    try:
        return (open_store(location), None) if location.exists() else (None, None)
    except RunError as error:
        return None, str(error)


def _make(task: Task, location: Location, path: Path | None, report: Report) -> Store:
    """Write the store anew, in place of a damaged one, and open it."""
    for leftover in location.leftovers():
        shutil.rmtree(leftover, ignore_errors=True)
    notes: list[str] = []
    reading = Reading(location.source, path, location.scratch, report, notes.append)
    _write_store(task, location, reading, notes)
    shutil.rmtree(location.scratch, ignore_errors=True)
    return open_store(location)


@contextlib.contextmanager
def writable(location: Location) -> Iterator[None]:
    """Name the way on if the block can't write to the folder of all data.

    Raises:
        UsageError: it can't.
    """
    try:
        yield
    except OSError as error:
        place = error.filename or location.root
        inside = Path(os.fsdecode(place)).is_relative_to(location.root)
        if error.errno in NOT_ALLOWED and inside:
            text = f"can't write to {place} ({error.strerror}); {OTHER_ROOT}"
            raise UsageError(text) from None
        _name_full_disk(location, error)
        raise
    except RuntimeError as error:  # array_record raises no OSError for a full disk
        _name_full_disk(location, error)
        raise


def _name_full_disk(location: Location, error: Exception) -> None:
    if is_disk_full(error):
        raise RunError(f"no space left in {location.root}; {OTHER_ROOT}") from error


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
    try:
        write_json(location.remembered, {"path": str(path.resolve())})
    except OSError as error:
        if error.errno not in NOT_ALLOWED:  # the data root may belong to another user
            raise


def remembered(task: Task, location: Location) -> Path | None:
    """Return where the source's files were read last; None if they are no longer there."""
    try:
        path = Path(read_json(location.remembered)["path"])
        task.inputs(location.source, path)
    except (OSError, ValueError, KeyError, TypeError, RunError):
        return None
    return path


def refuse_other_files(task: Task, location: Location, path: Path, report: Report = silent) -> None:
    """Raise RunError if the store was made from other files than those at `path`."""
    manifest = read_manifest(location)
    inputs = _checksums(task, Reading(location.source, path, location.scratch, report))
    if manifest.inputs != inputs:
        raise RunError(f"{location.path} holds other data, of {manifest.path}; {location.remedy}")


def _write_store(task: Task, location: Location, reading: Reading, notes: list[str]) -> None:
    temporary = location.temporary
    try:
        inputs = _checksums(task, reading)
        splits = _write_splits(temporary, task, reading, notes)
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
    _refuse_twice(task, inputs, checksums)
    return checksums


def _refuse_twice(task: Task, inputs: dict[str, Path], checksums: dict[str, str]) -> None:
    """Raise RunError if two of the files have the same contents, which would count twice."""
    first: dict[str, str] = {}
    for name, checksum in checksums.items():
        other = first.setdefault(checksum, name)
        if other != name:
            files = f"{inputs[other]} and {inputs[name]}"
            raise RunError(f"{task.name}: {files} have the same contents, which would count twice")


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


def _write_splits(
    folder: Path, task: Task, reading: Reading, notes: list[str]
) -> dict[str, SplitManifest]:
    writers: dict[str, _SplitWriter] = {}
    sizes = task.sizes(reading.source)
    try:
        for split, tokens, labels in task.read(reading):
            if split not in (*SPLITS, HELD_OUT):
                raise RunError(f"{task.name}: no split is called {split!r}")
            if split not in writers:
                writers[split] = _SplitWriter(folder / split, task)
            writers[split].add(tokens, labels)
            if sizes:
                reading.report(split, writers[split].examples, sizes[split])
        missing = [name for name in SPLITS if name not in writers or not writers[name].examples]
        if missing:
            text = f"{task.name}: no examples in {', '.join(missing)}"
            why = f": {reading.path} holds too few" if reading.path else ""
            raise RunError(text + why + (f" ({notes[0]})" if notes else ""))
        if len({writer.dtype for writer in writers.values()}) > 1:
            raise RunError(f"{task.name}: tokens must be all uint8 or all uint16, in every split")
        return {name: writers[name].finish() for name in (*SPLITS, HELD_OUT) if name in writers}
    finally:
        for writer in writers.values():
            writer.close()


class _SplitWriter:
    """Append blocks of tokens and labels to the files of a split, and count them."""

    def __init__(self, folder: Path, task: Task) -> None:
        folder.mkdir(parents=True)
        self.folder, self.task, self.examples = folder, task, 0
        self._row = (2, task.max_len) if task.paired else (task.max_len,)
        self._tokens: _Array | None = None
        self._labels = _Array(folder / LABELS, np.dtype(np.int32), ())
        self._histogram = np.zeros(task.num_classes, np.int64)
        self._scored = np.zeros(task.vocab_size, np.int64) if isinstance(task, TokenTask) else None

    @property
    def dtype(self) -> np.dtype | None:
        """Return the dtype of the tokens; None before the first."""
        return None if self._tokens is None else self._tokens.dtype

    def add(self, tokens: np.ndarray, labels: np.ndarray) -> None:
        if self._tokens is None:
            self._tokens = _Array(self.folder / TOKENS, tokens.dtype, self._row)
        self._require_form(tokens, labels, self._tokens.dtype)
        self._require("label", labels, self.task.num_classes)
        self._require("token", tokens, self.task.vocab_size)
        self._tokens.append(tokens)
        self._labels.append(labels)
        self.examples += len(labels)
        self._histogram += np.bincount(labels, minlength=self.task.num_classes)
        if isinstance(self.task, TokenTask) and self._scored is not None:
            scored = tokens[self.task.scored(tokens)]
            self._scored += np.bincount(scored, minlength=self.task.vocab_size)

    def _require_form(self, tokens: np.ndarray, labels: np.ndarray, dtype: np.dtype) -> None:
        """Raise RunError for arrays of another dtype or shape."""
        form, shape = f"{tokens.dtype} {tokens.shape}", (len(labels), *self._row)
        if tokens.dtype not in (np.uint8, np.uint16) or tokens.dtype != dtype:
            raise RunError(f"{self.task.name}: tokens are {form}, must be all uint8 or all uint16")
        if tokens.shape != shape or labels.shape != shape[:1] or labels.dtype.kind not in "iu":
            labelled = f"labels {labels.dtype} {labels.shape}"
            raise RunError(f"{self.task.name}: tokens are {form}, must be {shape}; {labelled}")

    def _require(self, what: str, values: np.ndarray, limit: int) -> None:
        if len(values) and not 0 <= values.min() <= values.max() < limit:
            raise RunError(f"{self.task.name} {self.folder.name}: a {what} outside 0..{limit - 1}")

    def finish(self) -> SplitManifest:
        """Complete the files and return the split's part of the manifest."""
        for array in filter(None, (self._tokens, self._labels)):
            array.finish()
        files = {name: sha256(self.folder / name) for name in (TOKENS, LABELS)}
        scored = None if self._scored is None else self._scored.tolist()
        return SplitManifest(self.examples, self._histogram.tolist(), files, scored)

    def close(self) -> None:
        for array in filter(None, (self._tokens, self._labels)):
            array.close()


class _Array:
    """An .npy file to which rows are appended, so that memory does not grow with it."""

    def __init__(self, path: Path, dtype: np.dtype, row: tuple[int, ...]) -> None:
        self.dtype, self._row, self._rows = dtype, row, 0
        self._file = path.open("wb")
        self._write_header()

    def append(self, rows: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(rows, self.dtype).data)
        self._rows += len(rows)

    def _write_header(self) -> None:
        """Write the npy header; numpy leaves room in it for any number of rows."""
        header = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (self._rows, *self._row),
        }
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, header)

    def finish(self) -> None:
        """Write the number of rows, and close the file."""
        self._write_header()
        self.close()

    def close(self) -> None:
        self._file.close()
