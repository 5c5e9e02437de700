"""Tables of accuracy from run records."""

import hashlib
import json
import math
import os
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lra_bench import published, record
from lra_bench.errors import RunError, UsageError
from lra_bench.render import render as render_table
from lra_bench.settings import PLACEMENT

Record = dict[str, Any]
_REASONS = {"out_of_memory": "out of memory"}
# How many binomial standard errors above chance a test accuracy must lie to count as learned.
_ABOVE_CHANCE = 3
_OVER_BUDGET = 1.10


@dataclass(frozen=True)
class Cell:
    """The runs of one attention on one task in one setting, one a seed."""

    attention: str
    task: str
    runs: tuple[Record, ...]

    @property
    def accuracies(self) -> list[float]:
        """Test accuracies of the runs that have one, in [0, 1]."""
        return [run["test"]["accuracy"] for run in self.runs if run["status"] == "ok"]

    @property
    def mean(self) -> float | None:
        """Mean over seeds."""
        return statistics.fmean(self.accuracies) if self.accuracies else None

    @property
    def sd(self) -> float | None:
        """Standard deviation over seeds (n - 1); None for fewer than two."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    def failure(self) -> str | None:
        """Why the cell says FAIL: every run failed, or the mean isn't above chance."""
        if self.mean is None:
            reasons: set[str] = {run["status"] for run in self.runs}
            return ", ".join(sorted(_REASONS.get(reason, reason) for reason in reasons))
        chance = self.runs[0]["chance"]
        examples = next(run["test"]["examples"] for run in self.runs if run["status"] == "ok")
        error = math.sqrt(chance * (1 - chance) / examples)
        at_chance = self.mean <= chance + _ABOVE_CHANCE * error
        return f"at chance, {self.mean:.1%}" if at_chance else None

    def text(self) -> str:
        """Such as "36.2 ± 0.4" in percent, or "FAIL (diverged)"."""
        failure = self.failure()
        if failure or self.mean is None:
            return f"FAIL ({failure})"
        spread = f" ± {100 * self.sd:.1f}" if self.sd is not None else ""
        lost = len(self.runs) - len(self.accuracies)
        return f"{100 * self.mean:.1f}{spread}" + (f" ({lost} failed)" if lost else "")

    def median(self, key: str) -> float | None:
        """The median over the runs that have the figure."""
        values: list[float] = [run[key] for run in self.runs if run.get(key) is not None]
        return statistics.median(values) if values else None


def find(folders: Sequence[Path], closed: Callable[[OSError], object] | None = None) -> list[Path]:
    """Record files at or below the folders, each once; a file of JSON lines is none.

    Args:
        folders: where to look; links to folders below them aren't followed.
        closed: told of folders that can't be looked into.

    Raises:
        UsageError: a folder is missing.
    """
    paths: dict[str, Path] = {}
    for folder in folders:
        if not folder.exists():
            raise UsageError(f"no folder {folder}")
        found = [folder] if folder.is_file() else sorted(_below(folder, closed))
        found = [path for path in found if path.suffix != ".jsonl"]
        for path in found:
            paths.setdefault(os.path.realpath(path), path)
    return list(paths.values())


def _below(folder: Path, closed: Callable[[OSError], object] | None) -> Iterator[Path]:
    """All that is called a record below a folder, be it a file or not."""
    for place, folders, files in os.walk(folder, onerror=closed):
        if record.FILE in (*folders, *files):
            yield Path(place, record.FILE)


def readable(folders: Sequence[Path]) -> Iterator[tuple[Path, Record]]:
    """Each record below the folders, with its path in it too; others are named as left out.

    Raises:
        UsageError: a folder is missing.
    """
    for path in find(folders, closed=_leave_out):
        try:
            yield path, {**record.read(path), "path": str(path)}
        except RunError as error:
            _leave_out(error)


def _leave_out(what: object) -> None:
    print(f"lra-bench: left out: {what}", file=sys.stderr)


def collect(folders: Sequence[Path]) -> list[Record]:
    """All records below the folders; what can't be read is named on standard error.

    Raises:
        UsageError: a folder is missing, or there is no record at all.
    """
    records = [found for _, found in readable(folders)]
    if not records:
        raise UsageError(f"no records in {', '.join(map(str, folders))}")
    return records


def by_setting(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records that may stand in one table: same preset, same overrides of it, same data."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for run in records:
        groups[_setting(run)].append(run)
    parts: dict[str, list[Record]] = defaultdict(list)
    for setting, runs in groups.items():
        data: dict[str, set[str]] = defaultdict(set)
        for run in runs:
            data[run["task"]].add(_data(run))
        for run in runs:
            several = len(data[run["task"]]) > 1
            parts[f"{setting}, data {_data(run)}" if several else setting].append(run)
    return dict(sorted(parts.items()))


def _data(run: Record) -> str:
    """The beginning of the checksum of the data."""
    return str((run.get("data") or {}).get("sha256", "unknown"))[:8]


def device_of(run: Record) -> str:
    """What it ran on, for speeds mean nothing without."""
    place = run.get("environment") or {}
    kind = place.get("device_kind", "unknown")
    name = place.get("host_cpu", kind) if kind == "cpu" else kind
    return f"{place.get('device_count', '?')} x {name}"


def _setting(run: Record) -> str:
    """The preset, and where the run departs from it; attention and seed don't count."""
    from lra_bench.config import make_settings

    config = {key: run["config"].get(key) for key in ("data_source", "data", "model", "train")}
    try:
        usual = make_settings(run["task"], "identity", run["preset"], 0).as_dict()
    except UsageError:
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        return f"{run['preset']} of {run['task']}, unknown here ({digest[:8]})"
    changed = []
    if config["data_source"] != usual["data_source"]:
        changed.append(f"data.source={config['data_source']}")
    for group in ("data", "model", "train"):
        found, known = config[group], usual[group]
        changed += [
            f"{group}.{key}={found.get(key)}"
            for key in sorted(found.keys() | known.keys())
            if found.get(key) != known.get(key) and key not in PLACEMENT
        ]
    return run["preset"] + (f" ({', '.join(changed)})" if changed else "")


def cells(records: Iterable[Record]) -> list[Cell]:
    """Cells of one setting, by attention and task; one run a seed, one that ended well if any."""
    runs: dict[tuple[str, str], dict[int, Record]] = defaultdict(dict)
    for run in sorted(records, key=lambda run: run["status"] != "ok"):
        key = (_label(run), run["task"])
        if run["seed"] in runs[key]:
            where = f"{run['path']}: " if "path" in run else ""
            _leave_out(f"{where}a second record of {key[0]} on {key[1]}, seed {run['seed']}")
        runs[key].setdefault(run["seed"], run)
    return [Cell(*key, tuple(found.values())) for key, found in sorted(runs.items())]


def _label(run: Record) -> str:
    """The attention, with the options that aren't its defaults and the one it started from."""
    return attention_label(run["attention"], run["config"]["attention_options"]) + _origin(run)


def attention_label(attention: str, options: dict[str, Any]) -> str:
    """The attention, with those of its options that aren't its defaults."""
    from lra_bench.registry import ATTENTIONS

    try:
        usual = ATTENTIONS.get(attention).options()
    except UsageError:
        usual = {}
    shown = sorted(options.items())
    changed = [f"{key}={value}" for key, value in shown if usual.get(key) != value]
    return attention + (f" ({', '.join(changed)})" if changed else "")


def _origin(run: Record) -> str:
    """Whose checkpoint a run started with: its training came before the steps of this one."""
    origin = run.get("init_from")
    if origin is None:
        return ""
    where = "" if origin["task"] == run["task"] else f" on {origin['task']}"
    return f" from {origin['attention']}{where}"


def wide(records: Iterable[Record], *, with_published: bool) -> pd.DataFrame:
    """The table of one setting for people: a row an attention, text in every cell."""
    found = cells(records)
    tasks = sorted({cell.task for cell in found})
    rows: dict[str, dict[str, str]] = {}
    for cell in found:
        rows.setdefault(cell.attention, {"attention": cell.attention}).update(
            _columns(cell, many=len(tasks) > 1)
        )
    if len(tasks) > 1:
        for label, row in rows.items():
            row["seeds"] = _seeds(label, found)
    ranked = sorted(rows.values(), key=lambda row: _rank(row["attention"], found))
    ranked.append({"attention": "chance", **_chance(found)})
    if with_published:
        ranked += _published_rows(found, tasks)
    table = pd.DataFrame(ranked).fillna("")
    first = ["attention", *(f"{task} %" for task in tasks)]
    return table.reindex(columns=[*first, *(c for c in table.columns if c not in first)])


def _rank(label: str, found: list[Cell]) -> float:
    """Best first, by the mean over its tasks, a failure counting as chance."""
    mine = [cell for cell in found if cell.attention == label]
    passed = [cell.runs[0]["chance"] if cell.failure() else cell.mean or 0 for cell in mine]
    return -statistics.fmean(passed)


def _columns(cell: Cell, *, many: bool) -> dict[str, str]:
    """The cell's columns; beside other tasks there is room for the accuracy only."""
    parameters, ratio = cell.median("parameters"), cell.median("parameters_vs_softmax")
    flag = " (!)" if ratio and ratio > _OVER_BUDGET else ""
    if many:
        return {f"{cell.task} %": cell.text() + flag}
    rate = cell.median("steps_per_second") if len({device_of(r) for r in cell.runs}) == 1 else None
    return {
        f"{cell.task} %": cell.text(),
        "seeds": str(len(cell.runs)),
        "parameters": f"{parameters:,.0f}" if parameters else "",
        "vs softmax": f"{ratio:.2f}{flag}" if ratio else "",
        "steps/s": f"{rate:.2f}" if rate else "",
    }


def _seeds(label: str, found: list[Cell]) -> str:
    """How many seeds a row's cells have, such as "3" or "1 to 3"."""
    counts = {len(cell.runs) for cell in found if cell.attention == label}
    return " to ".join(map(str, sorted({min(counts), max(counts)})))


def _chance(found: list[Cell]) -> dict[str, str]:
    return {f"{cell.task} %": f"{100 * cell.runs[0]['chance']:.1f}" for cell in found}


def _published_rows(found: list[Cell], tasks: list[str]) -> list[dict[str, str]]:
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for attention in sorted({cell.runs[0]["attention"] for cell in found}):
        for task in tasks:
            for row in published.of(attention, task):
                name = f"{row.model} [{row.source}]"
                entry = rows.setdefault((row.model, row.source), {"attention": name})
                entry[f"{task} %"] = f"{row.accuracy[task]:.2f}"
    return list(rows.values())


def long(groups: dict[str, list[Record]], *, with_published: bool) -> pd.DataFrame:
    """The table for programs: a row a setting, attention and task; accuracies in [0, 1]."""
    rows = [
        {
            "setting": setting,
            "task": cell.task,
            "attention": cell.attention,
            "accuracy_mean": cell.mean,
            "accuracy_sd": cell.sd,
            "seeds": len(cell.runs),
            "fail": cell.failure(),
            "chance": cell.runs[0]["chance"],
            "parameters": cell.median("parameters"),
            "parameters_vs_softmax": cell.median("parameters_vs_softmax"),
            "steps_per_second": cell.median("steps_per_second"),
            "official_data": bool((cell.runs[0].get("data") or {}).get("official")),
            "source": "here",
        }
        for setting, records in groups.items()
        for cell in cells(records)
    ]
    if with_published:
        rows += [
            {"setting": "published", "task": task, "attention": row.model,
             "accuracy_mean": value / 100, "source": row.source}
            for row in published.results()
            for task, value in row.accuracy.items()
        ]  # fmt: skip
    return pd.DataFrame(rows)


def render(records: Sequence[Record], style: str, *, with_published: bool) -> str:
    """All tables as markdown, latex or html, a table a setting; or as csv, one for all."""
    groups = by_setting(records)
    if style == "csv":
        return long(groups, with_published=with_published).to_csv(index=False, lineterminator="\n")
    parts = []
    for setting, group in groups.items():
        table = wide(group, with_published=with_published)
        devices = sorted({device_of(run) for run in group})
        speed = f"Steps/s on {' and '.join(devices)}." if "steps/s" in table.columns else ""
        notes = f"{_notes(table)} {_unofficial(group)}{speed}".rstrip()
        parts.append(render_table(style, f"preset {setting}", table, notes))
    return "\n".join(parts)


def _unofficial(records: Iterable[Record]) -> str:
    """Which tasks were run on other data than the benchmark's."""
    other = {
        f"{run['task']} ({run['data'].get('source')})"
        for run in records
        if run.get("data") and not run["data"].get("official")
    }
    return f"Data that are not the published data: {', '.join(sorted(other))}. " if other else ""


def _notes(table: pd.DataFrame) -> str:
    """What the signs in a table mean, for those that are in it."""
    text = table.to_string()
    notes = ["mean ± sd over seeds, test accuracy at the best validation step"]
    if "FAIL (at chance" in text:
        notes.append(f"at chance: not {_ABOVE_CHANCE} standard errors above the commonest answer")
    if "(!)" in text:
        notes.append("(!): over 10 % more parameters than softmax")
    if " from " in text:
        notes.append("from: fine-tuned, after that attention's own training")
    if "[" in text:
        notes.append("[source]: published, in that source's full-size setting")
    return "; ".join(notes) + "."
