"""Measure how often a guess that reads almost nothing is right on ListOps of the full size.

    python benchmarks/listops_guess.py DATA_DIR [FOLDER ...]

DATA_DIR is that of runs of preset `nystromformer`; what it lacks is prepared there. Each guess is
the commonest value in the training set: of all expressions; of those with the same first operator;
of those with the same first operator and the same least, greatest and number of digits that follow
it at once, which are surely its arguments. Printed are the shares of right guesses in percent.

For each record of such a run in a FOLDER it prints on how many test examples, in percent, run and
guess are both right or both wrong.
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable
from pathlib import Path

import numpy as np

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
    "commonest value": nothing,
    "of the first operator": first_operator,
    "of it and its first digits": first_arguments,
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


def opened(task: Task, folder: Path) -> Store:
    """Return the data of a task, prepared if they are not there."""
    location = locate(folder, task, "generate")
    return open_store(location) if location.exists() else prepare(task, location, None)


def compare(run: Record, guessed: np.ndarray) -> str:
    """Return in percent how often run and guess are both right or both wrong.

    A run may leave out the last examples, which do not fill a batch.
    """
    shares = None if run.test is None else run.test.shares()
    if shares is None:
        return "unknown"
    return f"{100 * np.mean((shares > 0) == guessed[: len(shares)]):5.1f}"


def main() -> None:
    """Print the shares for both forms of the task, and the comparisons with runs of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("folders", type=Path, nargs="*")
    args = parser.parse_args()
    runs = collect(args.folders) if args.folders else []
    for brackets in ("dropped", "kept"):
        overrides = [f"data.brackets={brackets}"]
        settings = make_settings("listops", "linear", "nystromformer", 0, overrides)
        splits = opened(make_task("listops", settings.data), args.data_dir).splits
        same = [run for run in runs if run.config["data"]["brackets"] == brackets]
        for name, key in GUESSES.items():
            guess = answers(splits["train"], key)
            found = {each: right(splits[each], key, guess) for each in _SPLITS}
            shares = " ".join(f"{100 * found[each].mean():5.1f}" for each in _SPLITS)
            print(f"brackets {brackets:<8} {name:<27} {shares}")
            for run in same:
                agreement = compare(run, found["test"])
                print(f"{'':<18}agrees with {run.attention}, seed {run.seed}: {agreement}")


if __name__ == "__main__":
    main()
