"""Read the batches of downsampled ImageNet (Chrabaszcz et al. 2017): .npz files of pixels."""

import errno
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from lra_bench.errors import RunError, one_line
from lra_bench.files.regular import open_regular

BATCHES = tuple(f"train_data_batch_{number}.npz" for number in range(1, 11))
TEST = "val_data.npz"
_MEMBER = "data.npy"
# Rows that are in memory at once: 6 MB of images of 64 x 64 pixels.
_BLOCK = 512


def find(task: str, path: Path | None) -> dict[str, Path]:
    """Return the files of a folder by their official names.

    Raises:
        RunError: one is missing.
    """
    if path is None:
        raise RunError(f"{task}: give the folder of train_data_batch_*.npz: --source PATH")
    files = {name: path / name for name in (*BATCHES, TEST)}
    if missing := [name for name, file in files.items() if not file.is_file()]:
        more = f" and {len(missing) - 1} more of its files" if len(missing) > 1 else ""
        raise RunError(f"{task}: no {missing[0]}{more} in the folder {path}")
    return files


def images(file: Path, side: int) -> Iterator[np.ndarray]:
    """Yield the images of a file, uint8 (n, y, x, 3), some hundred at a time.

    Its array "data" is uint8 (n, 3 side^2): the red, the green and the blue plane of each image.

    Raises:
        RunError: the file is damaged or holds something else.
    """
    try:
        with open_regular(file) as packed, zipfile.ZipFile(packed) as archive:
            if _MEMBER not in archive.namelist():
                held = ", ".join(archive.namelist()[:3]) or "nothing"
                raise RunError(f"{file} holds {held[:100]} but no array 'data'")
            with archive.open(_MEMBER) as member:
                count = _count(file, member, archive.getinfo(_MEMBER).file_size, side)
                yield from _blocks(member, count, side)
    except (RunError, MemoryError):
        raise
    except Exception as error:  # of zipfile and zlib, which parse what they read
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise  # a damaged table has zipfile seek before the start of the file
        raise RunError(f"{file} is cut off or damaged: {one_line(error)}") from None


def _count(file: Path, member: IO[bytes], size: int, side: int) -> int:
    """Read the header of the array and return the number of images.

    Raises:
        RunError: it is another array.
    """
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        version = npy.read_magic(member)
        shape, is_fortran, dtype = readers[version](member)
    except (ValueError, KeyError) as error:
        raise RunError(f"{file}: 'data' is no array: {one_line(error)}") from None
    width = 3 * side**2
    if dtype != np.uint8 or is_fortran or shape[1:] != (width,):
        form = f"{dtype} {shape}{' in the order of Fortran' * is_fortran}"
        raise RunError(f"{file}: 'data' is {form}, must be uint8 (n, {width})")
    if size - member.tell() != math.prod(shape):
        raise RunError(f"{file}: 'data' is not as long as its header says")
    return shape[0]


def _blocks(member: IO[bytes], count: int, side: int) -> Iterator[np.ndarray]:
    for start in range(0, count, _BLOCK):
        rows = min(_BLOCK, count - start)
        content = member.read(rows * 3 * side**2)
        if len(content) != rows * 3 * side**2:
            raise EOFError("'data' ends too early")
        planes = np.frombuffer(content, np.uint8).reshape(rows, 3, side, side)
        yield planes.transpose(0, 2, 3, 1)
