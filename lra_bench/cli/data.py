"""lra-bench data: prepare and look at data."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lra_bench.cli.common import add_data_dir, add_set

if TYPE_CHECKING:
    from lra_bench.contracts import Task
    from lra_bench.data.location import Location
    from lra_bench.data.store import Store
    from lra_bench.display.progress import Display

NAME = "data"
HELP = "prepare, check or show the data of a task"
DESCRIPTION = """\
prepare  write the token store of a task: from a generator, a download, or the files at PATH
check    look for what is wrong with it: checksums, labels, lengths, duplicates, noise
show     show a few examples of the test split: as a picture (--out), or in words

PATH is an archive (aclImdb_v1.tar.gz, cifar-10-binary.tar.gz) or a folder: what lra_release.gz
unpacks to, or the part of it that holds the task's files.
"""
_ACTIONS = ("prepare", "check", "show")
_IMAGES, _TEXTS = 40, 3
_SHOWN_TOKENS = 1_500
_NOTES = 10
_PICTURES = (".png", ".pdf", ".svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("action", choices=_ACTIONS, metavar="ACTION", help=", ".join(_ACTIONS))
    parser.add_argument("task", metavar="TASK", help="such as listops")
    source = "where the data come from; default: that of the settings"
    parser.add_argument("--source", metavar="generate|download|PATH", help=source)
    preset = "whose data options to take; default: %(default)s"
    parser.add_argument("--preset", default="paper", help=preset)
    out = "the picture that show draws; default: TASK-examples.png"
    parser.add_argument("--out", type=Path, metavar="FILE", help=out)
    add_data_dir(parser)
    add_set(parser)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Do the action."""
    del argv
    from lra_bench.config import make_settings
    from lra_bench.data.location import data_root, locate
    from lra_bench.data.store import open_store
    from lra_bench.display.progress import Display
    from lra_bench.registry import TASKS

    settings = make_settings(args.task, "identity", args.preset, 0, args.set)
    task = TASKS.get(args.task).target(**settings.data)
    source, path = _source(task, args.source, settings.data_source)
    download = args.source == "download"
    location, display = locate(data_root(args.data_dir), task, source), Display()
    if args.action == "prepare":
        return _prepare(task, location, path, display, download=download)
    store = open_store(location)
    if args.action == "show":
        return _show(task, store, args.out, display)
    return _check(task, store, display)


def _source(task: "Task", argument: str | None, usual: str) -> tuple[str, Path | None]:
    """Which source is meant, and where its files are.

    Raises:
        UsageError: the task has no such source.
    """
    from lra_bench.errors import UsageError

    if argument is None or argument in (source.name for source in task.sources):
        return argument or usual, None
    if argument == "generate":
        raise UsageError(f"{task.name} has no generator; {_choices(task)}")
    if argument == "download":
        return _downloadable(task), None
    path = Path(argument).expanduser()
    if not path.exists():
        raise UsageError(f"--source {argument}: no such file or folder; {_choices(task)}")
    return next(source.name for source in task.sources if source.files), path


def _choices(task: "Task") -> str:
    """What may be given, in words."""
    words = [source.name for source in task.sources if not source.files]
    words += ["download" for source in task.sources if source.sha256]
    words += [f"PATH of {source.files}" for source in task.sources if source.files]
    return f"valid: {', '.join(words)}"


def _downloadable(task: "Task") -> str:
    """The source that can be downloaded as it is.

    Raises:
        UsageError: there is none; the message says where the files are.
    """
    from lra_bench.data.obtain import missing
    from lra_bench.errors import UsageError

    for source in task.sources:
        if source.sha256:
            return source.name
    source = next((source for source in task.sources if source.url), None)
    if source is None:
        raise UsageError(f"{task.name} is no download; {_choices(task)}")
    raise UsageError(f"can't download {task.name} alone; {missing(task, source)}")


def _prepare(
    task: "Task", location: "Location", path: Path | None, display: "Display", *, download: bool
) -> int:
    from lra_bench.data.manifest import read_manifest
    from lra_bench.data.obtain import prepare_data

    prepare_data(task, location, path, display, download=download)
    manifest = read_manifest(location)
    sizes = ", ".join(f"{name} {size:,}" for name, size in manifest.sizes.items())
    display.line(f"examples: {sizes}; {manifest.origin}")
    notes = manifest.notes
    for note in notes[:_NOTES]:
        display.line(f"note: {note}")
    if len(notes) > _NOTES:
        display.line(f"and {len(notes) - _NOTES:,} more notes in the manifest")
    source = location.source
    if source != task.sources[0].name:
        display.line(f"for runs on it: lra-bench run --task {task.name} --set data.source={source}")
    return 0


def _check(task: "Task", store: "Store", display: "Display") -> int:
    from lra_bench.data.check import check

    wrong = 0
    for finding in check(task, store):
        wrong += finding.ok is False
        display.verdict(finding.ok, f"{finding.what:<18} {finding.text}")
    return 1 if wrong else 0


def _show(task: "Task", store: "Store", out: Path | None, display: "Display") -> int:
    from lra_bench.data.contact_sheet import contact_sheet
    from lra_bench.errors import UsageError

    split = store.splits["test"]
    if task.side is not None:
        path = out or Path(f"{task.name}-examples.png")
        if path.suffix.lower() not in _PICTURES:
            raise UsageError(f"--out {path}: must end in one of {', '.join(_PICTURES)}")
        contact_sheet(task, split, _IMAGES, path, f"{task.name}, test split")
        display.line(f"wrote {path}")
        return 0
    for index in split.spread(_TEXTS):
        tokens, label = split.example(index)
        shown = task.to_text(tokens[..., :_SHOWN_TOKENS])
        display.example(f"test {index}, label {task.class_names[label]}:", shown)
    return 0
