"""One HTML page of tables, figures and provenance, and the figures beside it as PNG.

The page needs nothing from elsewhere: its style and its figures are in it.
"""

import html
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lra_bench import __version__, figures, leaderboard
from lra_bench.efficiency import groups, plots, records, summary, tables
from lra_bench.errors import UsageError
from lra_bench.files import write_atomically
from lra_bench.render import render as render_table

FILE = "index.html"
# Longer lists of provenance are shown on demand.
_FOLDED = 12
# Of `figures.COLOURS`, on a dark ground.
_DARK = (
    "#4da3e0", "#ff8a3d", "#2fc79b", "#e3a0c6", "#f0b429", "#7cc7f2", "#d0668f", "#c6c65a",
    "#9a8cff",
)  # fmt: skip


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: its id.
        title: its heading, and its entry in the contents.
        body: HTML.
    """

    name: str
    title: str
    body: str


@dataclass(frozen=True)
class Material:
    """All that a report is made of.

    Attributes:
        runs: records of runs.
        lines: of efficiency records.
        files: what was read, with the number of records in each.
    """

    runs: list[dict[str, Any]]
    lines: list[records.Line]
    files: dict[str, int]


def write(folders: Sequence[Path], out: Path, *, with_published: bool) -> list[Path]:
    """Write the page and its figures into `out`; what was written, the page first.

    Raises:
        UsageError: `out` is a file, a folder is missing, or there is no record at all.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file")
    material = gather(folders)
    out.mkdir(parents=True, exist_ok=True)
    sections, drawn = _efficiency(material.lines, with_published=with_published)
    sections = [
        *_accuracy(material.runs, with_published=with_published),
        *sections,
        _provenance(material),
    ]
    write_atomically(out / FILE, page("Efficient attention, measured", sections))
    images = [out / f"{plot.name}.png" for plot in drawn]
    for plot, path in zip(drawn, images, strict=True):
        figures.save(plot.figure, path)
    return [out / FILE, *images]


def gather(folders: Sequence[Path]) -> Material:
    """Read all records below the folders; what can't be read is named on standard error.

    Raises:
        UsageError: a folder is missing, or there is no record at all.
    """
    runs = [(path, [run]) for path, run in leaderboard.readable(folders)]
    of_lines = [folder for folder in folders if folder.suffix != ".json"]
    lines = [(path, found) for path in records.find(of_lines) if (found := records.read(path))]
    if not runs and not lines:
        raise UsageError(f"no records in {', '.join(map(str, folders))}")
    files = {_shown(path, folders): len(found) for path, found in (*runs, *lines)}
    return Material(_joined(runs), _joined(lines), files)


def _joined(files: Iterable[tuple[Path, list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    return [found for _, several in files for found in several]


def _shown(path: Path, folders: Sequence[Path]) -> str:
    """A path as one below the folder that the user named."""
    for folder in folders:
        if path.resolve().is_relative_to(folder.resolve()):
            return str(folder / path.resolve().relative_to(folder.resolve()))
    return str(path)


def _accuracy(runs: list[dict[str, Any]], *, with_published: bool) -> list[Section]:
    if not runs:
        return []
    body = leaderboard.render(runs, "html", with_published=with_published)
    return [Section("accuracy", "Accuracy", body)]


def _efficiency(
    lines: list[records.Line], *, with_published: bool
) -> tuple[list[Section], list[plots.Plot]]:
    """A section for each scope, size and machine: its figures, then its tables; and all figures."""
    found = groups.groups(summary.rows(lines))
    drawn = plots.plots(found)
    families = dict.fromkeys([group.family for group in found] + [plot.family for plot in drawn])
    sections = []
    for number, family in enumerate(families, 1):
        body = [_figure(plot) for plot in drawn if plot.family == family]
        body += [
            _tables(group, with_published=with_published)
            for group in found
            if group.family == family
        ]
        title = f"Speed and memory: {family}"
        sections.append(Section(f"efficiency-{number}", title, "\n".join(body)))
    return sections, drawn


def _figure(plot: plots.Plot) -> str:
    svg = figures.inline_svg(plot.figure, plot.name, f"{plot.title}: {plot.family}")
    caption = html.escape(f"{plot.title}. {plot.notes}")
    return f'<figure>\n<div class="wide">{svg}</div>\n<figcaption>{caption}</figcaption>\n</figure>'


def _tables(group: groups.Group, *, with_published: bool) -> str:
    direction = groups.PASSES.get(group.first.direction, group.first.direction)
    parts = [
        render_table("html", ": ".join(filter(None, (direction, it.title))), it.frame, it.notes)
        for it in tables.tables(group, with_published=with_published)
    ]
    return "\n".join([*parts, f"<p>{html.escape(group.facts)}</p>"])


def _provenance(material: Material) -> Section:
    """Where the figures come from: machines, versions, commits, files."""
    runs = [leaderboard.device_of(run) for run in material.runs]
    machines = [*runs, *(line["machine"] for line in material.lines)]
    places = [_group(found.get("environment")) for found in (*material.runs, *material.lines)]
    versions = (v for place in places for v in _versions(place))
    commits = (str(place.get("git_commit") or "unknown") for place in places)
    tallies = {
        "machine": Counter(machines),
        "version": Counter(versions),
        "commit": Counter(commits),
        "file": Counter(material.files),
    }
    body = "\n".join(_tally(name, tally) for name, tally in tallies.items())
    return Section("provenance", "Where this comes from", body)


def _versions(place: dict[str, Any]) -> list[str]:
    return [f"{name} {version}" for name, version in _group(place.get("versions")).items()]


def _group(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _tally(name: str, counts: Counter[str]) -> str:
    """How many records have each value; long lists are folded."""
    rows = sorted(counts.items())
    table = pd.DataFrame([{name: value, "records": f"{count:,}"} for value, count in rows])
    body = f'<div class="table">\n{table.to_html(index=False, border=0)}\n</div>'
    if len(rows) <= _FOLDED:
        return body
    return f"<details>\n<summary>{len(rows)} {name}s</summary>\n{body}\n</details>"


def page(title: str, sections: Sequence[Section]) -> str:
    """The page: a table of contents, then the sections."""
    entries = "\n".join(
        f'<li><a href="#{section.name}">{html.escape(section.title)}</a></li>'
        for section in sections
    )
    bodies = "\n".join(
        f'<section id="{section.name}">\n<h2>{html.escape(section.title)}</h2>\n{section.body}\n'
        "</section>"
        for section in sections
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{_style()}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
<nav>
<ul>
{entries}
</ul>
</nav>
<main>
{bodies}
</main>
<footer>Made by lra-bench {__version__}.</footer>
</body>
</html>
"""


def _style() -> str:
    light, dark = (
        "".join(f"--c{index}: {colour}; " for index, colour in enumerate(colours))
        for colours in (figures.COLOURS, _DARK)
    )
    return _CSS.replace("LIGHT", light).replace("DARK", dark)


_CSS = """
:root { color-scheme: light dark; --ground: #fff; --text: #1a1a1a; --soft: #666; --line: #ddd;
  LIGHT}
@media (prefers-color-scheme: dark) {
  :root { --ground: #16181b; --text: #e6e6e6; --soft: #a0a0a0; --line: #3a3d42;
    DARK}
}
body { margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--ground);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; }
h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); font-size: 1.25rem; }
h3 { margin: 2rem 0 .4rem; font-size: 1rem; }
a { color: var(--c0); }
p, figcaption, footer { color: var(--soft); font-size: .85rem; max-width: 60rem; }
figure { margin: 1.5rem 0; }
.wide, .table { overflow-x: auto; }
.wide svg { min-width: 40rem; max-width: 100%; height: auto; fill: currentColor; }
.wide svg * { stroke-linejoin: round; stroke-linecap: butt; }
table { border-collapse: separate; border-spacing: 0; font-size: .85rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th { font-weight: 600; }
thead th { vertical-align: bottom; white-space: normal; }
td:first-child, th:first-child { position: sticky; left: 0; background: var(--ground);
  padding-left: 0; text-align: left; }
tbody tr:hover td { background: color-mix(in srgb, var(--text) 7%, var(--ground)); }
footer { margin-top: 3rem; }
@media (max-width: 40rem) { td:first-child { white-space: normal; max-width: 9rem; } }
"""
