"""Whether records may stand on a leaderboard."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lra_bench.errors import UsageError
from lra_bench.leaderboard.board import AVERAGES
from lra_bench.leaderboard.comparable import departures
from lra_bench.leaderboard.results import Record, label
from lra_bench.records import record

TASKS = AVERAGES[5]
SEEDS = 3
BUDGET = 1.10
# What a row may choose for itself: how its parameters are found, not what they are asked.
FREE = (
    "data.source",
    "train.accumulate",
    "train.eval_batch_size",
    "train.log_every",
    "model.dtype",
)


@dataclass(frozen=True)
class Finding:
    """One rule, held to or not.

    Attributes:
        rule: in words.
        faults: where it is broken, a line each; none where it is held to.
    """

    rule: str
    faults: tuple[str, ...]


def check(records: Sequence[Record]) -> list[Finding]:
    """Hold the records of one row to each rule."""
    return [Finding(rule, tuple(faults(records))) for rule, faults in _RULES.items()]


def rows(records: Sequence[Record]) -> dict[str, list[Record]]:
    """The records of each row: of an attention with its options, in a preset."""
    found: dict[str, list[Record]] = {}
    for run in records:
        found.setdefault(f"{label(run)}, preset {run['preset']}", []).append(run)
    return dict(sorted(found.items()))


def _schema(records: Sequence[Record]) -> Iterator[str]:
    for run in records:
        if "correct" not in (run["test"] or {"correct": ""}):
            yield f"{_name(run)}: doesn't say which test examples are right; an older version's"


def _all_tasks(records: Sequence[Record]) -> Iterator[str]:
    for task in TASKS:
        seeds = {run["seed"] for run in records if run["task"] == task}
        if not seeds:
            yield f"no run on {task}"
        elif len(seeds) < SEEDS:
            yield f"{task}: {len(seeds)} of {SEEDS} seeds"


def _ended(records: Sequence[Record]) -> Iterator[str]:
    for run in records:
        if run["status"] == "failed":
            yield f"{_name(run)}: failed: {run['error']}"


def _budget(records: Sequence[Record]) -> Iterator[str]:
    for run in records:
        ratio = run["parameters_vs_softmax"]
        if ratio is not None and ratio > BUDGET:
            yield f"{_name(run)}: {ratio:.2f} of softmax's"


def _official(records: Sequence[Record]) -> Iterator[str]:
    for run in records:
        data = run["data"] or {}
        if not data.get("official"):
            yield f"{_name(run)}: data are of source {data.get('source', 'unknown')!r}"


def _same_data(records: Sequence[Record]) -> Iterator[str]:
    for task in TASKS:
        sums = {(run["data"] or {}).get("sha256") for run in records if run["task"] == task}
        if len(sums) > 1:
            yield f"{task}: {len(sums)} different data"


def _clean(records: Sequence[Record]) -> Iterator[str]:
    for run in records:
        place = run["environment"] or {}
        commit = str(place.get("git_commit") or "")
        if commit.endswith("-dirty"):
            yield f"{_name(run)}: sources were changed after commit {commit[:8]}"
        if not commit and "versions" not in place:
            yield f"{_name(run)}: says neither commit nor version"


def _as_preset(records: Sequence[Record]) -> Iterator[str]:
    for run in records:
        try:
            changed = departures(run)
        except UsageError as error:
            yield f"{_name(run)}: {error}"
            continue
        found = [f"{key}={value}" for key, value in changed.items() if key not in FREE]
        if found:
            yield f"{_name(run)}: {', '.join(found)}"


def _alone(records: Sequence[Record]) -> Iterator[str]:
    for run in records:
        if run["init_from"] is not None:
            yield f"{_name(run)}: starts with {run['init_from']['attention']}'s parameters"


def _name(run: Record) -> str:
    return run.get("path") or f"{run['task']}, seed {run['seed']}"


_RULES: dict[str, Callable[[Sequence[Record]], Iterator[str]]] = {
    f"records of schema {record.SCHEMA} that say which test examples are right": _schema,
    f"at least {SEEDS} seeds of each of {', '.join(TASKS)}": _all_tasks,
    "no run failed (one that diverged or ran out of memory is a result)": _ended,
    f"at most {BUDGET:.2f} of softmax's parameters": _budget,
    "the published data": _official,
    "the same data for all seeds of a task": _same_data,
    "a clean checkout or an installed release": _clean,
    f"the preset's settings, but for {', '.join(FREE)} and the attention's options": _as_preset,
    "trained from scratch": _alone,
}
