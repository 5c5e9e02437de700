"""The command `lra-bench list` lists tasks, attentions and presets."""

import argparse
import json

from lra_bench.cli.common import one_of
from lra_bench.display.escape import terminal

NAME = "list"
HELP = "list tasks, attentions and presets"
DESCRIPTION = (
    "List tasks, attentions and presets, each with a line on what it is; all three by default."
)
_KINDS = ("tasks", "attentions", "presets")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    kind = one_of("kind", _KINDS, **{name.removesuffix("s"): name for name in _KINDS})
    only = f"list only these: {', '.join(_KINDS)}"
    parser.add_argument("kind", nargs="?", type=kind, metavar="KIND", help=only)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Print the lists."""
    del argv
    kinds = [args.kind] if args.kind else list(_KINDS)
    summaries = {kind: _summaries(kind) for kind in kinds}
    if args.json:
        print(json.dumps(summaries, indent=2))
        return 0
    width = max(len(name) for entries in summaries.values() for name in entries)
    for kind, entries in summaries.items():
        print(f"{kind}:")
        for name, summary in entries.items():
            print(terminal(f"  {name:<{width}}  {summary}"))
    return 0


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
