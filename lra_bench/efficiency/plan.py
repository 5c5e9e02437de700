"""From what is asked for to the cells to be measured."""

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args, get_type_hints

from lra_bench.config import check_options, make_settings, of_attention
from lra_bench.efficiency.cells import SIZES, Cell, Pass, Scope
from lra_bench.errors import UsageError, unknown
from lra_bench.registry import ATTENTIONS, IDENTITY, TASKS
from lra_bench.settings import ModelSettings, RunSettings

LENGTHS = (512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768)
_ALL = "all"


@dataclass(frozen=True)
class Choice:
    """What a sweep is asked for; the cells are all combinations.

    Attributes:
        attentions: names, or "all"; identity, "X (OPT)" in the Performer paper, is always added.
        lengths: tokens; empty for 512 to 32,768, or a task's own length.
        scopes, sizes, passes, dtypes: see `Cell`; a size is also "all", all tasks.
        preset: that tasks' sizes come from.
        batches: examples; empty for 1, or a task's own batch size.
        layers: of the model; empty for as many as the size has.
        devices, target, memory_limit: see `Cell`.
        overrides: "group.key=value"; of an attention's option, for those that have it.
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
    """All cells, attentions taking turns at each length, short lengths first.

    Raises:
        UsageError: an unknown name, or choices that don't go together.
    """
    _check("--scope", choice.scopes, get_args(Scope))
    _check("--pass", choice.passes, tuple(x for x in get_args(Pass) if x != "step"))
    _check("--dtype", choice.dtypes, get_args(get_type_hints(ModelSettings)["dtype"]))
    if choice.layers and choice.scopes == ("attention",):
        raise UsageError("--layers goes with --scope model or train")
    attentions = _attentions(choice.attentions)
    check_options(choice.overrides, attentions)
    kinds = itertools.product(
        choice.scopes, _sizes(choice.sizes), choice.dtypes, choice.layers or (None,)
    )
    return [
        cell
        for scope, size, dtype, layers in kinds
        for batch in choice.batches or (None,)
        for direction in _passes(choice, scope)
        for length in sorted(choice.lengths or _own_lengths(size, choice))
        for attention in attentions
        for cell in [_cell(choice, attention, scope, size, dtype, layers, batch, direction, length)]
    ]


def _passes(choice: Choice, scope: Scope) -> tuple[Pass, ...]:
    return ("step",) if scope == "train" else choice.passes


def _check(flag: str, given: Sequence[str], valid: Sequence[str]) -> None:
    for one in given:
        if one not in valid:
            raise unknown(flag, one, list(valid))


def _attentions(given: Sequence[str]) -> list[str]:
    names = ATTENTIONS.names() if _ALL in given else list(dict.fromkeys(given))
    for name in names:
        ATTENTIONS.get(name)
    return [name for name in names if name != IDENTITY] + [IDENTITY]


def _sizes(given: Sequence[str]) -> list[str]:
    names = TASKS.names() if _ALL in given else list(dict.fromkeys(given))
    _check("--size", names, [*SIZES, *TASKS.names()])
    return names


def _own_lengths(size: str, choice: Choice) -> tuple[int, ...]:
    if size in SIZES:
        return LENGTHS
    settings = make_settings(size, IDENTITY, choice.preset, 0, _of_tasks(choice.overrides))
    return (TASKS.get(size).target(**settings.data).max_len,)


def _of_tasks(overrides: Sequence[str]) -> list[str]:
    return [one for one in overrides if not one.startswith("attention.")]


def _cell(
    choice: Choice,
    attention: str,
    scope: Scope,
    size: str,
    dtype: str,
    layers: int | None,
    batch: int | None,
    direction: Pass,
    length: int,
) -> Cell:
    settings = _settings(choice, attention, size)
    if batch is None:
        batch = 1 if size in SIZES else settings.train.batch_size
    if batch % (choice.devices * settings.train.accumulate):
        raise UsageError(
            f"{choice.devices} devices and train.accumulate={settings.train.accumulate} "
            f"don't divide a batch of {batch}"
        )
    model = dataclasses.replace(settings.model, dtype=dtype)
    model = dataclasses.replace(model, num_layers=layers) if layers else model
    train = dataclasses.replace(settings.train, batch_size=batch)
    settings = dataclasses.replace(settings, model=model, train=train)
    return Cell(
        attention=attention,
        scope=scope,
        size=size,
        preset=None if size in SIZES else choice.preset,
        direction=direction,
        length=length,
        batch=batch,
        dtype=dtype,
        layers=None if scope == "attention" else model.num_layers,
        devices=choice.devices,
        target=choice.target,
        memory_limit=choice.memory_limit,
        config=settings.as_dict(),
    )


def _settings(choice: Choice, attention: str, size: str) -> RunSettings:
    mine, others = of_attention(choice.overrides, attention), _of_tasks(choice.overrides)
    if size not in SIZES:
        return make_settings(size, attention, choice.preset, 0, mine)
    if others:
        raise UsageError(f"--set {others[0]}: of --size {size} only attention.* can be set")
    # Bytes as the tokens, the optimiser of the LRA paper.
    settings = make_settings("text", attention, "paper", 0, mine)
    model = dataclasses.replace(
        settings.model, **SIZES[size], positions="learned", pooling="mean", dropout=0.0
    )
    return dataclasses.replace(settings, model=model)
