"""The registries of attention mechanisms and of tasks.

A mechanism or a task is one file that registers itself with a decorator. The registry finds the
files in `lra_bench.attentions` and `lra_bench.tasks` by itself; other packages name their module
in an entry point of the same name.
"""

import importlib
import inspect
import pkgutil
import re
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

from lra_bench.contracts import AttentionTraits, Task
from lra_bench.errors import UsageError, unknown

Target = TypeVar("Target", bound=Callable[..., Any])
Traits = TypeVar("Traits")

# The exact attention that every other mechanism is compared with.
REFERENCE = "softmax"
# The attention that returns the values unmixed: "X (OPT)" in the Performer paper, the cheapest.
IDENTITY = "identity"

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Entry(Generic[Traits]):
    """A registered mechanism or task.

    Attributes:
        name: the registered name.
        target: the function or class.
        module: name of the module that registered it.
        traits: its promises.
    """

    name: str
    target: Callable[..., Any]
    module: str
    traits: Traits

    @property
    def summary(self) -> str:
        """Return the first line of the docstring."""
        return (inspect.getdoc(self.target) or "").partition("\n")[0]

    @property
    def supports_causal(self) -> bool:
        """Return whether it has the option that makes it unidirectional."""
        return "causal" in self.options()

    def options(self) -> dict[str, Any]:
        """Return the options that a user may set, with their defaults: keyword-only parameters."""
        parameters = inspect.signature(self._built_by).parameters.values()
        named = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "rngs"]
        return {p.name: p.default for p in named}

    def choices(self) -> dict[str, tuple[Any, ...]]:
        """Return the valid values of each option that is annotated as a `Literal`."""
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
    """A mapping of names to entries, filled on the first look-up."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._entries: dict[str, Entry[Traits]] = {}
        self._discovered = False
        # Reentrant: a module that is being discovered may look up other entries.
        self._lock = threading.RLock()

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
        """Return the entry of that name.

        Raises:
            UsageError: no entry has that name; the message lists all and suggests the nearest.
        """
        self._discover()
        if name not in self._entries:
            raise unknown(self.kind, name, self.names())
        return self._entries[name]

    def names(self) -> list[str]:
        """Return all names, sorted."""
        self._discover()
        return sorted(self._entries)

    def _discover(self) -> None:
        """Import every module that registers something, once; other threads wait."""
        with self._lock:
            if self._discovered:
                return
            self._discovered = True
            self._import_all()

    def _import_all(self) -> None:
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            if not module.name.startswith("_"):
                importlib.import_module(f"{self.package}.{module.name}")
        for point in entry_points(group=self.package):
            self._load(point.name, point.load)

    def _load(self, name: str, load: Callable[[], Any]) -> None:
        """Load the module of another package; if it is broken, the others stay usable."""
        try:
            load()
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            warnings.warn(f"{self.kind} plug-in {name!r} left out: {problem}", stacklevel=5)


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


def make_task(name: str, options: Mapping[str, Any]) -> Task:
    """Return the task of that name with these data options.

    Raises:
        UsageError: no task has that name.
        ValueError: the task refuses the options.
    """
    return TASKS.get(name).target(**options)


def is_exact(attention: str) -> bool:
    """Return whether a mechanism equals softmax attention; false if it is not registered here."""
    try:
        return ATTENTIONS.get(attention).traits.exact
    except UsageError:
        return False
