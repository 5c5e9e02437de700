"""lra-bench analyze: studies of the mechanisms themselves."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lra_bench.cli.common import add_data_dir, checked, natural, positive, several, whole_number

NAME = "analyze"
HELP = "measure approximation error, variance and attention matrices"
DESCRIPTION = """\
Studies of the mechanisms themselves: the results of the Performer paper (arXiv:2009.14794)
measured on this package's own code. Each writes CSV files and figures into --out DIR and shows a
table. Exit status 1 where measurement and theory disagree.
"""
_STUDIES: dict[str, tuple[str, str]] = {
    "approximation": (
        "error of the attention output against exact softmax, by projections m (Fig. 4)",
        """\
The mean squared error of FAVOR+'s output against exact softmax attention of the same Gaussian q,
k and v: positive and trigonometric features, orthogonal and iid projections (the lines of Fig. 4),
and hyperbolic features, SMREG, Hadamard and Givens projections. About two minutes on two cores.

DIR gets approximation.csv, claims.csv, approximation-draws.csv, approximation.png, and in
approximation.json what was asked for.
""",
    ),
    "variance": (
        "closed forms and bounds of Lemma 2 and Theorems 1 and 2, checked (and Fig. 2)",
        """\
Monte Carlo on this package's features against Lemma 2's closed forms and Theorem 2's bound, and
Theorem 1's bounds on SMREG / SM, on grids; and the ratio of errors of Fig. 2. About a minute on
two cores.

DIR gets lemma2.csv, theorem1.csv, theorem2.csv, ratio.csv and three figures.
""",
    ),
    "propagation": (
        "error through the layers of a Transformer (Fig. 14)",
        """\
A Transformer of random weights against Performers of the same weights: the error of the output
after each layer. About a minute on two cores.

DIR gets propagation.csv, propagation-draws.csv and propagation.png.
""",
    ),
    "matrix": (
        "attention matrices of a trained run (Appendix C.4)",
        """\
The attention matrix of each layer and head of a run at its best checkpoint, for one example,
whatever the mechanism: read off by one-hot values. The run's folder is only read.

DIR gets matrices.npz, matrix.csv and matrix.png.
""",
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    studies = parser.add_subparsers(title="studies", metavar="STUDY", dest="study", required=True)
    for name, (short, long) in _STUDIES.items():
        sub = studies.add_parser(
            name,
            help=short,
            description=long,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name == "matrix":
            sub.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="the folder of a run")
        sub.add_argument(
            "--out", type=Path, required=True, metavar="DIR", help="the results' folder"
        )
        _ARGUMENTS[name](sub)
        if name != "matrix":
            seed = "of all randomness; default: %(default)s"
            sub.add_argument("--seed", type=natural, default=0, metavar="N", help=seed)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Do the study."""
    del argv
    import importlib

    from lra_bench.display.progress import Display
    from lra_bench.files import refuse_file

    refuse_file(args.out)
    study: Any = importlib.import_module(f"lra_bench.analysis.{args.study}")
    setup, display = study.Setup(**_SETUPS[args.study](args)), Display()
    fine = study.run(setup, args.out, display)
    display.line(f"\nwritten to {args.out}")
    return 0 if fine else 1


_several_draws = whole_number(2, "a whole number from 2 on, which standard errors need")


def _positives(text: str) -> tuple[int, ...]:
    return tuple(sorted(several(positive)(text)))


_scales = checked(
    lambda text: tuple(float(part) for part in text.split(",")),
    lambda values: all(0 < value < 100 for value in values),
    "a list of numbers between 0 and 100",
)


def _add(
    parser: argparse.ArgumentParser, flag: str, parse: Callable[[str], Any], default: Any, text: str
) -> None:
    metavar = "N,N,..." if isinstance(default, str) else "N"
    parser.add_argument(
        flag, type=parse, default=default, metavar=metavar, help=f"{text}; default: %(default)s"
    )


def _approximation(parser: argparse.ArgumentParser) -> None:
    _add(parser, "--length", positive, 4096, "tokens L")
    _add(parser, "--dim", _several_draws, 16, "features d of the head")
    _add(parser, "--draws", _several_draws, 15, "draws of the projections")
    _add(parser, "--features", _positives, "16,32,64,128,256", "numbers of projections m")
    _add(parser, "--scales", _scales, "1,0.5", "standard deviations of the entries of q and k")
    redraw = "draw q, k and v anew with each draw of the projections"
    parser.add_argument("--redraw", action="store_true", help=redraw)


def _variance(parser: argparse.ArgumentParser) -> None:
    _add(parser, "--dim", _several_draws, 8, "d of Lemma 2 and of Theorem 2, whose m it is too")
    _add(parser, "--features", positive, 8, "m of Lemma 2")
    _add(parser, "--samples", whole_number(100, "a whole number from 100 on"), 100_000, "a point")


def _propagation(parser: argparse.ArgumentParser) -> None:
    _add(parser, "--layers", positive, 12, "layers of the Transformer")
    _add(parser, "--length", positive, 512, "tokens")
    _add(parser, "--features", positive, 256, "projections m")
    _add(parser, "--draws", _several_draws, 5, "draws of weights, inputs and projections")


def _matrix(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--split", default="test", help="of the data; default: %(default)s")
    _add(parser, "--example", natural, 0, "which example; of two documents the first is taken")
    _add(parser, "--length", positive, 256, "tokens of it, at most; padding is left out")
    add_data_dir(parser)


_ARGUMENTS = {
    "approximation": _approximation,
    "variance": _variance,
    "propagation": _propagation,
    "matrix": _matrix,
}


def _named(*names: str) -> Callable[[argparse.Namespace], dict[str, Any]]:
    return lambda args: {name: getattr(args, name) for name in names}


def _matrix_setup(args: argparse.Namespace) -> dict[str, Any]:
    from lra_bench.data.location import data_root

    return {
        **_named("run_dir", "split", "example", "length")(args),
        "data_root": data_root(args.data_dir),
    }


_SETUPS = {
    "approximation": _named("length", "dim", "draws", "features", "scales", "redraw", "seed"),
    "variance": _named("dim", "features", "samples", "seed"),
    "propagation": _named("layers", "length", "features", "draws", "seed"),
    "matrix": _matrix_setup,
}
