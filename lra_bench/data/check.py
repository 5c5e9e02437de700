"""Check a store, one finding for each check."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from lra_bench.contracts import Computable, Guessable, Task, TokenTask
from lra_bench.data.canary import STANDARD_ERRORS, try_canary
from lra_bench.data.chance import chance_of
from lra_bench.data.store import Split, Store, largest_token

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
    if manifest.checksum is None:
        yield Finding("manifest", None, "it has no checksum, so a change of it would not show")
    path = f" from {manifest.path}" if manifest.path else ""
    yield Finding("source", True, f"{manifest.source}{path}: {manifest.origin}")
    yield Finding("splits", True, manifest.split_rule)
    yield from (Finding("note", None, note) for note in manifest.notes)
    for name, split in store.splits.items():
        yield (
            _predicted(name, store, task)
            if isinstance(task, TokenTask)
            else _labels(name, split, task)
        )
    for name, split in store.splits.items():
        yield _lengths(name, split, task)
    for name, split in store.splits.items():
        yield _tokens(name, split, task)
        if isinstance(task, Computable):
            yield _values(name, split, task)
    yield from _duplicates(task, store)
    yield _canary(task, store)


def _predicted(name: str, store: Store, task: TokenTask) -> Finding:
    """Return what is predicted in a split, and what the frequencies of tokens reach there."""
    chance = chance_of(task, store, name)
    tokens = sum(store.manifest.splits[name].token_histogram or [])
    text = f"{len(store.splits[name]):,} examples, {tokens:,} tokens to predict"
    baseline = f"{chance.accuracy:.2%} of them right"
    if chance.loss is not None:
        baseline += f", perplexity {math.exp(chance.loss):.2f}"
    what = f"{name} predicted"
    return Finding(what, tokens > 0, f"{text}; {chance.guess}: {baseline}")


def _labels(name: str, split: Split, task: Task) -> Finding:
    counts = np.bincount(split.labels, minlength=task.num_classes)
    named = zip(task.class_names, counts, strict=True)
    text = ", ".join(f"{label} {count:,}" for label, count in named)
    several = bool(np.count_nonzero(counts) > 1)
    chance = task.chance() if isinstance(task, Guessable) else split.chance()
    return Finding(
        f"{name} labels",
        several,
        f"{len(split):,} examples, chance {chance:.1%}: {text}"
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
    if task.side is not None:
        return _black(what, int((counts == 0).sum()), text)
    if holes:
        text += f"; {holes:,} have padding before their end"
    return Finding(what, low > 0 and not holes, text + ("" if low else "; some are empty"))


def _black(what: str, empty: int, text: str) -> Finding:
    """Return the finding on images whose padding is their black pixels, which are anywhere."""
    text += "; the others are black, which is padding"
    return Finding(
        what, None if empty else True, text + (f"; {empty:,} are all black" * bool(empty))
    )


def _tokens(name: str, split: Split, task: Task) -> Finding:
    largest, last = largest_token(split.tokens), task.vocab_size - 1
    text = f"ids up to {largest}" if largest <= last else f"an id of {largest}, must be 0 to {last}"
    return Finding(f"{name} tokens", largest <= last, text)


def _values(name: str, split: Split, task: Computable) -> Finding:
    """Compare the labels with those that follow from the tokens."""
    wrong = broken = 0
    for start in range(0, len(split), _BLOCK):
        right = task.compute_labels(np.asarray(split.tokens[start : start + _BLOCK]))
        if right is None:
            text = "labels do not follow from these inputs; they were compared with the whole ones"
            return Finding(f"{name} values", None, f"{text} when the data were prepared")
        broken += int((right < 0).sum())
        wrong += int(((right >= 0) & (right != split.labels[start : start + _BLOCK])).sum())
    text = "all labels are those of their inputs"
    if wrong or broken:
        text = f"{wrong:,} labels are wrong, {broken:,} inputs break the grammar"
    return Finding(f"{name} values", not (wrong or broken), text)


def _is_whole(task: Task) -> bool:
    """Return whether inputs have the task's full length: shortened inputs may become equal."""
    return task.max_len >= type(task)().max_len


def _duplicates(task: Task, store: Store) -> Iterator[Finding]:
    digests = {name: [_digest(row) for row in split.tokens] for name, split in store.splits.items()}
    counts = Counter(digests["train"])
    repeated = sum(count for count in counts.values() if count > 1)
    again = repeated / len(digests["train"])
    few = again <= _MOST_SHARED
    text = f"{repeated:,} of train ({again:.2%}) occur more than once in it"
    yield Finding("duplicates", few or (False if _is_whole(task) else None), text)
    for first, second in combinations(digests, 2):
        known = (first, second) == ("validation", "test") and _validates_on_test(task)
        if digests[first] == digests[second]:
            yield Finding("duplicates", None if known else False, f"{first} is the {second} set")
        else:
            found = _shared(first, second, digests, again)
            yield replace(found, ok=None, text=f"{found.text}, as chosen") if known else found


def _validates_on_test(task: Task) -> bool:
    """Return whether the task's options make the test set the validation set."""
    return getattr(task, "validates_on_test", False)


def _shared(first: str, second: str, digests: dict[str, list[bytes]], again: float) -> Finding:
    """Count the examples of the second split that are in the first.

    Short or shortened inputs may be equal by chance. As many as that may be equal to an example of
    train are equal to another one within train: the share `again`, in [0, 1].
    """
    in_first, size = set(digests[first]), len(digests[second])
    shared = sum(digest in in_first for digest in digests[second])
    text = f"{shared:,} of {second} ({shared / size:.2%}) also in {first}"
    if shared <= _MOST_SHARED * size:
        return Finding("duplicates", True, text)
    by_chance = again * size + STANDARD_ERRORS * math.sqrt(again * size)
    if shared <= by_chance:
        return Finding("duplicates", None, f"{text}; so short inputs are equal by chance")
    return Finding("duplicates", False, text)


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
