"""lra-bench data: prepare and look at data."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lra_bench.cli.common import add_data_dir, add_set

if TYPE_CHECKING:
    from lra_bench.data.store import Store
    from lra_bench.progress import Display
    from lra_bench.registry import Task

NAME = "data"
HELP = "prepare, check or show the data of a task"
DESCRIPTION = """\
prepare  write the token store of a task: by its generator, or from the files at --source PATH
check    verify the store's checksums and print what it holds
show     print a few examples of the test split
"""
_ACTIONS = ("prepare", "check", "show")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("action", choices=_ACTIONS, metavar="ACTION", help=", ".join(_ACTIONS))
    parser.add_argument("task", metavar="TASK", help="such as listops")
    source = "generate, or the folder of the release's files; default: that of the settings"
    parser.add_argument("--source", metavar="generate|PATH", help=source)
    preset = "whose data options to take; default: %(default)s"
    parser.add_argument("--preset", default="paper", help=preset)
    add_data_dir(parser)
    add_set(parser)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Do the action."""
    del argv
    from lra_bench.config import make_settings
    from lra_bench.data.store import location, open_store
    from lra_bench.files import data_root
    from lra_bench.progress import Display
    from lra_bench.registry import TASKS
    from lra_bench.run import prepare_data

    settings = make_settings(args.task, "identity", args.preset, 0, args.set)
    source, path = _source(args.source, settings.data_source)
    task = TASKS.get(args.task).target(**settings.data)
    root, display = data_root(args.data_dir), Display()
    if args.action == "prepare":
        prepare_data(task, source, path, root, display)
    store = open_store(location(root, task, source))
    if args.action == "show":
        _show(task, store)
    else:
        _summarise(store, display)
    return 0


def _source(argument: str | None, usual: str) -> tuple[str, Path | None]:
    """Which source is meant, and where its files are."""
    if argument in (None, "generate", "release"):
        return argument or usual, None
    return "release", Path(argument)


def _summarise(store: "Store", display: "Display") -> None:
    official = "official" if store.manifest["official"] else "not official"
    display.line(f"ok: checksums match; source {store.manifest['source']} ({official})")
    for name, split in store.splits.items():
        histogram = " ".join(map(str, store.manifest["splits"][name]["label_histogram"]))
        display.line(
            f"{name:<10} {len(split):>8,} examples, chance {split.chance():.1%}, labels {histogram}"
        )


def _show(task: "Task", store: "Store") -> None:
    for index in range(min(3, len(store.splits["test"]))):
        tokens, label = store.example("test", index)
        print(f"test {index}, label {label}: {task.to_text(tokens)}")
