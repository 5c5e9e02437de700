"""Records that tests of the leaderboard share, as the JSON values of their files."""

import numpy as np

from lra_bench.config import make_settings
from lra_bench.data.chance import Chance
from lra_bench.leaderboard.board import ORDER, board
from lra_bench.leaderboard.tables import render
from lra_bench.records import answers, record


def make(
    attention="softmax", seed=0, accuracy=0.4, status="ok", preset="mini", overrides=(),
    task="listops", correct=None,
):  # fmt: skip
    settings = make_settings(task, attention, preset, seed, overrides)
    run = record.begin(settings, Chance(0.17)).as_dict()
    run.update(status=status, parameters=1000, parameters_vs_softmax=1.0)
    run.update(steps_per_second=5.0, data={"sha256": "0123456789abcdef"})
    run["environment"] = {"device_kind": "TPU v5", "device_count": 4}
    if status == "ok":
        run["validation"] = run["test"] = {"accuracy": accuracy, "loss": 1.0, "examples": 2000}
        run["best_step"] = 7
    if correct is not None:
        run["test"] = answered(correct)
    return run


def of_version(number):
    """Return what a config holds of a version of a user's file, with the options of softmax."""
    options = make("softmax")["config"]["attention_options"]
    return {"name": "mine", "sha256": f"{number}" * 64, "options": options}


def answered(correct):
    """Return the JSON value of a test score with these answers."""
    accuracy, examples = int(correct.sum()) / len(correct), len(correct)
    packed = answers.pack(correct)
    return {"accuracy": accuracy, "loss": 1.0, "examples": examples, "correct": packed}


def right(share, examples=2000):
    """Return answers of which the first ones, this share of all, are right."""
    return np.arange(examples) < share * examples


def parsed(runs):
    """Return the records that these JSON values hold."""
    return [record.parse(run) for run in runs]


def table(records, **options):
    """Return the markdown of these records, without published rows unless asked for."""
    return render(parsed(records), "markdown", **{"with_published": False, **options})


def the_board(runs):
    """Return the board of these records."""
    return board(parsed(runs))


def row(text, name):
    """Return the cells of the row of that name in a markdown table."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} ")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def of_all_tasks(attention="softmax", tasks=ORDER[:5], **others):
    """Return a run of each task, with accuracies 0.70, 0.71, ... unless given."""
    return [
        make(attention, task=task, **{"accuracy": 0.7 + index / 100, **others})
        for index, task in enumerate(tasks)
    ]


def averages(leaderboard):
    """Return the averages over five and over six tasks of each attention; None without one."""
    return {
        row.attention: tuple(mean and round(mean.mean, 9) for mean in map(row.average, (5, 6)))
        for row in leaderboard.rows
    }
