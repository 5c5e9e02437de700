"""The task Text: tell whether a movie review is positive, read byte by byte."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from lra_bench.contracts import Block, Range, Reading, Source
from lra_bench.errors import RunError
from lra_bench.registry import register_task
from lra_bench.tasks import _archive, _bytes
from lra_bench.tasks._given import FromArchive

_BLOCK = 1024
_ARCHIVE = "aclImdb_v1.tar.gz"
# Size and checksum as TensorFlow Datasets publishes them (imdb_reviews/checksums.tsv).
_SHA256 = "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe"
_SIZE = 84_125_825
_OFFICIAL_PER_CLASS = 12_500
_COMPAT = "paper-compat"
_RATINGS = {"neg": ("1", "2", "3", "4"), "pos": ("7", "8", "9", "10")}
# The longest official review has 14 KB.
_LONGEST_REVIEW = 2**20
_MOST_SHARED = 0.5


@register_task("text")
@dataclass(frozen=True)
class Text(FromArchive):
    """Classify IMDb movie reviews as negative or positive from their bytes.

    With `validation` "held-out", a tenth of the train set is the validation set; with
    "paper-compat" it is the test set, as in the Long Range Arena's code. Each size is the largest
    number of examples of its split; 0 takes all.

    Attributes:
        max_length: bytes of a review that are read.
        validation: "held-out" takes a tenth of the train set; "paper-compat" takes the test set.

    References:
        Maas et al. 2011, "Learning Word Vectors for Sentiment Analysis"; Tay et al. 2021,
        arXiv:2011.04006, Section 2.2.
    """

    max_length: Annotated[int, Range(1, 2**20)] = 4_000
    validation: Literal["held-out", "paper-compat"] = "held-out"

    name: ClassVar[str] = "text"
    num_classes: ClassVar[int] = 2
    class_names: ClassVar[tuple[str, ...]] = ("negative", "positive")
    vocab_size: ClassVar[int] = _bytes.VOCAB_SIZE
    pad_id: ClassVar[int | None] = 0
    paired: ClassVar[bool] = False
    side: ClassVar[int | None] = None
    sources: ClassVar[tuple[Source, ...]] = (
        Source(
            "archive",
            f"{_archive.RULE}; with validation=paper-compat validation is the test set",
            _ARCHIVE,
            f"https://ai.stanford.edu/~amaas/data/sentiment/{_ARCHIVE}",
            _SIZE,
            _SHA256,
            examples=(22_500, 2_500, 25_000),
        ),
    )

    @property
    def validates_on_test(self) -> bool:
        """Return whether the validation set is the test set."""
        return self.validation == _COMPAT

    @property
    def max_len(self) -> int:
        """Return the number of bytes that are read of a review."""
        return self.max_length

    def to_text(self, tokens: np.ndarray) -> str:
        """Return the review."""
        return _bytes.to_text(tokens)

    def features(self, tokens: np.ndarray) -> np.ndarray:
        """Tell for each hash of a word whether it occurs; float32 (n, 4096), 0 or 1."""
        return np.minimum(_bytes.word_counts(tokens), 1)

    def read(self, reading: Reading) -> Iterator[Block]:
        """Yield blocks of (split, tokens uint16 (n, max_len), labels int64 (n,)).

        Raises:
            RunError: the archive is missing or broken, or has unexpected contents.
        """
        (archive,) = self.inputs(reading.source, reading.path).values()
        train, test = reviews_of(archive, reading)
        ids, test_ids = ([id_of(review) for review in part] for part in (train, test))
        kept, chosen = _archive.held_out(ids)
        all_of_test = _archive.by_id(test_ids)
        if self.validation == _COMPAT:
            kept, validation = _archive.by_id(ids), (test, test_ids, all_of_test)
        else:
            validation = (train, ids, chosen)
        yield from self._blocks("train", train, ids, kept, self.train_size)
        yield from self._blocks("validation", *validation, self.validation_size)
        yield from self._blocks("test", test, test_ids, all_of_test, self.test_size)

    def _blocks(
        self, split: str, reviews: list[dict], ids: list[str], rows: list[int], size: int
    ) -> Iterator[Block]:
        rows = _archive.first(ids, rows, size)
        for start in range(0, len(rows), _BLOCK):
            block = [reviews[row] for row in rows[start : start + _BLOCK]]
            tokens = _bytes.encode([review["text"] for review in block], self.max_length)
            yield split, tokens, np.array([review["label"] for review in block], np.int64)


def reviews_of(archive: Path, reading: Reading) -> tuple[list[dict], list[dict]]:
    """Return the reviews of train and of test, dictionaries with id, text (bytes) and label.

    Raises:
        RunError: the archive is broken, or has unexpected contents.
    """
    reviews = _prepare(archive, reading)
    train, test = (list(reviews[split]) for split in ("train", "test"))
    _refuse_same(archive, train, test)
    return train, test


def _refuse_same(archive: Path, train: list[dict], test: list[dict]) -> None:
    """Raise RunError if most test reviews are train reviews; officially 0.5 % are."""
    known = {review["text"] for review in train}
    shared = sum(review["text"] in known for review in test)
    if shared > _MOST_SHARED * len(test):
        raise RunError(f"{archive}: {shared:,} of {len(test):,} test reviews are also in train")


def id_of(review: dict) -> str:
    """Return the name of a review's file in the archive, without the first folder."""
    return review["id"].decode(errors="surrogateescape")


def _prepare(archive: Path, reading: Reading) -> Any:
    from lra_bench.tasks import _tfds

    features = {"text": _tfds.text(), "label": _tfds.label(Text.class_names)}
    splits = {split: _reviews(archive, split, reading) for split in ("train", "test")}
    folder = reading.scratch / _archive.state(archive)
    return _tfds.prepare(features, splits, folder)


def _reviews(archive: Path, split: str, reading: Reading) -> Callable[[], Iterator]:
    """Return a function that yields the archive's reviews of a split as (id, example)."""
    layout = _archive.Expected(
        rf"{split}/(neg|pos)/[0-9]+_[0-9]+\.txt",
        f"aclImdb/{split}/{{neg,pos}}/NUMBER_RATING.txt",
        _LONGEST_REVIEW,
    )

    def read() -> Iterator[tuple[str, dict[str, Any]]]:
        counts = Counter()
        for name, content in _archive.members(archive, layout, Text.remedy()):
            label = name.split("/")[1]
            _check_rating(archive, name, label)
            counts[label] += 1
            reading.report(f"{split} reviews", counts.total(), None)
            yield name, {"text": content, "label": int(label == "pos")}
        _check_counts(archive, split, counts)

    return read


def _check_rating(archive: Path, name: str, label: str) -> None:
    """Check the rating at the end of a review's name: 1 to 4 is negative, 7 to 10 positive."""
    rating = name.rpartition("_")[2].removesuffix(".txt")
    if rating not in _RATINGS[label]:
        shown = f"{name[:40]}: a rating of {rating[:20]}"
        raise RunError(f"{archive}: {shown} is not {label}: {', '.join(_RATINGS[label])}")


def _check_counts(archive: Path, split: str, counts: Counter) -> None:
    if not counts["neg"] or not counts["pos"]:
        raise RunError(f"{archive}: no {split} reviews in both neg and pos: {dict(counts)}")
    official = archive.stat().st_size == _SIZE
    if official and set(counts.values()) != {_OFFICIAL_PER_CLASS}:
        raise RunError(f"{archive}: {dict(counts)} {split} reviews, not 12,500 of each")
