"""Measure how fast Pathfinder images are generated, against a plain generator.

    python benchmarks/pathfinder.py

Prints the CPU time per image of "hard" contours, 14 paddles long, and the ratio, on one core. The
plain generator, tests/helpers/pathfinder_reference.py, follows the description of the reference: it
works on whole frames and draws each paddle again. The number of its attempts varies between images
as much as its mean, so a second ratio uses its time per attempt times the mean number of attempts.
"""

import runpy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lra_bench.tasks._pathfinder.generator import Spec, seed_share, spec, trace

REFERENCE = Path(__file__).parents[1] / "tests" / "helpers" / "pathfinder_reference.py"
# By side: images of this generator, images of the plain one, and its time limit in seconds.
SIZES = {32: (2048, 20, 60), 64: (100, 0, 0), 128: (256, 4, 60), 256: (64, 0, 0)}


def ours(parameters: Spec, count: int) -> tuple[float, float]:
    """Return the CPU seconds per image, and the mean number of attempts as the reference counts."""
    for margin in parameters.margins:
        parameters.tables(margin)  # drawn once per process
    started = time.process_time()
    history = trace(parameters, 0, 0, count)[2]
    seconds = (time.process_time() - started) / count
    shares = [seed_share(parameters, margin) for margin in history.margins]
    return seconds, float(np.mean(history.attempts / np.array(shares)))


def plain(
    make: Callable[..., Any], parameters: Spec, count: int, limit: float
) -> tuple[int, float, float]:
    """Return the images made, and the CPU seconds per image and per attempt; stop at `limit` s."""
    maker = make(parameters, 0)
    started, images, seconds = time.process_time(), 0, 0.0
    while images < count and seconds < limit:
        maker.image()
        images += 1
        seconds = time.process_time() - started
    return images, seconds / images, seconds / maker.attempts


def main() -> None:
    """Print the times of each size, and the ratios where the plain generator is timed."""
    make = runpy.run_path(str(REFERENCE))["Plain"]
    for side, (count, plain_count, limit) in SIZES.items():
        parameters = spec(side, 14)
        seconds, attempts = ours(parameters, count)
        print(f"{side:>3} ours   {seconds * 1e3:9.2f} ms per image, {1 / seconds:.0f} images/s")
        if not plain_count:
            continue
        images, per_image, per_attempt = plain(make, parameters, plain_count, limit)
        print(f"{side:>3} plain  {per_image * 1e3:9.2f} ms per image, {images} images")
        ratios = per_image / seconds, per_attempt * attempts / seconds
        print(f"{side:>3} ratio  {ratios[0]:9.0f}, by attempts {ratios[1]:.0f}")


if __name__ == "__main__":
    main()
