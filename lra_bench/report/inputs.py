"""Read all that a report is made of from folders of records."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lra_bench.display.escape import terminal
from lra_bench.efficiency import records
from lra_bench.efficiency.measurement import Measurement
from lra_bench.errors import UsageError
from lra_bench.leaderboard.board import Board, board
from lra_bench.leaderboard.comparable import by_setting
from lra_bench.leaderboard.results import Result
from lra_bench.records.find import readable
from lra_bench.records.record import Record
from lra_bench.report import approximation
from lra_bench.report.shared import shared

Choose = Callable[[list[Record | Measurement]], list[Record | Measurement]]


@dataclass(frozen=True)
class Inputs:
    """The records that a report is made of.

    Attributes:
        runs: records of runs.
        lines: efficiency records.
        studies: of how well features approximate attention.
        files: the files of these records, with the number of them in each.
    """

    runs: list[Record]
    lines: list[Measurement]
    studies: list[approximation.Study]
    files: dict[str, int]

    @cached_property
    def tables(self) -> list["RunTable"]:
        """Return the results of the runs, a table for each setting."""
        return run_tables(self.runs)


@dataclass(frozen=True)
class RunTable:
    """The results that may stand in one table: those of one setting.

    Attributes:
        title: the preset, and where the runs depart from it.
        tags: two words by which the page hides and shows parts: one of the preset, one of this
            table.
        preset: by name.
        board: the rows, and which of their differences are significant.
    """

    title: str
    tags: str
    preset: str
    board: Board

    @property
    def name(self) -> str:
        """Return the tag of this table alone, for ids and names of files."""
        return self.tags.split()[-1]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Return the tasks in the order of the LRA paper, others after them."""
        return self.board.tasks

    @cached_property
    def rows(self) -> dict[str, dict[str, Result]]:
        """Return the results by attention, the best first, and by task."""
        return {row.attention: row.results for row in self.board.rows}

    @property
    def results(self) -> list[Result]:
        """Return all results, row by row."""
        return self.board.results

    @cached_property
    def card_ids(self) -> dict[tuple[str, str], str]:
        """Return the id of the card behind each result, by attention and task."""
        return {
            (result.attention, result.task): f"card-{self.name}-{number}"
            for number, result in enumerate(self.results)
        }

    @cached_property
    def shared_settings(self) -> dict[str, dict[str, Any]]:
        """Return by task the settings that all its results have, by their dotted names."""
        return {
            task: shared(result for result in self.results if result.task == task)
            for task in self.tasks
        }

    @property
    def runs(self) -> list[Record]:
        """Return the runs of all results."""
        return [run for result in self.results for run in result.runs]

    @property
    def devices(self) -> list[str]:
        """Return the devices of the runs, in words, sorted."""
        return sorted({run.device for run in self.runs})

    def on(self, device: str) -> dict[str, dict[str, Result]]:
        """Return the rows with only the runs on one device: only their speeds compare."""
        rows: dict[str, dict[str, Result]] = {}
        for result in self.results:
            runs = tuple(run for run in result.runs if run.device == device)
            if runs:
                rows.setdefault(result.attention, {})[result.task] = replace(result, runs=runs)
        return rows


def run_tables(runs: Sequence[Record]) -> list[RunTable]:
    """Return a table for each setting; a second record of a run is named and left out."""
    presets: dict[str, int] = {}
    tables = []
    for number, (title, group) in enumerate(by_setting(runs).items()):
        preset = group[0].preset
        preset_number = presets.setdefault(preset, len(presets))
        tags = f"preset-{preset_number} setting-{number}"
        tables.append(RunTable(title, tags, preset, board(group)))
    return tables


def gather(folders: Sequence[Path], choose: Choose = list) -> Inputs:
    """Read all records below the folders; name those that cannot be read on standard error.

    Args:
        folders: searched for records.
        choose: returns those to show, of all records of runs and of efficiency.

    Raises:
        UsageError: a folder is missing, or there is no record at all.
    """
    runs = [(run.path or Path(), [run]) for run in readable(folders)]
    lines = [(path, records.readable(path)) for path in records.find(folders)]
    studies = [(path, _study(path)) for path in approximation.find(folders)]
    if not any(values for _, values in (*runs, *lines, *studies)):
        where = ", ".join(map(str, folders))
        raise UsageError(f"no records in {where}; lra-bench run and sweep write them to --out")
    kept = choose([*_joined(runs), *_joined(lines)])
    shown = {id(value) for value in (*kept, *_joined(studies))}
    counts = {
        _shown(path, folders): sum(id(value) in shown for value in values)
        for path, values in (*runs, *lines, *studies)
    }
    return Inputs(
        [record for record in kept if isinstance(record, Record)],
        [record for record in kept if isinstance(record, Measurement)],
        _joined(studies),
        {path: count for path, count in counts.items() if count},
    )


def _study(path: Path) -> list[approximation.Study]:
    """Return the study in a file, in a list; an empty list if it cannot be read."""
    study = approximation.read(path)
    return [] if study is None else [study]


def _joined(files: Iterable[tuple[Path, list[Any]]]) -> list[Any]:
    return [value for _, values in files for value in values]


def _shown(path: Path, folders: Sequence[Path]) -> str:
    """Return a path as one below the folder that the user named."""
    for folder in folders:
        if path.resolve().is_relative_to(folder.resolve()):
            return terminal(folder / path.resolve().relative_to(folder.resolve()))
    return terminal(path)
