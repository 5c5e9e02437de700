"""Turn what a user asks for into the cells to measure."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args, get_type_hints

from lra_bench.choices import ALL, go_together, left_out, names, tasks_without
from lra_bench.config import check_options, make_settings, of_attention
from lra_bench.efficiency.cells import SIZES, Cell, Pass, Scope
from lra_bench.errors import UsageError, unknown
from lra_bench.registry import ATTENTIONS, IDENTITY, TASKS, make_task
from lra_bench.settings import ModelSettings, RunSettings

LENGTHS = (512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768)
# Settings that an argument always decides, and settings that it decides where it is given.
_ARGUMENTS = {"model.dtype": "--dtype", "train.num_devices": "--devices"}
_EITHER = {
    "model.num_layers": "--layers",
    "train.batch_size": "--batch",
    "model.padded_length": "--lengths",
}


@dataclass(frozen=True)
class Choice:
    """The cells that a user asks for: all combinations of these.

    Attributes:
        attentions: names, or "all"; identity, "X (OPT)" in the Performer paper, is always added.
        lengths: tokens; empty for 512 to 32,768, or the length to which a task is padded.
        scopes, sizes, passes, dtypes: see `Cell`; a size is also "all", all tasks that have the
            preset, with the attentions that can predict what they ask for.
        preset: of the settings that tasks' sizes come from.
        batches: examples; empty for 1, or a task's own batch size.
        layers: of the model; empty for as many as the size has.
        devices, target, memory_limit: see `Cell`.
        overrides: "group.key=value"; an attention that lacks an option ignores it.
    """

    attentions: tuple[str, ...] = (ALL,)
    lengths: tuple[int, ...] = ()
    scopes: tuple[Scope, ...] = ("attention",)
    sizes: tuple[str, ...] = ("regular",)
    passes: tuple[Pass, ...] = ("forward", "backward")
    preset: str = "paper"
    batches: tuple[int, ...] = ()
    dtypes: tuple[str, ...] = ("float32",)
    layers: tuple[int, ...] = ()
    devices: int = 1
    target: str = "here"
    memory_limit: int | None = None
    overrides: tuple[str, ...] = ()


def cells(choice: Choice) -> list[Cell]:
    """Return all cells, at each length one for each attention, short lengths first.

    Raises:
        UsageError: a name is unknown, or choices do not go together.
    """
    _check("--scope", choice.scopes, get_args(Scope))
    _check("--pass", choice.passes, tuple(x for x in get_args(Pass) if x != "step"))
    _check("--dtype", choice.dtypes, get_args(get_type_hints(ModelSettings)["dtype"]))
    if choice.layers and choice.scopes == ("attention",):
        raise UsageError("--layers goes with --scope model or train")
    _check_overrides(choice)
    attentions = _attentions(choice.attentions)
    check_options(choice.overrides, attentions)
    wrong = _not_causal(choice)
    points = dict.fromkeys(_points(choice, attentions))  # each once
    return [_cell(choice, x) for x in points if x.attention not in wrong.get(x.size, ())]


def not_planned(choice: Choice) -> list[str]:
    """Return a line for people for each task of which "all" leaves out something."""
    tasks = tasks_without(choice.preset) if ALL in choice.sizes else []
    return left_out(choice.preset, tasks, _not_causal(choice))


def _not_causal(choice: Choice) -> dict[str, list[str]]:
    """Return by task the attentions that "all" leaves out: the task predicts next tokens."""
    if ALL not in (*choice.sizes, *choice.attentions):
        return {}
    attentions, overrides = _attentions(choice.attentions), choice.overrides
    wrong = {
        task: [x for x in attentions if not go_together(task, x, choice.preset, overrides)]
        for task in _sizes(choice)
        if task not in SIZES
    }
    return {task: each for task, each in wrong.items() if each}


@dataclass(frozen=True)
class _Point:
    """One combination of what a choice lists.

    Attributes:
        attention, scope, size, dtype, direction: see `Cell`.
        length: tokens.
        layers: of the model; None for as many as the size has, and for the attention alone.
        batch: examples; None for the size's own.
    """

    attention: str
    scope: Scope
    size: str
    dtype: str
    direction: Pass
    length: int
    layers: int | None
    batch: int | None


def _points(choice: Choice, attentions: Sequence[str]) -> Iterator[_Point]:
    """Yield all combinations, the attentions one after the other at each length."""
    layers, batches = choice.layers or (None,), choice.batches or (None,)
    kinds = itertools.product(choice.scopes, _sizes(choice), choice.dtypes, layers, batches)
    for scope, size, dtype, depth, batch in kinds:
        passes: tuple[Pass, ...] = ("step",) if scope == "train" else choice.passes
        lengths = sorted(choice.lengths or _own_lengths(size, choice))
        for direction, length, attention in itertools.product(passes, lengths, attentions):
            yield _Point(
                attention=attention,
                scope=scope,
                size=size,
                dtype=dtype,
                direction=direction,
                length=length,
                layers=None if scope == "attention" else depth,
                batch=batch,
            )


def _check(flag: str, given: Sequence[str], valid: Sequence[str]) -> None:
    for name in given:
        if name not in valid:
            raise unknown(flag, name, list(valid))


def _check_overrides(choice: Choice) -> None:
    """Check that no setting is one that an argument decides.

    Raises:
        UsageError: one is.
    """
    given = {"--layers": choice.layers, "--batch": choice.batches, "--lengths": choice.lengths}
    for key in (item.partition("=")[0].strip() for item in choice.overrides):
        if key in _ARGUMENTS:
            raise UsageError(f"--set {key}: is an argument of its own, {_ARGUMENTS[key]}")
        if key == "train.sequence_devices":
            raise UsageError(f"--set {key}: here devices share examples alone, see --devices")
        if given.get(_EITHER.get(key, "")):
            raise UsageError(f"--set {key}: {_EITHER[key]} is there too; leave out one")


def _attentions(given: Sequence[str]) -> list[str]:
    """Return the names in order, identity last."""
    return [name for name in names(given, ATTENTIONS) if name != IDENTITY] + [IDENTITY]


def _sizes(choice: Choice) -> list[str]:
    """Return the names of sizes and tasks; "all" stands for the tasks that have the preset."""
    without = tasks_without(choice.preset) if ALL in choice.sizes else []
    every = [name for name in TASKS.names() if name not in without] or TASKS.names()
    given = [TASKS.named(name) for name in choice.sizes]
    sizes = [x for name in given for x in (every if name == ALL else (name,))]
    for name in sizes:
        if name not in SIZES and not TASKS.has(name):
            raise unknown("--size", name, [*SIZES, *TASKS.names()])
    return list(dict.fromkeys(sizes))


def _own_lengths(size: str, choice: Choice) -> tuple[int, ...]:
    """Return the lengths of a size that the user gave none for, in tokens with padding."""
    if size in SIZES:
        return LENGTHS
    settings = make_settings(size, IDENTITY, choice.preset, 0, _of_tasks(choice.overrides))
    own = make_task(size, settings.data).max_len
    return (max(own, settings.model.padded_length),)


def _of_tasks(overrides: Sequence[str]) -> list[str]:
    return [override for override in overrides if not override.startswith("attention.")]


def _cell(choice: Choice, point: _Point) -> Cell:
    """Return the cell of a combination.

    Raises:
        UsageError: the batch cannot be divided among the devices.
    """
    settings = _sized(_settings(choice, point.attention, point.size), point)
    batch, accumulate = settings.train.batch_size, settings.train.accumulate
    if batch % (choice.devices * accumulate):
        raise UsageError(
            f"{choice.devices} devices and train.accumulate={accumulate} "
            f"don't divide a batch of {batch}"
        )
    return Cell(
        attention=point.attention,
        scope=point.scope,
        size=point.size,
        preset=None if point.size in SIZES else choice.preset,
        direction=point.direction,
        length=point.length,
        batch=batch,
        dtype=point.dtype,
        layers=None if point.scope == "attention" else settings.model.num_layers,
        devices=choice.devices,
        target=choice.target,
        memory_limit=choice.memory_limit,
        config=settings.as_dict(),
    )


def _sized(settings: RunSettings, point: _Point) -> RunSettings:
    """Return the settings with the type, the layers and the batch of a combination.

    They pad nothing: the length of a cell is that of what the model sees.
    """
    own = 1 if point.size in SIZES else settings.train.batch_size
    batch, layers = point.batch or own, point.layers or settings.model.num_layers
    model = dataclasses.replace(
        settings.model, dtype=point.dtype, num_layers=layers, padded_length=0
    )
    train = dataclasses.replace(settings.train, batch_size=batch)
    return dataclasses.replace(settings, model=model, train=train)


def _settings(choice: Choice, attention: str, size: str) -> RunSettings:
    """Return the settings of a run that a size stands for.

    Raises:
        UsageError: the choice sets what only tasks have, for a size that is no task.
    """
    mine, others = of_attention(choice.overrides, attention), _of_tasks(choice.overrides)
    if size not in SIZES:
        return make_settings(size, attention, choice.preset, 0, mine)
    if others:
        raise UsageError(f"--set {others[0]}: with --size {size} only attention.* can be set")
    # The tokens are bytes, the optimiser is that of the LRA paper.
    settings = make_settings("text", attention, "paper", 0, mine)
    model = dataclasses.replace(
        settings.model, **SIZES[size], positions="learned", pooling="mean", dropout=0.0
    )
    return dataclasses.replace(settings, model=model)
