"""Turn what a user asks for into the cells to measure."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args, get_type_hints

from lra_bench.config import check_options, make_settings, of_attention
from lra_bench.efficiency.cells import SIZES, Cell, Pass, Scope
from lra_bench.errors import UsageError, unknown
from lra_bench.registry import ATTENTIONS, IDENTITY, TASKS, make_task
from lra_bench.settings import ModelSettings, RunSettings

LENGTHS = (512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768)
_ALL = "all"


@dataclass(frozen=True)
class Choice:
    """The cells that a user asks for: all combinations of these.

    Attributes:
        attentions: names, or "all"; identity, "X (OPT)" in the Performer paper, is always added.
        lengths: tokens; empty for 512 to 32,768, or a task's own length.
        scopes, sizes, passes, dtypes: see `Cell`; a size is also "all", all tasks.
        preset: of the settings that tasks' sizes come from.
        batches: examples; empty for 1, or a task's own batch size.
        layers: of the model; empty for as many as the size has.
        devices, target, memory_limit: see `Cell`.
        overrides: "group.key=value"; an attention that lacks an option ignores it.
    """

    attentions: tuple[str, ...] = (_ALL,)
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
    attentions = _attentions(choice.attentions)
    check_options(choice.overrides, attentions)
    return [_cell(choice, point) for point in _points(choice, attentions)]


@dataclass(frozen=True)
class _Point:
    """One combination of what a choice lists.

    Attributes:
        attention, scope, size, dtype, direction: see `Cell`.
        length: tokens.
        layers: of the model; None for as many as the size has.
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
    kinds = itertools.product(choice.scopes, _sizes(choice.sizes), choice.dtypes, layers, batches)
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
                layers=depth,
                batch=batch,
            )


def _check(flag: str, given: Sequence[str], valid: Sequence[str]) -> None:
    for name in given:
        if name not in valid:
            raise unknown(flag, name, list(valid))


def _attentions(given: Sequence[str]) -> list[str]:
    """Return the names in order, identity last."""
    named = ATTENTIONS.all_named([name for name in given if name != _ALL])
    names = ATTENTIONS.names() if _ALL in given else named
    return [name for name in names if name != IDENTITY] + [IDENTITY]


def _sizes(given: Sequence[str]) -> list[str]:
    given = [TASKS.named(name) for name in given]
    names = TASKS.names() if _ALL in given else list(dict.fromkeys(given))
    for name in names:
        if name not in SIZES and not TASKS.has(name):
            raise unknown("--size", name, [*SIZES, *TASKS.names()])
    return names


def _own_lengths(size: str, choice: Choice) -> tuple[int, ...]:
    """Return the lengths of a size that the user gave none for, in tokens."""
    if size in SIZES:
        return LENGTHS
    settings = make_settings(size, IDENTITY, choice.preset, 0, _of_tasks(choice.overrides))
    return (make_task(size, settings.data).max_len,)


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
    """Return the settings with the type, the layers and the batch of a combination."""
    own = 1 if point.size in SIZES else settings.train.batch_size
    batch, layers = point.batch or own, point.layers or settings.model.num_layers
    model = dataclasses.replace(settings.model, dtype=point.dtype, num_layers=layers)
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
