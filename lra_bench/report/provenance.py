"""Where the figures come from: data, machines, versions, commits, files."""

from collections import Counter, defaultdict
from typing import Any

from lra_bench import leaderboard
from lra_bench.leaderboard.board import in_order
from lra_bench.report.cell_details import commit
from lra_bench.report.inputs import Material
from lra_bench.report.markup import Html, folded, joined, table, tag

# Longer lists are shown on demand.
_FOLDED = 12
Record = dict[str, Any]


def section(material: Material) -> Html:
    """Data of the runs, then tallies of all records."""
    every = [*material.runs, *material.lines]
    runs = [leaderboard.device_of(run) for run in material.runs]
    machines = [*runs, *(line["machine"] for line in material.lines)]
    tallies = {
        "machine": Counter(machines),
        "version": Counter(x for found in every for x in _versions(found)),
        "commit": Counter(map(commit, every)),
        "file": Counter(material.files),
    }
    return joined([_data(material.runs), *(_tally(*item) for item in tallies.items())], "\n")


def _versions(found: Record) -> list[str]:
    versions = _group(_group(found.get("environment")).get("versions"))
    return [f"{name} {version}" for name, version in versions.items()]


def _group(value: Any) -> Record:
    return value if isinstance(value, dict) else {}


def _data(runs: list[Record]) -> Html | None:
    """A row for each set of data."""
    counts: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for run in runs:
        if data := _group(run.get("data")):
            counts[run["task"]][_described(data)] += 1
    body = [
        [task, *said, f"{count:,}"]
        for task in in_order(counts)
        for said, count in sorted(counts[task].items())
    ]
    head = ["task", "source", "published data", "train / validation / test", "sha256", "runs"]
    return joined([tag("h3", "Data"), table(head, body, caption="Data")]) if body else None


def _described(data: Record) -> tuple[str, ...]:
    sizes = _group(data.get("sizes")).values()
    counts = " / ".join(f"{x:,}" if isinstance(x, int) else str(x) for x in sizes)
    official = "yes" if data.get("official") else "no †"
    return str(data.get("source")), official, counts, str(data.get("sha256"))


def _tally(name: str, counts: Counter[str]) -> Html:
    """How many records have each value; long lists are folded."""
    rows = sorted(counts.items())
    shown = table([name, "records"], [[x, f"{n:,}"] for x, n in rows], caption=f"By {name}")
    if len(rows) <= _FOLDED:
        return joined([tag("h3", f"{name.capitalize()}s"), shown])
    return folded(f"{len(rows)} {name}s", shown)
