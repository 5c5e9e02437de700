"""Write the table and the figure of a study from its records."""

from collections.abc import Sequence
from pathlib import Path

from lra_bench.ablation import figure, table
from lra_bench.ablation.studies import Ablation
from lra_bench.ablation.variants import variants
from lra_bench.display.figures import save_each
from lra_bench.files.atomic import write_atomically
from lra_bench.records.find import readable
from lra_bench.sweep.plan import Choice, jobs


def write(study: Ablation, choice: Choice, out: Path) -> tuple[str, Sequence[Path]]:
    """Write OUT/STUDY.md and the figure; return the table and the files.

    The records are those below OUT/STUDY whose settings are those of `choice`. If there are none,
    nothing is written: the table is "", and there are no files.
    """
    found = variants(study, jobs(choice), readable([out / study.name]))
    if not any(variant.runs for variant in found):
        return "", ()
    setting = ", ".join([*choice.tasks, f"preset {choice.preset}", *choice.overrides])
    text = table.render(study, found, setting)
    write_atomically(out / f"{study.name}.md", text)
    drawn = figure.figure(study, found, f"{study.title}: {setting}")
    return text, [out / f"{study.name}.md", *save_each(drawn, out / f"{study.name}.png")]
