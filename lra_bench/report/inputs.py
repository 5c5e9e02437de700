"""All that a report is made of, as it is found in folders."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lra_bench.efficiency import records
from lra_bench.errors import UsageError
from lra_bench.leaderboard.board import Board, board
from lra_bench.leaderboard.comparable import by_setting
from lra_bench.leaderboard.results import Result
from lra_bench.records.find import readable
from lra_bench.records.record import Record
from lra_bench.report import approximation


@dataclass(frozen=True)
class Inputs:
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
    def settings(self) -> list["RunTable"]:
        """The runs by what may stand in one table."""
        return settings(self.runs)


@dataclass(frozen=True)
class RunTable:
    """The cells that may stand in one table.

    Attributes:
        title: the preset, and what departs from it.
        tags: by which the page hides and shows it: one of the preset, one of its own.
        preset: by name.
        board: the rows, and which of their differences are significant.
    """

    title: str
    tags: str
    preset: str
    board: Board

    @property
    def name(self) -> str:
        """For ids."""
        return self.tags.split()[-1]

    @property
    def tasks(self) -> tuple[str, ...]:
        """In the order of the LRA paper, others after them."""
        return self.board.tasks

    @cached_property
    def rows(self) -> dict[str, dict[str, Result]]:
        """By attention, the best first, and task."""
        return {row.attention: row.cells for row in self.board.rows}

    @cached_property
    def cells(self) -> list[Result]:
        """Row by row."""
        return [cell for row in self.rows.values() for cell in row.values()]

    @property
    def devices(self) -> list[str]:
        """That its runs were made on."""
        return sorted({run.device for cell in self.cells for run in cell.runs})

    def on(self, device: str) -> dict[str, dict[str, Result]]:
        """The rows of what was run on one device: only such speeds compare."""
        found: dict[str, dict[str, Result]] = {}
        for cell in self.cells:
            runs = tuple(run for run in cell.runs if run.device == device)
            if runs:
                found.setdefault(cell.attention, {})[cell.task] = replace(cell, runs=runs)
        return found


def settings(runs: Sequence[Record]) -> list[RunTable]:
    """The runs by what may stand in one table; a second record of a run is named as left out."""
    presets: dict[str, int] = {}
    found = []
    for number, (title, group) in enumerate(by_setting(runs).items()):
        preset = group[0].preset
        place = presets.setdefault(preset, len(presets))
        tags = f"preset-{place} setting-{number}"
        found.append(RunTable(title, tags, preset, board(group)))
    return found


def gather(folders: Sequence[Path]) -> Inputs:
    """Read all records below the folders; what can't be read is named on standard error.

    Raises:
        UsageError: a folder is missing, or there is no record at all.
    """
    runs = [(run.path or Path(), [run]) for run in readable(folders)]
    lines = [(path, found) for path in records.find(folders) if (found := records.read(path))]
    studies = [
        (path, [it]) for path in approximation.find(folders) if (it := approximation.read(path))
    ]
    if not (runs or lines or studies):
        raise UsageError(f"no records in {', '.join(map(str, folders))}")
    files = {_shown(path, folders): len(found) for path, found in (*runs, *lines, *studies)}
    return Inputs(_joined(runs), _joined(lines), _joined(studies), files)


def _joined(files: Iterable[tuple[Path, list[Any]]]) -> list[Any]:
    return [found for _, several in files for found in several]


def _shown(path: Path, folders: Sequence[Path]) -> str:
    """A path as one below the folder that the user named."""
    for folder in folders:
        if path.resolve().is_relative_to(folder.resolve()):
            return str(folder / path.resolve().relative_to(folder.resolve()))
    return os.fspath(path)
