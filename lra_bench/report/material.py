"""All that a report is made of, as it is found in folders."""

import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lra_bench import leaderboard
from lra_bench.efficiency import records
from lra_bench.errors import UsageError
from lra_bench.leaderboard import Cell
from lra_bench.report import approximation

Record = dict[str, Any]
# The order of the LRA paper's Table 1.
ORDER = ("listops", "text", "retrieval", "image", "pathfinder", "pathx")


@dataclass(frozen=True)
class Material:
    """What was found.

    Attributes:
        runs: records of runs.
        lines: of efficiency records.
        studies: of how well features approximate attention.
        files: what was read, with the number of records in each.
    """

    runs: list[Record]
    lines: list[records.Line]
    studies: list[approximation.Study]
    files: dict[str, int]

    @cached_property
    def settings(self) -> list["Setting"]:
        """The runs by what may stand in one table."""
        return settings(self.runs)


@dataclass(frozen=True)
class Setting:
    """The cells that may stand in one table.

    Attributes:
        title: the preset, and what departs from it.
        tags: by which the page hides and shows it: one of the preset, one of its own.
        preset: by name.
    """

    title: str
    tags: str
    preset: str
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """For ids."""
        return self.tags.split()[-1]

    @property
    def tasks(self) -> list[str]:
        """In the order of the LRA paper, others after them."""
        return in_order(cell.task for cell in self.cells)

    @cached_property
    def rows(self) -> dict[str, dict[str, Cell]]:
        """By attention, the best first, and task."""
        found: dict[str, dict[str, Cell]] = {}
        for cell in self.cells:
            found.setdefault(cell.attention, {})[cell.task] = cell
        return dict(sorted(found.items(), key=lambda item: _rank(item[1])))

    @property
    def devices(self) -> list[str]:
        """That its runs were made on."""
        return sorted({leaderboard.device_of(run) for cell in self.cells for run in cell.runs})

    def on(self, device: str) -> "Setting":
        """What was run on one device: only such speeds compare."""
        parts = [
            replace(cell, runs=runs)
            for cell in self.cells
            if (runs := tuple(r for r in cell.runs if leaderboard.device_of(r) == device))
        ]
        return replace(self, cells=tuple(parts))


def in_order(tasks: Iterable[str]) -> list[str]:
    """Each once: those of the LRA paper in its order, then others by name."""
    names = set(tasks)
    return [x for x in ORDER if x in names] + sorted(names.difference(ORDER))


def _rank(row: dict[str, Cell]) -> float:
    """By the mean over the row's tasks, a failure counting as chance."""
    found = row.values()
    passed = [cell.runs[0]["chance"] if cell.failure() else cell.mean or 0 for cell in found]
    return -statistics.fmean(passed)


def settings(runs: Sequence[Record]) -> list[Setting]:
    """The runs by what may stand in one table; a second record of a run is named as left out."""
    presets: dict[str, int] = {}
    found = []
    for number, (title, group) in enumerate(leaderboard.by_setting(runs).items()):
        preset = group[0]["preset"]
        place = presets.setdefault(preset, len(presets))
        cells = tuple(leaderboard.cells(group))
        found.append(Setting(title, f"preset-{place} setting-{number}", preset, cells))
    return found


def gather(folders: Sequence[Path]) -> Material:
    """Read all records below the folders; what can't be read is named on standard error.

    Raises:
        UsageError: a folder is missing, or there is no record at all.
    """
    runs = [(path, [run]) for path, run in leaderboard.readable(folders)]
    places = [folder for folder in folders if folder.suffix != ".json"]
    lines = [(path, found) for path in records.find(places) if (found := records.read(path))]
    studies = [
        (path, [it]) for path in approximation.find(places) if (it := approximation.read(path))
    ]
    if not (runs or lines or studies):
        raise UsageError(f"no records in {', '.join(map(str, folders))}")
    files = {_shown(path, folders): len(found) for path, found in (*runs, *lines, *studies)}
    return Material(_joined(runs), _joined(lines), _joined(studies), files)


def _joined(files: Iterable[tuple[Path, list[Any]]]) -> list[Any]:
    return [found for _, several in files for found in several]


def _shown(path: Path, folders: Sequence[Path]) -> str:
    """A path as one below the folder that the user named."""
    for folder in folders:
        if path.resolve().is_relative_to(folder.resolve()):
            return str(folder / path.resolve().relative_to(folder.resolve()))
    return os.fspath(path)
