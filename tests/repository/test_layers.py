"""The rooms of `lra_bench`: a room imports only from rooms on floors below its own."""

import ast
import subprocess
from functools import cache
from pathlib import PurePath

import pytest
from common import ROOT

# The floors, from the ground up. A room on a floor knows none of its neighbours there.
FLOORS = (
    ("suggest",),
    ("errors", "ranges"),
    ("files", "settings", "published", "display"),
    ("contracts", "runtime"),
    ("conformance", "layers"),
    ("registry", "data"),
    ("config", "model"),
    ("records", "choices"),
    ("training", "leaderboard", "verification"),
    ("analysis", "efficiency"),
    ("sweep", "scaling"),
    ("ablation",),
    ("api",),
    ("report",),
    ("cli",),
)
# What stands at the top of the repository, and all that it may import.
EXTENSIONS = {
    "attentions": {"contracts", "layers", "registry", "runtime"},
    "tasks": {"contracts", "errors", "files", "registry"},
    "configs": {"tasks"},
}
# Modules and packages at the top of `lra_bench` that are no rooms: they import rooms or nothing.
FACES = {"__init__", "__main__"}
MOST_MODULES = 10


def rooms():
    return [room for floor in FLOORS for room in floor]


def floor_of(room):
    return next(number for number, floor in enumerate(FLOORS) if room in floor)


@cache
def sources():
    """The modules of the package, by name."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.py"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    found = {}
    for name in listed:
        path, parts = ROOT / name, PurePath(name).with_suffix("").parts
        if parts[0] in EXTENSIONS:
            parts = ("lra_bench", *parts)
        if parts[0] == "lra_bench" and path.is_file() and not path.is_symlink():
            parts = parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts
            found[".".join(parts)] = path.read_text()
    return found


def imported(text):
    """The modules and names of the package that a module imports, wherever in its code."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lra_bench"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (x.name for x in node.names if x.name.startswith("lra_bench"))


def module_of(target):
    """The module of which a name is imported, or which is imported itself."""
    return next((x for x in (target, target.rpartition(".")[0]) if x in sources()), None)


def room_of(module):
    return module.split(".")[1]


def arrows():
    """Pairs of rooms, the first of which imports from the second, with the module that does."""
    for module, text in sources().items():
        for target in imported(text):
            if target != "lra_bench.__version__" and room_of(target) != room_of(module):
                yield room_of(module), room_of(target), module


def test_every_module_at_the_top_is_in_the_plan():
    tops = {room_of(module) for module in sources()}
    assert tops - set(rooms()) - set(EXTENSIONS) == FACES
    modules = [x for x in (ROOT / "lra_bench").glob("*.py") if x.stem != "__init__"]
    assert len(modules) <= MOST_MODULES


def test_no_import_points_up_or_sideways():
    wrong = [
        f"{module} imports from {target}"
        for room, target, module in arrows()
        if room in rooms() and target in rooms() and floor_of(target) >= floor_of(room)
    ]
    assert wrong == []


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_attentions_and_tasks_know_the_contracts_only(extension):
    known = {target for room, target, _ in arrows() if room == extension}
    assert known <= EXTENSIONS[extension]


def test_the_command_line_is_known_by_none():
    assert {room for room, target, _ in arrows() if target == "cli"} <= {"__main__"}


def test_modules_import_each_other_in_no_circle():
    graph = {
        module: {module_of(target) for target in imported(text)} - {module, None}
        for module, text in sources().items()
    }
    while leaves := [module for module, targets in graph.items() if not targets]:
        for leaf in leaves:
            del graph[leaf]
        for targets in graph.values():
            targets.difference_update(leaves)
    assert graph == {}


def test_every_room_says_what_it_is():
    """Setuptools leaves out folders without an `__init__.py`; it holds one docstring."""
    for room in rooms():
        folder = ROOT / "lra_bench" / room
        if folder.is_dir():
            assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
