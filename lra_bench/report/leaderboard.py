"""The leaderboard: a table for each setting, with what is behind each cell."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from lra_bench.leaderboard import published_table
from lra_bench.leaderboard.board import AVERAGES, Row, in_order
from lra_bench.leaderboard.results import ABOVE_CHANCE, Figure, Result
from lra_bench.leaderboard.tables import rule
from lra_bench.registry import REFERENCE
from lra_bench.report import cell_details
from lra_bench.report.inputs import RunTable
from lra_bench.report.markup import Html, anchor, joined, scrolling, tag
from lra_bench.report.ratios import TIMES, relative


@dataclass(frozen=True)
class TableEntry:
    """A cell of the table.

    Attributes:
        shown: what a reader sees.
        value: what it is sorted by; None comes last.
    """

    shown: object = ""
    value: float | None = None


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        title: its heading.
        of: its entry in a row.
        foot: its entry in the last row, which says what chance gives.
    """

    title: object
    of: Callable[[Row], TableEntry]
    foot: object = ""


def section(settings: list[RunTable], *, with_published: bool) -> Html:
    """All settings, one below the other; then what others have published."""
    parts = [_setting(setting) for setting in settings]
    if with_published:
        parts.append(_published(settings))
    return joined(parts, "\n")


def _setting(setting: RunTable) -> Html:
    title = tag("h3", f"preset {setting.title}")
    notes = tag("p", _notes(setting))
    return tag("section", title, leaderboard(setting), notes, data_tags=setting.tags,
               id=f"board-{setting.name}")  # fmt: skip


def leaderboard(setting: RunTable) -> Html:
    """The table of one setting, made of `columns`: the one place that says what is in it."""
    found = columns(setting)
    head = tag("tr", *(tag("th", x, scope="col") for x in ("attention", *(c.title for c in found))))
    rows = [_row(row, found) for row in setting.board.rows]
    foot = tag("tr", tag("th", "chance", scope="row"), *(tag("td", c.foot) for c in found))
    parts = (tag("thead", head), tag("tbody", *rows), tag("tfoot", foot))
    said = f"Test accuracy, preset {setting.title}"
    caption = tag("caption", said, class_="unseen")
    return scrolling(tag("table", caption, *parts, class_="sortable board"), said)


def columns(setting: RunTable) -> list[Column]:
    """Of the table, after the attention's name."""
    ratios: dict[str, Figure] = {"steps/s": "steps_per_second", "memory": "peak_memory_bytes"}
    found = [_task(setting, task) for task in setting.tasks]
    found += [_average(setting, count) for count in setting.board.averages]
    found += [Column("seeds", _seeds), Column("parameters / softmax's", _parameters)]
    found += [_ratio(setting, f"{name} / softmax's", key) for name, key in ratios.items()]
    return [column for column in found if any(column.of(row).shown for row in setting.board.rows)]


def _row(row: Row, columns: list[Column]) -> Html:
    name = next(iter(row.cells.values())).runs[0].attention
    link = tag("a", row.attention, href=f"#{anchor(name)}")
    return tag("tr", tag("th", link, scope="row"), *(_entry(c.of(row)) for c in columns))


def _entry(entry: TableEntry) -> Html:
    return tag("td", entry.shown, data_value="" if entry.value is None else f"{entry.value:.6g}")


def _task(setting: RunTable, task: str) -> Column:
    flag = tag("abbr", "†", title="not the published data") if task in unofficial(setting) else ""

    def entry(row: Row) -> TableEntry:
        cell = row.cells.get(task)
        if cell is None:
            return TableEntry()
        place = next(n for n, one in enumerate(setting.cells) if one is cell)
        shown = _button(cell, f"card-{setting.name}-{place}", _mark(setting, row, task))
        return TableEntry(shown, None if cell.failure() else cell.mean)

    title = joined([task, flag, " %"])
    return Column(title, entry, f"{100 * setting.board.chance[task]:.1f}")


def _average(setting: RunTable, count: int) -> Column:
    chance = statistics.fmean(setting.board.chance[task] for task in AVERAGES[count])

    def entry(row: Row) -> TableEntry:
        found = row.average(count)
        if found is None:
            return TableEntry()
        mark = _mark(setting, row, count)
        return TableEntry(tag("span", percent(found.mean, found.sd), class_=mark), found.mean)

    return Column(f"average of {count} %", entry, f"{100 * chance:.1f}")


def _mark(setting: RunTable, row: Row, column: str | int) -> str | None:
    """The class of what is significantly better than the other rows."""
    return setting.board.marks.get((row.attention, column))


def _button(cell: Result, name: str, mark: str | None) -> Html:
    """The accuracy; on hover, focus or touch, what is behind it."""
    label = f"{cell.attention} on {cell.task}: seeds, settings, command"
    card = tag("div", cell_details.card(cell), id=name, popover="auto", role="dialog",
               aria_label=label, class_="card")  # fmt: skip
    look = "cell" if mark is None else f"cell {mark}"
    button = tag("button", accuracy(cell), type="button", popovertarget=name, class_=look,
                 aria_haspopup="dialog")  # fmt: skip
    return joined([button, card])


def accuracy(cell: Result) -> Html:
    """Mean and spread in percent, or why there is none."""
    failure = cell.failure()
    if failure or cell.mean is None:
        return joined([tag("b", "FAIL", class_="fail"), tag("small", f" {failure}")])
    lost = len(cell.runs) - len(cell.accuracies)
    said = tag("small", f" ({lost} failed)", class_="fail") if lost else ""
    return joined([percent(cell.mean, cell.sd), said])


def percent(mean: float, sd: float | None) -> Html:
    """Such as "36.2 ± 0.4", the spread in small letters."""
    return joined([f"{100 * mean:.1f}", tag("small", f" ± {100 * sd:.1f}") if sd else ""])


def _seeds(row: Row) -> TableEntry:
    return TableEntry(row.seeds(), min(len(cell.runs) for cell in row.cells.values()))


def _parameters(row: Row) -> TableEntry:
    found = (cell.median("parameters_vs_softmax") for cell in row.cells.values())
    return TableEntry(row.parameter_ratio(), max((ratio for ratio in found if ratio), default=None))


def _ratio(setting: RunTable, title: str, key: Figure) -> Column:
    base = setting.rows.get(REFERENCE, {})

    def entry(row: Row) -> TableEntry:
        value = relative(row.cells, base, key)
        return TableEntry(f"{value:.2f}{TIMES}", value) if value else TableEntry()

    return Column(title, entry)


def unofficial(setting: RunTable) -> dict[str, str]:
    """Tasks that were run on other data than the benchmark's, with the data's source."""
    runs = [run for cell in setting.cells for run in cell.runs]
    return {
        run.task: str(run.data.source)
        for run in runs
        if run.data is not None and not run.data.official
    }


def _notes(setting: RunTable) -> str:
    """What the signs mean, and what the averages are of."""
    others = [f"{task} ({source})" for task, source in sorted(unofficial(setting).items())]
    failed = [said for cell in setting.cells if (said := cell.failure())]
    over = any("(!)" in row.parameter_ratio() for row in setting.board.rows)
    found = [
        "Test accuracy at the best validation step: mean ± standard deviation over seeds.",
        "A cell opens what is behind it.",
        rule(setting.board),
        f"† Not the published data: {', '.join(others)}." if others else "",
        f"At chance: not {ABOVE_CHANCE} standard errors above the commonest answer."
        if any(said.startswith("at chance") for said in failed)
        else "",
        "(!): over 10 % more parameters than softmax." if over else "",
        f"Steps/s and peak memory: geometric mean over tasks, on {' and '.join(setting.devices)}.",
    ]
    return " ".join(filter(None, found))


def _published(settings: list[RunTable]) -> Html:
    """Figures of others, in a block of their own: never in one table with what was run here."""
    cells = [cell for setting in settings for cell in setting.cells]
    tasks = in_order({cell.task for cell in cells})
    attentions = {cell.runs[0].attention for cell in cells}
    found = published_table.render("html", published_table.rows_beside(attentions, tasks), tasks)
    return tag("section", *map(Html, found), id="published")
