"""Records that tests of the report page share."""

import json
import zlib

from lra_bench.config import make_settings
from lra_bench.data.chance import Chance
from lra_bench.records import metrics, record

TASKS = ("listops", "text", "retrieval", "image", "pathfinder", "pathx")
CHANCE = {"listops": 0.17, "image": 0.1}
# Steps per second over softmax's, accuracy above chance, peak memory in GiB.
ATTENTIONS = {
    "softmax": (1.0, 0.20, 6.0),
    "softmax-chunked": (0.9, 0.20, 2.0),
    "linear": (2.6, 0.15, 0.8),
    "linformer": (2.2, 0.14, 1.1),
    "performer-relu": (2.1, 0.17, 1.0),
    "performer-softmax": (1.7, 0.16, 1.3),
    "reformer": (0.6, 0.12, 1.6),
    "identity": (3.5, 0.02, 0.6),
}
EVIL = "<script>alert(1)</script>"


def run(task="listops", attention="softmax", seed=0, accuracy=0.4, status="ok", preset="mini",
        overrides=(), **changes):  # fmt: skip
    """Return the JSON value of a record."""
    settings = make_settings(task, attention, preset, seed, overrides)
    values = record.begin(settings, Chance(CHANCE.get(task, 0.5))).as_dict()
    values.update(status=status, parameters=94_090, steps=600)
    values.update(parameters_vs_softmax=1.2 if attention == "linformer" else 1.0)
    values.update(steps_per_second=5.0, peak_memory_bytes=2**30)
    values["data"] = {"source": "release", "sha256": f"{zlib.crc32(task.encode()):064x}",
                    "sizes": {"train": 1000, "validation": 100, "test": 2000},
                    "official": task != "text"}  # fmt: skip
    values["environment"] = {"device_kind": "TPU v5", "device_count": 4, "git_commit": "0" * 40,
                           "versions": {"jax": "0.10.2"}}  # fmt: skip
    if status == "ok":
        values["validation"] = values["test"] = {
            "accuracy": accuracy,
            "loss": 1.0,
            "examples": 2000,
        }
        values["best_step"] = 400
    else:
        values["error"] = "the loss is not finite at step 70"
    return {**values, **changes}


def lines(accuracy, steps=range(100, 700, 100)):
    """Return the metrics of a run whose validation accuracy rises to `accuracy`."""
    return [
        {"step": step, "split": "validation", "loss": 1.0, "seconds": 0.5,
         "accuracy": round(accuracy * step / steps[-1], 6)}
        for step in steps
    ]  # fmt: skip


def write(folder, values, metrics_lines=()):
    """Write a record, with its metrics beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / record.FILE).write_text(json.dumps(values))
    if metrics_lines:
        text = "".join(json.dumps(line) + "\n" for line in metrics_lines)
        (folder / metrics.FILE).write_text(text)


def sweep(folder, presets=("small", "paper"), seeds=2):
    """Write records of all tasks with eight attentions in two presets; return their number.

    Some runs fail. Others have options, a setting or a start of their own.
    """
    number = 0
    for preset in presets:
        for task in TASKS:
            for attention, (speed, gain, memory) in ATTENTIONS.items():
                for seed in range(seeds):
                    accuracy = CHANCE.get(task, 0.5) + gain + 0.01 * seed
                    status = "ok"
                    if task == "pathx":
                        accuracy = 0.5
                        status = "out_of_memory" if attention == "softmax" else "ok"
                    if (attention, task, seed) == ("reformer", "image", 1):
                        status = "diverged"
                    values = run(task, attention, seed, accuracy, status, preset,
                               steps_per_second=4 * speed,
                               peak_memory_bytes=round(memory * 2**30))  # fmt: skip
                    write(
                        folder / f"run{number}", values, lines(accuracy) if status == "ok" else ()
                    )
                    number += 1
    for preset in presets:
        # An option of its own, a setting of its own, and a start with another's parameters.
        values = run("listops", "performer-softmax", overrides=("attention.num_features=64",),
                   preset=preset, accuracy=0.31)  # fmt: skip
        write(folder / f"run{number}", values, lines(0.31))
        values = run("listops", "linear", overrides=("train.num_steps=300",), preset=preset)
        write(folder / f"run{number + 1}", values, lines(0.4))
        origin = {"path": "runs/listops-softmax", "sha256": "0" * 64, "task": "listops",
                  "attention": "softmax", "step": 90, "test_accuracy": 0.31}  # fmt: skip
        values = run("listops", "performer-softmax", init_from=origin, preset=preset, accuracy=0.35)
        write(folder / f"run{number + 2}", values, lines(0.35))
        write(folder / f"run{number + 3}", run("listops", "softmax", 2, status="failed",
              preset=preset))  # fmt: skip
        number += 4
    return number


def odd():
    """Return the JSON value of a record whose names and texts are markup."""
    values = run(status="failed")
    values.update(attention=EVIL, error=EVIL, preset=EVIL)
    values["config"]["data"]["max_length"] = EVIL
    values["data"]["source"] = values["data"]["sha256"] = EVIL
    values["environment"].update(device_kind=EVIL, git_commit=EVIL, versions={EVIL: EVIL})
    return values


def parsed(runs):
    """Return the records that these JSON values hold."""
    return [record.parse(run) for run in runs]
