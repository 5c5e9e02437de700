"""Token stores for tests."""

from pathlib import Path

from lra_bench.contracts import Task
from lra_bench.data.location import Location, locate
from lra_bench.data.prepare import prepare


def prepared(root: Path, task: Task, source: str, path: Path | None = None) -> Location:
    """Prepare the store of a task under `root` and return its location."""
    location = locate(root, task, source)
    prepare(task, location, path)
    return location
