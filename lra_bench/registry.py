"""The registries of attention mechanisms and of tasks.

A mechanism or a task is one file that registers itself by a decorator. Files in
`lra_bench.attentions` and `lra_bench.tasks` are found by themselves; other packages name their
module in an entry point of the same name.
"""

import difflib
import importlib
import inspect
import pkgutil
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import (
    Any,
    Generic,
    Literal,
    Protocol,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np

from lra_bench.errors import UsageError

Target = TypeVar("Target", bound=Callable[..., Any])
Traits = TypeVar("Traits")

SPLITS = ("train", "validation", "test")

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def unknown(kind: str, name: str, valid: list[str]) -> UsageError:
    """The error for a name that isn't there: it lists all that are, the nearest one first."""
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UsageError(f"unknown {kind} {name!r}; {hint}valid: {', '.join(valid)}")


@dataclass(frozen=True)
class AttentionTraits:
    """What a mechanism promises; the contract tests hold it to each promise.

    Attributes:
        exact: equals softmax attention, Eq. (1) of the Performer paper.
        equivariant: permuting the real tokens permutes the output.
        shares_query_key: queries and keys are one projection; `q` and `k` are the same array.
    """

    exact: bool = False
    equivariant: bool = False
    shares_query_key: bool = False


@dataclass(frozen=True)
class Source:
    """Where data of a task come from.

    Attributes:
        name: what `data.source` is set to.
        splits: the rule by which examples fall into train, validation and test.
        files: what a user must have, such as "cifar-10-binary.tar.gz"; empty for a generator.
        url: where that is to be had.
        size: of the download, in bytes.
        sha256: of the one file at `url`, where it can be downloaded as it is.
    """

    name: str
    splits: str
    files: str = ""
    url: str = ""
    size: int = 0
    sha256: str = ""


# What is being done, how far, and out of how many, where that is known.
Report = Callable[[str, int, int | None], None]


def silent(*_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Reading:
    """What a task is given to read its data.

    Attributes:
        source: the name of the source.
        path: where the source's files are; None for a generator.
        scratch: a folder for what should outlive an interruption. It comes back until the store
            is whole, then it is removed.
        report: tells people how far the reading is.
        note: keeps a remark in the manifest, such as a file that was left out.
    """

    source: str
    path: Path | None
    scratch: Path
    report: Report = silent
    note: Callable[[str], None] = silent


Block = tuple[str, np.ndarray, np.ndarray]


class Task(Protocol):
    """What a task has; it is a frozen dataclass of its data options, each with a default.

    Attributes:
        name, num_classes, vocab_size: as they are called.
        class_names: what each label means, in order.
        pad_id: the token id that is padding; None where every token is real.
        max_len: tokens of an example, or of one document if `paired`.
        paired: whether an example is two documents.
        side: pixels on a side, where an example is a square image of grey values; else None.
        sources: where its data can come from; the first is the default.
        version: raised whenever the same options would give other data.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def num_classes(self) -> int: ...  # noqa: D102
    @property
    def class_names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def vocab_size(self) -> int: ...  # noqa: D102
    @property
    def pad_id(self) -> int | None: ...  # noqa: D102
    @property
    def max_len(self) -> int: ...  # noqa: D102
    @property
    def paired(self) -> bool: ...  # noqa: D102
    @property
    def side(self) -> int | None: ...  # noqa: D102
    @property
    def sources(self) -> tuple[Source, ...]: ...  # noqa: D102
    @property
    def version(self) -> int: ...  # noqa: D102

    def data_options(self, source: str) -> dict[str, Any]:
        """The options that the data from that source depend on."""
        ...

    def sizes(self, source: str) -> dict[str, int]:
        """Examples of each split, where that is known before the data are read; else {}."""
        ...

    def inputs(self, source: str, path: Path | None) -> dict[str, Path]:
        """The files that are read or that say what is read, whose checksums are kept.

        Raises:
            RunError: one is missing.
        """
        ...

    def read(self, reading: Reading) -> Iterator[Block]:
        """Blocks of (split, tokens, labels): train, then validation, then test.

        Tokens are uint8 or uint16 (n, max_len), or (n, 2, max_len) if paired; labels int (n,).
        """
        ...

    def to_text(self, tokens: np.ndarray) -> str:
        """An example as a person reads it."""
        ...

    def features(self, tokens: np.ndarray) -> np.ndarray:
        """Cheap features, float32 (n, f), from which a linear model tells the label at times.

        They are for the check that the data are no noise, not for accuracy; (n, 0) where none
        can be had.
        """
        ...

    def official(self, source: str, checksums: dict[str, str], sizes: dict[str, int]) -> bool:
        """Whether these data are the benchmark's published ones.

        Args:
            checksums: SHA-256 of each of `inputs`.
            sizes: examples of each split.
        """
        ...


def source_of(task: Task, name: str) -> Source:
    """The source of that name.

    Raises:
        UsageError: the task has none.
    """
    for source in task.sources:
        if source.name == name:
            return source
    raise unknown(f"data source of {task.name}", name, [source.name for source in task.sources])


@dataclass(frozen=True)
class Entry(Generic[Traits]):
    """One registered thing: its name, itself, the module that it comes from, its promises."""

    name: str
    target: Callable[..., Any]
    module: str
    traits: Traits

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(self.target) or "").partition("\n")[0]

    @property
    def supports_causal(self) -> bool:
        """Whether it has the option that makes it unidirectional."""
        return "causal" in self.options()

    def options(self) -> dict[str, Any]:
        """The options that a user may set, with their defaults: keyword-only parameters."""
        parameters = inspect.signature(self._built_by).parameters.values()
        named = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "rngs"]
        return {p.name: p.default for p in named}

    def choices(self) -> dict[str, tuple[Any, ...]]:
        """The valid values of each option that is annotated as a `Literal`."""
        hints = get_type_hints(self._built_by)
        return {
            name: get_args(hints[name])
            for name in self.options()
            if get_origin(hints.get(name)) is Literal
        }

    @property
    def _built_by(self) -> Callable[..., Any]:
        return self.target.__init__ if isinstance(self.target, type) else self.target


class Registry(Generic[Traits]):
    """Names to entries, filled on the first look-up."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._entries: dict[str, Entry[Traits]] = {}
        self._discovered = False

    def add(self, name: str, target: Target, traits: Traits) -> Target:
        """Register `target` under `name`.

        Raises:
            ValueError: the name is malformed, or another module has it already.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"{self.kind} name {name!r}: lower-case words joined by hyphens")
        known = self._entries.get(name)
        if known and (known.module, known.target.__qualname__) != (
            target.__module__,
            target.__qualname__,
        ):
            raise ValueError(
                f"{self.kind} {name!r} is registered twice: "
                f"by {known.module} and by {target.__module__}"
            )
        self._entries[name] = Entry(name, target, target.__module__, traits)
        return target

    def get(self, name: str) -> Entry[Traits]:
        """The entry of that name.

        Raises:
            UsageError: there is none; the message lists all and suggests the nearest.
        """
        self._discover()
        if name not in self._entries:
            raise unknown(self.kind, name, self.names())
        return self._entries[name]

    def names(self) -> list[str]:
        """All names, sorted."""
        self._discover()
        return sorted(self._entries)

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            if not module.name.startswith("_"):
                importlib.import_module(f"{self.package}.{module.name}")
        for point in entry_points(group=self.package):
            self._load(point.name, point.load)

    def _load(self, name: str, load: Callable[[], Any]) -> None:
        """Load a third party's module; a broken one must not take the others with it."""
        try:
            load()
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            warnings.warn(f"{self.kind} plug-in {name!r} left out: {problem}", stacklevel=4)


ATTENTIONS: Registry[AttentionTraits] = Registry("attention", "lra_bench.attentions")
TASKS: Registry[None] = Registry("task", "lra_bench.tasks")


def register_attention(
    name: str,
    *,
    exact: bool = False,
    equivariant: bool = False,
    shares_query_key: bool = False,
) -> Callable[[Target], Target]:
    """Register a mechanism: a function of (q, k, v, mask), or an `nnx.Module` class.

    A class is built as `cls(dims, rngs=rngs, **options)` and called with (q, k, v, mask). Its
    other keyword-only parameters are its options. See `AttentionTraits` for the promises.
    """
    traits = AttentionTraits(exact, equivariant, shares_query_key)
    return lambda target: ATTENTIONS.add(name, target, traits)


def register_task(name: str) -> Callable[[Target], Target]:
    """Register a class whose instances are a `Task`."""
    return lambda target: TASKS.add(name, target, None)
