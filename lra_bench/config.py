"""Make the settings of a run from (task, attention, preset, seed, overrides)."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lra_bench.conformance import presets_of
from lra_bench.contracts import TokenTask
from lra_bench.display.escape import terminal
from lra_bench.errors import UsageError, one_line, unknown
from lra_bench.ranges import checked, frozen, hints_of, mapping, parse, valid
from lra_bench.registry import ATTENTIONS, IDENTITY, TASKS, data_options, data_types, make_task
from lra_bench.runtime.source_files import SourceFile
from lra_bench.settings import CodeFile, ModelSettings, Origin, RunSettings, TrainSettings
from lra_bench.suggest import did_you_mean, quoted

# Settings that are arguments of their own; `--set` does not take them.
_ARGUMENTS = ("task", "attention", "preset", "seed", "out", "data-dir", "init-from", "memory-limit")
# What a sweep has several of.
_PLURALS = ("tasks", "attentions", "seeds")
# The groups of settings, in the order of the documents; each maps names to values or to types.
_GROUPS = ("data", "model", "train", "attention")
Groups = dict[str, dict[str, Any]]


def presets(task: str) -> Mapping[str, Callable[[], Any]]:
    """Return the presets of a task, from `lra_bench.configs` or from the task's own module.

    Raises:
        UsageError: unknown task, or one whose presets are broken.
    """
    entry = TASKS.get(task)
    try:
        return presets_of(task, entry.module)
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
        task, attention: registered names; `Registry.named` returns that of a file of the user.
        overrides: "group.key=value"; a group is "data", "model", "train" or "attention".
        init_from: the checkpoint whose parameters the run starts with.

    Raises:
        UsageError: an unknown name or key, or a value of the wrong type or range.
    """
    file, mechanism = TASKS.get(task).file, ATTENTIONS.get(attention)
    groups = _preset(task, preset, attention)
    override(groups, overrides, task, attention)
    try:
        settings = RunSettings(
            task=task,
            attention=attention,
            preset=preset,
            seed=valid("--seed", seed, hints_of(RunSettings)["seed"]),
            data_source=groups["data"].pop("source"),
            data=groups["data"],
            attention_options=groups["attention"],
            model=checked(ModelSettings, groups["model"], "model."),
            train=checked(TrainSettings, groups["train"], "train."),
            init_from=init_from,
            attention_file=_code(mechanism.file, mechanism.options()),
            task_file=_code(file, data_options(task)),
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not any(_is_option(item) and _option(item) == "causal" for item in overrides):
        settings = _in_order(settings)
    validate(settings)
    return settings


def _code(file: SourceFile | None, options: Mapping[str, Any]) -> CodeFile | None:
    """Return what a config holds of a file of the user, and of the options defined there."""
    return file and CodeFile(file.path.name, file.sha256, dict(options))


def limited(
    task: str, preset: str, limit: int | None, overrides: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the overrides that cut a preset short; () without a limit.

    Args:
        task: a name.
        preset: a name.
        limit: most training steps, and most examples of each evaluation.
        overrides: "group.key=value" that hold before; those of attentions do not matter.

    Raises:
        UsageError: an unknown name or key, or a value of the wrong type or range.
    """
    if limit is None:
        return ()
    of_task = [item for item in overrides if not _is_option(item)]
    train = make_settings(task, IDENTITY, preset, 0, of_task).train
    steps = min(limit, train.num_steps)
    cut = {
        "num_steps": steps,
        "eval_every": min(train.eval_every, steps),
        "log_every": min(train.log_every, steps),
        "select_after": min(train.select_after, steps),
        "eval_examples": limit,
    }
    return tuple(f"train.{key}={value}" for key, value in cut.items() if value != vars(train)[key])


def _in_order(settings: RunSettings) -> RunSettings:
    """Return settings whose attention is causal, if it can be and the task needs it."""
    options = settings.attention_options
    if "causal" not in options or not _predicts_next(settings):
        return settings
    changed = replace(settings, attention_options={**options, "causal": True})
    if (code := settings.attention_file) is None:
        return changed
    usual = {**code.options, "causal": True}
    return replace(changed, attention_file=replace(code, options=usual))


def _predicts_next(settings: RunSettings) -> bool:
    """Return whether the model predicts the next token; False if the task cannot be made."""
    try:
        task = make_task(settings.task, settings.data)
    except (TypeError, ValueError):
        return False
    return isinstance(task, TokenTask) and task.objective == "next"


def predicts_next(task: str, preset: str, overrides: Sequence[str] = ()) -> bool:
    """Return whether a task predicts next tokens, so that attention must be causal.

    Args:
        overrides: "group.key=value"; those of attentions do not matter.

    Raises:
        UsageError: an unknown name or key, or a value of the wrong type or range.
    """
    of_task = [item for item in overrides if not _is_option(item)]
    return _predicts_next(make_settings(task, IDENTITY, preset, 0, of_task))


def can_predict_next(attention: str) -> bool:
    """Return whether an attention never looks ahead, or can be made not to."""
    return attention == IDENTITY or ATTENTIONS.get(attention).supports_causal


def _preset(task: str, preset: str, attention: str) -> Groups:
    """Return the settings of a preset, with the data of the task's first source.

    The options of an attention are its own, unless the preset's group "attention" has others.

    Raises:
        UsageError: there is no such task or preset, or the preset cannot be made.
    """
    choices = presets(task)
    if preset not in choices:
        raise unknown(f"preset of {task}", preset, list(choices))
    try:
        config = choices[preset]()
        groups = {
            name: mapping(name, config[name].to_dict() if _has(config[name]) else config[name])
            for name in ("data", "model", "train")
        }
        groups["data"]["source"] = _sources(task, groups["data"])[0]
        groups["attention"] = _options(config.get("attention", {}), attention)
        return groups
    except UsageError:  # of the attention, which is no fault of the preset
        raise
    except (Exception, SystemExit) as error:
        problem = terminal(one_line(error))
        raise UsageError(f"preset {preset} of {task} can't be made: {problem}") from None


def _options(of_preset: Mapping[str, Any], attention: str) -> dict[str, Any]:
    """Return the options of an attention, with those that a preset has for it."""
    usual, entry = of_preset.get(attention, {}), ATTENTIONS.get(attention)
    changed = dict(mapping(f"attention.{attention}", usual.to_dict() if _has(usual) else usual))
    _check_group("attention", changed, entry.types())
    return {**entry.options(), **changed}


def _has(config: Any) -> bool:
    """Return whether this is a `ConfigDict`, which is no dictionary."""
    return hasattr(config, "to_dict")


def _sources(task: str, options: Mapping[str, Any]) -> list[str]:
    return [source.name for source in make_task(task, options).sources]


def override(groups: Groups, overrides: Sequence[str], task: str, attention: str) -> None:
    """Set "group.key=value" overrides; see `ranges.parse` for how values may be written.

    Raises:
        UsageError: a key is unknown, or a value has another type or is out of range.
    """
    if not overrides:
        return
    types = _types(task, attention)
    for item in overrides:
        group, name, text = _split(item, types, attention)
        value = parse(text, types[group][name])
        try:
            checked_value = valid(f"--set {group}.{name}", value, types[group][name])
        except ValueError as error:
            raise UsageError(f"{error}{_advice(text, types[group][name])}") from None
        groups[group][name] = frozen(checked_value)


def _types(task: str, attention: str) -> Groups:
    """Return the type of each setting, by group and key."""
    return {
        "data": {**data_types(task), "source": str},
        "model": hints_of(ModelSettings),
        "train": hints_of(TrainSettings),
        "attention": ATTENTIONS.get(attention).types(),
    }


def _advice(text: str, hint: Any) -> str:
    """Return what to write instead of a value that was not understood, if that is known."""
    if "=" in text:
        return "; for several keys repeat --set"
    if text.strip().lower() in ("none", "null", "off") and _takes_zero(hint):
        return "; 0 stands for none"
    return ""


def _takes_zero(hint: Any) -> bool:
    try:
        return valid("", 0, hint) == 0
    except ValueError:
        return False


def _split(item: str, types: Groups, attention: str) -> tuple[str, str, str]:
    """Return group, name and value of an override.

    Raises:
        UsageError: it has another form, or there is no such key.
    """
    key, equals, text = item.partition("=")
    key = key.strip()
    if not equals:
        raise UsageError(f"--set {quoted(item)}: must be key=value, such as train.num_steps=100")
    argument = key.lower().replace("_", "-").lstrip("-")
    if argument in _ARGUMENTS:
        raise UsageError(f"--set {key}: is an argument of its own, --{argument}")
    group, _, name = key.partition(".")
    if group in types and name in types[group]:
        return group, name, text
    if group == "attention":
        raise _unknown_option(name, attention, types)
    raise _unknown_key(key, types)


def _unknown_key(key: str, types: Groups, kind: str = "--set key") -> UsageError:
    """Return the error for an unknown key; it lists the keys of its group, or the groups."""
    group = key.partition(".")[0]
    if key in _PLURALS:
        what = f"a run has one {key.removesuffix('s')}; `lra-bench sweep --{key}` does several"
        return UsageError(f"unknown {kind} {quoted(key)}; {what}")
    near = did_you_mean(key, _keys(types, _GROUPS))
    there = _keys(types, [group]) if group in types else [f"{each}.*" for each in types]
    return UsageError(f"unknown {kind} {quoted(key)}; {near}valid: {', '.join(there)}")


def _unknown_option(name: str, attention: str, types: Groups) -> UsageError:
    """Return the error for an option that an attention lacks."""
    if name == "causal":
        return UsageError(f"--set attention.causal: {attention} can't be causal")
    keys = _keys(types, ["attention"])
    options = f"its options: {', '.join(keys)}" if keys else "it has no options"
    near = did_you_mean(f"attention.{name}", _keys(types, _GROUPS))
    return UsageError(
        f"unknown --set key {quoted(f'attention.{name}')} of {attention}; {near}{options}"
    )


def _keys(types: Groups, groups: Iterable[str]) -> list[str]:
    return [f"{group}.{name}" for group in groups for name in types[group]]


def overrides_of(values: Mapping[str, Any], task: str, attention: str) -> list[str]:
    """Return settings by name as overrides, "group.key=value".

    Args:
        values: by the key of a setting, or by "group.key".
        task, attention: registered names, whose options the values may be.

    Raises:
        UsageError: a key is unknown, or is in several groups.
    """
    types = _types(task, attention)
    return [f"{_full_key(key, types)}={_as_text(value)}" for key, value in values.items()]


def _full_key(key: str, types: Groups) -> str:
    """Return the key with its group."""
    if "." in key:
        return key
    groups = [group for group in _GROUPS if key in types[group]]
    if not groups:
        raise _unknown_key(key, types, "setting")
    if len(groups) > 1:
        choices = " or ".join(f'**{{"{group}.{key}": ...}}' for group in groups)
        raise UsageError(f"{key} is a setting of several groups; write {choices}")
    return f"{groups[0]}.{key}"


def _as_text(value: Any) -> str:
    """Return a value as `ranges.parse` reads it."""
    return json.dumps(value) if isinstance(value, list | tuple) else str(value)


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
        name = _option(item)
        if name == "causal" and name not in options:
            raise UsageError(f"--set attention.causal: {', '.join(attentions)} can't be causal")
        if name not in options:
            keys = [f"attention.{each}" for each in sorted(options)]
            raise unknown("--set key", f"attention.{name}", keys)


def _is_option(override: str) -> bool:
    return override.strip().startswith("attention.")


def _option(override: str) -> str:
    return override.strip().removeprefix("attention.").partition("=")[0].strip()


def validate(settings: RunSettings) -> None:
    """Check what a setting alone does not tell: names, options, and settings that go together.

    Raises:
        UsageError: something is wrong; the message names the first.
    """
    entry = ATTENTIONS.get(settings.attention)
    try:
        _check_group("attention", settings.attention_options, entry.types())
        _check_group("data", settings.data, data_types(settings.task))
    except ValueError as error:
        raise UsageError(str(error)) from None
    try:
        sources = _sources(settings.task, settings.data)
    except Exception as error:
        problem = error if isinstance(error, ValueError) else one_line(error)
        raise UsageError(f"data: {terminal(problem)}") from None
    if settings.data_source not in sources:
        raise unknown(f"data source of {settings.task}", settings.data_source, sources)
    _check_together(settings)


def _check_together(settings: RunSettings) -> None:
    """Raise UsageError for settings that exclude each other."""
    train, model = settings.train, settings.model
    if train.batch_size % train.accumulate:
        raise UsageError(
            f"train.accumulate={train.accumulate} does not divide "
            f"train.batch_size={train.batch_size}"
        )
    _check_objective(settings)
    if train.select_after > train.num_steps:
        raise UsageError(
            f"train.select_after={train.select_after}: no step of "
            f"train.num_steps={train.num_steps} would count; set both"
        )
    if model.positions == "rotary" and ATTENTIONS.get(settings.attention).traits.mixer:
        raise UsageError(
            f"model.positions=rotary turns queries and keys; {settings.attention} has none"
        )
    if model.positions == "rotary" and model.head_dim % 2:
        raise UsageError(f"model.positions=rotary: model.head_dim={model.head_dim} must be even")


def _check_objective(settings: RunSettings) -> None:
    """Raise UsageError for a model that does not fit what it is to predict."""
    is_language = isinstance(make_task(settings.task, settings.data), TokenTask)
    if is_language != (settings.model.pooling == "none"):
        must = "must be none: the model predicts tokens" if is_language else "no token is predicted"
        raise UsageError(f"model.pooling={settings.model.pooling}: {settings.task}: {must}")
    if not _predicts_next(settings) or settings.attention == IDENTITY:
        return
    if "causal" not in settings.attention_options:
        able = [name for name in ATTENTIONS.names() if ATTENTIONS.get(name).supports_causal]
        raise UsageError(
            f"{settings.task} predicts the next token, and {settings.attention} can't be causal; "
            f"these can: {', '.join(able)}"
        )
    if not settings.attention_options["causal"]:
        raise UsageError(f"attention.causal=False: {settings.task} predicts the next token")


def _check_group(group: str, values: Mapping[str, Any], types: Mapping[str, Any]) -> None:
    """Check options that a task or an attention declares; those that are missing are usual.

    Raises:
        ValueError: a key is unknown, or a value has the wrong type or is out of range.
    """
    for name, value in values.items():
        if name not in types:
            raise ValueError(f"{group}.{terminal(name)[:80]} is unknown: of another version")
        valid(f"{group}.{name}", value, types[name])
