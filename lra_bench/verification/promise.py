"""One promise that was checked, and how a check is turned into a verdict."""

from collections.abc import Callable
from dataclasses import dataclass

from lra_bench.display.escape import terminal
from lra_bench.errors import one_line
from lra_bench.runtime.source_files import place
from lra_bench.verification.agreement import Counterexample


@dataclass(frozen=True)
class CheckedPromise:
    """A promise of an attention or a task, and whether it is kept.

    Attributes:
        promise: in words.
        kept: whether no check found it broken; None if it could not be checked.
        detail: the counter-example, or why it could not be checked; "" if it is kept.
    """

    promise: str
    kept: bool | None
    detail: str = ""

    def __str__(self) -> str:
        return self.promise + (f": {self.detail}" if self.detail else "")


def judge(promise: str, *checks: Callable[[], object]) -> CheckedPromise:
    """Return whether none of the checks raises an exception; a `Counterexample` tells of itself."""
    for check in checks:
        try:
            check()
        except Counterexample as error:
            return CheckedPromise(promise, False, terminal(error))
        except Exception as error:
            return CheckedPromise(promise, False, terminal(f"{place(error)}{one_line(error)}"))
    return CheckedPromise(promise, True)
