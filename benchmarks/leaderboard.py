"""Measure how long it takes to compile many records into tables.

    python benchmarks/leaderboard.py [RECORDS]

Writes RECORDS records (default: 10,000) of all tasks, all attentions and several presets, each with
the answers to 2,000 test examples; some are cut off. Prints the CPU seconds of reading them, of
each format, and of the whole command in its own process.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from io import StringIO
from itertools import count, islice, product
from pathlib import Path
from typing import Any

import numpy as np
from _sections import show

from lra_bench.config import make_settings
from lra_bench.data.chance import Chance
from lra_bench.leaderboard.board import ORDER
from lra_bench.leaderboard.tables import render
from lra_bench.records import answers, record
from lra_bench.records.find import collect
from lra_bench.registry import ATTENTIONS

_EXAMPLES = 2000
_EVERY_TORN = 1000


def records() -> Iterator[dict[str, Any]]:
    """Yield records without end, seed by seed."""
    chance = np.random.default_rng(0)
    for seed in count():
        for preset, task, attention in product(("small", "paper"), ORDER, ATTENTIONS.names()):
            settings = make_settings(task, attention, preset, seed)
            fields = record.begin(settings, Chance(0.2)).as_dict()
            correct = chance.random(_EXAMPLES) < _rate(attention)
            test = {"accuracy": float(correct.mean()), "loss": 1.0, "examples": _EXAMPLES}
            fields.update(status="ok", best_step=1, validation=test)
            fields["test"] = {**test, "correct": answers.pack(correct)}
            fields.update(data={"sha256": task, "official": True}, environment={})
            yield fields


def _rate(attention: str) -> float:
    """Return the share of right answers; all differ, so every comparison of a table is made."""
    return 0.5 + 0.02 * ATTENTIONS.names().index(attention)


def write(folder: Path, number: int) -> None:
    """Write `number` records, of which every thousandth is cut off."""
    for index, fields in enumerate(islice(records(), number)):
        text = json.dumps(fields, indent=2)
        file = folder / f"{index:05d}" / record.FILE
        file.parent.mkdir()
        file.write_text(text[:-9] if index % _EVERY_TORN == _EVERY_TORN - 1 else text)


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU seconds of `work`, and its result."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def whole_command(folder: Path) -> float:
    """Return the CPU seconds of the command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "lra_bench", "table", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Write records, read them, and compile the tables."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as name, redirect_stderr(StringIO()) as errors:
        write(Path(name), number)
        taken, collected = seconds(lambda: collect([Path(name)]))
        rows = [{"what": f"reading {len(collected):,} records", "CPU s": taken}]
        for style in ("markdown", "csv", "json", "latex", "html"):
            taken, _ = seconds(lambda style=style: render(collected, style, with_published=True))
            rows.append({"what": style, "CPU s": taken})
        rows.append({"what": "lra-bench table, all of it", "CPU s": whole_command(Path(name))})
    show(rows)
    print(f"left out: {len(errors.getvalue().splitlines()):,}")


if __name__ == "__main__":
    main()
