"""Measure how often a guess that reads almost nothing is right on ListOps of the full size.

    python benchmarks/listops_guess.py DATA_DIR OUT [FOLDER ...]

DATA_DIR is that of runs of preset `nystromformer`; what it lacks is prepared there. Each guess is
the commonest value in the training set: of all expressions; of those with the same first operator;
of those with the same first operator and the same least, greatest and number of digits that follow
it at once, which are surely its arguments. OUT/guesses.csv has the shares of right guesses.

OUT/agreement.csv has, for each record of such a run in a FOLDER, on what share of the test examples
run and guess are both right or both wrong.
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lra_bench.config import make_settings
from lra_bench.contracts import Task
from lra_bench.data.location import locate
from lra_bench.data.prepare import prepare
from lra_bench.data.store import Split, Store, open_store
from lra_bench.records.find import collect
from lra_bench.records.record import Record
from lra_bench.registry import make_task
from lra_bench.tasks._listops_trees import SYMBOLS

_ZERO = SYMBOLS.index("0")
_DIGITS = range(_ZERO, _ZERO + 10)
_SPLITS = ("train", "validation", "test")

Key = Callable[[np.ndarray], Hashable]


def nothing(_tokens: np.ndarray) -> Hashable:
    """Return the same key for each expression."""
    return None


def first_operator(tokens: np.ndarray) -> Hashable:
    """Return the first token."""
    return int(tokens[0])


def first_arguments(tokens: np.ndarray) -> Hashable:
    """Return the first operator, and what the digits are that follow it before another symbol."""
    digits = []
    for token in tokens[1:]:
        if token not in _DIGITS:
            break
        digits.append(int(token))
    return int(tokens[0]), min(digits, default=None), max(digits, default=None), len(digits)


GUESSES: dict[str, Key] = {
    "the commonest value": nothing,
    "the commonest value of the first operator": first_operator,
    "... of the first operator and the digits that follow it at once": first_arguments,
}


def answers(split: Split, key: Key) -> dict[Hashable, int]:
    """Return the commonest label of the expressions with each key."""
    counts: defaultdict[Hashable, Counter[int]] = defaultdict(Counter)
    for tokens, label in zip(split.tokens, split.labels, strict=True):
        counts[key(tokens)][int(label)] += 1
    return {each: labels.most_common(1)[0][0] for each, labels in counts.items()}


def right(split: Split, key: Key, guess: dict[Hashable, int]) -> np.ndarray:
    """Return for each expression whether the guess is right."""
    guessed = [guess.get(key(tokens), -1) for tokens in split.tokens]
    return np.asarray(guessed) == np.asarray(split.labels)


def agreement(run: Record, guessed: np.ndarray) -> float:
    """Return how often run and guess are both right or both wrong, in [0, 1]; NaN if unknown.

    A run may leave out the last examples, which do not fill a batch.
    """
    shares = None if run.test is None else run.test.shares()
    if shares is None:
        return float("nan")
    return float(np.mean((shares > 0) == guessed[: len(shares)]))


def opened(task: Task, folder: Path) -> Store:
    """Return the data of a task, prepared if they are not there."""
    location = locate(folder, task, "generate")
    return open_store(location) if location.exists() else prepare(task, location, None)


def measure(
    brackets: str, folder: Path, runs: list[Record]
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yield for each guess its row of shares, and its rows of agreement with runs."""
    settings = make_settings("listops", "linear", "nystromformer", 0, [f"data.brackets={brackets}"])
    store = opened(make_task("listops", settings.data), folder)
    same = [run for run in runs if run.data and run.data.sha256 == store.provenance().sha256]
    for name, key in GUESSES.items():
        named = {"brackets": brackets, "guess": name}
        guess = answers(store.splits["train"], key)
        found = {split: right(store.splits[split], key, guess) for split in _SPLITS}
        agreeing = [
            {**named, "attention": run.attention, "seed": run.seed,
             "agreement": agreement(run, found["test"])}
            for run in same
        ]  # fmt: skip
        yield {**named, **{split: found[split].mean() for split in _SPLITS}}, agreeing


def main() -> None:
    """Write and print both tables, for both forms of the task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="*")
    args = parser.parse_args()
    runs = collect(args.folders) if args.folders else []
    forms = ("dropped", "kept")
    rows = [row for form in forms for row in measure(form, args.data_dir, runs)]
    args.out.mkdir(parents=True, exist_ok=True)
    tables = {"guesses": [shares for shares, _ in rows]}
    if runs:
        tables["agreement"] = [each for _, agreeing in rows for each in agreeing]
    for name, values in tables.items():
        table = pd.DataFrame(values).round(6)
        table.to_csv(args.out / f"{name}.csv", index=False)
        print(table.to_string(index=False))


if __name__ == "__main__":
    main()
