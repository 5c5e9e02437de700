"""Paths and arguments that many tests share."""

import re
from importlib.metadata import version
from pathlib import Path

from lra_bench.files.json_files import read_json, without_checksum, write_json
from lra_bench.records import record

HELPERS = Path(__file__).resolve().parent
ROOT = HELPERS.parents[1]

# Most tests call `lra-bench run` with these arguments: seconds, all code paths.
SMOKE = ("run", "--preset", "smoke")

# Seconds after which a test gives up on what hangs; a busy machine never takes as long.
PATIENCE = 900

# Compiling takes most of the time of tests, and slow code for a few steps does no harm.
QUICK = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_parallel_codegen_split_count=1"
)
# XLA ends a process that gives it a flag it does not know; from jaxlib 0.12 on it lacks this one.
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 12):
    QUICK += " --xla_cpu_use_fusion_emitters=false"


def refused(result, status, *words):
    """Exit status, one line on standard error that holds the words, no traceback anywhere."""
    found, out, err = result
    assert found == status, out + err
    assert len(err.splitlines()) == 1
    assert "Traceback" not in out + err
    for word in words:
        assert word in err


def read_record(path):
    """The JSON values of a record that readers accept."""
    return record.read(path).as_dict()


def unsealed(path):
    """The JSON values of a record without its checksum, to be edited by hand."""
    return without_checksum(read_json(path))


def unsealed_lines(path):
    """The text of a file of JSON lines without their checksums, to be edited by hand."""
    return re.sub(r', "crc32": "[0-9a-f]{8}"', "", path.read_text())


def edit_record(path, **changes):
    """Change keys of a record by hand; it then has no checksum, as records of old versions."""
    write_json(path, {**unsealed(path), **changes})
