"""Huge pages for the memory that malloc hands out, so that a step has fewer page faults.

On CPUs XLA takes the scratch memory of a step from malloc and frees it after the step, so that the
system has to clear hundreds of thousands of pages of 4 KiB in every step. The C library asks Linux
for pages of 2 MiB instead, if the variable GLIBC_TUNABLES says so when the process starts. Results
do not depend on it. `GLIBC_TUNABLES=glibc.malloc.hugetlb=0` switches it off.
"""

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

_VARIABLE, _TUNABLE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"
_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_STATUS = Path("/proc/self/status")
_SINCE = (2, 35)  # the first glibc with the tunable
# What this program is called when it is a program, not a function in another one.
_PROGRAM, _MODULE = "lra-bench", "__main__.py"


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables to add for a process that will compute; {} where there is no gain.

    There is none if the user has set how malloc works, and on systems where malloc cannot ask for
    huge pages, or gets them without asking.

    Args:
        environment: the variables that the process has otherwise.
    """
    tunables = environment.get(_VARIABLE, "")
    if "glibc.malloc." in tunables or _mode() != "madvise" or not _has_tunable():
        return {}
    return {_VARIABLE: ":".join(filter(None, (tunables, f"{_TUNABLE}=1")))}


def kind(environment: Mapping[str, str]) -> str | None:
    """Return who asks for the huge pages of a process that began with these variables.

    Returns:
        "malloc"; "always" if the system gives them without being asked; "none"; None if the system
        is not Linux.
    """
    mode = _mode()
    if mode in (None, "always"):
        return mode
    settings = environment.get(_VARIABLE, "").split(":")
    asked = [text for text in settings if text.startswith(f"{_TUNABLE}=")]
    effective = asked and asked[-1] != f"{_TUNABLE}=0" and _has_tunable()
    return "malloc" if effective and mode == "madvise" else "none"


def _mode() -> str | None:
    """Return when this process gets huge pages: "always", "madvise" or "never"; None if unknown."""
    try:
        setting, status = _SETTING.read_text(), _STATUS.read_text()
    except OSError:
        return None
    forbidden = "THP_enabled:\t0" in status  # by prctl
    return "never" if forbidden else setting.partition("[")[2].partition("]")[0]


def _has_tunable() -> bool:
    """Return whether the C library is a glibc that knows the tunable."""
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        return name == "glibc" and tuple(map(int, version.split(".")[:2])) >= _SINCE
    except (ValueError, OSError):
        return False


def restart() -> None:
    """Start this program anew, in the same process, with huge pages; return where there is no gain.

    Call it first: what was done before is done twice. Arguments of Python, the process's number,
    open files and ignored signals stay. A debugger's program and a caller's are not restarted.
    """
    name = Path(sys.argv[0]).name
    if name not in (_PROGRAM, _MODULE) or not sys.executable or sys.gettrace() is not None:
        return
    if more := variables(os.environ):
        with contextlib.suppress(OSError):
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **more})
    elif name == _PROGRAM:  # as a system names the process of a script, but not one restarted
        with contextlib.suppress(OSError):
            Path("/proc/self/comm").write_text(_PROGRAM)
