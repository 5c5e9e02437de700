"""A registry of mechanisms or tasks, filled as far as look-ups need it."""

import importlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Generic, TypeVar

from lra_bench.conformance import check_name, check_usable
from lra_bench.contracts import AttentionTraits
from lra_bench.display.busy import say
from lra_bench.display.escape import terminal
from lra_bench.errors import UsageError, unknown
from lra_bench.registry.entry import Entry, Traits
from lra_bench.registry.providers import Provider, files, providers
from lra_bench.runtime import source_files
from lra_bench.runtime.plugins import SECONDS, Broken, guarded, limit, short
from lra_bench.runtime.source_files import SourceFile
from lra_bench.suggest import quoted

Target = TypeVar("Target", bound=Callable[..., Any])


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
        absent = owner in files(self.package) and owner not in sys.modules
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
            for provider in self._providers(name):
                if name in self._entries:
                    break
                self._load(provider)
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

    def find(self, name: str) -> Entry[Traits] | None:
        """Return the entry of that name; None where there is none, or its file is broken."""
        try:
            return self.get(name)
        except UsageError:
            return None

    def names(self) -> list[str]:
        """Return all names, sorted; say on standard error what is left out as broken, once."""
        with self._lock:
            for provider in self._providers():
                self._load(provider)
            unreported, self._unreported = self._unreported, []
            names = sorted(self._entries)
        for text in unreported:
            say(f"lra-bench: {text}", stream=sys.stderr)
        return names

    def _providers(self, name: str | None = None) -> Iterator[Provider]:
        """Yield where entries come from; nothing if the name is known, which is the usual case."""
        return iter(()) if name in self._entries else providers(self.package, name)

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

    def _load(self, provider: Provider) -> None:
        """Import a file or a plug-in unless that was tried; if it is broken, leave it out."""
        key = (str(provider), provider.module)
        if key in self._begun:
            return
        self._begun.add(key)
        before = set(self._entries)
        try:
            self._import(provider)
        except Broken as error:
            self._leave_out(provider, str(error), before)
        except BaseException:  # the user wants to stop
            self._begun.discard(key)
            raise
        self._kept.update(self._entries)

    def _import(self, provider: Provider) -> None:
        """Import a file or a plug-in, and check what it registers.

        Raises:
            Broken: it cannot be used.
        """
        for library in self._libraries:
            importlib.import_module(library)
        if provider.is_plugin and not limit():
            raise Broken(f"{SECONDS}=0 leaves out all plug-ins")
        before = set(self._entries)
        guarded(provider.load, provider.module)
        for name in self._entries.keys() - before:
            guarded(lambda entry=self._entries[name]: self._check(entry), provider.module)
        package = provider.module.partition(".")[0]
        modules = {entry.module.partition(".")[0] for entry in self._entries.values()}
        if provider.is_plugin and package not in modules and before == set(self._entries):
            raise Broken(f"{terminal(provider.module)} registers no {self.kind}")

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

    def _leave_out(self, provider: Provider, problem: str, before: set[str]) -> None:
        """Remove what a broken file or plug-in has registered, and keep what to tell of it."""
        for name in self._entries.keys() - before - self._kept:
            del self._entries[name]
        self._problems[provider.label] = problem
        self._unreported.append(f"{self.kind} {provider} left out: {problem}")


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


def _check_usable(entry: Entry[None]) -> None:
    """Check that a task can be made with its defaults and has presets."""
    check_usable(entry.name, entry.target, entry.module)


ATTENTIONS: Registry[AttentionTraits] = Registry(
    "attention", "lra_bench.attentions", libraries=("flax.nnx",)
)
TASKS: Registry[None] = Registry("task", "lra_bench.tasks", check=_check_usable)
