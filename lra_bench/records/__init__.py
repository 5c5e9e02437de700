"""Files that a run leaves, written and read.

The package is also the function `lra_bench.records`, which has its name: it may be called.
"""

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """A package that may be called as the function `frame.records`."""

    def __call__(self, *folders: Any) -> Any:
        from lra_bench.records.frame import records

        return records(*folders)


sys.modules[__name__].__class__ = _Callable
