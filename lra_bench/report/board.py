"""The leaderboard: a table for each setting, with what is behind each cell."""

from collections.abc import Callable
from dataclasses import dataclass

from lra_bench import published
from lra_bench.leaderboard import Cell
from lra_bench.report import details
from lra_bench.report.markup import Html, anchor, joined, scrolling, table, tag
from lra_bench.report.material import Setting, in_order
from lra_bench.report.speed import BASE, TIMES, relative

_OVER_BUDGET = 1.10


@dataclass(frozen=True)
class Entry:
    """A cell of the table.

    Attributes:
        shown: what a reader sees.
        value: what it is sorted by; None comes last.
    """

    shown: object = ""
    value: float | None = None


@dataclass(frozen=True)
class Row:
    """An attention, with its cells by task."""

    attention: str
    cells: dict[str, Cell]


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        title: its heading.
        of: its entry in a row.
        foot: its entry in the last row, which says what chance gives.
    """

    title: object
    of: Callable[[Row], Entry]
    foot: object = ""


def section(settings: list[Setting], *, with_published: bool) -> Html:
    """All settings, one below the other; then what others have published."""
    parts = [_setting(setting) for setting in settings]
    if with_published:
        parts.append(_published(settings))
    return joined(parts, "\n")


def _setting(setting: Setting) -> Html:
    title = tag("h3", f"preset {setting.title}")
    notes = tag("p", _notes(setting))
    return tag("section", title, leaderboard(setting), notes, data_tags=setting.tags,
               id=f"board-{setting.name}")  # fmt: skip


def leaderboard(setting: Setting) -> Html:
    """The table of one setting, made of `columns`: the one place that says what is in it."""
    found = columns(setting)
    head = tag("tr", *(tag("th", x, scope="col") for x in ("attention", *(c.title for c in found))))
    rows = [_row(Row(name, cells), found) for name, cells in setting.rows.items()]
    foot = tag("tr", tag("th", "chance", scope="row"), *(tag("td", c.foot) for c in found))
    parts = (tag("thead", head), tag("tbody", *rows), tag("tfoot", foot))
    said = f"Test accuracy, preset {setting.title}"
    caption = tag("caption", said, class_="unseen")
    return scrolling(tag("table", caption, *parts, class_="sortable board"), said)


def columns(setting: Setting) -> list[Column]:
    """Of the table, after the attention's name."""
    ratios = {"steps/s": "steps_per_second", "memory": "peak_memory_bytes"}
    found = [_task(setting, task) for task in setting.tasks]
    found += [Column("seeds", _seeds), Column("parameters / softmax's", _parameters)]
    found += [_ratio(setting, f"{name} / softmax's", key) for name, key in ratios.items()]
    every = [Row(name, cells) for name, cells in setting.rows.items()]
    return [column for column in found if any(column.of(row).shown for row in every)]


def _row(row: Row, columns: list[Column]) -> Html:
    name = row.cells[next(iter(row.cells))].runs[0]["attention"]
    link = tag("a", row.attention, href=f"#{anchor(name)}")
    return tag("tr", tag("th", link, scope="row"), *(_entry(c.of(row)) for c in columns))


def _entry(entry: Entry) -> Html:
    return tag("td", entry.shown, data_value="" if entry.value is None else f"{entry.value:.6g}")


def _task(setting: Setting, task: str) -> Column:
    chance = next(cell.runs[0]["chance"] for cell in setting.cells if cell.task == task)
    flag = tag("abbr", "†", title="not the published data") if task in unofficial(setting) else ""

    def entry(row: Row) -> Entry:
        cell = row.cells.get(task)
        if cell is None:
            return Entry()
        place = f"{setting.name}-{setting.cells.index(cell)}"
        return Entry(_button(cell, f"card-{place}"), None if cell.failure() else cell.mean)

    return Column(joined([task, flag, " %"]), entry, f"{100 * chance:.1f}")


def _button(cell: Cell, name: str) -> Html:
    """The accuracy; on hover, focus or touch, what is behind it."""
    label = f"{cell.attention} on {cell.task}: seeds, settings, command"
    card = tag("div", details.card(cell), id=name, popover="auto", role="dialog",
               aria_label=label, class_="card")  # fmt: skip
    button = tag("button", accuracy(cell), type="button", popovertarget=name, class_="cell",
                 aria_haspopup="dialog")  # fmt: skip
    return joined([button, card])


def accuracy(cell: Cell) -> Html:
    """Mean and spread in percent, or why there is none."""
    failure = cell.failure()
    if failure or cell.mean is None:
        return joined([tag("b", "FAIL", class_="fail"), tag("small", f" {failure}")])
    spread = tag("small", f" ± {100 * cell.sd:.1f}") if cell.sd is not None else ""
    lost = len(cell.runs) - len(cell.accuracies)
    said = tag("small", f" ({lost} failed)", class_="fail") if lost else ""
    return joined([f"{100 * cell.mean:.1f}", spread, said])


def _seeds(row: Row) -> Entry:
    counts = sorted({len(cell.runs) for cell in row.cells.values()})
    return Entry(" to ".join(map(str, dict.fromkeys((counts[0], counts[-1])))), counts[0])


def _parameters(row: Row) -> Entry:
    found = (cell.median("parameters_vs_softmax") for cell in row.cells.values())
    ratios = sorted(f"{ratio:.2f}" for ratio in found if ratio)
    if not ratios:
        return Entry()
    over = float(ratios[-1]) > _OVER_BUDGET
    flag = tag("abbr", " !", title="over 10 % more parameters", class_="fail") if over else ""
    shown = joined([" to ".join(dict.fromkeys((ratios[0], ratios[-1]))), flag])
    return Entry(shown, float(ratios[-1]))


def _ratio(setting: Setting, title: str, key: str) -> Column:
    base = setting.rows.get(BASE, {})

    def entry(row: Row) -> Entry:
        value = relative(row.cells, base, key)
        return Entry(f"{value:.2f}{TIMES}", value) if value else Entry()

    return Column(title, entry)


def unofficial(setting: Setting) -> dict[str, str]:
    """Tasks that were run on other data than the benchmark's, with the data's source."""
    runs = [run for cell in setting.cells for run in cell.runs]
    return {
        run["task"]: str(run["data"].get("source"))
        for run in runs
        if run.get("data") and not run["data"].get("official")
    }


def _notes(setting: Setting) -> str:
    """What the signs mean, and what the averages are of."""
    others = [f"{task} ({source})" for task, source in sorted(unofficial(setting).items())]
    found = [
        "Test accuracy at the best validation step: mean ± standard deviation over seeds.",
        "A cell opens what is behind it.",
        f"† Not the published data: {', '.join(others)}." if others else "",
        "FAIL at chance: not 3 standard errors above always giving the commonest answer.",
        f"Steps/s and peak memory: geometric mean over tasks, on {' and '.join(setting.devices)}.",
    ]
    return " ".join(filter(None, found))


def _published(settings: list[Setting]) -> Html:
    """Figures of others, in a block of their own: never in one table with what was run here."""
    tasks = in_order(cell.task for setting in settings for cell in setting.cells)
    attentions = sorted({r["attention"] for s in settings for c in s.cells for r in c.runs})
    rows = dict.fromkeys(
        (attention, row.source, row.model, tuple(row.accuracy.get(task) for task in tasks))
        for attention in attentions
        for task in tasks
        for row in published.of(attention, task)
    )
    body = [
        [f"{model} [{source}]", name, *("" if x is None else f"{x:.2f}" for x in values)]
        for name, source, model, values in rows
    ]
    head = ["model [source]", "here", *(f"{task} %" for task in tasks)]
    note = "As printed by each source, in its own full-size setting, on the published data."
    title = "Published figures"
    shown = table(head, body, caption=title, class_="sortable")
    block = joined([tag("h3", title), tag("p", note), shown if body else tag("p", "None.")])
    return tag("section", block, id="published")
