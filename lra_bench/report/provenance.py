"""Where the figures come from: data, machines, versions, commits, files."""

from collections import Counter, defaultdict

from lra_bench.data.store import Provenance
from lra_bench.leaderboard.board import in_order
from lra_bench.records.record import Record, parse_environment
from lra_bench.report.cell_details import commit
from lra_bench.report.inputs import Inputs
from lra_bench.report.markup import Html, folded, joined, table, tag
from lra_bench.runtime.environment import Environment

# Longer lists are shown on demand.
_FOLDED = 12


def section(material: Inputs) -> Html:
    """Data of the runs, then tallies of all records."""
    every = [run.environment for run in material.runs]
    every += [parse_environment(line["environment"]) for line in material.lines]
    runs = [run.device for run in material.runs]
    machines = [*runs, *(line["machine"] for line in material.lines)]
    tallies = {
        "machine": Counter(machines),
        "version": Counter(x for found in every for x in _versions(found)),
        "commit": Counter(map(commit, every)),
        "file": Counter(material.files),
    }
    return joined([_data(material.runs), *(_tally(*item) for item in tallies.items())], "\n")


def _versions(environment: Environment | None) -> list[str]:
    versions = environment.versions if environment else {}
    return [f"{name} {version}" for name, version in versions.items()]


def _data(runs: list[Record]) -> Html | None:
    """A row for each set of data."""
    counts: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for run in runs:
        if run.data is not None:
            counts[run.task][_described(run.data)] += 1
    body = [
        [task, *said, f"{count:,}"]
        for task in in_order(counts)
        for said, count in sorted(counts[task].items())
    ]
    head = ["task", "source", "published data", "train / validation / test", "sha256", "runs"]
    return joined([tag("h3", "Data"), table(head, body, caption="Data")]) if body else None


def _described(data: Provenance) -> tuple[str, ...]:
    counts = " / ".join(f"{size:,}" for size in data.sizes.values())
    official = "yes" if data.official else "no †"
    return str(data.source), official, counts, str(data.sha256)


def _tally(name: str, counts: Counter[str]) -> Html:
    """How many records have each value; long lists are folded."""
    rows = sorted(counts.items())
    shown = table([name, "records"], [[x, f"{n:,}"] for x, n in rows], caption=f"By {name}")
    if len(rows) <= _FOLDED:
        return joined([tag("h3", f"{name.capitalize()}s"), shown])
    return folded(f"{len(rows)} {name}s", shown)
