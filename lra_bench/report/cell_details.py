"""The details behind a cell: seeds, settings, device, and the commands that repeat its runs."""

from collections.abc import Callable, Iterable

from lra_bench.display.units import size_text
from lra_bench.leaderboard.results import Quantity, Result
from lra_bench.records.record import Record, Score
from lra_bench.report import reproduce
from lra_bench.report.markup import Html, definitions, joined, tag
from lra_bench.report.reproduce import again
from lra_bench.runtime.environment import Environment

# Longer error messages are cut, in characters.
_LONGEST = 160


def card(result: Result) -> Html:
    """Return all details of a result in short."""
    heading = tag("p", tag("strong", result.attention), " on ", tag("strong", result.task))
    return joined([heading, seeds(result), facts(result), commands(result)])


def seeds(result: Result) -> Html:
    """Return a table with a row for each seed: its accuracies, or why it has none."""
    titles = ("seed", "test %", "val. %", "at step")
    head = tag("tr", *(tag("th", title, scope="col") for title in titles))
    body = [tag("tr", *_seed(run, run.seed in result.at_chance)) for run in _by_seed(result)]
    return tag("table", tag("thead", head), tag("tbody", *body), class_="seeds")


def _by_seed(result: Result) -> list[Record]:
    return sorted(result.runs, key=lambda run: run.seed)


def _seed(run: Record, is_at_chance: bool) -> list[Html]:
    first = tag("th", run.seed, scope="row")
    if run.status != "ok" or run.test is None or run.validation is None:
        why = f"{run.status.replace('_', ' ')}: {_short(run.error)}"
        return [first, tag("td", why, colspan=3, class_="why")]
    note = tag("small", " at chance", class_="fail") if is_at_chance else ""
    values = [joined([_percent(run.test), note]), _percent(run.validation), f"{run.best_step:,}"]
    return [first, *(tag("td", value) for value in values)]


def _short(error: str | None) -> str:
    text = " ".join((error or "no reason given").split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _percent(score: Score) -> str:
    return f"{100 * score.accuracy:.2f}"


def facts(result: Result) -> Html:
    """Return what else was measured, with which settings, on which data and device."""
    runs = result.runs
    return definitions({
        "chance": f"{100 * result.chance:.1f} % ({runs[0].guess})",
        "parameters": _parameters(result),
        "steps/s": median_text(result, "steps_per_second", "{:.3g}".format),
        "peak memory": median_text(result, "peak_memory_bytes", size_text),
        "settings": _distinct(_settings(run) for run in runs),
        "data": _distinct(_data(run) for run in runs),
        "device": _distinct(run.device for run in runs),
        "commit": _distinct(commit(run.environment) for run in runs),
    })  # fmt: skip


def _parameters(result: Result) -> str:
    count, ratio = result.median("parameters"), result.median("parameters_vs_softmax")
    beside = f" ({ratio:.2f} of softmax's)" if ratio else ""
    return f"{count:,.0f}{beside}" if count else ""


def median_text(result: Result, quantity: Quantity, text: Callable[[float], str]) -> str:
    """Return the median of a quantity as text; "" if no run has it."""
    median = result.median(quantity)
    return text(median) if median else ""


def _distinct(values: Iterable[str]) -> str:
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
    """Return the commit, shortened to 12 digits; "-dirty" stays."""
    if environment is None or environment.git_commit is None:
        return "unknown"
    name, dash, rest = environment.git_commit.partition("-")
    return name[:12] + dash + rest


def commands(result: Result) -> Html:
    """Return the commands that repeat the runs, and why some may not."""
    repeats = [again(run) for run in _by_seed(result)]
    lines = tag("code", "\n".join(repeat.command for repeat in repeats))
    doubts = dict.fromkeys(repeat.doubt for repeat in repeats if repeat.doubt)
    notes = [tag("p", doubt, class_="why") for doubt in doubts]
    return joined([tag("pre", lines, class_="command", tabindex=0), *notes])
