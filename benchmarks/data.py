"""Measure the rates of reading the token store, TSV files, and an archive like CIFAR-10's.

    python benchmarks/data.py

Each part runs in its own process, on data that it makes, and prints a rate per CPU second and the
peak of the resident set.
"""

import argparse
import io
import multiprocessing
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lra_bench.contracts import Reading
from lra_bench.data.location import locate
from lra_bench.data.prepare import prepare
from lra_bench.data.store import open_store
from lra_bench.runtime import memory
from lra_bench.tasks.image import Image
from lra_bench.tasks.retrieval import Retrieval

_ROWS = {"train": 20_000, "eval": 200, "test": 200}
_BATCH, _BATCHES = 256, 2_000


def preparing(folder: Path, task: Any, source: str) -> float:
    """Prepare the store and return the CPU seconds."""
    start = time.process_time()
    prepare(task, locate(folder / "data", task, source), folder)
    return time.process_time() - start


def archive(folder: Path) -> None:
    """Write an archive of noise in the layout and the size of CIFAR-10's."""
    rng = np.random.default_rng(0)
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz", compresslevel=1) as tar:
        for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
            records = rng.integers(0, 256, (10_000, 3_073), dtype=np.uint8)
            records[:, 0] %= 10
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = records.size
            tar.addfile(member, io.BytesIO(records.tobytes()))


def rows(folder: Path, scale: int) -> int:
    """Write TSV files in AAN's layout, about 50 kB per row; return their bytes."""
    words = np.random.default_rng(0).integers(97, 123, 25_000, dtype=np.uint8).tobytes()
    for split, count in _ROWS.items():
        with (folder / f"new_aan_pairs.{split}.tsv").open("wb") as file:
            for row in range(count * scale):
                file.write(b"%d.0\tP1\tP2\t%s\t%s\n" % (row % 2, words, words))
    return sum(file.stat().st_size for file in folder.glob("*.tsv"))


def image(folder: Path) -> str:
    """Measure CIFAR-10 from the archive to the store."""
    archive(folder)
    return f"60,000 images to the store in {preparing(folder, Image(), 'archive'):.1f} s of CPU"


def store(folder: Path) -> str:
    """Measure reading batches of 256 examples of 1,024 tokens from the store, in random order."""
    archive(folder)
    task: Any = Image()
    location = locate(folder / "data", task, "archive")
    prepare(task, location, folder)
    tokens = open_store(location).splits["train"].tokens
    order = np.random.default_rng(0).integers(0, len(tokens), (_BATCHES, _BATCH))
    start = time.process_time()
    for indices in order:
        np.asarray(tokens[indices])
    rate = order.size / (time.process_time() - start)
    return f"{rate:,.0f} examples/s of 1,024 tokens"


def retrieval(folder: Path, scale: int = 1) -> str:
    """Measure rows in AAN's layout from the files to the store."""
    size = rows(folder, scale)
    total = sum(_ROWS.values()) * scale
    seconds = preparing(folder, Retrieval(), "release")
    start = time.process_time()
    count = sum(
        len(labels) for _, _, labels in Retrieval().read(Reading("release", folder, folder))
    )
    parsed = count / (time.process_time() - start)
    return (
        f"{size / 1e9:.1f} GB: parsed at {parsed:,.0f} rows/s of CPU, to the store with "
        f"checksums at {total / seconds:,.0f} rows/s"
    )


def retrieval_threefold(folder: Path) -> str:
    """Measure three times as many rows, which must take the same memory."""
    return retrieval(folder, 3)


def _measure(part: Callable[[Path], str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        text = part(Path(folder))
    print(f"{part.__name__:<20} {text}; peak {memory.peak() / 2**20:,.0f} MiB", flush=True)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    for part in (store, image, retrieval, retrieval_threefold):
        process = multiprocessing.get_context("spawn").Process(target=_measure, args=(part,))
        process.start()
        process.join()
