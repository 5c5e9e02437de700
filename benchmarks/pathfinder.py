"""How fast Pathfinder images are generated, against a plain generator, in one run.

    python benchmarks/pathfinder.py

Prints CPU time an image of "hard" contours, 14 paddles long, and the ratio, on one core. The plain
generator, tests/helpers/pathfinder_reference.py, is written from the description of the reference:
whole frames, each paddle drawn anew. How often it starts over varies from image to image as much
as its mean; hence its time is also given as that of an attempt times the mean number of attempts.
"""

import runpy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lra_bench.tasks._pathfinder.generator import Spec, seed_share, spec, trace

REFERENCE = Path(__file__).parents[1] / "tests" / "helpers" / "pathfinder_reference.py"
# Images of ours, images made plainly, and seconds at most for these.
SIZES = {32: (2048, 20, 60), 64: (100, 0, 0), 128: (256, 4, 60), 256: (64, 0, 0)}


def ours(parameters: Spec, count: int) -> tuple[float, float]:
    """Seconds an image, and the mean number of attempts as the reference counts them."""
    for margin in parameters.margins:
        parameters.tables(margin)  # drawn once a process
    started = time.process_time()
    came = trace(parameters, 0, 0, count)[2]
    seconds = (time.process_time() - started) / count
    shares = [seed_share(parameters, margin) for margin in came.margins]
    return seconds, float(np.mean(came.attempts / np.array(shares)))


def plain(
    make: Callable[..., Any], parameters: Spec, count: int, limit: float
) -> tuple[int, float, float]:
    """Images, seconds an image and seconds an attempt, stopping between images at the limit."""
    maker = make(parameters, 0)
    started, images, seconds = time.process_time(), 0, 0.0
    while images < count and seconds < limit:
        maker.image()
        images += 1
        seconds = time.process_time() - started
    return images, seconds / images, seconds / maker.attempts


def main() -> None:
    """Print a line a size, and one for the plain generator where it is timed."""
    make = runpy.run_path(str(REFERENCE))["Plain"]
    for side, (count, plain_count, limit) in SIZES.items():
        parameters = spec(side, 14)
        seconds, attempts = ours(parameters, count)
        print(f"{side:>3} ours   {seconds * 1e3:9.2f} ms an image, {1 / seconds:.0f} images/s")
        if not plain_count:
            continue
        images, an_image, an_attempt = plain(make, parameters, plain_count, limit)
        print(f"{side:>3} plain  {an_image * 1e3:9.2f} ms an image, {images} images")
        ratios = an_image / seconds, an_attempt * attempts / seconds
        print(f"{side:>3} ratio  {ratios[0]:9.0f}, by attempts {ratios[1]:.0f}")


if __name__ == "__main__":
    main()
