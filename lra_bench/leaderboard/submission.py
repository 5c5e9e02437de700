"""Whether records may stand on a leaderboard."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lra_bench.errors import UsageError
from lra_bench.leaderboard.board import AVERAGES
from lra_bench.records import record
from lra_bench.records.departures import departures
from lra_bench.records.labels import label
from lra_bench.records.record import Record
from lra_bench.runtime.environment import Environment

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
class RuleCheck:
    """One rule, held to or not.

    Attributes:
        rule: in words.
        faults: where it is broken, a line each; none where it is held to.
    """

    rule: str
    faults: tuple[str, ...]


def check(records: Sequence[Record]) -> list[RuleCheck]:
    """Hold the records of one row to each rule."""
    return [RuleCheck(rule, tuple(faults(records))) for rule, faults in _RULES.items()]


def rows(records: Sequence[Record]) -> dict[str, list[Record]]:
    """The records of each row: of an attention with its options, in a preset."""
    found: dict[str, list[Record]] = {}
    for run in records:
        found.setdefault(f"{label(run)}, preset {run.preset}", []).append(run)
    return dict(sorted(found.items()))


def _schema(records: Sequence[Record]) -> Iterator[str]:
    for run in records:
        if run.test is not None and run.test.correct is None:
            yield f"{run.name}: doesn't say which test examples are right; an older version's"


def _all_tasks(records: Sequence[Record]) -> Iterator[str]:
    for task in TASKS:
        seeds = {run.seed for run in records if run.task == task}
        if not seeds:
            yield f"no run on {task}"
        elif len(seeds) < SEEDS:
            yield f"{task}: {len(seeds)} of {SEEDS} seeds"


def _ended(records: Sequence[Record]) -> Iterator[str]:
    for run in records:
        if run.status == "failed":
            yield f"{run.name}: failed: {run.error}"


def _budget(records: Sequence[Record]) -> Iterator[str]:
    for run in records:
        ratio = run.parameters_vs_softmax
        if ratio is not None and ratio > BUDGET:
            yield f"{run.name}: {ratio:.2f} of softmax's"


def _official(records: Sequence[Record]) -> Iterator[str]:
    for run in records:
        if not run.is_official:
            source = run.data.source if run.data else "unknown"
            yield f"{run.name}: data are of source {source!r}"


def _same_data(records: Sequence[Record]) -> Iterator[str]:
    for task in TASKS:
        sums = {run.data_sha256 for run in records if run.task == task}
        if len(sums) > 1:
            yield f"{task}: {len(sums)} different data"


def _clean(records: Sequence[Record]) -> Iterator[str]:
    for run in records:
        environment = run.environment or Environment()
        commit = environment.git_commit or ""
        if commit.endswith("-dirty"):
            yield f"{run.name}: sources were changed after commit {commit[:8]}"
        if not commit and not environment.versions:
            yield f"{run.name}: says neither commit nor version"


def _as_preset(records: Sequence[Record]) -> Iterator[str]:
    for run in records:
        try:
            changed = departures(run)
        except UsageError as error:
            yield f"{run.name}: {error}"
            continue
        found = [str(departure) for departure in changed if departure.key not in FREE]
        if found:
            yield f"{run.name}: {', '.join(found)}"


def _alone(records: Sequence[Record]) -> Iterator[str]:
    for run in records:
        if run.init_from is not None:
            yield f"{run.name}: starts with {run.init_from.attention}'s parameters"


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
