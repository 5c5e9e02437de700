"""The process of one run of a sweep.

The first line of standard input is a JSON object: `cores`, the CPU cores to use; `folder`, that of
the run; `arguments`, for `lra-bench run`. The sweep keeps standard input open; when it is closed,
the sweep has ended and the run stops.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import BinaryIO


def main() -> int:
    """Do the run and return the exit status of `lra-bench run`."""
    # Unbuffered: a thread that waits on a buffer would hold its lock when Python ends.
    from_sweep = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115
    request = json.loads(from_sweep.readline())
    if request["cores"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, request["cores"])
    threading.Thread(target=_stop_at_end, args=(from_sweep,), daemon=True).start()

    from lra_bench.cli import main as lra_bench
    from lra_bench.files.locks import locked
    from lra_bench.records.run_folder import RunFolder

    folder = Path(request["folder"])
    # Wait until the attempt before has saved; if it hangs, the time limit ends this one too.
    with locked(folder / ".lock", wait=True):
        pass
    resume = ["--resume"] if RunFolder(folder).started else []
    return lra_bench(["run", *request["arguments"], "--out", str(folder), *resume])


def _stop_at_end(from_sweep: BinaryIO) -> None:
    """Wait until the sweep closes its end, then ask this process to stop."""
    from_sweep.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
