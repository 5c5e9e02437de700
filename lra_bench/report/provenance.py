"""The section on where the figures come from: data, machines, versions, commits, files."""

from collections import Counter, defaultdict

from lra_bench.data.store import Provenance
from lra_bench.leaderboard.board import in_order
from lra_bench.records.record import Record
from lra_bench.report.cell_details import commit
from lra_bench.report.inputs import Inputs
from lra_bench.report.markup import Html, folded, joined, table, tag
from lra_bench.runtime.environment import Environment
from lra_bench.scaling.groups import without_hosts

# Lists with more rows are folded.
_FOLDED = 12


def section(inputs: Inputs) -> Html:
    """Return the data of the runs, then how many records each machine, version and file has."""
    every = [run.environment for run in inputs.runs]
    every += [line.environment for line in inputs.lines]
    runs = [run.device for run in inputs.runs]
    names = without_hosts(line.machine for line in inputs.lines)
    machines = [*runs, *(names[line.machine] for line in inputs.lines)]
    tallies = {
        "machine": Counter(machines),
        "version": Counter(x for each in every for x in _versions(each)),
        "commit": Counter(map(commit, every)),
        "file": Counter(inputs.files),
    }
    return joined([_data(inputs.runs), *(_tally(*item) for item in tallies.items())], "\n")


def _versions(environment: Environment | None) -> list[str]:
    versions = environment.versions if environment else {}
    return [f"{name} {version}" for name, version in versions.items()]


def _data(runs: list[Record]) -> Html | None:
    """Return a table with a row for each set of data; None if no record names any."""
    counts: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for run in runs:
        if run.data is not None:
            counts[run.task][_described(run.data)] += 1
    body = [
        [task, *described, f"{count:,}"]
        for task in in_order(counts)
        for described, count in sorted(counts[task].items())
    ]
    head = ["task", "source", "published data", "train / validation / test", "sha256", "runs"]
    return joined([tag("h3", "Data"), table(head, body, caption="Data")]) if body else None


def _described(data: Provenance) -> tuple[str, ...]:
    counts = " / ".join(f"{size:,}" for size in data.sizes.values())
    official = "yes" if data.official else "no †"
    return str(data.source), official, counts, str(data.sha256)


def _tally(name: str, counts: Counter[str]) -> Html:
    """Return a table of how many records have each value; a long one is folded."""
    rows = sorted(counts.items())
    shown = table([name, "records"], [[x, f"{n:,}"] for x, n in rows], caption=f"By {name}")
    if len(rows) <= _FOLDED:
        return joined([tag("h3", f"{name.capitalize()}s"), shown])
    return folded(f"{len(rows)} {name}s", shown)
