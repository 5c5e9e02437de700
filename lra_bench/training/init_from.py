"""Starting a run with the parameters of another: `lra-bench run --init-from`."""

import json
from pathlib import Path
from typing import Any

import jax

from lra_bench.contracts import Task
from lra_bench.display.progress import Display
from lra_bench.errors import RunError, UsageError
from lra_bench.records import record
from lra_bench.records.run_folder import differences
from lra_bench.settings import Origin, RunSettings
from lra_bench.training import restore
from lra_bench.training.learner import Arrays, make_learner


def identify(path: Path) -> Origin:
    """Which checkpoint `path` stands for: that very one, or the best of a run.

    Raises:
        UsageError: `path` is neither.
        RunError: what it holds is damaged.
    """
    run, place = restore.locate(path)
    settings, step = restore.load_settings(run), int(place.name)
    return Origin(
        path=str(path),
        sha256=restore.fingerprint(place),
        task=settings.task,
        attention=settings.attention,
        step=step,
        test_accuracy=_tested(run, step),
    )


def _tested(run: Path, step: int) -> float | None:
    try:
        found = record.read(run / record.FILE)
    except RunError:
        return None
    tested = found.status == "ok" and found.best_step == step
    return found.test.accuracy if tested and found.test else None


def check(settings: RunSettings, task: Task, display: Display) -> None:
    """See that a run of `settings` can start, before anything is written; name what differs.

    Raises:
        UsageError: the checkpoint is gone, or has other parameters.
        RunError: it is damaged.
    """
    init = make_learner(task, settings).init
    load(settings, jax.eval_shape(init, jax.random.key(0)).params)
    assert settings.init_from is not None
    there = restore.load_settings(restore.locate(Path(settings.init_from.path))[0])
    groups = ("data_source", "data", "model") if there.task == settings.task else ("task", "model")
    found, here = ({key: _plain(x)[key] for key in groups} for x in (there, settings))
    if others := list(differences(found, here)):
        display.line(f"note: the checkpoint is of another setting: {'; '.join(others)}")


def _plain(settings: RunSettings) -> dict[str, Any]:
    return json.loads(json.dumps(settings.as_dict()))


def load(settings: RunSettings, like: Arrays) -> Arrays:
    """The parameters to start with; `like` gives names and shapes.

    Raises:
        UsageError: the checkpoint is gone, or has other parameters.
        RunError: it is damaged, or not the one that it was.
    """
    origin = settings.init_from
    assert origin is not None
    if identify(Path(origin.path)).sha256 != origin.sha256:
        raise RunError(f"{origin.path} has another checkpoint by now than the one to start with")
    _, found, _, _ = restore.load_state(Path(origin.path))
    _compare(origin, settings.attention, found, like)
    return {name: found[name] for name in like}


def _compare(origin: Origin, attention: str, found: Arrays, wanted: Arrays) -> None:
    for name in [*wanted, *(name for name in found if name not in wanted)]:
        there, here = (tuple(x[name].shape) if name in x else "none" for x in (found, wanted))
        if there != here:
            raise UsageError(
                f"--init-from {origin.path}: {origin.attention} on {origin.task} there and "
                f"{attention} here don't have the same parameters: "
                f"{name} is {there} there, {here} here"
            )
