"""Make the settings of a run from (task, attention, preset, seed, overrides)."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args, get_type_hints

from absl import flags
from ml_collections.config_flags import config_flags

from lra_bench.errors import UsageError, unknown
from lra_bench.registry import ATTENTIONS, TASKS, make_task, presets_of
from lra_bench.settings import ModelSettings, Origin, RunSettings, TrainSettings

# A ConfigDict's type checks attributes that only exist at run time.
Config = Any


def presets(task: str) -> Mapping[str, Callable[[], Config]]:
    """Return the presets of a task, from `lra_bench.configs` or from the task's own module.

    Raises:
        UsageError: unknown task, or one whose presets are broken.
    """
    try:
        return presets_of(TASKS.get(task))
    except ValueError as error:
        raise UsageError(str(error)) from None


def make_settings(
    task: str,
    attention: str,
    preset: str,
    seed: int,
    overrides: Sequence[str] = (),
    init_from: Origin | None = None,
) -> RunSettings:
    """Return the settings of one run.

    Args:
        overrides: "group.key=value"; a group is "data", "model", "train" or "attention".
        init_from: the checkpoint whose parameters the run starts with.

    Raises:
        UsageError: an unknown name or key, or a value of the wrong type or range.
    """
    choices = presets(task)
    if preset not in choices:
        raise unknown(f"preset of {task}", preset, list(choices))
    config = choices[preset]()
    sources = [source.name for source in make_task(task, config.data).sources]
    config.data.source = sources[0]
    config.attention = ATTENTIONS.get(attention).options()
    config = override(config, overrides)
    if config.data.source not in sources:
        raise unknown(f"data source of {task}", config.data.source, sources)
    data = config.data.to_dict()
    settings = RunSettings(
        task=task,
        attention=attention,
        preset=preset,
        seed=seed,
        data_source=data.pop("source"),
        data=data,
        attention_options=config.attention.to_dict(),
        model=ModelSettings(**config.model),
        train=TrainSettings(**config.train),
        init_from=init_from,
    )
    validate(settings)
    return settings


def override(config: Config, overrides: Sequence[str]) -> Config:
    """Set "group.key=value" overrides; each takes the type of the value it replaces.

    Raises:
        UsageError: a key is unknown, or a value has another type.
    """
    for item in overrides:
        group, name = _split_key(config, item)
        values = flags.FlagValues()
        argv = ["lra-bench", f"--config.{item}"]
        holder = config_flags.DEFINE_config_dict(
            "config", config, flag_values=values, sys_argv=argv, lock_config=True
        )
        try:
            values(argv)
        except (flags.Error, AttributeError, KeyError, TypeError, ValueError):
            expected = type(config[group][name]).__name__
            raise UsageError(f"--set {item}: the value must be of type {expected}") from None
        config = holder.value
    return config


def of_attention(overrides: Sequence[str], attention: str) -> list[str]:
    """Return the overrides that apply to `attention`; options it lacks are dropped."""
    options = ATTENTIONS.get(attention).options()
    return [item for item in overrides if not _is_option(item) or _option(item) in options]


def check_options(overrides: Sequence[str], attentions: Sequence[str]) -> None:
    """Check that each override of attention.* is an option of one of these mechanisms.

    Raises:
        UsageError: one is not; the message names the first.
    """
    options = {name for each in attentions for name in ATTENTIONS.get(each).options()}
    for item in filter(_is_option, overrides):
        if _option(item) not in options:
            keys = [f"attention.{name}" for name in sorted(options)]
            raise unknown("--set key", f"attention.{_option(item)}", keys)


def _is_option(override: str) -> bool:
    return override.startswith("attention.")


def _option(override: str) -> str:
    return override.removeprefix("attention.").partition("=")[0]


def _split_key(config: Config, item: str) -> tuple[str, str]:
    key, equals, _ = item.partition("=")
    group, _, name = key.partition(".")
    if not equals:
        raise UsageError(f"--set {item}: must be key=value, such as train.num_steps=100")
    if key in ("task", "attention", "preset", "seed"):
        raise UsageError(f"--set {item}: is an argument of its own, --{key}")
    if group not in config:
        raise unknown("--set group", group, list(config))
    if name not in config[group]:
        keys = [f"{group}.{known}" for known in config[group]]
        raise unknown("--set key", key, keys) if keys else UsageError(f"--set {item}: no options")
    return group, name


def validate(settings: RunSettings) -> None:
    """Check ranges and choices.

    Raises:
        UsageError: one is wrong; the message names the first.
    """
    try:
        make_task(settings.task, settings.data)
    except ValueError as error:
        raise UsageError(f"data: {error}") from None
    for group, value in (("model", settings.model), ("train", settings.train)):
        for name, hint in get_type_hints(type(value)).items():
            _check(f"{group}.{name}", getattr(value, name), get_args(hint))
    entry = ATTENTIONS.get(settings.attention)
    for name, usual in entry.options().items():
        _check_option(f"attention.{name}", settings.attention_options[name], usual)
    for name, choices in entry.choices().items():
        _check(f"attention.{name}", settings.attention_options[name], choices)
    train = settings.train
    if train.batch_size % train.accumulate:
        raise UsageError(
            f"train.accumulate={train.accumulate} does not divide "
            f"train.batch_size={train.batch_size}"
        )
    if not 0 <= settings.seed < 2**32:
        raise UsageError(f"--seed {settings.seed}: must be from 0 to {2**32 - 1}")


def _check_option(name: str, value: Any, usual: Any) -> None:
    """Check that an option is not negative, nor zero if its default is a count above zero."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    lowest = 1 if isinstance(usual, int) and usual > 0 else 0
    if not (math.isfinite(value) and value >= lowest):
        raise UsageError(f"{name}={value}: must be at least {lowest}")


_MAY_BE_ZERO = {
    "train.warmup_steps",
    "train.weight_decay",
    "train.clip_norm",
    "train.resample_every",
    "train.num_devices",
    "model.dropout",
}


def _check(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if choices:
        if value not in choices:
            raise UsageError(f"{name}={value!r}: valid: {', '.join(choices)}")
    elif not math.isfinite(value):
        raise UsageError(f"{name}={value}: must be a finite number")
    elif name in _MAY_BE_ZERO:
        if value < 0:
            raise UsageError(f"{name}={value}: must not be negative")
    elif value <= 0:
        raise UsageError(f"{name}={value}: must be positive")
    if name == "model.dropout" and value >= 1:
        raise UsageError(f"{name}={value}: must be below 1")
