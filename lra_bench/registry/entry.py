"""An entry of a registry: a mechanism or a task, with its options and their types."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

from lra_bench.conformance import built_by, options_of
from lra_bench.display.escape import terminal
from lra_bench.ranges import COUNT, type_of
from lra_bench.runtime.source_files import SourceFile

Traits = TypeVar("Traits")


@dataclass(frozen=True)
class Entry(Generic[Traits]):
    """A registered mechanism or task.

    Attributes:
        name: the registered name.
        target: the function or class.
        module: name of the module that registered it.
        traits: its promises.
        file: the file of the user that registered it; None for a package.
    """

    name: str
    target: Callable[..., Any]
    module: str
    traits: Traits
    file: SourceFile | None = None

    @property
    def summary(self) -> str:
        """Return the first line of the docstring, without control characters."""
        return terminal((inspect.getdoc(self.target) or "").partition("\n")[0])

    @property
    def supports_causal(self) -> bool:
        """Return whether it has the option that makes it unidirectional."""
        return "causal" in self.options()

    def options(self) -> dict[str, Any]:
        """Return the options that a user may set, with their defaults; see `options_of`."""
        return options_of(self.target)

    def _hints(self) -> dict[str, Any]:
        """Return the types of the parameters; {} if an annotation cannot be evaluated."""
        try:
            return get_type_hints(built_by(self.target), include_extras=True)
        except Exception:  # an annotation may name what is imported for type checkers only
            return {}

    def types(self) -> dict[str, Any]:
        """Return the type of each option, with its range or choices, for `ranges.valid`."""
        hints = self._hints()
        return {
            name: type_of(usual, hints.get(name), COUNT) for name, usual in self.options().items()
        }

    def choices(self) -> dict[str, tuple[Any, ...]]:
        """Return the valid values of each option that is annotated as a `Literal`."""
        types = self.types()
        return {name: get_args(types[name]) for name in types if get_origin(types[name]) is Literal}
