"""Find files of the Long Range Arena release below a given folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lra_bench.contracts import Source
from lra_bench.errors import RunError

URL = "https://storage.googleapis.com/long-range-arena/lra_release.gz"
# The archive unpacks to lra_release/lra_release/...
_ROOTS = ("", "lra_release", "lra_release/lra_release")


def source(files: str, splits: str, examples: tuple[int, ...]) -> Source:
    """Return the source "release", which holds `files` with so many `examples` of each split."""
    of_archive = f"{files} (in lra_release.gz, 8 GB)"
    return Source("release", splits, of_archive, URL, examples=examples)


def search_folders(task: str, path: Path | None, folders: Sequence[str]) -> list[Path]:
    """Return `path`, and each of `folders` that exists below it in the release's layout.

    Raises:
        RunError: there is no such path, or it is a file.
    """
    if path is None:
        raise RunError(f"{task}: give the release's folder (of {URL}): --source PATH")
    if path.is_file():
        raise RunError(f"{task}: {path} is a file; give the folder that it unpacks to (tar -xf)")
    if not path.is_dir():
        raise RunError(f"{task}: no folder {path}")
    below = [path / root / folder for folder in folders for root in _ROOTS]
    return [folder for folder in (path, *below) if folder.is_dir()]


def files(
    task: str, path: Path | None, folders: Sequence[str], names: Mapping[str, str]
) -> dict[str, Path]:
    """Return the files called `names`, by the keys of `names`; all are in one folder.

    Raises:
        RunError: no folder has them all.
    """
    searched = search_folders(task, path, folders)
    best = max(searched, key=lambda folder: sum((folder / n).is_file() for n in names.values()))
    for name in names.values():
        if not (best / name).is_file():
            where = f"{best}" if best != path else f"{path} nor in {path}/{folders[0]}"
            raise RunError(f"{task}: no {name} in {where}; it is in {URL}")
    return {key: best / name for key, name in names.items()}
