"""The stores below a root of data: list them, and remove them."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from lra_bench.data.location import Location
from lra_bench.data.manifest import Manifest, read_manifest
from lra_bench.errors import RunError
from lra_bench.files.locks import locked

_NAME = re.compile(r"([a-z0-9-]+)-([0-9a-f]{12})")


@dataclass(frozen=True)
class Found:
    """A store on disk.

    Attributes:
        location: where it is.
        bytes: of its files.
        manifest: what it holds; None if the manifest is damaged.
    """

    location: Location
    bytes: int
    manifest: Manifest | None


def stores(root: Path) -> list[Found]:
    """Return the complete stores below a root of data, by task and name."""
    places = (
        Location(root, path.parent.parent.name, match[1], match[2])
        for path in sorted(root.glob("*/*/manifest.json"))
        if (match := _NAME.fullmatch(path.parent.name))
    )
    return [Found(place, size(place.path), _manifest(place)) for place in places]


def size(folder: Path) -> int:
    """Return the bytes of the files below a folder; 0 if it is not there."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files)


def _manifest(location: Location) -> Manifest | None:
    try:
        return read_manifest(location)
    except RunError:
        return None


def remove(location: Location) -> None:
    """Remove a store with what an interruption has left beside it.

    The manifest goes first: what is left after an interruption is then no store.

    Raises:
        RunError: another process is preparing it.
    """
    with locked(location.lock, wait=False) as ours:
        if not ours:
            raise RunError(f"{location.path} is being prepared by another process")
        location.manifest.unlink(missing_ok=True)
        for folder in (location.path, location.scratch, *location.leftovers()):
            if folder.exists():
                shutil.rmtree(folder)
        location.lock.unlink(missing_ok=True)
