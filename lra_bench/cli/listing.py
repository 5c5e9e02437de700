"""The command `lra-bench list` lists tasks, attentions, presets and settings."""

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from typing import Any

from lra_bench.cli.common import one_of
from lra_bench.display.busy import say
from lra_bench.display.escape import terminal

NAME = "list"
HELP = "list tasks, attentions, presets and settings"
DESCRIPTION = """\
List tasks, attentions and presets, each with a line on what it is; all three by default.

lra-bench list settings lists all that --set changes: what is valid, what it means, and the value in
each preset of a task.
"""
_KINDS = ("tasks", "attentions", "presets", "settings")
_TASK, _ATTENTION = "listops", "performer-softmax"
_WIDTH = 100  # of lines that go to a file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    kind = one_of("kind", _KINDS, **{name.removesuffix("s"): name for name in _KINDS})
    only = f"list only these: {', '.join(_KINDS)}"
    parser.add_argument("kind", nargs="?", type=kind, metavar="KIND", help=only)
    task = f"whose presets and data options settings shows; default: {_TASK}"
    parser.add_argument("--task", metavar="NAME", help=task)
    attention = f"whose options settings shows; default: {_ATTENTION}"
    parser.add_argument("--attention", metavar="NAME", help=attention)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Print the lists."""
    del argv
    if args.kind == "settings":
        return _settings(args)
    if args.task or args.attention:
        from lra_bench.errors import UsageError

        option = "--task" if args.task else "--attention"
        raise UsageError(f"{option} works with lra-bench list settings only")
    kinds = [args.kind] if args.kind else ["tasks", "attentions", "presets"]
    summaries = {kind: _summaries(kind) for kind in kinds}
    if args.json:
        say(json.dumps(summaries, indent=2))
        return 0
    width = max(len(name) for entries in summaries.values() for name in entries)
    for kind, entries in summaries.items():
        say(f"{kind}:")
        for name, summary in entries.items():
            say(terminal(f"  {name:<{width}}  {summary}"))
    return 0


def _settings(args: argparse.Namespace) -> int:
    """Print all settings of a task and an attention."""
    from lra_bench.cli.settings_list import lines, settings_of
    from lra_bench.registry import ATTENTIONS, TASKS

    settings = settings_of(
        TASKS.named(args.task or _TASK), ATTENTIONS.named(args.attention or _ATTENTION)
    )
    if args.json:
        rows = {each.key: _row(asdict(each)) for each in settings}
        say(json.dumps({"settings": rows}, indent=2))
        return 0
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH
    for line in lines(settings, width):
        say(terminal(line))
    return 0


def _row(setting: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in setting.items() if name != "key"}


def _summaries(kind: str) -> dict[str, str]:
    """Return a line on each task, attention or preset, by name."""
    from lra_bench.registry import ATTENTIONS, TASKS

    if kind == "presets":
        return _presets()
    registry = TASKS if kind == "tasks" else ATTENTIONS
    return {name: registry.get(name).summary for name in registry.names()}


def _presets() -> dict[str, str]:
    from inspect import getdoc

    from lra_bench.config import presets
    from lra_bench.display.escape import terminal
    from lra_bench.registry import TASKS

    return {
        f"{task} {name}": terminal((getdoc(make) or "").partition("\n")[0])
        for task in TASKS.names()
        for name, make in presets(task).items()
    }
