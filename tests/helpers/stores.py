"""Token stores for tests."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lra_bench.contracts import Task
from lra_bench.data.location import Location, locate
from lra_bench.data.prepare import prepare
from lra_bench.files.json_files import with_checksum
from lra_bench.files.regular import sha256


def prepared(root: Path, task: Task, source: str, path: Path | None = None) -> Location:
    """Prepare the store of a task under `root` and return its location."""
    location = locate(root, task, source)
    prepare(task, location, path)
    return location


def edit(location: Location, change: Callable[[dict[str, Any]], None], *, seal: bool) -> None:
    """Change a store's manifest; leave it without a checksum, or with a new one that fits."""
    fields = json.loads(location.manifest.read_text())
    del fields["checksum"]
    change(fields)
    if seal:
        fields = with_checksum(fields)
    location.manifest.write_text(json.dumps(fields))


def replace_array(location: Location, split: str, file: str, content: np.ndarray | bytes) -> None:
    """Put another array, or any bytes, in the place of a store's file, with fitting checksums."""
    path = location.path / split / file
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    digest = sha256(path)

    def change(fields: dict[str, Any]) -> None:
        facts = fields["splits"][split]
        facts["files"][file] = digest
        if file == "labels.npy" and isinstance(content, np.ndarray) and content.dtype == np.int32:
            counts = np.bincount(np.abs(content.ravel()), minlength=10)
            facts.update(examples=content.size, label_histogram=counts.tolist())

    edit(location, change, seal=True)
