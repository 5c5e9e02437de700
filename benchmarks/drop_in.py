"""Replace one attention by another in a trained model: Fig. 5 of arXiv:2009.14794 on an LRA task.

    python benchmarks/drop_in.py [--task listops] [--preset mini] [--seed 0] [--out runs/drop_in]
        [--variants NAME,...] [--source DIR] [--set KEY=VALUE]

Does three runs by the command line, all of the same number of steps: softmax from scratch,
performer-softmax from scratch, and performer-softmax with the parameters of the first
(`--init-from`). Prints the validation accuracy before any step and after 10, 25, 50 and 100 % of
the steps as markdown, and draws it over the steps into OUT/drop_in.png, with the transferred
parameters before any step as a large marker, and with chance. Finished runs are reused; unfinished
ones are resumed.

--variants takes the parameters into other forms of performer-softmax, too, or "all": positive and
trigonometric features, redrawn every tenth of the steps or not, SMREG, and Linformer with random
projections that are redrawn. "all" leaves Linformer out where attention is causal. --source names
a finished run of softmax, which is not trained then; --set changes a setting of the other runs.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lra_bench.config import make_settings, predicts_next
from lra_bench.display.figures import save_each, series_style
from lra_bench.display.looks import looks
from lra_bench.files.atomic import write_atomically
from lra_bench.records import metrics, record
from lra_bench.records.run_folder import RunFolder
from lra_bench.registry import family_of

SHARES = (0.10, 0.25, 0.50, 1.00)
# The evaluations of a run; each of SHARES falls on one.
EVALUATIONS = 20
SOURCE, TARGET = "softmax", "performer-softmax"
TRIGONOMETRIC = "attention.estimator=trigonometric"
LINFORMER = "linformer"
# The attention and the settings of each variant; REDRAWN stands for those of redrawing.
REDRAWN = "redrawn"
VARIANTS = {
    "positive": (TARGET,),
    "positive-redrawn": (TARGET, REDRAWN),
    "trigonometric": (TARGET, TRIGONOMETRIC),
    "trigonometric-redrawn": (TARGET, TRIGONOMETRIC, REDRAWN),
    "smreg": (TARGET, "attention.regularized=true"),
    "linformer-redrawn": (LINFORMER, "attention.learned=false", REDRAWN),
}


def run(args: argparse.Namespace, name: str, attention: str, *more: str) -> Path:
    """Do or resume a run in OUT/NAME and return its folder."""
    out = args.out / name
    steps = make_settings(args.task, attention, args.preset, args.seed, args.set).train.num_steps
    changes = [f"train.eval_every={max(1, steps // EVALUATIONS)}", *args.set]
    command = [sys.executable, "-m", "lra_bench", "run", "--out", str(out)]
    command += [word for change in changes for word in ("--set", change)]
    command += ["--task", args.task, "--attention", attention, "--preset", args.preset]
    command += ["--seed", str(args.seed), *more]
    if args.data_dir:
        command += ["--data-dir", str(args.data_dir)]
    command += ["--resume"] if RunFolder(out).started else []
    if subprocess.run(command).returncode:
        sys.exit(f"the run in {out} failed")
    return out


def variant(args: argparse.Namespace, name: str, source: Path) -> Path:
    """Go on with the parameters of a run in a variant, and return its folder."""
    attention, *settings = VARIANTS[name]
    steps = make_settings(args.task, attention, args.preset, args.seed, args.set).train.num_steps
    redrawn = f"train.resample_every={max(1, steps // 10)}"
    words = [word for x in settings for word in ("--set", redrawn if x == REDRAWN else x)]
    folder = "-".join([f"{attention}-from-{SOURCE}", *qualities(name)])
    return run(args, folder, attention, "--init-from", str(source), *words)


def qualities(name: str) -> list[str]:
    """Return what tells a variant from others with the same attention."""
    return [word for word in name.split("-") if name != "positive" and word != LINFORMER]


def possible(args: argparse.Namespace) -> list[str]:
    """Return the variants of "all": Linformer cannot be causal."""
    is_causal = predicts_next(args.task, args.preset, args.set)
    return [name for name in VARIANTS if not (is_causal and name.startswith(LINFORMER))]


def validation(folder: Path) -> dict[int, float]:
    """Return the validation accuracy, in [0, 1], by step."""
    lines = metrics.read(folder / metrics.FILE)
    return {x.step: x.accuracy for x in lines if x.split == "validation"}


def table(folders: dict[str, Path]) -> str:
    """Return a markdown table, a row per run: validation nearest to each share, and test."""
    head = ["run", "before any step", *(f"after {share:.0%}" for share in SHARES), "test"]
    rows = [head, [":--", *["--:"] * (len(head) - 1)]]
    for name, folder in folders.items():
        curve, result = validation(folder), record.read(folder / record.FILE)
        nearest = [min(curve, key=lambda x: abs(x - share * result.steps)) for share in SHARES]
        cells = [
            curve.get(0),
            *(curve[step] for step in nearest),
            result.test and result.test.accuracy,
        ]
        rows.append([name, *("" if x is None else f"{x:.1%}" for x in cells)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def figure(folders: dict[str, Path], title: str, *, is_given: bool) -> Figure:
    """Draw the validation accuracy over steps; large markers show it before any step.

    Args:
        folders: of the runs, by name; the first one is the source.
        title: task, preset and seed.
        is_given: whether the source was trained before: it is a level then.
    """
    drawing = Figure(figsize=(9, 4.5), layout="constrained")
    axes: Any = drawing.subplots()
    source, *others = folders
    if is_given:
        level = 100 * list(validation(folders[source]).values())[-1]
        axes.axhline(level, label=f"{source}, the source", **_look(source, {"marker": ""}))
    else:
        others = [source, *others]
    for number, name in enumerate(others):
        _curve(axes, name, folders[name], series_style(number))
    chance = 100 * record.read(folders[TARGET] / record.FILE).chance
    axes.axhline(chance, color="grey", linestyle=":", linewidth=1.2, zorder=0, label="chance")
    axes.set(xlabel="step", ylabel="validation accuracy (%)")
    axes.set_title(f"{title}; large markers: before any step", fontsize=10)
    axes.grid(alpha=0.3)
    drawing.legend(loc="outside right upper", fontsize=9)
    return drawing


def _look(name: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the look of a mechanism in all figures, with changes."""
    return looks({name: family_of(name)})[name] | changes


def _curve(axes: Any, name: str, folder: Path, style: dict[str, Any]) -> None:
    """Draw a run; mechanisms by themselves have the look that they have in all figures.

    The target from scratch is dashed, since its colour may be near that of a variant.
    """
    look = style if " " in name else _look(name, {"linestyle": "--"} if name == TARGET else {})
    steps, values = zip(*validation(folder).items(), strict=True)
    percents = [100 * value for value in values]
    axes.plot(steps, percents, label=name, markevery=0.1, **look)
    if steps[0] == 0:
        large = {"marker": look["marker"], "color": look["color"], "fillstyle": "none"}
        axes.plot(0, percents[0], markersize=12, linestyle="", **large)


def parsed() -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(
        description="Replace one attention by another in a trained model."
    )
    parser.add_argument("--task", default="listops")
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/drop_in"))
    parser.add_argument("--variants", default="positive")
    parser.add_argument("--source", type=Path)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--data-dir", type=Path)
    args = parser.parse_args()
    args.variants = possible(args) if args.variants == "all" else args.variants.split(",")
    if unknown := [name for name in args.variants if name not in VARIANTS]:
        parser.error(f"unknown --variants {unknown[0]}; valid: all, {', '.join(VARIANTS)}")
    return args


def main() -> None:
    """Do the runs and show their results."""
    args = parsed()
    source = args.source or run(args, SOURCE, SOURCE)
    folders = {SOURCE: source, TARGET: run(args, TARGET, TARGET)}
    for name in args.variants:
        title = ", ".join([f"{VARIANTS[name][0]} from {SOURCE}", *qualities(name)])
        folders[title] = variant(args, name, source)
    text = table(folders)
    write_atomically(args.out / "drop_in.md", text)
    title = f"{args.task}, preset {args.preset}, seed {args.seed}"
    drawing = figure(folders, title, is_given=args.source is not None)
    save_each(drawing, args.out / "drop_in.png")
    print(f"\n{text}\n{args.out / 'drop_in.png'}")


if __name__ == "__main__":
    main()
