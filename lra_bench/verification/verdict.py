"""The verdict on one promise, and how a check is turned into one."""

from collections.abc import Callable
from dataclasses import dataclass

from lra_bench.display.escape import terminal
from lra_bench.errors import one_line
from lra_bench.runtime.source_files import place
from lra_bench.verification.contract import Counterexample


@dataclass(frozen=True)
class Verdict:
    """The verdict on one promise of an attention or a task.

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


def judge(promise: str, *checks: Callable[[], object]) -> Verdict:
    """Return whether none of the checks raises an exception; a `Counterexample` tells of itself."""
    for check in checks:
        try:
            check()
        except Counterexample as error:
            return Verdict(promise, False, terminal(error))
        except Exception as error:
            return Verdict(promise, False, terminal(f"{place(error)}{one_line(error)}"))
    return Verdict(promise, True)
