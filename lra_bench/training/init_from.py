"""Start a run with the parameters of another: `lra-bench run --init-from`."""

import json
from pathlib import Path
from typing import Any

import jax

from lra_bench.contracts import Task
from lra_bench.display.escape import terminal
from lra_bench.display.progress import Display
from lra_bench.errors import RunError, UsageError
from lra_bench.records import record
from lra_bench.records.run_folder import differences
from lra_bench.settings import Origin, RunSettings
from lra_bench.training import restore
from lra_bench.training.checkpoint_format import array_differences, fingerprint
from lra_bench.training.distil import taken
from lra_bench.training.learner import Arrays, make_learner


def identify(path: Path) -> Origin:
    """Return the checkpoint that `path` names: that very one, or the best of a run.

    Raises:
        UsageError: `path` is neither a checkpoint nor a run.
        RunError: its contents are damaged.
    """
    run, checkpoint = restore.locate(path)
    settings, step = restore.load_settings(run), int(checkpoint.name)
    return Origin(
        path=str(path),
        sha256=fingerprint(checkpoint),
        task=settings.task,
        attention=settings.attention,
        step=step,
        test_accuracy=_test_accuracy(run, step),
    )


def _test_accuracy(run: Path, step: int) -> float | None:
    """Return the test accuracy of a run, in [0, 1], if it tested this step."""
    try:
        source = record.read(run / record.FILE)
    except RunError:
        return None
    tested = source.status == "ok" and source.best_step == step
    return source.test.accuracy if tested and source.test else None


def check(settings: RunSettings, task: Task, display: Display) -> None:
    """Check that a run of `settings` can start, before anything is written; name what differs.

    Raises:
        UsageError: the checkpoint is gone, or has other parameters.
        RunError: it is damaged.
    """
    init = make_learner(task, settings).init
    load(settings, taken(settings, jax.eval_shape(init, jax.random.key(0)).params))
    assert settings.init_from is not None
    there = restore.load_settings(restore.locate(Path(settings.init_from.path))[0])
    groups = ("data_source", "data", "model") if there.task == settings.task else ("task", "model")
    theirs, ours = ({key: _plain(x)[key] for key in groups} for x in (there, settings))
    if others := list(differences(theirs, ours)):
        text = f"note: the checkpoint is of another setting: {'; '.join(others)}"
        display.line(terminal(text))


def _plain(settings: RunSettings) -> dict[str, Any]:
    """Return settings as they come out of a JSON file."""
    return json.loads(json.dumps(settings.as_dict()))


def load(settings: RunSettings, like: Arrays) -> Arrays:
    """Return the parameters to start with, by name.

    Args:
        settings: of the run.
        like: arrays that give names and shapes, those that `taken` returns.

    Raises:
        UsageError: the checkpoint is gone, or has other parameters.
        RunError: it is damaged, or another one has taken its place.
    """
    origin = settings.init_from
    assert origin is not None
    if identify(Path(origin.path)).sha256 != origin.sha256:
        raise RunError(f"{origin.path} has another checkpoint by now than the one to start with")
    _, params, _, _ = restore.load_state(Path(origin.path))
    difference = next(array_differences(params, like), None)
    if difference is not None:
        raise UsageError(
            f"--init-from {origin.path}: {origin.attention} on {origin.task} there and "
            f"{settings.attention} here don't have the same parameters: {difference}"
        )
    return {name: params[name] for name in like}
