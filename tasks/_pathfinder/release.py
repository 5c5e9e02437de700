"""Read Pathfinder from the Long Range Arena release: folders of PNGs with metadata."""

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from lra_bench.errors import RunError
from lra_bench.files.npy import npy_header
from lra_bench.files.regular import read_bytes
from lra_bench.tasks import _png, _release

Label = tuple[str, int]
FOLDERS = {6: "curv_baseline", 9: "curv_contour_length_9", 14: "curv_contour_length_14"}
_NUMPY_MAGIC = b"\x93NUMPY"


def candidates(task: str, path: Path | None, side: int, contour_length: int) -> list[Path]:
    """Return the folders below `path` that hold images of that side and contour length.

    Raises:
        RunError: there is none.
    """
    if contour_length not in FOLDERS:
        lengths = ", ".join(map(str, FOLDERS))
        raise RunError(
            f"{task}: the release has contours of {lengths} paddles, not {contour_length}"
        )
    name = FOLDERS[contour_length]
    _refuse_other_contours(task, path, contour_length)
    searched = _release.search_folders(task, path, (f"pathfinder{side}/{name}", name))
    complete = [p for p in searched if (p / "metadata").is_dir() and (p / "imgs").is_dir()]
    if not complete:
        wanted = f"pathfinder{side}/{name} with folders imgs and metadata"
        raise RunError(f"{task}: no {wanted} in {path}")
    return list({folder.resolve(): folder for folder in complete}.values())


def _refuse_other_contours(task: str, path: Path | None, contour_length: int) -> None:
    """Raise RunError if `path` is the folder of another contour length."""
    for length, name in FOLDERS.items():
        if path is not None and path.name == name and length != contour_length:
            raise RunError(f"{task}: {path} is for --set data.contour_length={length}")


def metadata_files(folder: Path) -> list[Path]:
    """Return the metadata files, in the order of their numbers.

    Raises:
        RunError: there are none.
    """
    files = sorted((folder / "metadata").glob("*.npy"), key=lambda f: (len(f.name), f.name))
    if not files:
        raise RunError(f"{folder / 'metadata'} holds no .npy file")
    return files


def labels(files: Sequence[Path]) -> list[Label]:
    """Return (image, label) of all rows of the files; an image as "imgs/0/sample_0.png".

    Raises:
        RunError: a row is malformed, or an image is named twice.
    """
    by_image: dict[str, int] = {}
    for file in files:
        for number, row in enumerate(_rows(file), 1):
            image, label = _parse(file, number, row)
            if image in by_image:
                raise RunError(f"{file}:{number}: {image} is named a second time")
            by_image[image] = label
    _refuse_same_folders(files, by_image)
    return list(by_image.items())


def _refuse_same_folders(files: Sequence[Path], images: Iterable[str]) -> None:
    """Raise RunError if two names lead to one folder, so that its images would count twice."""
    root, first = files[0].parent.parent if files else Path(), {}
    for name in {image.rpartition("/")[0] for image in images}:
        other = first.setdefault(os.path.realpath(root / name), name)
        if other != name:
            raise RunError(f"{root}: {other} and {name} are the same folder, named twice")


def _rows(file: Path) -> Iterator[list[str]]:
    """Yield rows of columns. The release's files are text; the generator's are of numpy."""
    try:
        content = read_bytes(file)
        if content.startswith(_NUMPY_MAGIC):
            yield from _table(content)
            return
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: {getattr(error, 'strerror', None) or error}") from None
    lines = content.decode("utf-8", "replace").split("\n")
    yield from (line.split() for line in lines if line.strip())


def _table(content: bytes) -> Iterator[list[str]]:
    """Yield the rows of a .npy file.

    Raises:
        ValueError: it is no table of texts or numbers.
    """
    stream = io.BytesIO(content)
    shape, is_fortran, dtype = npy_header(stream)
    if len(shape) != 2 or dtype.kind not in "SUiuf" or is_fortran:
        raise ValueError(f"{dtype} of shape {shape}, must be a table of texts")
    start = stream.tell()
    if dtype.kind == "U":
        codes = np.frombuffer(content, np.dtype("u4").newbyteorder(dtype.byteorder), offset=start)
        if codes.max(initial=0) > sys.maxunicode:
            raise ValueError("holds characters that do not exist")
    array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    for row in array:
        yield [x.decode("utf-8", "replace") if isinstance(x, bytes) else str(x) for x in row]


def _parse(file: Path, number: int, row: list[str]) -> Label:
    """Return image and label: columns 0 and 1 are its folder and file, column 3 is its label."""
    if len(row) < 4:
        raise RunError(f"{file}:{number}: {len(row)} columns, must be at least 4")
    if row[3] not in ("0", "1"):
        raise RunError(f"{file}:{number}: label {row[3]!r}, must be 0 or 1")
    image = f"{row[0]}/{row[1]}"
    try:
        image.encode()
    except ValueError:
        raise RunError(f"{file}:{number}: its name is no text") from None
    path = PurePosixPath(image)
    if path.is_absolute() or ".." in path.parts or "\0" in image:
        raise RunError(f"{file}:{number}: {image!r} leads out of the folder")
    return str(path), int(row[3])


def read_image(
    folder: Path, name: str, side: int, note: Callable[[str], None]
) -> np.ndarray | None:
    """Read an image as pixels, uint8 (side, side); note an empty file and return None.

    Raises:
        RunError: the file is missing, is not an 8-bit PNG, or has another size.
    """
    file = folder / name
    try:
        content = read_bytes(file, _png.MOST_BYTES)
        if content:
            return _png.read(content, side)
    except FileNotFoundError:
        raise RunError(f"{file} is named in the metadata but is not there") from None
    except OSError as error:
        raise RunError(f"{file} can't be read: {error.strerror or error}") from None
    except ValueError as error:
        raise RunError(f"{file} {error}") from None
    note(f"skipped: {file} is empty")
    return None
