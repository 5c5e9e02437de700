"""Compiled programs that the runs of one machine share."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path

from lra_bench.errors import RunError
from lra_bench.files.private import private_folder
from lra_bench.sweep.executor import COMPILED, Launch


def share_programs(folder: Path, launch: Launch) -> dict[str, str]:
    """Return the variables by which runs share programs, where a sweep has several machines.

    Each machine has a folder of its own in the given one, because programs are compiled for its
    processor.

    Args:
        folder: the folder that holds those of all machines.
        launch: the attempt that is about to start; its log tells why programs are not kept.
    """
    if COMPILED in os.environ:
        return {}
    return programs_in((folder, folder / platform.node()), launch)


def programs_in(folders: Sequence[Path], launch: Launch) -> dict[str, str]:
    """Return the variables by which runs share programs in the last of these folders.

    JAX runs what it finds there, so nothing is kept if one of the folders cannot be kept from
    others, as on file systems without permissions.

    Args:
        folders: each in the one before.
        launch: the attempt that is about to start; its log tells why programs are not kept.
    """
    try:
        return {COMPILED: str([private_folder(folder) for folder in folders][-1])}
    except (RunError, OSError) as error:
        launch.log.parent.mkdir(parents=True, exist_ok=True)
        with launch.log.open("a") as log:
            log.write(f"compiled programs are not kept: {error}\n")
        return {"JAX_ENABLE_COMPILATION_CACHE": "false"}
