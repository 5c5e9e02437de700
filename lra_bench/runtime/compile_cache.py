"""JAX's cache of compiled programs on disk: count what is read from it, and mend it."""

import contextlib
import glob
import re
import threading
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

_HIT = "/jax/compilation_cache/cache_hits"
_UNREADABLE = "Error reading persistent compilation cache entry for '(.*?)'"


class _Count(threading.local):
    """The programs that each thread has read."""

    hits = 0


_count = _Count()
_lock = threading.Lock()
_listening = False


def programs_read() -> int:
    """Return how many programs this thread has read from the cache since any thread's first call.

    Threads that compile at the same time do not count each other's programs.
    """
    global _listening
    with _lock:
        if not _listening:
            _listening = True
            jax.monitoring.register_event_listener(_note)
    return _count.hits


def _note(event: str, **_: str | int) -> None:
    _count.hits += event == _HIT


@contextlib.contextmanager
def mended() -> Iterator[None]:
    """Within the block, have JAX write entries anew that a kill or a full disk has cut off.

    JAX warns of an entry that it cannot read, compiles the program, and never writes over a file
    that is there. Here the warning removes the file, before JAX writes.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("always", _UNREADABLE, UserWarning)
        before = warnings.showwarning

        def show(message: Warning | str, *where: Any, **more: Any) -> None:
            entry = re.match(_UNREADABLE, str(message))
            if entry is None:
                before(message, *where, **more)
            else:
                _remove_broken(entry[1])

        warnings.showwarning = show
        yield


def _remove_broken(program: str) -> None:
    """Remove the broken entries of a program; its name is the start of those of its files."""
    config: Any = jax.config
    folder = Path(config.jax_compilation_cache_dir or "")
    for path in folder.glob(f"{glob.escape(program)}-*-cache"):
        with contextlib.suppress(OSError):
            try:
                zlib.decompress(path.read_bytes())
            except zlib.error:  # also of whole ones that are packed otherwise: they cost a compile
                path.unlink()
