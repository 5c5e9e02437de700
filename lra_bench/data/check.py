"""Check a store, one finding for each check."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from lra_bench.contracts import Task
from lra_bench.data.canary import STANDARD_ERRORS, try_canary
from lra_bench.data.store import Split, Store

_BLOCK = 4_096
# The official IMDb reviews have a few in train and test alike, 0.5 %.
_MOST_SHARED = 0.01
# With fewer test examples the canary may fail on good data.
_FEWEST_JUDGED = 500


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        what: the name of the check.
        ok: whether it passed; None where inputs are too short or too few to tell.
        text: what was measured.
    """

    what: str
    ok: bool | None
    text: str


def check(task: Task, store: Store) -> Iterator[Finding]:
    """Yield all findings on a store whose checksums match."""
    manifest = store.manifest
    yield Finding("checksums", True, "all files are as they were written")
    path = f" from {manifest.path}" if manifest.path else ""
    yield Finding("source", True, f"{manifest.source}{path}: {manifest.origin}")
    yield Finding("splits", True, manifest.split_rule)
    yield from (Finding("left out", None, note) for note in manifest.notes)
    for name, split in store.splits.items():
        yield _labels(name, split, task)
    for name, split in store.splits.items():
        yield _lengths(name, split, task)
    yield from _duplicates(store, whole=_is_whole(task))
    yield _canary(task, store)


def _labels(name: str, split: Split, task: Task) -> Finding:
    counts = np.bincount(split.labels, minlength=task.num_classes)
    named = zip(task.class_names, counts, strict=True)
    text = ", ".join(f"{label} {count:,}" for label, count in named)
    several = bool(np.count_nonzero(counts) > 1)
    return Finding(
        f"{name} labels",
        several,
        f"{len(split):,} examples, chance {split.chance():.1%}: {text}"
        + ("" if several else "; all the same"),
    )


def _lengths(name: str, split: Split, task: Task) -> Finding:
    what = f"{name} lengths"
    if task.pad_id is None:
        return Finding(what, True, f"{task.max_len:,} tokens each, none is padding")
    lengths, holes = [], 0
    for start in range(0, len(split), _BLOCK):
        real = split.tokens[start : start + _BLOCK] != task.pad_id
        lengths.append(real.sum(axis=-1).ravel())
        holes += int((real[..., 1:] > real[..., :-1]).any(axis=-1).sum())
    counts = np.concatenate(lengths)
    low, middle, high = np.percentile(counts, [0, 50, 100]).astype(int)
    text = f"{low:,} to {high:,} tokens, median {middle:,}"
    text += f"; {np.mean(counts == task.max_len):.1%} fill all {task.max_len:,}"
    if holes:
        text += f"; {holes:,} have padding before their end"
    return Finding(what, low > 0 and not holes, text + ("" if low else "; some are empty"))


def _is_whole(task: Task) -> bool:
    """Return whether inputs have the task's full length: shortened inputs may become equal."""
    return task.max_len >= type(task)().max_len


def _duplicates(store: Store, *, whole: bool) -> Iterator[Finding]:
    digests = {name: [_digest(row) for row in split.tokens] for name, split in store.splits.items()}
    for first, second in combinations(digests, 2):
        in_first = set(digests[first])
        shared = sum(digest in in_first for digest in digests[second])
        share = shared / len(digests[second])
        text = f"{shared:,} of {second} ({share:.2%}) also in {first}"
        if digests[first] == digests[second]:
            yield Finding("duplicates", None, f"{first} is the {second} set")
        elif share > _MOST_SHARED and not whole:
            yield Finding("duplicates", None, f"{text}; inputs are cut or shrunk")
        else:
            yield Finding("duplicates", share <= _MOST_SHARED, text)


def _digest(row: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(row).data, digest_size=16).digest()


def _canary(task: Task, store: Store) -> Finding:
    canary = try_canary(task, store)
    if canary is None:
        return Finding("canary", None, "not tried: too few examples, or images too coarse")
    verdict = "above" if canary.passes else "NOT above"
    judged = canary.examples >= _FEWEST_JUDGED and _is_whole(task)
    return Finding(
        "canary",
        True if canary.passes else False if judged else None,
        f"a linear model is right on {canary.accuracy:.1%} of {canary.examples:,} test examples, "
        f"{verdict} chance ({canary.chance:.1%}) by {STANDARD_ERRORS} standard errors",
    )
