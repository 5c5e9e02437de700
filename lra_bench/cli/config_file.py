"""Settings from a file of one's own, in YAML or Python: the value of --config."""

import hashlib
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lra_bench.errors import UsageError, one_line, unknown
from lra_bench.files.regular import read_bytes
from lra_bench.ranges import is_setting, shown
from lra_bench.settings import ConfigFile

_GROUPS = ("train", "model", "data", "attention")
_YAML, _PYTHON = (".yaml", ".yml"), ".py"
_MOST_BYTES = 2**20
# A group, an attention, an option, and values, which hold lists at most.
_DEEPEST, _TOO_DEEP = 16, "is nested too deeply"


@dataclass(frozen=True)
class FileSettings:
    """The settings in a file.

    Attributes:
        file: the file, with its checksum.
        overrides: as `--set` takes them.
        of_attentions: those for one attention each, by its name.
        lines: the line of each setting, as far as known, by its name, such as "train.num_steps".
    """

    file: ConfigFile
    overrides: tuple[str, ...]
    of_attentions: Mapping[str, tuple[str, ...]]
    lines: Mapping[str, int]

    def for_attention(self, attention: str) -> list[str]:
        """Return the overrides of a run with this attention."""
        return [*self.overrides, *self.of_attentions.get(attention, ())]


def read(path: Path) -> FileSettings:
    """Read the settings in a file.

    Raises:
        UsageError: it is no such file, or a group or a value in it is none; the message names the
            file and, as far as known, the line.
    """
    try:
        content = read_bytes(path, _MOST_BYTES)
    except ValueError as error:
        raise UsageError(f"--config {path}: {error}") from None
    if path.suffix in _YAML:
        groups, lines = _yaml(path, content)
    elif path.suffix == _PYTHON:
        groups, lines = _python(path), {}
    else:
        raise UsageError(f"--config {path}: must end in .yaml, .yml or .py")
    return _settings(path, groups, lines, hashlib.sha256(content).hexdigest())


def check(file: FileSettings, names: tuple[str, str, str]) -> None:
    """Check that the settings of a file are valid for a run.

    Args:
        file: the settings.
        names: of the task, the attention and the preset.

    Raises:
        UsageError: a key or a value is wrong; the message names the file and, as far as known,
            the line.
    """
    from lra_bench.config import make_settings

    make_settings(*names, 0)  # what is wrong without the file is not its fault
    check_attentions(file)
    with blamed(file):
        make_settings(*names, 0, file.for_attention(names[1]))


def check_attentions(file: FileSettings) -> None:
    """Check that the attentions a file has settings for exist, and have these options.

    Raises:
        UsageError: one does not; the message names the file and, as far as known, the line.
    """
    from lra_bench.config import check_options
    from lra_bench.registry import ATTENTIONS

    for name, overrides in file.of_attentions.items():
        try:
            ATTENTIONS.get(name)
        except UsageError as error:
            line = file.lines.get(f"attention.{name}")
            raise UsageError(f"{_where(file.file.path, line)}: {error}") from None
        with blamed(file):
            check_options(overrides, [name])


@contextmanager
def blamed(file: FileSettings) -> Iterator[None]:
    """Raise each UsageError within as one of a file; it names the line of the setting if known."""
    try:
        yield
    except UsageError as error:
        problem = str(error).replace("unknown --set key", "unknown key").replace("--set ", "")
        where = _where(file.file.path, _line_in(problem, file.lines))
        raise UsageError(f"{where}: {problem}") from None


def _where(path: Path | str, line: int | None) -> str:
    """Return a place in a file, for a message."""
    return f"--config {path}" + ("" if line is None else f", line {line}")


def _line_in(problem: str, lines: Mapping[str, int]) -> int | None:
    """Return the line of the setting that a message names first; None if it names none."""
    found = {key: re.search(rf"(?<![\w.]){re.escape(key)}(?!\w)", problem) for key in lines}
    places = {key: match.start() for key, match in found.items() if match}
    return lines[min(places, key=places.__getitem__)] if places else None


def _settings(
    path: Path, groups: Any, lines: Mapping[tuple[str, ...], int], sha256: str
) -> FileSettings:
    overrides: list[str] = []
    of_attentions: dict[str, tuple[str, ...]] = {}
    for group, values in _items(path, groups, (), lines):
        if group not in _GROUPS:
            raise UsageError(f"{_at(path, lines, group)}: {unknown('group', group, _GROUPS)}")
        for name, value in _items(path, values, (group,), lines):
            if group == "attention" and isinstance(value, Mapping):
                pairs = _items(path, value, (group, name), lines)
                of_attentions[name] = tuple(
                    _override(path, lines, group, key, each) for key, each in pairs
                )
            else:
                overrides.append(_override(path, lines, group, name, value))
    numbers = {f"{keys[0]}.{keys[-1]}": line for keys, line in lines.items() if len(keys) > 1}
    return FileSettings(ConfigFile(str(path), sha256), tuple(overrides), of_attentions, numbers)


def _items(
    path: Path, value: Any, at: tuple[str, ...], lines: Mapping[tuple[str, ...], int]
) -> Iterator[tuple[str, Any]]:
    """Yield the names and values of a group.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        what = ".".join(at) or "the file"
        text = f"{what} is {shown(value)}: must be a group of settings, such as train: or model:"
        raise UsageError(f"{_at(path, lines, *at)}: {text}")
    yield from value.items()


def _override(
    path: Path, lines: Mapping[tuple[str, ...], int], group: str, name: str, value: Any
) -> str:
    """Return a setting as `--set` takes it."""
    if not is_setting(value):
        text = f"{group}.{name} is {shown(value)}: must be a number, a word, a bool or a list"
        raise UsageError(f"{_at(path, lines, group, name)}: {text}")
    return f"{group}.{name}={value if isinstance(value, str) else json.dumps(value)}"


def _at(path: Path, lines: Mapping[tuple[str, ...], int], *keys: str) -> str:
    return _where(path, lines.get(keys))


def _yaml(path: Path, content: bytes) -> tuple[Any, dict[tuple[str, ...], int]]:
    """Return the contents of a YAML file, and the line of each key.

    PyYAML comes with Flax, which is required.

    Raises:
        UsageError: it is no YAML, or has a key twice.
    """
    import yaml

    lines: dict[tuple[str, ...], int] = {}
    try:
        node = yaml.compose(content.decode(), yaml.SafeLoader)
        value = yaml.safe_load(content.decode())
    except UnicodeDecodeError as error:
        raise UsageError(f"--config {path}: {one_line(error)}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = _where(path, None if mark is None else mark.line + 1)
        problem = getattr(error, "problem", None) or one_line(error)
        raise UsageError(f"{where}: {problem}") from None
    except RecursionError:
        raise UsageError(f"--config {path}: {_TOO_DEEP}") from None
    except Exception as error:  # PyYAML lets through what a value with a wrong tag raises
        raise UsageError(f"--config {path}: {one_line(error)}") from None

    def note(node: Any, at: tuple[str, ...]) -> None:
        if len(at) > _DEEPEST:
            raise UsageError(f"{_where(path, lines[at])}: {_TOO_DEEP}")
        for key, below in node.value if isinstance(node, yaml.MappingNode) else ():
            here = (*at, str(key.value))
            if here in lines:
                where = _where(path, key.start_mark.line + 1)
                raise UsageError(f"{where}: {'.'.join(here)} is there twice")
            lines[here] = key.start_mark.line + 1
            note(below, here)

    note(node, ())
    return value, lines


def _python(path: Path) -> Any:
    """Return what `get_config()` of a Python file returns, or its `CONFIG`.

    Raises:
        UsageError: it has neither, or raises something.
    """
    from lra_bench.runtime.plugins import Broken, guarded

    def load() -> Any:
        spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        config = module.get_config() if hasattr(module, "get_config") else module.CONFIG
        return config.to_dict() if hasattr(config, "to_dict") else config

    try:
        return guarded(load, f"config_{path.stem}")
    except Broken as error:
        remedy = "; it must have a function get_config() or a dictionary CONFIG"
        lacks = remedy if "'CONFIG'" in str(error) else ""
        raise UsageError(f"--config {path}: {error}{lacks}") from None
