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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lra_bench.contracts import SPLITS, Guessable, Task
from lra_bench.data.location import Location
from lra_bench.data.manifest import LABELS, TOKENS, Manifest, SplitManifest, read_manifest
from lra_bench.errors import RunError, UsageError
from lra_bench.files.npy import npy_header
from lra_bench.files.regular import open_regular, sha256

_BLOCK_BYTES = 8 * 2**20
# What is guessed at a task that does not say.
COMMONEST = "always the commonest answer"


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
class Chance:
    """The accuracy of a guess that needs nothing of what a task tests.

    Attributes:
        accuracy: in [0, 1].
        guess: what is guessed, in words.
    """

    accuracy: float
    guess: str = COMMONEST


def chance_of(task: Task, split: Split) -> Chance:
    """Return the chance that the task states, else that of the commonest label of the split."""
    if isinstance(task, Guessable):
        return Chance(task.chance(), task.guess)
    return Chance(split.chance())


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
    """Open a store, and check its files against the manifest and against the task.

    Checked are the checksums of all files, the form of the arrays, and all labels. Whether the data
    are official is decided anew. Token ids are checked where the manifest has no checksum.

    Raises:
        UsageError: there is no store.
        RunError: the manifest is damaged, a file doesn't match its checksum, or the store holds
            other data than the task's.
    """
    if not location.exists():
        command = f"lra-bench data prepare {location.task}"
        raise UsageError(f"no data at {location.path}; prepare them with {command}")
    manifest = read_manifest(location)
    _require_same(location, manifest)
    splits = {name: _open_split(location, manifest, name) for name in SPLITS}
    if location.definition is not None:
        official = location.definition.official(location.source, manifest.inputs, manifest.sizes)
        manifest = replace(manifest, official=official)
    return Store(splits, manifest)


def _require_same(location: Location, manifest: Manifest) -> None:
    """Raise RunError if the manifest is that of another task, source, version or options."""
    if (task := location.definition) is None:
        return
    options = json.loads(json.dumps(task.data_options(location.source)))
    expected = (location.task, location.source, task.version, options)
    if (manifest.task, manifest.source, manifest.version, manifest.options) != expected:
        text = f"{location.manifest} describes other data than {location.task}'s"
        raise RunError(f"{text}; {location.remedy}")


def _open_split(location: Location, manifest: Manifest, name: str) -> Split:
    """Open the arrays of a split, after their checks."""
    folder, facts = location.path / name, manifest.splits[name]
    for file, digest in facts.files.items():
        _check(location, folder / file, digest)
    task = location.definition
    row = None if task is None else (2, task.max_len) if task.paired else (task.max_len,)
    try:
        tokens = _open_array(folder / TOKENS, ("uint8", "uint16"), facts.examples, row)
        labels = np.array(_open_array(folder / LABELS, ("int32",), facts.examples, ()))
    except (OSError, ValueError) as error:
        raise RunError(f"{folder}: {error}; {location.remedy}") from None
    split = Split(tokens, labels)
    wrong = _wrong_values(split, facts, task, is_sealed=manifest.checksum is not None)
    if wrong:
        raise RunError(f"{folder} holds {wrong}; {location.remedy}")
    return split


def _check(location: Location, file: Path, digest: str) -> None:
    try:
        matches = sha256(file) == digest
    except FileNotFoundError:
        matches = False
    except OSError as error:
        raise RunError(f"{file}: {error.strerror or error}; {location.remedy}") from None
    if not matches:
        raise RunError(f"{file} doesn't match its checksum; {location.remedy}")


def _open_array(
    file: Path, dtypes: Sequence[str], examples: int, row: tuple[int, ...] | None
) -> np.ndarray:
    """Map an array into memory; only its header is read.

    Args:
        file: the .npy file.
        dtypes: the names of the dtypes that it may have.
        examples: the number of rows that it must have.
        row: the shape that each row must have; None for any.

    Raises:
        ValueError: it is another array.
    """
    with open_regular(file) as stream:
        shape, is_fortran, dtype = npy_header(stream)
        start = stream.tell()
    wanted = (examples, *(shape[1:] if row is None else row))
    if shape != wanted or dtype.str not in [np.dtype(name).str for name in dtypes] or is_fortran:
        form = f"{dtype.name} {shape}{' in the order of Fortran' if is_fortran else ''}"
        form += "" if dtype.isnative else " in another byte order"
        raise ValueError(f"{file.name} is {form}, must be {' or '.join(dtypes)} {wanted}")
    return np.memmap(file, dtype, "r", start, shape)


def _wrong_values(
    split: Split, facts: SplitManifest, task: Task | None, *, is_sealed: bool
) -> str | None:
    """Return which labels or tokens are wrong, in words; None if none is."""
    low, high = int(split.labels.min()), int(split.labels.max())
    classes = task.num_classes if task else len(facts.label_histogram)
    if low < 0 or high >= classes:
        return f"a label outside 0..{classes - 1}"
    if np.bincount(split.labels, minlength=classes).tolist() != facts.label_histogram:
        return "other labels than its manifest says"
    if task and not is_sealed and largest_token(split.tokens) >= task.vocab_size:
        return f"a token outside 0..{task.vocab_size - 1}"
    return None


def largest_token(tokens: np.ndarray) -> int:
    """Return the largest id in the tokens, (n, ...); at most some megabytes are read at once."""
    rows = max(1, _BLOCK_BYTES // max(1, tokens[:1].nbytes))
    return max(int(tokens[start : start + rows].max()) for start in range(0, len(tokens), rows))
