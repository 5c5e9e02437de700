"""Make blocks in several processes; keep them in a folder, so an interruption loses few."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from pathlib import Path

import numpy as np

from lra_bench.errors import RunError

Arrays = tuple[np.ndarray, ...]
_AHEAD = 4
# The signals that ask to stop. A terminal sends the first two to the parent and to its workers.
_OF_TERMINALS = (signal.SIGINT, signal.SIGHUP)
_REQUESTS = (*_OF_TERMINALS, signal.SIGTERM)


def blocks(make: Callable[[int], Arrays], starts: Sequence[int], folder: Path) -> Iterator[Arrays]:
    """Yield `make(start)` for each start, in order, using a process per core.

    Finished blocks are kept in `folder`, and a later call reads them from there. `make` and its
    arguments must be picklable. If only one block is missing, this process makes it.

    Raises:
        RunError: a process was killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [start for start in starts if not _file(folder, start).exists()]
    if len(missing) <= 1:
        yield from (_block(make, folder, start) for start in starts)
        return
    try:
        with _executor() as pool:
            waiting: list[Future[Arrays]] = []
            for start in starts:
                with _held_back():  # it may start a worker
                    waiting.append(pool.submit(_block, make, folder, start))
                if len(waiting) >= _AHEAD * _cores():
                    yield waiting.pop(0).result()
            yield from (future.result() for future in waiting)
    except BrokenProcessPool:
        text = "a worker process was killed (out of memory?); finished blocks are kept"
        raise RunError(text) from None


def _cores() -> int:
    """Return the number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@contextlib.contextmanager
def _executor() -> Iterator[ProcessPoolExecutor]:
    _start_tracker()
    context = multiprocessing.get_context("spawn")  # jax's threads don't survive a fork
    pool = ProcessPoolExecutor(_cores(), context, _start_worker, (os.getpid(),))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_tracker() -> None:
    """Start Python's tracker of semaphores so that it outlives a terminal, as the workers do.

    By itself it ignores Ctrl-C and SIGTERM only. Without it, its successor prints tracebacks.
    """
    if threading.current_thread() is threading.main_thread():  # which handles all signals
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        resource_tracker.ensure_running()
        signal.signal(signal.SIGHUP, before)


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """Let requests to stop wait while the block runs, also in a worker that it starts.

    A worker that is interrupted while it imports, or whose parent is interrupted before it has told
    the worker what to do, prints a traceback.
    """
    if threading.current_thread() is not threading.main_thread():  # which handles all signals
        yield
        return
    held: list[int] = []
    handlers = {
        number: signal.signal(number, lambda received, _: held.append(received))
        for number in _REQUESTS
    }
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _REQUESTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in held:
            signal.raise_signal(number)


def _start_worker(parent: int) -> None:
    """Ignore what a terminal sends to the parent too; exit when the parent has ended in any way."""
    for number in _OF_TERMINALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _REQUESTS)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _file(folder: Path, start: int) -> Path:
    return folder / f"block-{start}.npz"


def _block(make: Callable[[int], Arrays], folder: Path, start: int) -> Arrays:
    """Read the block from its file, or make it and write the file."""
    file = _file(folder, start)
    broken = contextlib.suppress(OSError, ValueError, zipfile.BadZipFile)
    with broken, file.open("rb") as content, np.load(content) as saved:
        return tuple(saved[name] for name in saved.files)
    arrays = make(start)
    temporary = file.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("wb") as out:
        np.savez(out, *arrays)
    temporary.replace(file)
    return arrays
