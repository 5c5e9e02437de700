"""The task Pathfinder: tell whether two marked ends belong to one contour."""

from dataclasses import dataclass
from typing import ClassVar

from lra_bench.registry import register_task
from lra_bench.tasks._pathfinder.task import PathfinderTask, Side


@register_task("pathfinder")
@dataclass(frozen=True)
class Pathfinder(PathfinderTask):
    """Tell whether two marks are the ends of one dashed contour among others.

    Images have 32 x 32 pixels (`resolution` can also be 64, 128 or 256); contours have 14 paddles
    (9 and 6 are easier). With `black` "padding", black pixels are padding, as in the code of the
    Long Range Arena: the model does not read them.

    References:
        Linsley et al. 2018, arXiv:1805.08315; Kim et al. 2020, arXiv:1906.01558; Tay et al. 2021,
        arXiv:2011.04006, Section 2.2.
    """

    resolution: Side = 32

    name: ClassVar[str] = "pathfinder"
