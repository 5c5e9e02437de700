"""The command lra-bench analyze: studies of the mechanisms themselves."""

import argparse
from collections.abc import Callable
from typing import Any

from lra_bench.cli.common import (
    add_data_dir,
    add_verbosity,
    checked,
    display_of,
    natural,
    positive,
    several,
    whole_number,
)
from lra_bench.cli.paths import input_folder, output_folder
from lra_bench.display.units import parse_number

NAME = "analyze"
HELP = "measure approximation error, variance and attention matrices"
# The studies of a trained run.
_OF_A_RUN = ("matrix", "similarity")
DESCRIPTION = """\
Measure results of the Performer paper (arXiv:2009.14794) on the code of this package. Each study
writes CSV files and figures to --out DIR and prints a table. The exit status is 1 if a measurement
disagrees with the theory.
"""
_STUDIES: dict[str, tuple[str, str]] = {
    "approximation": (
        "error of the attention output against exact softmax, by number of projections m (Fig. 4)",
        """\
Measure the mean squared error of the output of FAVOR+ against exact softmax attention of the same
Gaussian q, k and v. Compared are positive and trigonometric features with orthogonal and iid
projections (the lines of Fig. 4), hyperbolic features, SMREG, and Hadamard and Givens projections.
Errors are skewed, so means are geometric. This takes some minutes on two cores.

Written to DIR: approximation.csv, claims.csv, approximation-draws.csv, approximation.png, and
approximation.json with the arguments.
""",
    ),
    "variance": (
        "check of the closed forms and bounds of Lemma 2 and Theorems 1 and 2, and Fig. 2",
        """\
Compare Monte Carlo estimates with this package's features against the closed forms of Lemma 2, the
bounds on SMREG / SM of Theorem 1 and the bound of Theorem 2, at the points of a grid. Compute the
ratio of errors of Fig. 2. This takes about a minute on two cores.

Written to DIR: lemma2.csv, theorem1.csv, theorem2.csv, ratio.csv and three figures.
""",
    ),
    "propagation": (
        "error through the layers of a Transformer (Fig. 14)",
        """\
Measure the error of Performers against a Transformer of the same random weights, at the output of
each layer. This takes about a minute on two cores.

Written to DIR: propagation.csv, propagation-draws.csv and propagation.png.
""",
    ),
    "matrix": (
        "attention matrices of a trained run (Figs. 10 to 12)",
        """\
Compute the attention matrix of each layer and head of a run at its best checkpoint, for one
example. One-hot values show the matrix of any mechanism. The folder of the run is only read.
Where there is room, the figure names the tokens, such as the residues of a protein.

Written to DIR: matrices.npz, matrix.csv and matrix.png.
""",
    ),
    "similarity": (
        "attention between amino acids, beside BLOSUM62 (Fig. 13)",
        """\
Sum the attention between amino acids over many sequences and over all layers and heads of a run of
a protein task, at its best checkpoint. Compare the result with the substitution matrix BLOSUM62:
Pearson's and Spearman's correlation over the 190 pairs of amino acids, with a permutation test. The
folder of the run is only read.

Written to DIR: similarity.csv, pairs.csv, correlations.csv, similarity.png, and similarity.json
with the arguments.
""",
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    studies = parser.add_subparsers(title="studies", metavar="STUDY", dest="study", required=True)
    for name, (short, long) in _STUDIES.items():
        sub = studies.add_parser(name, help=short, description=long)
        if name in _OF_A_RUN:
            sub.add_argument(
                "run_dir", type=input_folder, metavar="RUN_DIR", help="folder of a run"
            )
        sub.add_argument(
            "--out", type=output_folder, required=True, metavar="DIR", help="folder of the results"
        )
        _ARGUMENTS[name](sub)
        add_verbosity(sub)
        if name != "matrix":
            seed = "seed of all random numbers; default: %(default)s"
            sub.add_argument("--seed", type=natural, default=0, metavar="N", help=seed)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Do a study; return the exit status: 1 if a measurement disagrees with the theory."""
    del argv
    import importlib

    study: Any = importlib.import_module(f"lra_bench.analysis.{args.study}")
    setup, display = study.Setup(**_SETUPS[args.study](args)), display_of(args)
    agrees = study.run(setup, args.out, display)
    display.line(f"\nthe results are in {args.out}")
    return 0 if agrees else 1


_draws = whole_number(2, " (standard errors need two draws)")
_dims = whole_number(2, " (vectors of one feature have no angle between them)")


def _positives(text: str) -> tuple[int, ...]:
    """Return a list of positive numbers in ascending order."""
    return tuple(sorted(several(positive, "16,32,64")(text)))


_scale = checked(
    parse_number, lambda value: 0 < value < 100, "a number above 0 and below 100, such as 0.5"
)
_scales = several(_scale, "1,0.5")


def _add(
    parser: argparse.ArgumentParser, flag: str, parse: Callable[[str], Any], default: Any, text: str
) -> None:
    """Add a number, or a list of numbers if the default is text; `text` is its help."""
    metavar = "N,N,..." if isinstance(default, str) else "N"
    parser.add_argument(
        flag, type=parse, default=default, metavar=metavar, help=f"{text}; default: %(default)s"
    )


def _approximation(parser: argparse.ArgumentParser) -> None:
    _add(parser, "--length", positive, 4096, "number of tokens L")
    _add(parser, "--dim", positive, 16, "features d of a head")
    _add(parser, "--draws", _draws, 60, "number of draws of the projections")
    _add(parser, "--features", _positives, "16,32,64,128,256", "numbers of projections m")
    _add(parser, "--scales", _scales, "0.5,0.8,1", "standard deviations of the entries of q and k")
    redraw = "draw new q, k and v with each draw of the projections"
    parser.add_argument("--redraw", action="store_true", help=redraw)


def _variance(parser: argparse.ArgumentParser) -> None:
    _add(parser, "--dim", _dims, 8, "features d of the vectors; also m of Theorem 2")
    _add(parser, "--features", positive, 8, "number of projections m of Lemma 2")
    _add(parser, "--samples", whole_number(100), 100_000, "estimates at each point of the grid")


def _propagation(parser: argparse.ArgumentParser) -> None:
    _add(parser, "--layers", positive, 12, "number of layers of the Transformer")
    _add(parser, "--length", positive, 512, "number of tokens")
    _add(parser, "--features", positive, 256, "number of projections m")
    _add(parser, "--draws", _draws, 5, "number of draws of weights, inputs and projections")


def _matrix(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--split", default="test", help="split of the data; default: %(default)s")
    _add(
        parser,
        "--example",
        natural,
        0,
        "number of the example; of a pair of documents, the first one is used",
    )
    _add(parser, "--length", positive, 256, "tokens of the example, at most; padding is left out")
    show = "draw the first N tokens only, of all that the model reads; default: all"
    parser.add_argument("--show", type=positive, default=0, metavar="N", help=show)
    add_data_dir(parser)


def _similarity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--split", default="test", help="split of the data; default: %(default)s")
    _add(parser, "--examples", positive, 800, "sequences, at most, evenly spread over the split")
    _add(parser, "--length", positive, 256, "tokens of a sequence, at most")
    add_data_dir(parser)


_ARGUMENTS = {
    "approximation": _approximation,
    "variance": _variance,
    "propagation": _propagation,
    "matrix": _matrix,
    "similarity": _similarity,
}


def _named(*names: str) -> Callable[[argparse.Namespace], dict[str, Any]]:
    """Return a function that gives these arguments, by name, as parameters of a study."""
    return lambda args: {name: getattr(args, name) for name in names}


def _of_data(*names: str) -> Callable[[argparse.Namespace], dict[str, Any]]:
    """Return a function that gives these arguments, and the root of the data."""

    def parameters(args: argparse.Namespace) -> dict[str, Any]:
        from lra_bench.data.location import data_root

        return {**_named(*names)(args), "data_root": data_root(args.data_dir)}

    return parameters


_SETUPS = {
    "approximation": _named("length", "dim", "draws", "features", "scales", "redraw", "seed"),
    "variance": _named("dim", "features", "samples", "seed"),
    "propagation": _named("layers", "length", "features", "draws", "seed"),
    "matrix": _of_data("run_dir", "split", "example", "length", "show"),
    "similarity": _of_data("run_dir", "split", "examples", "length", "seed"),
}
