"""The command lra-bench ablate: the ablations of the Performer paper."""

import argparse
from typing import TYPE_CHECKING

from lra_bench.cli.common import (
    add_calibration,
    add_data_dir,
    add_dry_run,
    add_jobs,
    add_preset,
    add_seeds,
    add_set,
    add_verbosity,
    calibrates,
    display_of,
    names,
    natural,
    several,
)
from lra_bench.cli.paths import output_folder

if TYPE_CHECKING:
    from lra_bench.ablation.studies import Ablation
    from lra_bench.display.progress import Display
    from lra_bench.sweep.plan import Choice
    from lra_bench.sweep.sweep import Request

NAME = "ablate"
HELP = "compare kernels, redrawing of features, and stability of training"
DESCRIPTION = """\
Do an ablation of the Performer paper (arXiv:2009.14794): a sweep of a fixed plan, with a table and
a figure of its runs. The same command goes on with a study that was stopped, or adds runs to it;
finished runs are kept. The exit status is 0 if every run has a result; that a run diverged is a
result too.
"""
_WRITTEN = """

Written to DIR: {study}/, the folder of a sweep; {study}.md, the table; and {study}.png, .svg
and .pdf, the training of each run by step.
"""
_STUDIES: dict[str, tuple[str, str]] = {
    "kernels": (
        "kernels of generalized attention, with and without normaliser (Figs. 16 and 17)",
        """\
Train performer-generalized with each kernel, with and without renormalisation, and show which runs
diverge, and at which step: Appendix D.3, Figs. 16 and 17.""",
    ),
    "redraw": (
        "how often random features are redrawn (Fig. 15, left)",
        """\
Train performer-softmax with random features that are never redrawn, or redrawn every so many steps:
Fig. 15, left. Each seed has a line of its own, since features that happen to be bad harm only one
seed.""",
    ),
    "stability": (
        "which attentions train without diverging (Fig. 15, right, and Fig. 18)",
        """\
Train performer-softmax with positive and with trigonometric features, performer-relu, and the
Linear Transformer (elu + 1), and show which runs diverge: Fig. 15, right, and Fig. 18.""",
    ),
}
# Steps after which `redraw` redraws features.
_EVERY = (0, 10, 100, 1_000)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    studies = parser.add_subparsers(title="studies", metavar="STUDY", dest="study", required=True)
    for name, (short, long) in _STUDIES.items():
        description = long + _WRITTEN.format(study=name)
        sub = studies.add_parser(name, help=short, description=description)
        _add_variants(name, sub)
        _add_common(sub)


def _add_variants(study: str, parser: argparse.ArgumentParser) -> None:
    """Add the argument that says what a study compares, if it has one."""
    if study == "kernels":
        text = "such as relu,exp; default: all ten"
        parser.add_argument("--kernels", type=names, default=(), metavar="NAMES", help=text)
    if study == "redraw":
        listed = ",".join(map(str, _EVERY))
        text = f"steps after which features are redrawn, 0 for never; default: {listed}"
        every = several(natural, listed)
        parser.add_argument("--every", type=every, default=_EVERY, metavar="N,N,...", help=text)


def _add_common(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that all studies have."""
    add = parser.add_argument
    add("--task", default="protein", metavar="NAME", help="default: %(default)s")
    add_seeds(parser)
    add_preset(parser)
    add("--out", type=output_folder, required=True, metavar="DIR", help="folder of the results")
    add_jobs(parser)
    add_calibration(parser)
    add_dry_run(parser, timed=False)
    add_data_dir(parser)
    add_verbosity(parser)
    add_set(parser)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Do the runs of a study, or what is left of them, and return the exit status."""
    del argv
    from lra_bench.ablation.write import write
    from lra_bench.display.escape import terminal
    from lra_bench.registry import TASKS
    from lra_bench.sweep.sweep import execute

    args.task = TASKS.named(args.task)
    display = display_of(args)
    study = _study(args, display)
    choice = study.choice(args.task, args.preset, args.seeds, args.set)
    status = execute(_request(args, choice), display)
    table, files = ("", ()) if args.dry_run else write(study, choice, args.out)
    if table:
        display.line()
        display.markdown(table)
    for file in files:
        display.line(terminal(file))
    return status


def _request(args: argparse.Namespace, choice: "Choice") -> "Request":
    """Return the sweep of a study, in its folder below --out."""
    from lra_bench.sweep.executor import Needs
    from lra_bench.sweep.schedule import Patience
    from lra_bench.sweep.sweep import Request

    return Request(
        choice=choice,
        out=args.out / args.study,
        data=args.data_dir,
        executor="local",
        jobs=args.jobs,
        needs=Needs(),
        patience=Patience(),
        memory_limit=None,
        calibrate=calibrates(args),
        dry_run=args.dry_run,
        skip_missing_data=False,
        without_missing_data="",
    )


def _study(args: argparse.Namespace, display: "Display") -> "Ablation":
    """Return the study that the arguments ask for."""
    from lra_bench.ablation import studies

    if args.study == "kernels":
        return studies.kernels(args.kernels)
    if args.study == "stability":
        return studies.stability()
    return studies.redraw(_within_run(args, display))


def _within_run(args: argparse.Namespace, display: "Display") -> list[int]:
    """Return the numbers of --every after which a run goes on, so that they make a difference.

    Raises:
        UsageError: features would never be redrawn.
    """
    from lra_bench.ablation.studies import SOFTMAX
    from lra_bench.config import make_settings
    from lra_bench.errors import UsageError

    steps = make_settings(args.task, SOFTMAX, args.preset, 0, args.set).train.num_steps
    within = [every for every in args.every if every < steps]
    left_out = ", ".join(f"{every}" for every in args.every if every >= steps)
    if not any(within):
        raise UsageError(f"--every: nothing is ever redrawn: a run has {steps} steps")
    if left_out:
        display.line(f"left out: redrawing every {left_out} steps, as a run has {steps}")
    return within
