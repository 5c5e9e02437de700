"""Processes that tests start: none outlives its test, and none leaves a pipe open."""

import subprocess
from pathlib import Path

_started = []


def popen(command, **options):
    """Start a process whose output can be read as text."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, **options)
    _started.append(process)
    return process


def end_all():
    """End the processes that still run, as after a test that failed, and close all pipes."""
    while _started:
        with _started.pop() as process:
            process.kill()


def children(pid):
    """Process ids of the children of a process, whichever of its threads started them."""
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for thread in threads for child in thread.read_text().split()]
