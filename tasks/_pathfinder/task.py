"""The base class of Pathfinder and Path-X.

Their images show two long contours, and two of the four ends are marked.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from lra_bench.contracts import SPLITS, Block, Range, Reading, Source, check_ranges, silent
from lra_bench.errors import RunError
from lra_bench.tasks import _archive, _images, _parallel, _release
from lra_bench.tasks._pathfinder import generator, probe, release

_BLOCK_PIXELS = 1 << 20
_OFFICIAL = 200_000
# The number of images that are read to tell whether a folder's labels fit or are noise.
_PROBED = 1_000
_PROBE_SIDE = 32
# The standard errors from which labels fit, and the fewest images to judge by. Good folders fit by
# 12 standard errors and more.
_FITS, _FEWEST_JUDGED = 3.0, 500
# The sides, in pixels, that `generator.spec` knows.
Side = Literal[32, 64, 128, 256]
# The least distance between paddles, in pixels, at which contours can be followed.
_FINEST = 2.4


@dataclass(frozen=True)
class PathfinderTask:
    """The options and the data of either task.

    Attributes:
        resolution: pixels on a side, as generated or released.
        contour_length: paddles of a contour; 14 is LRA's, 9 and 6 are easier.
        distractors: whether the images also have short contours; a release always does.
        shrink: average blocks of `shrink` x `shrink` pixels.
        size: the number of all images: 80 % train, 10 % validation, 10 % test.
        seed: of the generator.
        black: whether black pixels are padding, which the model does not read.
    """

    resolution: Side
    contour_length: Annotated[int, Range(3, 20)] = 14
    distractors: bool = True
    shrink: Annotated[int, Range(1, 256)] = 1
    size: Annotated[int, Range(10, 10**8)] = 200_000
    seed: Annotated[int, Range(0, 2**32 - 1)] = 0
    black: _images.Black = "pixel"

    name: ClassVar[str] = ""
    num_classes: ClassVar[int] = 2
    class_names: ClassVar[tuple[str, ...]] = ("apart", "connected")
    vocab_size: ClassVar[int] = _images.VOCAB_SIZE
    paired: ClassVar[bool] = False
    version: ClassVar[int] = 1
    sources: ClassVar[tuple[Source, ...]] = (
        Source(
            "generate", "of each ten images in a row, eight are train, one validation, one test"
        ),
        _release.source(
            "pathfinder*/curv_*/{imgs,metadata}",
            splits="ranked by SHA-256 of the name, such as imgs/0/sample_0.png: the first 80 % "
            "train, then 10 % validation, then 10 % test; of each the first, if fewer are wanted",
            examples=(160_000, 20_000, 20_000),
        ),
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        _ = self._spec  # raises ValueError for wrong parameters
        _images.check_shrink(self.shrink, self.resolution)

    @property
    def pad_id(self) -> int | None:
        """Return the token id of padding, which may be anywhere; None if no pixel is padding."""
        return _images.pad_id(self.black)

    @property
    def side(self) -> int:
        """Return the pixels on a side, as the model reads them."""
        return self.resolution // self.shrink

    @property
    def max_len(self) -> int:
        """Return the number of pixels."""
        return self.side**2

    def data_options(self, source: str) -> dict[str, Any]:
        """Return all options but `black`, which changes how a model reads the same tokens.

        `seed` and `distractors` do not change a release.
        """
        options = asdict(self)
        del options["black"]
        return options if source == "generate" else options | {"seed": 0, "distractors": True}

    @property
    def _spec(self) -> generator.Spec:
        """Return the generator's parameters."""
        usual = generator.spec(self.resolution, self.contour_length)
        return usual if self.distractors else dataclasses.replace(usual, num_distractors=0)

    def sizes(self, source: str) -> dict[str, int]:
        """Return the generator's sizes; {} for the release, whose files have to be read first."""
        if source != "generate":
            return {}
        splits, counts = np.unique(_split_of(np.arange(self.size)), return_counts=True)
        return dict(zip(splits.tolist(), counts.tolist(), strict=True))

    def inputs(self, source: str, path: Path | None) -> dict[str, Path]:
        """Return the metadata files of the release's folder; {} for the generator."""
        if source == "generate":
            return {}
        files = release.metadata_files(self._folder(path))
        return {f"metadata/{file.name}": file for file in files}

    def official(self, source: str, checksums: dict[str, str], sizes: dict[str, int]) -> bool:
        """Return whether these are all of the release's images of the hardest setting."""
        del checksums
        whole = sum(sizes.values()) == _OFFICIAL and self.contour_length == 14
        return source == "release" and whole

    def to_text(self, tokens: np.ndarray) -> str:
        """Draw the image in characters."""
        return _images.to_text(tokens, self.side)

    def features(self, tokens: np.ndarray) -> np.ndarray:
        """Return the evidence for "connected", by following contours; float32 (n, 4).

        Images shrunk so far that paddles merge have no features: (n, 0).
        """
        return self._evidence(tokens.reshape(-1, self.side, self.side), self.shrink)

    def _evidence(self, images: np.ndarray, shrunk: int) -> np.ndarray:
        """Return the probe's evidence on images already shrunk by a factor `shrunk`."""
        spec = self._spec
        more = max(1, images.shape[-1] // _PROBE_SIDE)
        pitch = (spec.paddle_length + 2 * float(np.mean(spec.margins))) / (shrunk * more)
        if pitch < _FINEST:
            return np.empty((len(images), 0), np.float32)
        return probe.evidence(
            _images.shrink(images, more),
            pitch=pitch,
            half=0.6 * spec.paddle_length / (shrunk * more),
            steps=self.contour_length - 1,
        )

    def read(self, reading: Reading) -> Iterator[Block]:
        """Yield blocks of (split, tokens uint8 (n, max_len), labels int64 (n,)).

        Raises:
            RunError: a folder or a file is missing or malformed.
        """
        generated = reading.source == "generate"
        blocks = self._generate(reading) if generated else self._release(reading)
        for split, images, labels in blocks:
            yield split, _images.to_tokens(_images.shrink(images, self.shrink)), labels

    def _block(self) -> int:
        return max(1, _BLOCK_PIXELS // self.resolution**2)

    def _generate(self, reading: Reading) -> Iterator[Block]:
        make = functools.partial(_make, self._spec, self.seed, self._block(), self.size)
        starts = range(0, self.size, self._block())
        done = 0
        try:
            for images, labels in _parallel.blocks(make, starts, reading.scratch):
                of_ten = _split_of(np.arange(done, done + len(labels)))
                for split in SPLITS:
                    yield split, images[of_ten == split], labels[of_ten == split]
                done += len(labels)
                reading.report("images", done, self.size)
        except ValueError as error:
            raise RunError(f"{self.name}: {error}") from None

    def _folder(self, path: Path | None) -> Path:
        """Return the release's folder; of several, the one whose labels fit its images best.

        Raises:
            RunError: there is none, or several can't be compared, or the labels are noise.
        """
        folders = release.candidates(self.name, path, self.resolution, self.contour_length)
        fits = {folder: self._fit(folder) for folder in folders}
        best = max(folders, key=lambda folder: fits[folder] or 0.0)
        fit = fits[best]
        if fit is None and len(folders) > 1:
            raise RunError(f"{self.name}: give one of {', '.join(map(str, folders))}")
        if fit is not None and fit < _FITS and len(_ranked(best)) >= _FEWEST_JUDGED:
            raise RunError(
                f"{self.name}: the labels of {best} don't fit its images ({fit:.1f} standard "
                "errors): it looks like the release's broken folder, take the other one"
            )
        return best

    @functools.cache  # noqa: B019 - tasks are few and small
    def _fit(self, folder: Path) -> float | None:
        """Return by how many standard errors a folder's labels fit its images; None if unknown."""
        rows = _ranked(folder)[:_PROBED]
        images, labels = _load(folder, rows, self.resolution, silent)
        evidence = self._evidence(images, 1)
        return probe.fit(evidence, labels) if evidence.shape[1] else None

    def _note_others(self, reading: Reading, taken: Path) -> None:
        """Note the folders that were not used, and why."""
        folders = release.candidates(self.name, reading.path, self.resolution, self.contour_length)
        for folder in folders:
            if folder != taken:
                reading.note(
                    f"taken: {taken}, whose labels fit its images by {self._fit(taken):.1f} "
                    f"standard errors; not {folder}: {self._fit(folder):.1f}"
                )

    def _release(self, reading: Reading) -> Iterator[Block]:
        folder = self._folder(reading.path)
        self._note_others(reading, folder)
        ranked = _ranked(folder)
        wanted = _edges(min(self.size, len(ranked)))
        for (split, low, high), (_, first, last) in zip(_edges(len(ranked)), wanted, strict=True):
            rows = ranked[low : min(high, low + last - first)]
            for start in range(0, len(rows), self._block()):
                block = rows[start : start + self._block()]
                yield split, *_load(folder, block, self.resolution, reading.note)
                reading.report(f"{split} images", start + len(block), len(rows))


def _make(
    spec: generator.Spec, seed: int, block: int, size: int, start: int
) -> tuple[np.ndarray, np.ndarray]:
    """Generate the block that begins at `start`; a module's function, so that it is picklable."""
    return generator.generate(spec, seed, start, min(block, size - start))


def _edges(total: int) -> list[tuple[str, int, int]]:
    """Return each split with its first image and the one after its last."""
    edges = (0, total * 8 // 10, total * 9 // 10, total)
    return list(zip(SPLITS, edges, edges[1:], strict=False))


def _split_of(numbers: np.ndarray) -> np.ndarray:
    """Return each generated image's split: of ten in a row, 8 train, 1 validation, 1 test."""
    return np.array(SPLITS)[np.clip(numbers % 10 - 7, 0, 2)]


@functools.lru_cache(maxsize=4)
def _ranked(folder: Path) -> list[release.Label]:
    """Return images and labels in the fixed order of the split rule."""
    rows = release.labels(release.metadata_files(folder))
    return sorted(rows, key=lambda row: _archive.digest(row[0]))


def _load(
    folder: Path, rows: list[release.Label], side: int, note: Callable[[str], None]
) -> tuple[np.ndarray, np.ndarray]:
    """Read images, uint8 (n, side, side), and labels, int64 (n,); leave out empty files."""
    images, labels = [], []
    for name, label in rows:
        pixels = release.read_image(folder, name, side, note)
        if pixels is not None:
            images.append(pixels)
            labels.append(label)
    stacked = np.stack(images) if images else np.empty((0, side, side), np.uint8)
    return stacked, np.array(labels, np.int64)
