"""What is behind a cell: its seeds, settings, place, and the commands that make it again."""

import json
from collections.abc import Callable, Iterable

from lra_bench.display.units import size_text
from lra_bench.leaderboard.results import Figure, Result
from lra_bench.records.record import Record, Score
from lra_bench.report import reproduce
from lra_bench.report.markup import Html, folded, joined, tag
from lra_bench.report.reproduce import again
from lra_bench.runtime.environment import Environment


def card(cell: Result) -> Html:
    """All of it, in short."""
    heading = tag("p", tag("strong", cell.attention), " on ", tag("strong", cell.task))
    return joined([heading, seeds(cell), facts(cell), commands(cell)])


def seeds(cell: Result) -> Html:
    """A row a seed: its accuracies, or why it has none."""
    head = tag("tr", *(tag("th", x, scope="col") for x in ("seed", "test %", "val. %", "at step")))
    body = [tag("tr", *_seed(run)) for run in sorted(cell.runs, key=lambda run: run.seed)]
    return tag("table", tag("thead", head), tag("tbody", *body), class_="seeds")


def _seed(run: Record) -> list[Html]:
    first = tag("th", run.seed, scope="row")
    if run.status != "ok" or run.test is None or run.validation is None:
        why = f"{run.status.replace('_', ' ')}: {_short(run.error)}"
        return [first, tag("td", why, colspan=3, class_="why")]
    values = [_percent(run.test), _percent(run.validation), f"{run.best_step:,}"]
    return [first, *(tag("td", value) for value in values)]


def _short(error: str | None) -> str:
    text = " ".join((error or "no reason given").split())
    return text if len(text) <= 160 else f"{text[:159]}…"


def _percent(score: Score) -> str:
    return f"{100 * score.accuracy:.2f}"


def facts(cell: Result) -> Html:
    """What else was measured, where, and on what."""
    known = {
        "chance": f"{100 * cell.chance:.1f} % (the commonest answer)",
        "parameters": _parameters(cell),
        "steps/s": said(cell, "steps_per_second", "{:.3g}".format),
        "peak memory": said(cell, "peak_memory_bytes", size_text),
        "settings": _each(_settings(run) for run in cell.runs),
        "data": _each(_data(run) for run in cell.runs),
        "device": _each(run.device for run in cell.runs),
        "commit": _each(commit(run.environment) for run in cell.runs),
    }
    shown = [(tag("dt", key), tag("dd", value)) for key, value in known.items() if value]
    return tag("dl", *(part for pair in shown for part in pair))


def _parameters(cell: Result) -> str:
    count, ratio = cell.median("parameters"), cell.median("parameters_vs_softmax")
    beside = f" ({ratio:.2f} of softmax's)" if ratio else ""
    return f"{count:,.0f}{beside}" if count else ""


def said(cell: Result, key: Figure, form: Callable[[float], str]) -> str:
    """The median of a figure, or nothing."""
    found = cell.median(key)
    return form(found) if found else ""


def _each(values: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(value for value in values if value))


def _settings(run: Record) -> str:
    changed = reproduce.changes(run)
    return f"preset {run.preset}" + (f" but {', '.join(map(str, changed))}" if changed else "")


def _data(run: Record) -> str:
    data = run.data
    if data is None:
        return ""
    official = "" if data.official else ", not the published data"
    return f"{data.source}, sha256 {str(data.sha256)[:12]}{official}"


def commit(environment: Environment | None) -> str:
    """Return the commit, shortened; "-dirty" stays."""
    if environment is None or environment.git_commit is None:
        return "unknown"
    name, dash, rest = environment.git_commit.partition("-")
    return name[:12] + dash + rest


def commands(cell: Result) -> Html:
    """A line a seed, and why it may not do."""
    found = [again(run) for run in sorted(cell.runs, key=lambda run: run.seed)]
    lines = tag("code", "\n".join(it.command for it in found))
    doubts = dict.fromkeys(it.doubt for it in found if it.doubt)
    notes = [tag("p", doubt, class_="why") for doubt in doubts]
    return joined([tag("pre", lines, class_="command", tabindex=0), *notes])


def config(cell: Result) -> Html:
    """Every setting of the first run, on demand; the seed is all that others differ by."""
    found = cell.runs[0].config
    flat = {
        (f"{key}.{name}" if name else key): value
        for key, group in found.items()
        for name, value in (group.items() if isinstance(group, dict) else [("", group)])
    }
    text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in flat.items() if key != "seed")
    return folded("all settings", tag("pre", tag("code", text)))
