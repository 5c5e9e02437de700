"""The command `lra-bench submit-check` checks records against the rules of a leaderboard."""

import argparse
from typing import TYPE_CHECKING

from lra_bench.cli.common import add_strict, strictly
from lra_bench.cli.paths import records_path
from lra_bench.display.busy import say
from lra_bench.display.escape import terminal

if TYPE_CHECKING:
    from lra_bench.leaderboard.submission import RuleCheck

NAME = "submit-check"
HELP = "check whether records may stand on a leaderboard"
DESCRIPTION = """\
Check the records below each DIR against the rules of a leaderboard: all tasks, three seeds, the
published data, the parameter budget, a clean checkout, the preset's own settings. Each row (an
attention with its options in a preset) is checked by itself. The exit status is 1 if a rule is
broken.
"""
_SHOWN = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "dirs", nargs="+", type=records_path, metavar="DIR", help="searched for records"
    )
    all_help = f"show every place where a rule is broken, not only the first {_SHOWN}"
    parser.add_argument("--all", action="store_true", help=all_help)
    add_strict(parser)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Print for each row which rules it keeps; return 1 if any is broken."""
    del argv
    return strictly(args.strict, lambda: _check(args))


def _check(args: argparse.Namespace) -> int:
    from lra_bench.leaderboard.submission import check, rows
    from lra_bench.records.find import collect

    any_broken = False
    for name, records in rows(collect(args.dirs)).items():
        checks = check(records)
        broken = sum(bool(rule_check.faults) for rule_check in checks)
        any_broken = any_broken or broken > 0
        verdict = f"{broken} of {len(checks)} rules broken" if broken else "may stand"
        say(f"{terminal(name)} ({len(records)} records): {verdict}")
        for rule_check in checks:
            _show(rule_check, None if args.all else _SHOWN)
    return 1 if any_broken else 0


def _show(rule_check: "RuleCheck", limit: int | None) -> None:
    """Print a rule and the first places where it is broken; all of them without a limit."""
    faults = rule_check.faults
    say(f"  {'no ' if faults else 'yes'}  {rule_check.rule}")
    for fault in faults[:limit]:
        say(f"         {terminal(fault)}")
    if limit is not None and len(faults) > limit:
        say(f"         and {len(faults) - limit:,} more; --all shows them")
