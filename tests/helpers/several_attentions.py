"""Runs several attentions, one after the other, in one process or as one of several.

    python several_attentions.py FOLDER NAME,NAME,... [lra-bench run's arguments]

It is `lra-bench run` for each, but JAX and the processes are started once for all.
"""

import sys

from lra_bench.cli import parser
from lra_bench.cli.run import run
from lra_bench.runtime.launch import joined
from lra_bench.runtime.stopping import StopRequest


def main(folder, names, *given):
    args = parser().parse_args(["run", *given])
    with joined(args.coordinator, args.processes, args.process_id) as group:
        for name in names.split(","):
            argv = ["run", "--attention", name, "--out", f"{folder}/{name}", *given]
            assert run(parser().parse_args(argv), StopRequest(group)) == 0, name


if __name__ == "__main__":
    main(*sys.argv[1:])
