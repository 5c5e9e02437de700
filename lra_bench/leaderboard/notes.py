"""The notes under a table of accuracies: what its signs mean, and which data it is of."""

from collections.abc import Iterable, Sequence

from lra_bench.contracts import Cautioned
from lra_bench.leaderboard.board import SECOND, Board
from lra_bench.leaderboard.results import ABOVE_CHANCE, BUDGET
from lra_bench.leaderboard.significance import MIN_SEEDS
from lra_bench.records.record import Record
from lra_bench.registry import IDENTITY, TASKS

# The sign of a result that is not better than that without attention.
NO_BETTER = "(-)"

# Options of the data that follow others' code, and are off in our own protocol; in words.
_READINGS = {
    ("brackets", "dropped"): "read without brackets, as in others' code until 4 March 2021",
    ("black", "padding"): "black pixels are padding, as in others' code",
    ("validation", "paper-compat"): "validated on its test set, which so chose the step it is "
    "tested at",
}


def signs(board: Board, columns: Sequence[str] | None = None) -> list[str]:
    """Return what the figures and signs of a table mean, a phrase for each that is in it.

    Args:
        board: the leaderboard.
        columns: headings of the columns that are shown; None for all.
    """
    notes = ["mean ± sd over seeds, test accuracy at the best validation step"]
    if board.averages and _is_shown("average", columns):
        notes.append(
            "averages are of unrounded figures, and only where every task has one; "
            "a failure at chance counts with the accuracy it has"
        )
    if any(result.at_chance for result in board.results):
        notes.append(f"at chance: a seed not {ABOVE_CHANCE} standard errors above the row chance")
    if any(row.is_over_budget for row in board.rows) and _is_shown("vs softmax", columns):
        notes.append(f"(!): over {100 * (BUDGET - 1):.0f} % more parameters than softmax")
    if any(result.runs[0].init_from for result in board.results):
        notes.append("from: fine-tuned, after that attention's own training")
    return notes


def _is_shown(words: str, columns: Sequence[str] | None) -> bool:
    """Return whether a column is shown whose heading has these words."""
    return columns is None or any(words in heading for heading in columns)


def marking(board: Board) -> str:
    """Return the sentence that says how the best are marked, or why none is."""
    if len(board.rows) < 2:
        return ""
    scores = [score for result in board.results for score in result.tests.values()]
    examples = "" if all(score.answers for score in scores) else ", where known,"
    rule = (
        "better than every other row that has an accuracy, at the 5 % level by a t-test paired "
        f"over seeds and{examples} test examples, with {MIN_SEEDS} seeds or more, corrected for "
        "the number of columns by Holm's method"
    )
    if not board.marks:
        return f"No figure is bold: none is {rule}."
    second = "; underlined: the same, but for the bold one"
    return f"Bold: {rule}{second if SECOND in board.marks.values() else ''}."


def readings(run: Record) -> dict[str, str]:
    """Return the options by which a run reads its data as others did, each with its meaning.

    The keys are such as "brackets=dropped".
    """
    options = run.config["data"]
    return {
        f"{option}={value}": words
        for (option, value), words in _READINGS.items()
        if options.get(option) == value
    }


def readings_note(runs: Iterable[Record]) -> str:
    """Return the sentence that names the tasks whose data are read as others did; "" if none is."""
    found = {(run.task, *item): None for run in runs for item in readings(run).items()}
    parts = [f"{task} ({option}): {words}" for task, option, words in sorted(found)]
    return f"Not our own protocol: {'; '.join(parts)}." if parts else ""


def cautions_note(runs: Iterable[Record]) -> str:
    """Return the sentences of the tasks that say what their accuracies do not show; "" if none."""
    parts = {task: _caution(task) for task in dict.fromkeys(run.task for run in runs)}
    return " ".join(f"{task}: {text}." for task, text in parts.items() if text)


def _caution(task: str) -> str:
    entry = TASKS.find(task)
    target = None if entry is None else entry.target
    return target.caution if isinstance(target, Cautioned) else ""


def over_identity(board: Board) -> str:
    """Return the sentences on which results are better than those without attention."""
    labels = {row.attention for row in board.rows}
    if labels == {IDENTITY}:
        return ""
    if IDENTITY not in labels:
        return f"No row shows what the model does without attention: {IDENTITY} has no record here."
    tests = len(board.beats_identity)
    corrected = f" and corrected for the {tests} comparisons of this table" if tests > 1 else ""
    rule = (
        f"significantly better than {IDENTITY}, which mixes no tokens, by the same test, "
        f"one-sided{corrected}"
    )
    sign = f"{NO_BETTER}: not {rule}." if any(map(board.is_no_better, board.results)) else ""
    return " ".join(filter(None, (sign, _untested(board))))


def _untested(board: Board) -> str:
    """Return the sentence on results that have no verdict over `identity`; "" if all have one."""
    parts = []
    for task in board.tasks:
        rows = [result for result in board.of_task(task) if result.attention != IDENTITY]
        rows = [result for result in rows if result.failure() is None]
        unsure = [x.attention for x in rows if (x.attention, task) not in board.beats_identity]
        if unsure:
            parts.append(task if unsure == [x.attention for x in rows] else _of(task, unsure))
    few = f"for fewer than {MIN_SEEDS} seeds of it or of the row"
    return f"Not compared with {IDENTITY}, {few}: {'; '.join(parts)}." if parts else ""


def _of(task: str, attentions: list[str]) -> str:
    return f"on {task} {', '.join(attentions)}"


def unofficial(runs: Iterable[Record]) -> dict[str, list[str]]:
    """Return the tasks that were run on other data than the published ones, with their sources."""
    sources: dict[str, set[str]] = {}
    for run in runs:
        if run.data is not None and not run.data.official:
            sources.setdefault(run.task, set()).add(str(run.data.source))
    return {task: sorted(names) for task, names in sorted(sources.items())}


def unofficial_note(runs: Iterable[Record]) -> str:
    """Return the sentence that names the tasks with unpublished data; "" if there are none."""
    tasks = [f"{task} ({x})" for task, sources in unofficial(runs).items() for x in sources]
    return f"Data that are not the published data: {', '.join(tasks)}." if tasks else ""
