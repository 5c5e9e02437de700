"""Providers of mechanisms and tasks: the files of a package, and the plug-ins of others."""

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points


@dataclass(frozen=True)
class Provider:
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


def providers(package: str, first: str | None = None) -> Iterator[Provider]:
    """Yield files, then plug-ins; of either, first those with a label.

    Args:
        package: of the files, and the group of the entry points.
        first: the label.
    """
    found = [
        Provider(module.rpartition(".")[2].replace("_", "-"), module, _importing(module), False)
        for module in files(package)
    ]
    yield from sorted(found, key=lambda each: each.label != first)
    plugins = [_plugin(point) for point in _points(package)]
    yield from sorted(plugins, key=lambda each: each.label != first)


def files(package: str) -> list[str]:
    """Return the names of the modules of a package; the others hold what these share."""
    paths = importlib.import_module(package).__path__
    names = [module.name for module in pkgutil.iter_modules(paths)]
    return [f"{package}.{name}" for name in names if not name.startswith("_")]


def _points(package: str) -> list[EntryPoint]:
    """Return the entry points; a package whose metadata cannot be read has none."""
    try:
        return list(entry_points(group=package))
    except Exception:
        return [point for each in distributions() for point in _points_of(each, package)]


def _points_of(distribution: Distribution, package: str) -> list[EntryPoint]:
    try:
        return list(distribution.entry_points.select(group=package))
    except Exception:
        return []


def _importing(module: str) -> Callable[[], object]:
    return lambda: importlib.import_module(module)


def _plugin(point: EntryPoint) -> Provider:
    module = re.split(r"[\s:\[]", point.value.strip())[0]
    return Provider(point.name, module, point.load, True)
