"""The registries of attention mechanisms and of tasks.

A mechanism or a task is one file that registers itself with a decorator. The registry finds the
files in `lra_bench.attentions` and `lra_bench.tasks` by itself; other packages name their module
in an entry point of the same name. A name that is looked up is searched first in the file of that
name, then in all files, then in the entry point of that name, then in all entry points: a run
imports no plug-in that it does not need. A file or a plug-in that is broken is left out.

A user may also name a file of their own wherever a name is asked for; see `source_files`.
"""

import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

from lra_bench.conformance import (
    built_by,
    check_mechanism,
    check_name,
    check_task,
    check_usable,
    options_of,
    quoted_value,
)
from lra_bench.contracts import FAMILIES, AttentionTraits, StateSize, Task
from lra_bench.display.busy import say
from lra_bench.display.escape import terminal
from lra_bench.errors import UsageError, unknown
from lra_bench.ranges import COUNT, type_of
from lra_bench.runtime import source_files
from lra_bench.runtime.plugins import SECONDS, Broken, guarded, limit, short
from lra_bench.runtime.source_files import SourceFile
from lra_bench.suggest import quoted

Target = TypeVar("Target", bound=Callable[..., Any])
Traits = TypeVar("Traits")

# The exact attention that every other mechanism is compared with.
REFERENCE = "softmax"
# The attention that returns the values unmixed: "X (OPT)" in the Performer paper, the cheapest.
IDENTITY = "identity"


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


@dataclass(frozen=True)
class _Source:
    """A file or a plug-in that may register something.

    Attributes:
        label: the name of the file, with hyphens, or that of the entry point.
        module: the name of the module.
        load: imports it.
        is_plugin: whether another package has it.
    """

    label: str
    module: str
    load: Callable[[], object]
    is_plugin: bool

    def __str__(self) -> str:
        return f"{'plug-in' if self.is_plugin else 'file'} {self.label!r}"


class Registry(Generic[Traits]):
    """A mapping of names to entries, filled as far as look-ups need it.

    Attributes:
        kind: "attention" or "task".
        package: the package of the files, and the group of the entry points.
    """

    def __init__(
        self,
        kind: str,
        package: str,
        *,
        libraries: tuple[str, ...] = (),
        check: Callable[[Entry[Traits]], object] = lambda _: None,
    ) -> None:
        """Make an empty registry.

        Args:
            kind: what an entry is, for messages.
            package: the package of the files, and the group of the entry points.
            libraries: modules that the files need. They are imported first, because that may take
                longer than a file or a plug-in may take.
            check: raises an exception if an entry of a module that was imported cannot be used.
        """
        self.kind = kind
        self.package = package
        self._libraries, self._check = libraries, check
        self._entries: dict[str, Entry[Traits]] = {}
        # Why files and plug-ins were left out, by label, and what `names` has yet to report.
        self._problems: dict[str, str] = {}
        self._unreported: list[str] = []
        # Files and plug-ins whose import has begun, and the names that imported ones registered.
        self._begun: set[tuple[str, str]] = set()
        self._kept: set[str] = set()
        # What each file of the user has registered, by the name of its module.
        self._of_files: dict[str, dict[str, Entry[Traits]]] = {}
        # Reentrant: a module that is being imported may look up other entries.
        self._lock = threading.RLock()

    def add(self, name: str, target: Target, traits: Traits) -> Target:
        """Register `target` under `name`.

        Raises:
            ValueError: the name is malformed, or another module has it already.
        """
        check_name(self.kind, name)
        file, module = _READING.get(), target.__module__
        if file is not None and module != file.module:  # of a package that the file imports
            file = None
        owner = self._owner(name, target, file)
        if owner is not None:
            raise ValueError(
                f"{self.kind} {name!r} is registered twice: by {owner} and by "
                f"{module if file is None else file.given}"
            )
        entry = self._entries[name] = Entry(name, target, module, traits, file)
        if file is not None:
            self._of_files.setdefault(file.module, {})[name] = entry
        return target

    def _owner(self, name: str, target: Any, file: SourceFile | None) -> str | None:
        """Return the module that has the name, if it is another one than the target's.

        A file of the user may take a name from another such file, as after it was edited.
        """
        known = self._entries.get(name)
        if known is not None and known.file is not None:
            taken = file is None or name in self._of_files.get(file.module, {})
            return known.file.given if taken else None
        if known is not None:
            here, there = (target.__module__, target.__qualname__), known.target.__qualname__
            return None if here == (known.module, there) else known.module
        owner = f"{self.package}.{name.replace('-', '_')}"
        absent = owner in self._files() and owner not in sys.modules
        return owner if absent and target.__module__ != owner else None

    def named(self, text: str) -> str:
        """Return the registered name that a text stands for.

        It is the text itself, or a name in the file that the text refers to, which is loaded. Only
        what the user has typed goes through here: a name in a record must run no code.

        Raises:
            UsageError: the file cannot be used, or it registers none or several.
        """
        if not source_files.is_reference(text):
            return text
        path, name = source_files.split(text)
        return self._chosen(path, name, self.load(source_files.read(path)))

    def load(self, file: SourceFile) -> list[str]:
        """Load a file of the user, and return the names that it registers here, sorted.

        They replace those of another version of the file.

        Raises:
            UsageError: it cannot be used; the message names file and line.
        """
        _execute(file)
        found = self._of_files.get(file.module, {})
        # The same contents may have been loaded from another place before.
        found.update({name: replace(entry, file=file) for name, entry in found.items()})
        self._entries.update(found)
        return sorted(found)

    def all_named(self, texts: Sequence[str]) -> list[str]:
        """Return the registered names that texts stand for, each once; see `named`.

        Raises:
            UsageError: a name is unknown, or two files register the same.
        """
        homes: dict[str, SourceFile | None] = {}
        for text in texts:
            entry = self.get(self.named(text))
            other = homes.setdefault(entry.name, entry.file)
            if other != entry.file:
                places = sorted(file.given if file else "lra-bench" for file in (other, entry.file))
                raise UsageError(
                    f"{' and '.join(places)} both register {self.kind} {entry.name}; rename one"
                )
        return list(homes)

    def _chosen(self, path: str, name: str | None, there: list[str]) -> str:
        """Return the name in a file that a reference means.

        Args:
            path: of the file, as the user wrote it.
            name: in the reference; None if it has none.
            there: all names that the file registers.
        """
        path = terminal(path)
        if not there:
            raise UsageError(
                f'{path} registers no {self.kind}: put @register_{self.kind}("my-name") above its '
                f"{'class' if self.kind == 'task' else 'function or class'}"
            )
        if name is None and len(there) > 1:
            choices = ", ".join(f"{path}:{each}" for each in there)
            raise UsageError(f"{path} registers {len(there)} {self.kind}s; name one: {choices}")
        if name is not None and name not in there:
            raise unknown(f"{self.kind} in {path}", name, there)
        return name or there[0]

    def has(self, name: str) -> bool:
        """Return whether an entry has that name.

        Raises:
            UsageError: the file or plug-in of that name is broken; the message says where and why.
        """
        with self._lock:
            for source in self._sources(name):
                if name in self._entries:
                    break
                self._load(source)
            found = name in self._entries
        if not found and name in self._problems:
            raise UsageError(
                f"{self.kind} {terminal(name)} can't be loaded: {self._problems[name]}"
            )
        return found

    def get(self, name: str) -> Entry[Traits]:
        """Return the entry of that name.

        Raises:
            UsageError: no entry has that name; the message lists all and suggests the nearest. Or
                the file or plug-in of that name is broken; the message says where and why.
        """
        if not self.has(name):
            raise self._unknown(name)
        return self._entries[name]

    def names(self) -> list[str]:
        """Return all names, sorted; say on standard error what is left out as broken, once."""
        with self._lock:
            for source in self._sources():
                self._load(source)
            unreported, self._unreported = self._unreported, []
            names = sorted(self._entries)
        for text in unreported:
            say(f"lra-bench: {text}", stream=sys.stderr)
        return names

    def _unknown(self, name: str) -> UsageError:
        """Return the error for a name that nothing has."""
        if "/" in name or "." in name:
            return UsageError(
                f"unknown {self.kind} {quoted(name)}: a name has no dot and no slash, and a file "
                f"ends in {source_files.SUFFIX}"
            )
        error = unknown(self.kind, name, sorted(self._entries))
        labels = ", ".join(terminal(label) for label in sorted(self._problems))
        hint = f"; left out as broken: {labels} (lra-bench list says why)" if labels else ""
        return UsageError(f"{error}{hint}")

    def _sources(self, name: str | None = None) -> Iterator[_Source]:
        """Yield files, then plug-ins; of either, first those whose label is the name."""
        if name in self._entries:  # the usual case: nothing is looked for
            return
        files = [
            _Source(module.rpartition(".")[2].replace("_", "-"), module, _importing(module), False)
            for module in self._files()
        ]
        yield from sorted(files, key=lambda source: source.label != name)
        plugins = [_plugin(point) for point in self._points()]
        yield from sorted(plugins, key=lambda source: source.label != name)

    def _files(self) -> list[str]:
        """Return the names of the modules of the package; the others hold what these share."""
        paths = importlib.import_module(self.package).__path__
        names = [module.name for module in pkgutil.iter_modules(paths)]
        return [f"{self.package}.{name}" for name in names if not name.startswith("_")]

    def _points(self) -> list[EntryPoint]:
        """Return the entry points; a package whose metadata cannot be read has none."""
        try:
            return list(entry_points(group=self.package))
        except Exception:
            return [point for each in distributions() for point in self._points_of(each)]

    def _points_of(self, distribution: Distribution) -> list[EntryPoint]:
        try:
            return list(distribution.entry_points.select(group=self.package))
        except Exception:
            return []

    def _load(self, source: _Source) -> None:
        """Import a file or a plug-in unless that was tried; if it is broken, leave it out."""
        key = (str(source), source.module)
        if key in self._begun:
            return
        self._begun.add(key)
        before = set(self._entries)
        try:
            self._import(source)
        except Broken as error:
            self._leave_out(source, str(error), before)
        except BaseException:  # the user wants to stop
            self._begun.discard(key)
            raise
        self._kept.update(self._entries)

    def _import(self, source: _Source) -> None:
        """Import a file or a plug-in, and check what it registers.

        Raises:
            Broken: it cannot be used.
        """
        for library in self._libraries:
            importlib.import_module(library)
        if source.is_plugin and not limit():
            raise Broken(f"{SECONDS}=0 leaves out all plug-ins")
        before = set(self._entries)
        guarded(source.load, source.module)
        for name in self._entries.keys() - before:
            guarded(lambda entry=self._entries[name]: self._check(entry), source.module)
        package = source.module.partition(".")[0]
        modules = {entry.module.partition(".")[0] for entry in self._entries.values()}
        if source.is_plugin and package not in modules and before == set(self._entries):
            raise Broken(f"{terminal(source.module)} registers no {self.kind}")

    def _check_file(self, file: SourceFile) -> None:
        """Check what a file of the user has registered.

        Raises:
            Broken: it cannot be used.
        """
        for entry in self._of_files.get(file.module, {}).values():
            guarded(lambda entry=entry: self._check(entry), file.module)

    def _forget(self, file: SourceFile, entries: dict[str, Entry[Traits]]) -> None:
        """Forget what a broken file has registered.

        Args:
            file: the file.
            entries: those before it was loaded.
        """
        self._of_files.pop(file.module, None)
        self._entries = entries

    def _leave_out(self, source: _Source, problem: str, before: set[str]) -> None:
        """Remove what a broken file or plug-in has registered, and keep what to tell of it."""
        for name in self._entries.keys() - before - self._kept:
            del self._entries[name]
        self._problems[source.label] = problem
        self._unreported.append(f"{self.kind} {source} left out: {problem}")


# The file whose code runs now, and the modules of those that were loaded.
_READING: ContextVar[SourceFile | None] = ContextVar("reading", default=None)
_LOADED: set[str] = set()


def _execute(file: SourceFile) -> None:
    """Run the code of a file, once, so that it registers what it has.

    Raises:
        UsageError: it cannot be used; the message names file and line.
    """
    if file.module in _LOADED:
        return
    for library in ATTENTIONS._libraries:
        importlib.import_module(library)
    registries: tuple[Registry[Any], ...] = (ATTENTIONS, TASKS)
    before: list[tuple[Registry[Any], dict[str, Entry[Any]]]] = [
        (registry, dict(registry._entries)) for registry in registries
    ]
    token = _READING.set(file)
    try:
        source_files.execute(file)
        for registry in registries:
            registry._check_file(file)
    except Broken as error:
        for registry, entries in before:
            registry._forget(file, entries)
        text, path = str(error), short(str(file.path))
        place = text.removeprefix(path) if text.startswith(path) else f": {text}"
        raise UsageError(f"{terminal(file.given)}{place}") from None
    finally:
        _READING.reset(token)
    _LOADED.add(file.module)


def _importing(module: str) -> Callable[[], object]:
    return lambda: importlib.import_module(module)


def _plugin(point: EntryPoint) -> _Source:
    module = re.split(r"[\s:\[]", point.value.strip())[0]
    return _Source(point.name, module, point.load, True)


def _check_usable(entry: Entry[None]) -> None:
    """Check that a task can be made with its defaults and has presets."""
    check_usable(entry.name, entry.target, entry.module)


ATTENTIONS: Registry[AttentionTraits] = Registry(
    "attention", "lra_bench.attentions", libraries=("flax.nnx",)
)
TASKS: Registry[None] = Registry("task", "lra_bench.tasks", check=_check_usable)


def register_attention(
    name: str,
    *,
    exact: bool = False,
    equivariant: bool = False,
    shares_query_key: bool = False,
    mixer: bool = False,
    family: str = "other",
    state: StateSize | None = None,
) -> Callable[[Target], Target]:
    """Register a mechanism: a function of (q, k, v, mask), or an `nnx.Module` class.

    A class is built as `cls(dims, rngs=rngs, **options)` and called with (q, k, v, mask). Its
    other keyword-only parameters are its options. A mixer is called with (x, mask). A mechanism
    whose call also has the parameter `rngs=None` gets the random keys of the training there. See
    `AttentionTraits` for the promises.

    Raises:
        ValueError: the name is malformed or taken, or the mechanism cannot be called like this.
    """
    if not isinstance(name, str):
        raise ValueError('needs a name: @register_attention("my-name")')
    promises = (exact, equivariant, shares_query_key, mixer)
    if not all(isinstance(promise, bool) for promise in promises):
        raise ValueError(f"attention {quoted_value(name)}: a promise is neither True nor False")
    if family not in FAMILIES:
        valid = ", ".join(FAMILIES)
        raise ValueError(f"attention {quoted_value(name)}: family={family!r}: valid: {valid}")
    if state is not None and not callable(state):
        raise ValueError(f"attention {quoted_value(name)}: state is no function")
    traits = AttentionTraits(*promises, family, state)

    def register(target: Target) -> Target:
        check_mechanism(name, target, traits.arrays)
        return ATTENTIONS.add(name, target, traits)

    return register


def register_task(name: str) -> Callable[[Target], Target]:
    """Register a class whose instances are a `Task`.

    Raises:
        ValueError: the name is malformed or taken, or the class lacks a part of a `Task`.
    """
    if not isinstance(name, str):
        raise ValueError('needs a name: @register_task("my-name")')

    def register(target: Target) -> Target:
        check_task(name, target)
        return TASKS.add(name, target, None)

    return register


def data_types(name: str) -> dict[str, Any]:
    """Return the type of each data option of a task, with its range or choices.

    Raises:
        UsageError: no task has that name.
    """
    target: Any = TASKS.get(name).target
    try:
        hints = get_type_hints(target, include_extras=True)
    except Exception:  # an annotation may name what is imported for type checkers only
        hints = {}
    return {key: type_of(usual, hints.get(key)) for key, usual in data_options(name).items()}


def data_options(name: str) -> dict[str, Any]:
    """Return the data options of a task, with their defaults.

    Raises:
        UsageError: no task has that name.
    """
    target: Any = TASKS.get(name).target
    task = target()
    return {field.name: getattr(task, field.name) for field in fields(target)}


def make_task(name: str, options: Mapping[str, Any]) -> Task:
    """Return the task of that name with these data options.

    Raises:
        UsageError: no task has that name.
        ValueError: the task refuses the options.
    """
    return TASKS.get(name).target(**options)


def is_exact(attention: str) -> bool:
    """Return whether a mechanism equals softmax attention; false if it is not registered here."""
    return family_of(attention) == "exact"


def family_of(attention: str) -> str:
    """Return "exact", "bound" for identity, or the family that a mechanism registers."""
    if attention == IDENTITY:
        return "bound"
    try:
        traits = ATTENTIONS.get(attention).traits
    except UsageError:
        return "other"
    return "exact" if traits.exact else traits.family
