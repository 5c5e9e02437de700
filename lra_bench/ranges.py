"""The types and ranges of values, and the message about one that is wrong. No heavy imports.

The type of a field says all: `Annotated[int, Range(1, 9)]`, `Literal["mean", "cls"]`, `str`.
Presets, `--set`, config.json and the options of tasks all pass through `valid`.
"""

import json
import math
import re
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from lra_bench.suggest import did_you_mean

Settings = TypeVar("Settings")

_MOST_CHARACTERS = 60


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may be; the type of a field is `Annotated[int, Range(1, 9)]`.

    Attributes:
        low, high: the smallest and the largest, both included.
        or_zero: whether 0, which stands for none, is allowed below `low`.
    """

    low: float
    high: float
    or_zero: bool = False

    def holds(self, value: Any) -> bool:
        """Return whether a number is in the range."""
        return self.low <= value <= self.high or (self.or_zero and value == 0)

    def __str__(self) -> str:
        return f"from {_number(self.low)} to {_number(self.high)}"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


# What a whole number of JSON may be without losing digits in other programs.
_WHOLE = Range(-(2**53), 2**53)
COUNT = Range(1, 2**20)
STEPS = Range(1, 2**31 - 1)
SEED = Range(0, 2**32 - 1)


def checked(kind: type[Settings], values: Any, prefix: str = "") -> Settings:
    """Return a dataclass of settings made from a mapping, each value checked.

    A setting that has a default may be missing.

    Args:
        kind: the dataclass; the types of its fields say what is valid.
        values: the settings by name.
        prefix: what stands before each name in messages, such as "train.".

    Raises:
        ValueError: a key is missing or unknown, or a value has the wrong type or range.
    """
    hints = hints_of(kind)
    values = {**defaults_of(kind), **mapping(prefix.rstrip(".") or "settings", values)}
    for problem, names in (
        ("is missing", hints.keys() - values.keys()),
        ("is unknown", values.keys() - hints.keys()),
    ):
        if names:
            name = min(names, key=str)
            raise ValueError(f"{prefix}{_cut(name)} {problem}: of another version of lra-bench")
    return kind(**{name: valid(f"{prefix}{name}", values[name], hints[name]) for name in hints})


def defaults_of(kind: type) -> dict[str, Any]:
    """Return the defaults of the fields of a dataclass that have one."""
    return {field.name: field.default for field in fields(kind) if field.default is not MISSING}


def mapping(name: str, value: Any) -> dict[str, Any]:
    """Return a group of settings as a dictionary.

    Raises:
        ValueError: the value is none.
    """
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{name} is {shown(value)}: must be a group of settings")
    return dict(value)


@cache
def hints_of(kind: type) -> dict[str, Any]:
    """Return the types of the fields of a dataclass, with their ranges."""
    return get_type_hints(kind, include_extras=True)


def valid(name: str, value: Any, hint: Any) -> Any:
    """Return a value as its type says; a whole number may stand for a fraction.

    Args:
        name: the key, for the message.
        value: of a setting.
        hint: its type: int, float, bool, str, tuple, Any, a `Literal`, one of these `Annotated`
            with a `Range`, or one of them `| None`. Anything else stands for a group of settings,
            which is not looked into.

    Raises:
        ValueError: the value has another type, or is out of range.
    """
    kind, range_ = _unwrapped(hint)
    number: Any = value
    if value is None and type(None) in get_args(hint):
        return None
    if not _fits(value, kind) or (range_ is not None and not range_.holds(value)):
        near = did_you_mean(value, map(str, _choices(kind))) if isinstance(value, str) else ""
        raise ValueError(f"{name}={shown(value)}: {near}must be {expected(hint)}")
    return float(number) if kind is float else value


def _fits(value: Any, kind: Any) -> bool:
    """Return whether a value has a type; True is no number."""
    if get_origin(kind) is Literal:
        return (type(value), value) in [(type(each), each) for each in _choices(kind)]
    if kind is float:
        return _is_finite(value)
    if kind in (int, bool, str):
        return type(value) is kind
    if kind in (tuple, Any):
        return is_setting(value) and (kind is Any or isinstance(value, list | tuple))
    return isinstance(value, Mapping)


def _choices(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) is Literal else ()


def _unwrapped(hint: Any) -> tuple[Any, Range | None]:
    """Return the type without None and without its annotation, and the range that it has."""
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(each for each in get_args(hint) if each is not type(None))
    if get_origin(hint) is not Annotated:
        return hint, None
    kind, *notes = get_args(hint)
    return kind, next((note for note in notes if isinstance(note, Range)), None)


def _is_finite(value: Any) -> bool:
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False


def expected(hint: Any) -> str:
    """Return what a value of this type is, for messages: "a whole number from 1 to 9"."""
    kind, range_ = _unwrapped(hint)
    if choices := _choices(kind):
        return f"one of {', '.join(map(str, choices))}"
    words = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a word",
        tuple: "a list, such as a,b or [1, 2]",
        Any: "a number, a word, true, false, none or a list of these",
    }
    text = words.get(kind, "a group of settings")
    return f"{'0 or ' if range_ and range_.or_zero else ''}{text}{f' {range_}' if range_ else ''}"


def is_setting(value: Any) -> bool:
    """Return whether a value can be a setting: what JSON holds, but no object."""
    if isinstance(value, list | tuple):
        return all(is_setting(each) for each in value)
    if type(value) is int:
        return _WHOLE.holds(value)
    return value is None or type(value) in (bool, str) or _is_finite(value)


def type_of(usual: Any, declared: Any, counts: Range = _WHOLE) -> Any:
    """Return the type of an option, for `valid`.

    Args:
        usual: its default.
        declared: its annotation. It counts if it has a `Range` or is a `Literal`; otherwise the
            default's type does, but that a whole number may be the default of a float.
        counts: the range of whole numbers that have none. It also reaches to the default.
    """
    kind, range_ = _unwrapped(declared)
    if range_ is not None or _choices(kind):
        return declared
    if type(usual) is int and kind is float:
        return float
    if type(usual) in (bool, str, float):
        return type(usual)
    if type(usual) is int:
        return Annotated[int, Range(min(counts.low, usual), max(counts.high, usual))]
    return tuple if isinstance(usual, list | tuple) else Any


def frozen(value: Any) -> Any:
    """Return a value with tuples for lists, as the code of tasks and attentions has them."""
    if isinstance(value, list | tuple):
        return tuple(frozen(each) for each in value)
    return {key: frozen(each) for key, each in value.items()} if isinstance(value, dict) else value


def plain(value: Any) -> Any:
    """Return a value with lists for tuples, as JSON has them."""
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return {key: plain(each) for key, each in value.items()} if isinstance(value, dict) else value


def shown(value: Any) -> str:
    """Return a value as a message shows it: on one line, and cut off where it is long."""
    try:
        return _cut(repr(value) if isinstance(value, str) else str(value))
    except ValueError:  # a whole number of thousands of digits
        return "a number of thousands of digits"


def _cut(text: str) -> str:
    text = "".join(sign if sign.isprintable() else "?" for sign in text[: _MOST_CHARACTERS + 1])
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."


# What people write for numbers: 600, 1e3, 2.5k, 1,000, 1_000, 4Ki.
_NUMBER = re.compile(
    r"([+-]?(?:\d[\d_]*|\d{1,3}(?:,\d{3})+)?(?:\.\d*)?(?:[eE][+-]?\d{1,4})?)([kKMG]i?)?"
)
_UNITS = {"k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}
_UNITS |= {
    f"{unit}i": 2 ** (10 * power)
    for power, units in enumerate(("kK", "M", "G"), 1)
    for unit in units
}
_BOOLS = {
    **dict.fromkeys(("true", "yes", "on", "1", "t", "y"), True),
    **dict.fromkeys(("false", "no", "off", "0", "f", "n"), False),
}
_NONE = ("none", "null")


def parse(text: str, hint: Any) -> Any:
    """Return the value that a text stands for; the text itself if it is not understood.

    Numbers may be written as 600, 1e3, 1k, 1,000 or 4Ki, but not as 024, which in a list is what
    follows the comma of 1,024; bools as true, yes, on or 1; text may be in quotes; lists are JSON,
    or words with commas between.

    Args:
        text: as the user wrote it.
        hint: the type of the setting, as `valid` takes it.
    """
    text = text.strip()
    bare = text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
    kind, _ = _unwrapped(hint)
    if bare.lower() in _NONE and (kind is Any or type(None) in get_args(hint)):
        return None
    if kind in (int, float):
        return _parse_number(bare, kind)
    if kind is bool:
        return _BOOLS.get(bare.lower(), bare)
    if choices := _choices(kind):
        folded = {_folded(str(each)): each for each in choices}
        return folded.get(_folded(bare), bare)
    return bare if kind is str else _parse_json(text, kind)


def is_cut(number: str) -> bool:
    """Return whether a number begins with a needless zero, as 024 does: it is the end of 1,024."""
    return re.match(r"\s*[+-]?0\d", number) is not None


def _parse_number(text: str, kind: type) -> Any:
    match = _NUMBER.fullmatch(text)
    try:
        if match is None:
            return text
        digits, unit = match[1].replace(",", "").replace("_", ""), _UNITS.get(match[2] or "", 1)
        if is_cut(digits):
            return text
        if digits.lstrip("+-").isdecimal():
            return int(digits) * unit
        value = float(digits) * unit
    except ValueError:  # no digit, or thousands of them
        return text
    return int(value) if kind is int and value.is_integer() else value


def _parse_json(text: str, kind: Any) -> Any:
    words = tuple(map(str.strip, text.split(",")))
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return words if kind is tuple else text
    return words if kind is tuple and type(value) in (int, float) else value


def _folded(text: str) -> str:
    return re.sub(r"[\s_-]+", "-", text.strip().lower())
