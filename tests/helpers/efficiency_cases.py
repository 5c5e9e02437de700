"""Cells, records and tables that tests of efficiency share."""

import os
import time

import numpy as np
from common import PATIENCE

from lra_bench.efficiency import plan, records
from lra_bench.efficiency.cells import Cell
from lra_bench.efficiency.measurement import Measurement
from lra_bench.scaling import groups, rows, tables

LENGTHS = (512, 1_024, 2_048, 4_096, 8_192, 16_384)
CONFIG = {
    "attention_options": {},
    "model": {"num_heads": 8, "head_dim": 64, "emb_dim": 512, "dropout": 0.1},
    "train": {"accumulate": 1, "num_steps": 7},
}
DEFAULTS = {
    "scope": "attention", "size": "regular", "preset": None, "direction": "backward", "batch": 1,
    "dtype": "float32", "layers": None, "devices": 1, "target": "here", "memory_limit": 2**34,
    "config": CONFIG,
}  # fmt: skip


def cell(attention="linear", length=48, scope="attention", direction="forward", **others):
    """Return a small cell; `others` are fields of `plan.Choice`."""
    passes = ("forward",) if scope == "train" else (direction,)
    choice = plan.Choice(
        (attention,), (length,), (scope,), others.pop("sizes", ("small",)), passes, **others
    )
    return plan.cells(choice)[0]


def wait_for_end(pid):
    """Wait until a process is gone, which raises ProcessLookupError."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        os.kill(pid, 0)
        time.sleep(0.05)


def line(attention="softmax", length=512, seconds=0.01, memory=2**20, status="ok", **changes):
    """Return the JSON of a line; `seconds` None: not timed. CPU time is twice the wall time."""
    fields = {key: changes.pop(key) for key in DEFAULTS if key in changes}
    cell = Cell(attention=attention, length=length, **{**DEFAULTS, **fields})
    made = Measurement(cell, changes.pop("machine", "2 x EPYC, host vm")).as_dict()
    made["status"] = status
    made["environment"] = {
        "platform": changes.pop("platform", "cpu"),
        "versions": {"jax": "0.10.2", "lra-bench": "0.1.0", "numpy": "2.4.0"},
        "git_commit": "abc",
    }
    if status == "ok" and seconds is not None:
        wall = {"median": seconds / 2, "q1": 0.49 * seconds, "q3": 0.52 * seconds}
        cpu = {"median": seconds, "q1": 0.98 * seconds, "q3": 1.02 * seconds}
        made["timing"] = {"repeats": 7, "calls_per_repeat": 1, "wall": wall, "cpu": cpu}
    if memory is not None:
        measured = memory if status == "ok" and cell.target == "here" else None
        made["memory"] = {"predicted_bytes": round(0.9 * memory), "measured_bytes": measured,
                          "method": "rss"}  # fmt: skip
    made.update(changes)
    return made


def visit(number, cpu):
    """Return a line of one round; wall time is half the CPU time."""
    made = line(seconds=float(np.median(cpu)), round=number)
    made["timing"]["samples"] = {"cpu": list(cpu), "wall": [value / 2 for value in cpu]}
    made["timing"]["repeats"] = len(cpu)
    return made


def law(attention, factor, power, lengths=LENGTHS, bytes_power=1.0, **changes):
    """Return lines whose time is factor (L / 1024)^power."""
    return [
        line(attention, length, factor * (length / 1024) ** power,
             memory=round(2**20 * (length / 512) ** bytes_power), **changes)
        for length in lengths
    ]  # fmt: skip


def sweep(**changes):
    """Return lines of three mechanisms; softmax is out of memory at 8,192, beyond it is not run."""
    ended = [
        line("softmax", 8_192, status="out_of_memory", **changes),
        line("softmax", 16_384, status="out_of_memory", memory=None, inferred_from=8_192,
             **changes),
    ]  # fmt: skip
    exact = law("softmax", 0.01, 2.0, LENGTHS[:4], 2.0, **changes) + ended
    return [
        *law("linear", 0.02, 1.0, **changes),
        *law("identity", 0.001, 1.0, **changes),
        *exact,
    ]


def parsed(lines):
    """Return the measurements in lines of JSON."""
    return [records.parse(line) for line in lines]


def measured(lines):
    """Return the rows of lines of JSON."""
    return rows.from_lines(parsed(lines))


def the_group(lines, **options):
    (group,) = groups.groups(measured(lines), **options)
    return group


def table(lines, title, **options):
    """Return the one table of the group whose title begins so, as {attention: row}, and itself."""
    found = [it for it in tables.tables(the_group(lines), **options) if it.title.startswith(title)]
    (it,) = found
    return {row["attention"]: row for row in it.frame.to_dict("records")}, it
