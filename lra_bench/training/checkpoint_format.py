"""A checkpoint on disk: a folder named by its step, with arrays, metrics and checksums.

    <step>/default/               the arrays of a `State`, by their names, written by orbax
    <step>/metrics/metrics        {"selection": ...}, the number by which the best is chosen
    <step>/lines.jsonl            the lines of metrics.jsonl so far; old checkpoints lack it
    <step>/checksums.json         SHA-256 of each file above, by its path

The list of checksums is written last. A checkpoint without it, or whose files do not match it, is
not whole.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from jaxtyping import Array

from lra_bench.errors import RunError
from lra_bench.files.json_files import read_json, write_json
from lra_bench.files.regular import sha256
from lra_bench.training.learner import State

CHECKSUMS, LINES = "checksums.json", "lines.jsonl"
# The folder of the arrays in a checkpoint.
ARRAYS = "default"
# How the names of learned and of sampled arrays begin.
PARAMS, SAMPLED = "params/", "sampled/"
# The selection of a checkpoint that was written between evaluations.
NOT_EVALUATED = -1.0
# The selections of early evaluations lie in [-0.9, -0.65], below those of all others.
_EARLIEST, _EARLY_SCALE = -0.9, 0.25
# A tie goes to the earlier step. Over 100,000 steps this is a tenth of one answer in a billion.
_PER_STEP = 1e-15
# Process 0 does all without the others, which may not share a file system with it.
FIRST_ONLY = ocp.options.MultiprocessingOptions(
    primary_host=0, active_processes={0}, barrier_sync_key_prefix="lra-bench"
)


def by_name(state: State) -> dict[str, Any]:
    """Return the arrays of a state by name, such as "params/encoder.embed.embedding"."""
    leaves, _ = jax.tree.flatten_with_path(state)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def part(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    """Return the arrays whose names begin with `PARAMS` or `SAMPLED`, by the rest of the name."""
    return {name[len(prefix) :]: x for name, x in arrays.items() if name.startswith(prefix)}


def selection(step: int, validation_accuracy: float | None, *, early: bool = False) -> float:
    """Return the number by which the best checkpoint is chosen: the largest.

    Args:
        step: of the state.
        validation_accuracy: in [0, 1]; None between evaluations.
        early: whether any later evaluation is to be preferred.
    """
    if validation_accuracy is None:
        return NOT_EVALUATED
    accuracy = validation_accuracy - _PER_STEP * step
    return _EARLIEST + _EARLY_SCALE * accuracy if early else accuracy


def validation_accuracy(step: int, selection: float) -> float | None:
    """Return the accuracy, in [0, 1], that made a selection; None between evaluations."""
    if selection <= NOT_EVALUATED:
        return None
    early = selection < _EARLIEST / 2
    accuracy = (selection - _EARLIEST) / _EARLY_SCALE if early else selection
    return accuracy + _PER_STEP * step


def read_selection(folder: Path) -> float:
    """Return the selection of a checkpoint.

    Raises:
        RunError: it cannot be read.
    """
    try:
        return float(read_json(folder / "metrics" / "metrics")["selection"])
    except (OSError, ValueError, TypeError, KeyError):
        raise damaged(folder) from None


def steps(directory: Path) -> list[int]:
    """Return the steps of all checkpoints in a folder, whole or not, in order.

    Raises:
        OSError: the folder cannot be read.
    """
    names = [path.name for path in directory.iterdir()] if directory.is_dir() else []
    return sorted(int(name) for name in names if is_step(name))


def is_step(name: str) -> bool:
    """Return whether a name is that of a checkpoint: a step, as orbax writes it."""
    return name.isascii() and name.isdigit() and name == str(int(name))


def write_checksums(folder: Path) -> None:
    """Write the list of checksums, which completes a checkpoint."""
    write_json(folder / CHECKSUMS, _checksums(folder))


def is_whole(folder: Path) -> bool:
    """Return whether the files of a checkpoint are as they were written."""
    try:
        return read_json(folder / CHECKSUMS) == _checksums(folder)
    except (OSError, ValueError):  # killed before the checksums were written
        return False


def fingerprint(folder: Path) -> str:
    """Return the SHA-256 of the list of checksums, which tells a checkpoint from all others.

    Raises:
        RunError: the list is missing.
    """
    try:
        return sha256(folder / CHECKSUMS)
    except OSError:
        raise damaged(folder) from None


def _checksums(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(p.relative_to(folder)): sha256(p) for p in files if p.name != CHECKSUMS}


def damaged(folder: Path) -> RunError:
    """Return the error for a checkpoint that is not whole."""
    return RunError(f"checkpoint {folder} is damaged; lra-bench run --resume makes it again")


def array_differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    """Yield where named arrays differ in shape or dtype: "out.bias is (10,) there, (2,) here".

    Values of another dtype would be converted without a word: a run begun with 64 bits would go on
    with 32.
    """
    for name in dict.fromkeys([*here, *there]):
        forms = [_form(x[name]) if name in x else ("none", "none") for x in (there, here)]
        for then, now in zip(*forms, strict=True):
            if then != now:
                yield f"{name} is {then} there, {now} here"


def _form(array: Any) -> tuple[str, str]:
    return str(tuple(array.shape)), str(array.dtype)
