"""Check every promise of what a name or a file stands for."""

import os
from collections.abc import Iterator

from lra_bench.errors import unknown
from lra_bench.registry import ATTENTIONS, TASKS, Registry
from lra_bench.runtime import numerics, source_files
from lra_bench.verification.promise import CheckedPromise

Subject = tuple[str, str]


def subjects(text: str) -> list[Subject]:
    """Return what a name or a file stands for: pairs of "attention" or "task" and a name.

    Args:
        text: a registered name, `path/to/file.py`, or `file.py:name`.

    Raises:
        UsageError: nothing has that name, or the file cannot be used.
    """
    if not source_files.is_reference(text):
        return [_named(text)]
    path, name = source_files.split(text)
    file = source_files.read(path)
    found = [(r.kind, each) for r in (ATTENTIONS, TASKS) for each in r.load(file)]
    if not found:
        ATTENTIONS.named(path)  # says what the file lacks
    if name is not None and name not in [each for _, each in found]:
        raise unknown(f"attention or task in {path}", name, [each for _, each in found])
    return [each for each in found if name in (None, each[1])]


def _named(name: str) -> Subject:
    registries: tuple[Registry, ...] = (ATTENTIONS, TASKS)
    for registry in registries:
        if registry.has(name):
            return registry.kind, name
    raise unknown("attention or task", name, [*ATTENTIONS.names(), *TASKS.names()])


def verdicts(kind: str, name: str) -> Iterator[CheckedPromise]:
    """Yield the verdict on each promise of an attention or a task, as soon as it is known."""
    numerics.pin()
    if kind == "attention":
        from lra_bench.verification.attention import verify_attention

        yield from verify_attention(name)
    else:
        from lra_bench.verification.task import verify_task

        yield from verify_task(name)


def verify(text: str | os.PathLike[str]) -> list[CheckedPromise]:
    """Return the verdict on each promise of an attention or a task; it takes under a minute.

    Args:
        text: a registered name, or a Python file of your own, such as "my.py" or "my.py:name".

    Raises:
        UsageError: nothing has that name, or the file cannot be used.
    """
    found = subjects(os.fspath(text))
    return [verdict for kind, name in found for verdict in verdicts(kind, name)]


def require_contract(text: str | os.PathLike[str]) -> None:
    """Check that an attention or a task keeps every promise, for use in a test.

    Args:
        text: a registered name, or a Python file of your own, such as "my.py" or "my.py:name".

    Raises:
        AssertionError: it breaks one; the message lists all that it breaks.
        UsageError: nothing has that name, or the file cannot be used.
    """
    broken = [str(verdict) for verdict in verify(text) if verdict.kept is False]
    if broken:
        raise AssertionError("\n".join(broken))
