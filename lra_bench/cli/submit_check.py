"""lra-bench submit-check: may these records stand on a leaderboard?"""

import argparse
from pathlib import Path

NAME = "submit-check"
HELP = "see whether records may stand on a leaderboard"
DESCRIPTION = """\
Hold the records below each DIR to the rules of a leaderboard: all tasks, three seeds, the published
data, the parameter budget, a clean checkout, the preset's own settings. Each row, that is an
attention with its options in a preset, is checked by itself. Exit status 1 where a rule is broken.
"""
_SHOWN = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("dirs", nargs="+", type=Path, metavar="DIR", help="searched for records")
    every = f"name all that breaks a rule, not only the first {_SHOWN}"
    parser.add_argument("--all", action="store_true", help=every)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Say which rules each row holds to; 1 if any is broken."""
    del argv
    from lra_bench.leaderboard.submission import check, rows
    from lra_bench.records.find import collect

    broken = 0
    for name, records in rows(collect(args.dirs)).items():
        findings = check(records)
        faults = sum(bool(finding.faults) for finding in findings)
        broken += bool(faults)
        said = f"{faults} of {len(findings)} rules broken" if faults else "may stand"
        print(f"{name} ({len(records)} records): {said}")
        for finding in findings:
            _show(finding.rule, finding.faults, None if args.all else _SHOWN)
    return 1 if broken else 0


def _show(rule: str, faults: tuple[str, ...], limit: int | None) -> None:
    print(f"  {'no ' if faults else 'yes'}  {rule}")
    for fault in faults[:limit]:
        print(f"         {fault}")
    if limit is not None and len(faults) > limit:
        print(f"         and {len(faults) - limit:,} more: --all")
