"""The table of a study: accuracy of each variant, and where its runs diverged."""

import math
import statistics
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from lra_bench.ablation.studies import Ablation
from lra_bench.ablation.variants import Variant
from lra_bench.display import tables
from lra_bench.display.units import GREATEST_LOSS
from lra_bench.leaderboard.notes import unofficial_note
from lra_bench.leaderboard.results import percent
from lra_bench.records.record import Record


def render(
    study: Ablation, variants: Sequence[Variant], setting: str, style: str = "markdown"
) -> str:
    """Return the table with a title and notes.

    Args:
        study: the study.
        variants: at least one has a run.
        setting: task, preset and changed settings, in words.
        style: "markdown", "latex" or "html".
    """
    runs = [run for variant in variants for run in variant.runs]
    rows = [_row(study, variant, of_tokens=_of_tokens(runs)) for variant in variants]
    title = f"{study.title[0].upper()}{study.title[1:]}: {setting}"
    return tables.render(style, title, pd.DataFrame(rows), " ".join(_notes(runs)))


def _of_tokens(runs: Sequence[Record]) -> bool:
    """Return whether the runs predict tokens, so that they have a perplexity."""
    return any(run.chance_loss is not None for run in runs)


def _row(study: Ablation, variant: Variant, *, of_tokens: bool) -> dict[str, str]:
    row = dict(zip(study.columns, variant.texts, strict=True))
    row["test accuracy (%)"] = _accuracy(variant.runs)
    if of_tokens:
        row["perplexity"] = _perplexity(variant.runs)
    diverged = [run.steps for run in variant.runs if run.status == "diverged"]
    row["diverged at step"] = ", ".join(f"{step}" for step in diverged)
    return {**row, "seeds": str(len(variant.runs))}


def _accuracy(runs: Sequence[Record]) -> str:
    """Return mean and deviation in percent, and how many runs have none, by their status."""
    found = [run.test.accuracy for run in runs if run.status == "ok" and run.test]
    lacking = Counter(run.status.replace("_", " ") for run in runs if run.status != "ok")
    failed = ", ".join(f"{count} {status}" for status, count in lacking.items())
    if not found:
        return failed or "not run"
    return percent(statistics.fmean(found), _deviation(found)) + (f" ({failed})" if failed else "")


def _perplexity(runs: Sequence[Record]) -> str:
    """Return mean and deviation of exp(loss); "" if no run has one."""
    losses = [run.test.loss for run in runs if run.status == "ok" and run.test]
    found = [math.exp(loss) for loss in losses if loss is not None and loss < GREATEST_LOSS]
    if not found:
        return ""
    sd = _deviation(found)
    return f"{statistics.fmean(found):.2f}" + ("" if sd is None else f" ± {sd:.2f}")


def _deviation(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


def _notes(runs: Sequence[Record]) -> list[str]:
    """Return the sentences below the table."""
    notes = ["Test accuracy at the best validation step, mean ± sd over seeds."]
    if _of_tokens(runs):
        notes.append("Perplexity is exp(test loss) over all predicted tokens.")
    if any(run.status == "diverged" for run in runs):
        notes.append("Diverged: the loss of that step was not finite; a step for each such run.")
    return [*notes, _guess(runs[0]), *filter(None, [unofficial_note(runs)])]


def _guess(run: Record) -> str:
    """Return what a guess reaches that knows nothing of an example."""
    loss = "" if run.chance_loss is None else f", perplexity {math.exp(run.chance_loss):.2f}"
    return f"A guess ({run.guess}): {percent(run.chance)} %{loss}."
