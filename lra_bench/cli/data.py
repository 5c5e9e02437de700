"""The command lra-bench data: prepare, check, show, list and remove the data of tasks."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lra_bench.cli.common import (
    add_data_dir,
    add_names,
    add_preset,
    add_set,
    add_verbosity,
    display_of,
)
from lra_bench.cli.paths import output_file, problem
from lra_bench.display.escape import terminal

if TYPE_CHECKING:
    from lra_bench.contracts import Task
    from lra_bench.data.location import Location
    from lra_bench.data.need import Need
    from lra_bench.data.store import Store
    from lra_bench.display.progress import Display

NAME = "data"
HELP = "prepare, check, show, list or remove data"
DESCRIPTION = "Prepare, check, show, list or remove the data of tasks."
_PATH = """
PATH is an archive (aclImdb_v1.tar.gz, cifar-10-binary.tar.gz) or a folder: the one that
lra_release.gz unpacks to, or the one in it that holds the task's files.
"""
_ACTIONS = {
    "prepare": (
        "write the token store of a task",
        """\
Write the token store of a task, from a generator, a download, or the files at PATH. A store that is
there is verified, and made again if it is damaged. Runs prepare generated data by themselves.
"""
        + _PATH,
    ),
    "check": (
        "look for errors in the store of a task",
        """\
Look for errors in the store of a task: checksums, labels, lengths, duplicates, noise. The exit
status is 1 if anything is wrong.
""",
    ),
    "show": (
        "show a few examples",
        """\
Show a few examples of the test split of a task: images as a picture, others as text.
""",
    ),
    "list": (
        "list the stores on this disk, and what a preset lacks",
        """\
List the token stores below the folder of data, with their sizes, and for each task whether the data
of a preset are there.
""",
    ),
    "remove": (
        "remove stores of a task",
        """\
Remove the token store of a task that a preset reads, or with --all every store of the task. Files
that stores were made from, such as downloads, are kept.
""",
    ),
}
_IMAGES, _TEXTS = 40, 3
_SHOWN_TOKENS = 1_500
_NOTES = 10
_PICTURES = (".png", ".pdf", ".svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions, each with its own arguments."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    for name, (short, long) in _ACTIONS.items():
        sub = actions.add_parser(name, help=short, description=long)
        if name != "list":
            add_names(sub, "tasks")
            sub.add_argument("task", metavar="TASK", help="name of a task, such as listops")
            _add_source(name, sub)
        add_preset(sub, "preset whose data options are used")
        if name == "show":
            out = (
                f"file of the picture of images, {', '.join(_PICTURES)}; default: TASK-examples.png"
            )
            sub.add_argument("--out", type=output_file, metavar="FILE", help=out)
        if name == "list":
            sub.add_argument("--json", action="store_true", help="print JSON, for programs")
        if name == "remove":
            sub.add_argument("--all", action="store_true", help="remove every store of the task")
            dry = "name what would be removed, and remove nothing"
            sub.add_argument("--dry-run", action="store_true", help=dry)
        add_data_dir(sub)
        add_verbosity(sub)
        if name != "list":
            add_set(sub)


def _add_source(action: str, parser: argparse.ArgumentParser) -> None:
    """Add --source; only `prepare` reads files and downloads."""
    source = "where the data come from; default: the source in the settings"
    metavar = "generate|download|PATH" if action == "prepare" else "NAME"
    parser.add_argument("--source", metavar=metavar, help=source)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Do the action and return the exit status."""
    del argv
    if args.action == "list":
        from lra_bench.cli import data_stores

        return data_stores.show(args)
    from lra_bench.config import make_settings
    from lra_bench.data.location import data_root
    from lra_bench.data.need import need
    from lra_bench.data.store import open_store
    from lra_bench.errors import UsageError
    from lra_bench.registry import TASKS, make_task

    name = TASKS.named(args.task)
    settings = make_settings(name, "identity", _preset(args, name), 0, args.set)
    task = make_task(name, settings.data)
    named = any(item.startswith("data.source=") for item in args.set)
    source, path = _source(task, args.source, settings.data_source, named=named)
    if path is not None and args.action != "prepare":
        names = ", ".join(each.name for each in task.sources)
        raise UsageError(f"--source {args.source}: must be the name of a source here: {names}")
    args.source_files = path
    data = need(task, replace(settings, data_source=source), data_root(args.data_dir), args.set)
    display, download = display_of(args), args.source == "download"
    if args.action == "remove":
        from lra_bench.cli import data_stores

        if args.all and (args.source or named):
            raise UsageError(
                "--all removes the data of every source; leave out --all or the source"
            )
        return data_stores.remove(data, display, every=args.all, dry_run=args.dry_run)
    if args.action == "prepare":
        if download and not data.source.sha256:
            raise UsageError(f"can't download {task.name} by itself; {data.remedy()}")
        if path is None:
            data.require_files()
        most = None if args.verbose else _NOTES
        _prepare(task, data.location, path, display, download=download, most_notes=most)
        usual = source == task.sources[0].name
        display.line(f"to run on these data: {_run_command(args, None if usual else source)}")
        return 0
    if not data.is_there:
        raise UsageError(_not_prepared(data))
    store = open_store(data.location)
    if args.action == "show":
        return _show(task, store, args.out, display)
    return _check(task, store, display)


def _preset(args: argparse.Namespace, task: str) -> str:
    """Return the preset whose data are meant; any, if all data of a task are."""
    from lra_bench.config import presets

    every = args.action == "remove" and args.all
    return next(iter(presets(task))) if every else args.preset


def _source(
    task: "Task", argument: str | None, usual: str, *, named: bool
) -> tuple[str, Path | None]:
    """Return the name of the source that an argument means, and the path of its files, if any.

    Args:
        task: the task.
        argument: value of --source; None if it is not given.
        usual: name of the source in the settings.
        named: whether the user has named that source.

    Raises:
        UsageError: the task has no such source.
    """
    from lra_bench.contracts import source_of
    from lra_bench.errors import UsageError
    from lra_bench.files.paths import expanded

    if argument is None or argument in (source.name for source in task.sources):
        return argument or usual, None
    if argument == "generate":
        raise UsageError(f"{task.name} has no generator; {_choices(task)}")
    if argument == "download":
        return _downloadable(task), None
    path = expanded(argument)
    if trouble := problem(path, exists=True, folder=None):
        raise UsageError(f"--source {argument}: {trouble}; {_choices(task)}")
    has_files = named and source_of(task, usual).files
    return (usual if has_files else _source_at(task, path)), path


def _source_at(task: "Task", path: Path) -> str:
    """Return the name of the source whose files a path has.

    It is the one whose archive has the name of the file, or is in the folder; else one that has no
    certain archive; else the first with files.
    """
    given = [source for source in task.sources if source.files]
    at_path = [each for each in given if path.name == each.files or (path / each.files).exists()]
    other = [each for each in given if not each.sha256]
    return [*at_path, *other, *given][0].name


def _choices(task: "Task") -> str:
    """Return the valid values of --source, for a message."""
    words = [source.name for source in task.sources if not source.files]
    words += ["download" for source in task.sources if source.sha256]
    words += [f"PATH of {source.files}" for source in task.sources if source.files]
    return f"valid: {', '.join(words)}"


def _downloadable(task: "Task") -> str:
    """Return the name of the source that can be downloaded by itself, else of one with files.

    Raises:
        UsageError: there is neither.
    """
    from lra_bench.errors import UsageError

    sources = sorted(task.sources, key=lambda source: not source.sha256)
    name = next((source.name for source in sources if source.url), None)
    if name is None:
        raise UsageError(f"{task.name} can't be downloaded; {_choices(task)}")
    return name


def _prepare(
    task: "Task",
    location: "Location",
    path: Path | None,
    display: "Display",
    *,
    download: bool,
    most_notes: int | None,
) -> None:
    """Write the token store of a task, and print its sizes and notes; None for all notes."""
    from lra_bench.data.obtain import prepare_data

    manifest = prepare_data(task, location, path, display, download=download).manifest
    sizes = ", ".join(f"{name} {size:,}" for name, size in manifest.sizes.items())
    display.line(f"examples: {sizes}; {manifest.origin}")
    notes = manifest.notes
    for note in notes[:most_notes]:
        display.line(terminal(f"note: {note}"))
    if most_notes is not None and len(notes) > most_notes:
        display.line(f"and {len(notes) - most_notes:,} more notes in the manifest")


def _run_command(args: argparse.Namespace, source: str | None) -> str:
    """Return the command that trains on the data that these arguments have prepared.

    Args:
        args: the arguments of this command.
        source: name of the source; None for the task's first one, which is the default.
    """
    from lra_bench.display import command

    words = ["run", "--task", args.task, *command.option("--preset", args.preset)]
    if args.data_dir is not None:
        words += command.option("--data-dir", args.data_dir)
    overrides = [item for item in args.set if item.partition("=")[0] != "data.source"]
    if source:
        overrides.append(f"data.source={source}")
    return command.command(*words, *command.settings(overrides))


def _not_prepared(data: "Need") -> str:
    """Return the message that there is no store, with the command that prepares it."""
    from lra_bench.data.location import locate

    location, task = data.location, data.task
    names = (source.name for source in task.sources if source.name != location.source)
    others = [name for name in names if locate(location.root, task, name).exists()]
    hint = f"; there are data of --source {' and '.join(others)}" if others else ""
    return f"no data at {location.path}; prepare them with {data.prepare_command()}{hint}"


def _check(task: "Task", store: "Store", display: "Display") -> int:
    """Print what a check of the data finds; return the exit status: 1 if anything is wrong."""
    from lra_bench.data.check import check

    errors = 0
    with display.busy("checking the examples"):
        for finding in check(task, store):
            errors += finding.ok is False
            display.verdict(finding.ok, f"{finding.what:<18} {finding.text}")
    return 1 if errors else 0


def _show(task: "Task", store: "Store", out: Path | None, display: "Display") -> int:
    """Show examples of the test split: save a picture of images, print the others as text."""
    from lra_bench.contracts import TokenTask
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
    if out is not None:
        raise UsageError(f"--out {out}: only images become a picture; {task.name} is printed")
    for index in split.spread(_TEXTS):
        tokens, label = split.example(index)
        shown = task.to_text(tokens[..., :_SHOWN_TOKENS])
        labelled = "" if isinstance(task, TokenTask) else f", label {task.class_names[label]}"
        display.example(f"test {index}{labelled}:", shown)
    return 0
