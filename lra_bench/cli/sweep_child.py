"""The process of one run: keeps to its cores, waits its turn, stops when its sweep is gone.

Standard input begins with a line of JSON, `cores`, `folder` and `arguments`, and stays open as
long as the sweep wants the run.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import BinaryIO


def main() -> int:
    """Do the run; the exit status of `lra-bench run`."""
    # Unbuffered: a thread that waits on a buffer would hold its lock when Python ends.
    sweep = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115
    request = json.loads(sweep.readline())
    if request["cores"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, request["cores"])
    threading.Thread(target=_stop_at_the_end_of, args=(sweep,), daemon=True).start()

    from lra_bench.cli import main as lra_bench
    from lra_bench.files import locked

    folder = Path(request["folder"])
    # The attempt before may still be saving; were it hung, the time limit would end this one.
    with locked(folder / ".lock", wait=True):
        pass
    return lra_bench(["run", *request["arguments"], "--out", str(folder), "--resume"])


def _stop_at_the_end_of(sweep: BinaryIO) -> None:
    sweep.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
