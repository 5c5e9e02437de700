"""The task Path-X: Pathfinder in images of 128 x 128 pixels, 16,384 tokens."""

from dataclasses import dataclass
from typing import ClassVar

from lra_bench.registry import register_task
from lra_bench.tasks._pathfinder.task import PathfinderTask, Side


@register_task("pathx")
@dataclass(frozen=True)
class PathX(PathfinderTask):
    """Tell whether two marks are the ends of one dashed contour, in 16,384 pixels.

    With `black` "padding", black pixels are padding, as in the code of the Long Range Arena: the
    model does not read them.

    References:
        Tay et al. 2021, arXiv:2011.04006, Section 2.2.6.
    """

    resolution: Side = 128

    name: ClassVar[str] = "pathx"
