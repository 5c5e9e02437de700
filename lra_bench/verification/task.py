"""Check every promise of one task."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lra_bench.config import make_settings, presets
from lra_bench.contracts import Task
from lra_bench.data.check import check
from lra_bench.data.location import locate
from lra_bench.data.prepare import prepare
from lra_bench.data.store import Store
from lra_bench.display.command import command
from lra_bench.registry import IDENTITY, TASKS, make_task
from lra_bench.settings import RunSettings
from lra_bench.verification.agreement import Counterexample
from lra_bench.verification.promise import CheckedPromise, judge

# The preset whose data take seconds.
_SMALL = "smoke"
_AGAIN = "the same options give the same examples again"
_READ = "its examples have the declared form, and its checks hold"
_TEXT = "an example can be shown as text"


def verify_task(name: str) -> Iterator[CheckedPromise]:
    """Yield the verdict on each promise of a registered task, as soon as it is known.

    The data of the preset smoke are made twice in a temporary folder, if they are generated.

    Raises:
        UsageError: no task has that name.
    """
    TASKS.get(name)
    for preset in presets(name):
        yield judge(f"the preset {preset} is complete", lambda preset=preset: _made(name, preset))
    if _SMALL not in presets(name):
        yield CheckedPromise(_READ, None, f"it has no preset {_SMALL}")
        return
    settings = _made(name, _SMALL)
    task = make_task(name, settings.data)
    source = next(each for each in task.sources if each.name == settings.data_source)
    if source.files:
        advice = command("data", "check", name)
        yield CheckedPromise(_READ, None, f"it reads {source.files}; {advice} checks them")
        return
    yield from _of_data(task, source.name)


def _made(name: str, preset: str) -> RunSettings:
    """Return the settings of a preset, with an attention that every task can have."""
    return make_settings(name, IDENTITY, preset, 0)


def _of_data(task: Task, source: str) -> Iterator[CheckedPromise]:
    """Yield the verdicts on data that are generated, twice, in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        places = [locate(Path(folder) / copy, task, source) for copy in ("one", "other")]
        stores: list[Store] = []
        made = judge(_AGAIN, lambda: _compare(stores, [prepare(task, x) for x in places]))
        yield made
        if not stores:
            return
        yield judge(_READ, lambda: _check(task, stores[0]))
        tokens = stores[0].example("train", 0)[0]
        yield judge(_TEXT, lambda: _show(task, tokens))


def _compare(kept: list[Store], stores: list[Store]) -> None:
    """Keep the stores; raise Counterexample for the first example in which they differ."""
    kept += stores
    one, other = stores
    for split in one.splits:
        for index in range(min(len(one.splits[split]), len(other.splits[split]))):
            (tokens, label), (theirs, answer) = (x.example(split, index) for x in stores)
            if not np.array_equal(tokens, theirs) or label != answer:
                at = np.argwhere(np.atleast_1d(tokens != theirs))
                where = f"token {at[0].tolist()} differs" if len(at) else "the label differs"
                raise Counterexample(f"example {index} of {split}: {where} the second time")
    if one.provenance().sha256 != other.provenance().sha256:
        raise Counterexample("there are more examples one time than the other")


def _check(task: Task, store: Store) -> None:
    """Raise Counterexample for the first check of the data that fails."""
    for finding in check(task, store):
        if finding.ok is False:
            raise Counterexample(f"{finding.what}: {finding.text}")


def _show(task: Task, tokens: np.ndarray) -> None:
    if not isinstance(text := task.to_text(tokens), str):
        raise Counterexample(f"to_text returns {type(text).__name__}, expected str")
