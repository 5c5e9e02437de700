"""A benchmarking harness for efficient attention on the Long Range Arena.

    import lra_bench

    attend = lra_bench.attention("performer-softmax", num_heads=4, head_dim=16, max_len=1_024)
    record = lra_bench.run("listops", "performer-softmax", preset="smoke")

What is behind a name is imported when the name is first used, so `import lra_bench` alone is quick
and imports no JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lra_bench.api.attention import Attention, attention
    from lra_bench.api.loaded import LoadedRun, load
    from lra_bench.api.run import run
    from lra_bench.contracts import Dims
    from lra_bench.errors import RunError, UsageError
    from lra_bench.records.frame import records
    from lra_bench.records.record import Record
    from lra_bench.registry import register_attention, register_task
    from lra_bench.verification.promise import CheckedPromise
    from lra_bench.verification.verify import require_contract, verify

__version__ = "0.2.0"
__all__ = [
    "Attention",
    "CheckedPromise",
    "Dims",
    "LoadedRun",
    "Record",
    "RunError",
    "UsageError",
    "attention",
    "load",
    "records",
    "register_attention",
    "register_task",
    "require_contract",
    "run",
    "verify",
]
# The modules that define the names.
_HOMES = {
    "Attention": "api.attention",
    "CheckedPromise": "verification.promise",
    "Dims": "contracts",
    "LoadedRun": "api.loaded",
    "Record": "records.record",
    "RunError": "errors",
    "UsageError": "errors",
    "attention": "api.attention",
    "load": "api.loaded",
    "register_attention": "registry",
    "register_task": "registry",
    "require_contract": "verification.verify",
    "run": "api.run",
    "verify": "verification.verify",
}


def __getattr__(name: str) -> Any:
    """Import a name of the Python interface when it is first used."""
    if name == "records":  # a package, which may be called
        return importlib.import_module("lra_bench.records")
    if name not in _HOMES:
        raise AttributeError(f"module 'lra_bench' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"lra_bench.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Return the names of the Python interface, imported or not."""
    return sorted({*globals(), *__all__})
