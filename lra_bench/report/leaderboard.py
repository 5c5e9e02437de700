"""The leaderboard: a table for each setting, with a card of details behind each cell."""

from collections.abc import Callable
from dataclasses import dataclass

from lra_bench.display.tables import render_all
from lra_bench.leaderboard import notes, published_table, tokens
from lra_bench.leaderboard.board import Row, in_order
from lra_bench.leaderboard.results import Quantity, Result, percent_parts
from lra_bench.registry import IDENTITY, REFERENCE, family_of
from lra_bench.report import cell_details
from lra_bench.report.inputs import RunTable
from lra_bench.report.markup import Html, anchor, joined, scrolling, tag
from lra_bench.report.ratios import TIMES, relative

_STEPS, _MEMORY = "steps/s / softmax's", "memory / softmax's"


@dataclass(frozen=True)
class TableEntry:
    """A cell of the table.

    Attributes:
        shown: what a reader sees.
        value: by which the column is sorted; None comes last.
    """

    shown: object = ""
    value: float | None = None


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        title: its heading.
        of: its entry in a row.
        foot: its entry in the row of chance.
        uniform: its entry in the row of equal chances, for tasks that predict tokens.
    """

    title: object
    of: Callable[[Row], TableEntry]
    foot: object = ""
    uniform: object = ""


def section(tables: list[RunTable], *, with_published: bool) -> Html:
    """Return all tables, one below the other, then the published figures."""
    parts = [_part(run_table) for run_table in tables]
    if with_published:
        parts.append(_published(tables))
    return joined(parts, "\n")


def _part(run_table: RunTable) -> Html:
    title = tag("h3", f"preset {run_table.title}")
    text = tag("p", _notes(run_table))
    return tag("section", title, leaderboard(run_table), text, data_tags=run_table.tags,
               id=f"board-{run_table.name}")  # fmt: skip


def leaderboard(run_table: RunTable) -> Html:
    """Return the table of one setting; `columns` alone says what is in it."""
    shown = columns(run_table)
    titles = ("attention", *(column.title for column in shown))
    head = tag("tr", *(tag("th", title, scope="col") for title in titles))
    rows = [_row(row, shown) for row in run_table.board.rows]
    feet = [_foot("chance", [column.foot for column in shown])]
    if any(column.uniform for column in shown):
        feet.append(_foot("uniform", [column.uniform for column in shown]))
    parts = (tag("thead", head), tag("tbody", *rows), tag("tfoot", *feet))
    title = f"Test accuracy, preset {run_table.title}"
    caption = tag("caption", title, class_="unseen")
    return scrolling(tag("table", caption, *parts, class_="sortable board"), title)


def _foot(name: str, entries: list[object]) -> Html:
    return tag("tr", tag("th", name, scope="row"), *(tag("td", entry) for entry in entries))


def columns(run_table: RunTable) -> list[Column]:
    """Return the columns after the attention's name; those without any entry are left out."""
    rows = run_table.board.rows
    every = [
        *(column for task in run_table.tasks for column in _of_task(run_table, task)),
        *(_average(run_table, count) for count in run_table.board.averages),
        Column("seeds", _seeds),
        Column("parameters / softmax's", _parameters),
        _ratio(run_table, _STEPS, "steps_per_second"),
        _ratio(run_table, _MEMORY, "peak_memory_bytes"),
    ]
    return [column for column in every if any(column.of(row).shown for row in rows)]


def _row(row: Row, columns: list[Column]) -> Html:
    name = next(iter(row.results.values())).attention_name
    link = tag("a", row.attention, href=f"#{anchor(name)}")
    entries = (_entry(column.of(row)) for column in columns)
    return tag("tr", tag("th", link, scope="row"), *entries, data_family=family_of(name))


def _entry(entry: TableEntry) -> Html:
    return tag("td", entry.shown, data_value="" if entry.value is None else f"{entry.value:.6g}")


def _of_task(run_table: RunTable, task: str) -> list[Column]:
    """Return the accuracy of a task, and what else is shown of one that predicts tokens."""
    more = tokens.columns(task, run_table.board.of_task(task))
    return [_task(run_table, task), *(_of_tokens(task, column) for column in more)]


def _of_tokens(task: str, column: tokens.TokenColumn) -> Column:
    def entry(row: Row) -> TableEntry:
        found = column.of(row.results[task]) if task in row.results else None
        return TableEntry() if found is None else TableEntry(column.measure.text(*found), found[0])

    return Column(column.title, entry, column.chance, column.uniform)


def _task(run_table: RunTable, task: str) -> Column:
    is_unofficial = task in notes.unofficial(run_table.runs)
    flag = tag("abbr", "†", title="not the published data") if is_unofficial else ""

    def entry(row: Row) -> TableEntry:
        result = row.results.get(task)
        if result is None:
            return TableEntry()
        card_id = run_table.card_ids[result.attention, task]
        sign = no_better(run_table, result)
        shown = _button(result, card_id, _mark(run_table, row, task), sign)
        return TableEntry(shown, None if result.failure() else result.mean)

    chance = run_table.board.chance[task]
    uniform = tokens.uniform_accuracy(run_table.board.of_task(task))
    shown = "" if uniform is None else percent(uniform)
    return Column(joined([task, flag, " %"]), entry, percent(chance), shown)


def _average(run_table: RunTable, count: int) -> Column:
    def entry(row: Row) -> TableEntry:
        average = row.average(count)
        if average is None:
            return TableEntry()
        mark = _mark(run_table, row, count)
        return TableEntry(tag("span", percent(average.mean, average.sd), class_=mark), average.mean)

    chance = run_table.board.average_chance(count)
    return Column(f"average of {count} %", entry, percent(chance))


def _mark(run_table: RunTable, row: Row, column: str | int) -> str | None:
    """Return the CSS class of an entry that is significantly better than the other rows."""
    return run_table.board.marks.get((row.attention, column))


def no_better(run_table: RunTable, result: Result) -> Html | str:
    """Return the sign of a result that is no better than without attention; "" for others."""
    if not run_table.board.is_no_better(result):
        return ""
    title = f"not significantly better than {IDENTITY}"
    return joined([" ", tag("abbr", notes.NO_BETTER, title=title)])


def _button(result: Result, card_id: str, mark: str | None, sign: Html | str) -> Html:
    """Return the accuracy as a button, and the card that hover, focus or touch opens."""
    label = f"{result.attention} on {result.task}: seeds, settings, command"
    card = tag("div", cell_details.card(result), id=card_id, popover="auto", role="dialog",
               aria_label=label, class_="card")  # fmt: skip
    look = "cell" if mark is None else f"cell {mark}"
    button = tag("button", accuracy(result, sign), type="button", popovertarget=card_id,
                 class_=look, aria_haspopup="dialog")  # fmt: skip
    return joined([button, card])


def accuracy(result: Result, sign: Html | str = "") -> Html:
    """Return mean and spread in percent, a sign, and exceptions; or why there is no accuracy."""
    failure = result.failure()
    if failure or result.mean is None:
        return joined([tag("span", "FAIL", class_="fail"), tag("small", f" {failure}")])
    exceptions = result.exceptions()
    note = tag("small", f" ({exceptions})", class_="fail") if exceptions else ""
    return joined([percent(result.mean, result.sd), sign, note])


def percent(mean: float, sd: float | None = None) -> Html:
    """Return such as "36.2 ± 0.4", the spread in small letters."""
    figure, spread = percent_parts(mean, sd)
    return joined([figure, tag("small", spread) if spread else ""])


def _seeds(row: Row) -> TableEntry:
    return TableEntry(row.seeds(), min(len(result.runs) for result in row.results.values()))


def _parameters(row: Row) -> TableEntry:
    return TableEntry(row.parameter_ratio(), max(row.parameter_ratios, default=None))


def _ratio(run_table: RunTable, title: str, quantity: Quantity) -> Column:
    base = run_table.rows.get(REFERENCE, {})

    def entry(row: Row) -> TableEntry:
        value = relative(row.results, base, quantity)
        return TableEntry(f"{value:.2f}{TIMES}", value) if value else TableEntry()

    return Column(title, entry)


def _notes(run_table: RunTable) -> str:
    """Return what the figures and signs of a table mean, in sentences."""
    unofficial = notes.unofficial_note(run_table.runs)
    sentences = [
        *(f"{note[0].upper()}{note[1:]}." for note in notes.signs(run_table.board)),
        "A cell opens the details behind it.",
        notes.marking(run_table.board),
        notes.readings_note(run_table.runs),
        notes.cautions_note(run_table.runs),
        notes.over_identity(run_table.board),
        tokens.notes(run_table.board.results),
        f"† {unofficial}" if unofficial else "",
        _costs_note(run_table),
    ]
    return " ".join(filter(None, sentences))


def _costs_note(run_table: RunTable) -> str:
    """Return what the columns of speed and memory are; "" if the table has neither."""
    if not {_STEPS, _MEMORY} & {column.title for column in columns(run_table)}:
        return ""
    devices = " and ".join(run_table.devices)
    return f"Steps/s and peak memory: geometric mean over tasks, on {devices}."


def _published(tables: list[RunTable]) -> Html:
    """Return published figures in a table of their own, never in one with what was run here."""
    results = [result for run_table in tables for result in run_table.results]
    tasks = in_order({result.task for result in results})
    rows = published_table.rows_beside({result.attention_name for result in results}, tasks)
    shown = Html(render_all("html", published_table.sheets(rows, tasks)))
    return tag("section", shown, id="published")
