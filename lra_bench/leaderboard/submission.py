"""Check whether records may stand on a leaderboard."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lra_bench.errors import UsageError
from lra_bench.leaderboard.board import AVERAGES
from lra_bench.leaderboard.results import BUDGET
from lra_bench.records import record
from lra_bench.records.departures import departures
from lra_bench.records.labels import labels
from lra_bench.records.record import Record
from lra_bench.runtime.environment import Environment

TASKS = AVERAGES[5]
SEEDS = 3
# Settings that a row may choose: they change how parameters are found, not the problem.
FREE = (
    "data.source",
    "train.accumulate",
    "train.eval_batch_size",
    "train.log_every",
    "model.dtype",
)


@dataclass(frozen=True)
class RuleCheck:
    """A rule, and where the records of a row break it.

    Attributes:
        rule: in words.
        faults: one line for each place where the rule is broken; empty if it holds.
    """

    rule: str
    faults: tuple[str, ...]


def check(records: Sequence[Record]) -> list[RuleCheck]:
    """Check the records of one row against each rule."""
    return [RuleCheck(rule, tuple(faults(records))) for rule, faults in _RULES.items()]


def rows(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Group records by row, that is by an attention with its options in a preset."""
    by_row: dict[str, list[Record]] = {}
    for run, name in zip(records, labels(records), strict=True):
        by_row.setdefault(f"{name}, preset {run.preset}", []).append(run)
    return dict(sorted(by_row.items()))


def _tells_answers(records: Sequence[Record]) -> Iterator[str]:
    for run in records:
        if run.test is not None and run.test.answers is None:
            yield f"{run.name}: from an older version, does not say which test examples are right"


def _all_tasks(records: Sequence[Record]) -> Iterator[str]:
    for task in TASKS:
        seeds = {run.seed for run in records if run.task == task}
        if not seeds:
            yield f"no run on {task}"
        elif len(seeds) < SEEDS:
            yield f"{task}: {len(seeds)} of {SEEDS} seeds"


def _none_failed(records: Sequence[Record]) -> Iterator[str]:
    for run in records:
        if run.status == "failed":
            yield f"{run.name}: failed: {run.error}"


def _within_budget(records: Sequence[Record]) -> Iterator[str]:
    for run in records:
        ratio = run.parameters_vs_softmax
        if ratio is not None and ratio > BUDGET:
            yield f"{run.name}: {ratio:.2f} times the parameters of softmax"


def _official(records: Sequence[Record]) -> Iterator[str]:
    for run in records:
        if not run.is_official:
            source = run.data.source if run.data else "unknown"
            yield f"{run.name}: the source of the data is {source!r}"


def _same_data(records: Sequence[Record]) -> Iterator[str]:
    for task in TASKS:
        checksums = {run.data_sha256 for run in records if run.task == task}
        if len(checksums) > 1:
            yield f"{task}: {len(checksums)} different sets of data"


def _clean(records: Sequence[Record]) -> Iterator[str]:
    for run in records:
        environment = run.environment or Environment()
        commit = environment.git_commit or ""
        if commit.endswith("-dirty"):
            yield f"{run.name}: the code was changed after commit {commit[:8]}"
        if not commit and not environment.versions:
            yield f"{run.name}: tells neither commit nor version"


def _as_preset(records: Sequence[Record]) -> Iterator[str]:
    for run in records:
        try:
            changed = departures(run)
        except UsageError as error:
            yield f"{run.name}: {error}"
            continue
        overrides = [str(departure) for departure in changed if departure.key not in FREE]
        if overrides:
            yield f"{run.name}: {', '.join(overrides)}"


def _from_scratch(records: Sequence[Record]) -> Iterator[str]:
    for run in records:
        if run.init_from is not None:
            yield f"{run.name}: started with the parameters of {run.init_from.attention}"


_RULES: dict[str, Callable[[Sequence[Record]], Iterator[str]]] = {
    f"records of schema {record.SCHEMA} that say which test examples are right": _tells_answers,
    f"at least {SEEDS} seeds of each of {', '.join(TASKS)}": _all_tasks,
    "no run failed (one that diverged or ran out of memory is a result)": _none_failed,
    f"at most {BUDGET:.2f} times the parameters of softmax": _within_budget,
    "the published data": _official,
    "the same data for all seeds of a task": _same_data,
    "a clean checkout or an installed release": _clean,
    f"the preset's settings, except {', '.join(FREE)} and the attention's options": _as_preset,
    "trained from scratch": _from_scratch,
}
