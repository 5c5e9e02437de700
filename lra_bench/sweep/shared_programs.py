"""Compiled programs that the runs of one machine share, where a sweep has several machines."""

import os
import platform
from pathlib import Path

from lra_bench.errors import RunError
from lra_bench.files.private import private_folder
from lra_bench.sweep.executor import COMPILED, Launch


def share_programs(folder: Path, launch: Launch) -> dict[str, str]:
    """Return the variables by which the runs of this machine share compiled programs.

    JAX runs what it finds there, so a folder that others can write to is not used. Each machine
    has a folder of its own in it, because programs are compiled for its processor.

    Args:
        folder: the folder that holds those of all machines.
        launch: the attempt that is about to start; its log tells why programs are not kept.
    """
    if COMPILED in os.environ:
        return {}
    try:
        return {COMPILED: str(private_folder(private_folder(folder) / platform.node()))}
    except (RunError, OSError) as error:
        launch.log.parent.mkdir(parents=True, exist_ok=True)
        with launch.log.open("a") as log:
            log.write(f"compiled programs are not kept: {error}\n")
        return {"JAX_ENABLE_COMPILATION_CACHE": "false"}
