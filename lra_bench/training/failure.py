"""How a failed run is described in its record."""

import traceback
from pathlib import Path
from typing import Any

from lra_bench.display.units import size_text
from lra_bench.errors import RunError, is_out_of_memory, one_line
from lra_bench.runtime.launch import LOST, is_lost
from lra_bench.training.evaluator import Diverged


def describe(error: Exception, folder: Path, memory_limit: int | None) -> dict[str, Any]:
    """Return `status`, `error` and, after divergence, `steps` of the record.

    The traceback of an unexpected error is kept in error.log.

    Args:
        error: that ended the run.
        folder: of the run.
        memory_limit: bytes that arrays could take; None for any number.
    """
    if isinstance(error, Diverged):
        return {"status": "diverged", "error": str(error), "steps": error.step}
    if is_out_of_memory(error):
        limit = f" (--memory-limit {size_text(memory_limit)})" if memory_limit else ""
        return {"status": "out_of_memory", "error": f"{one_line(error)}{limit}"}
    if isinstance(error, RunError):
        return {"status": "failed", "error": str(error)}
    if is_lost(error):
        return {"status": "failed", "error": LOST}
    trace = folder / "error.log"
    trace.write_text("".join(traceback.format_exception(error)))
    return {"status": "failed", "error": f"{one_line(error)} (see {trace})"}
