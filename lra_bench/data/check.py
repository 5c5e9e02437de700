"""What is checked of a store, each as a finding."""

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
# With fewer test examples a canary may fail on good data.
_TELLING = 500


@dataclass(frozen=True)
class Finding:
    """One thing that was checked: whether it is as it should be, and what was seen.

    `ok` is None where it can't be said, since inputs are cut short or few.
    """

    what: str
    ok: bool | None
    text: str


def check(task: Task, store: Store) -> Iterator[Finding]:
    """All findings on a store whose checksums match, one after the other."""
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
    found = np.concatenate(lengths)
    low, middle, high = np.percentile(found, [0, 50, 100]).astype(int)
    text = f"{low:,} to {high:,} tokens, median {middle:,}"
    text += f"; {np.mean(found == task.max_len):.1%} fill all {task.max_len:,}"
    if holes:
        text += f"; {holes:,} have padding before their end"
    return Finding(what, low > 0 and not holes, text + ("" if low else "; some are empty"))


def _is_whole(task: Task) -> bool:
    """Whether inputs are as long as the task's own: what is cut or shrunk may become alike."""
    return task.max_len >= type(task)().max_len


def _duplicates(store: Store, *, whole: bool) -> Iterator[Finding]:
    digests = {name: [_digest(row) for row in split.tokens] for name, split in store.splits.items()}
    for one, two in combinations(digests, 2):
        known = set(digests[one])
        shared = sum(digest in known for digest in digests[two])
        share = shared / len(digests[two])
        text = f"{shared:,} of {two} ({share:.2%}) also in {one}"
        if digests[one] == digests[two]:
            yield Finding("duplicates", None, f"{one} is the {two} set")
        elif share > _MOST_SHARED and not whole:
            yield Finding("duplicates", None, f"{text}; inputs are cut or shrunk")
        else:
            yield Finding("duplicates", share <= _MOST_SHARED, text)


def _digest(row: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(row).data, digest_size=16).digest()


def _canary(task: Task, store: Store) -> Finding:
    canary = try_canary(task, store)
    if canary is None:
        return Finding("canary", None, "not tried: too few examples, or too coarse")
    verdict = "above" if canary.sings else "NOT above"
    judged = canary.examples >= _TELLING and _is_whole(task)
    return Finding(
        "canary",
        True if canary.sings else False if judged else None,
        f"a linear model gets {canary.accuracy:.1%} of {canary.examples:,} test examples, "
        f"{verdict} chance ({canary.chance:.1%}) by {STANDARD_ERRORS} standard errors",
    )
