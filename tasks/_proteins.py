"""Share what the tasks of proteins need: tokens, splits by sequence, held-out organisms."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from lra_bench.contracts import HELD_OUT, Range, Reading, Source
from lra_bench.errors import RunError
from lra_bench.tasks import _fasta
from lra_bench.tasks._given import Given
from lra_bench.tasks._hash_split import split_of

PAD, START, END, MASK = range(4)
ALPHABET = _fasta.STANDARD + _fasta.RARE
FIRST, LAST = 4, 3 + len(ALPHABET)
_IDS = np.full(256, 255, np.uint8)
_IDS[list(ALPHABET.encode())] = np.arange(FIRST, LAST + 1)
_NAMES = ("", "<", ">", "?", *ALPHABET)


@dataclass(frozen=True)
class ProteinTask(Given):
    """A task whose data are the proteins of a FASTA file.

    Attributes:
        objective: "next": each residue from those before it, "U" in the Performer paper; "masked":
            15 % of the residues from the others, "B" there.
        max_length: tokens of an example.
        held_out: organisms (OS=...) or accessions whose names begin so; their proteins are in no
            split but the held-out one.
        train_size, validation_size, test_size: the largest number of examples; 0 for all.
    """

    objective: Literal["next", "masked"] = "next"
    max_length: Annotated[int, Range(2, 2**20)] = 1_024
    held_out: tuple = ()

    name: ClassVar[str]
    num_classes: ClassVar[int] = 1
    class_names: ClassVar[tuple[str, ...]] = ("protein",)
    vocab_size: ClassVar[int] = LAST + 1
    pad_id: ClassVar[int | None] = PAD
    mask_id: ClassVar[int] = MASK
    ordinary: ClassVar[tuple[int, int]] = (FIRST, LAST)
    paired: ClassVar[bool] = False
    side: ClassVar[int | None] = None
    version: ClassVar[int] = 2
    sources: ClassVar[tuple[Source, ...]] = (
        Source(
            "fasta",
            "by the hash of the sequence: a twentieth each for validation and test, so that equal "
            "sequences are in one split; proteins of held-out organisms are in none of them, nor "
            "are equal ones of other organisms",
            "a FASTA file of proteins, such as uniprot_sprot.fasta.gz",
            "https://ftp.uniprot.org/pub/databases/uniprot/current_release/knowledgebase/complete/uniprot_sprot.fasta.gz",
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        # The name "" would begin every name.
        if not all(isinstance(name, str) and name.strip() for name in self.held_out):
            given = str(list(self.held_out))[:60]
            raise ValueError(f"held_out={given}: must be names of organisms or accessions")

    @property
    def max_len(self) -> int:
        """Return the number of tokens of an example."""
        return self.max_length

    def scored(self, tokens: Any) -> Any:
        """Return which tokens are residues."""
        return tokens >= FIRST

    def data_options(self, source: str) -> dict[str, Any]:
        """Return all options but `objective`, which reads the same tokens in another way."""
        return {k: v for k, v in super().data_options(source).items() if k != "objective"}

    def inputs(self, source: str, path: Path | None) -> dict[str, Path]:
        """Return the file.

        Raises:
            RunError: there is none.
        """
        del source
        if path is None:
            raise RunError(f"{self.name}: give a FASTA file of proteins: --source PATH")
        if not path.is_file():
            raise RunError(f"{self.name}: {path} is no file; give a FASTA file of proteins")
        return {path.name: path}

    def official(self, source: str, checksums: dict[str, str], sizes: dict[str, int]) -> bool:
        """Return False: TrEMBL of January 2019, which the paper used, is no longer published."""
        del source, checksums, sizes
        return False

    def features(self, tokens: np.ndarray) -> np.ndarray:
        """Return no features."""
        return np.zeros((len(tokens), 0), np.float32)

    def to_text(self, tokens: np.ndarray) -> str:
        """Return the residues; < and > are start and end."""
        return "".join(_NAMES[token] for token in tokens)

    def proteins(self, reading: Reading) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the split and the residues, uint8 (n,), of each protein.

        Raises:
            RunError: the file is missing or malformed; the message names file and line.
        """
        (file,) = self.inputs(reading.source, reading.path).values()
        counts, unseen, left_out = _fasta.Counts(), set(self.held_out), 0
        kept_apart = self._digests_of_chosen(file)
        for number, protein in enumerate(_fasta.read(file, counts), 1):
            chosen, digest = self._chosen(protein), self._digest(protein)
            unseen -= chosen
            if chosen or digest not in kept_apart:
                split = HELD_OUT if chosen else split_of(digest)
                yield split, _IDS[np.frombuffer(protein.residues, np.uint8)]
            else:
                left_out += 1
            if number % 1_000 == 0:
                reading.report("proteins", number, None)
        if left_out:
            reading.note(f"{file}: left out, because a held-out protein is equal: {left_out:,}")
        if counts.empty:
            reading.note(f"{file}: {counts.empty:,} entries without residues were left out")
        for name in sorted(unseen):
            reading.note(f"{file}: no organism or accession begins with {name!r}, to be held out")

    def _chosen(self, protein: _fasta.FastaEntry) -> set[str]:
        """Return those of `held_out` with which the organism or the accession begins."""
        names = (protein.organism, protein.accession)
        return {each for each in self.held_out if any(name.startswith(each) for name in names)}

    def _digests_of_chosen(self, file: Path) -> set[bytes]:
        """Return the digests of the held-out proteins, of which other organisms may have some."""
        if not self.held_out:
            return set()
        proteins = _fasta.read(file, _fasta.Counts())
        return {self._digest(protein) for protein in proteins if self._chosen(protein)}

    def _digest(self, protein: _fasta.FastaEntry) -> bytes:
        """Return what decides on the split: what an example reads, so equal ones have one split."""
        return blake2b(protein.residues[: self.max_length - 1], digest_size=8).digest()

    def limit(self, split: str) -> int | None:
        """Return the largest number of examples of a split; None for any."""
        return self.limits().get(split)


def as_block(split: str, rows: list[np.ndarray], width: int) -> tuple[str, np.ndarray, np.ndarray]:
    """Return a block of examples, padded to a width, all of class 0."""
    tokens = np.zeros((len(rows), width), np.uint8)
    for row, values in zip(tokens, rows, strict=True):
        row[: len(values)] = values
    return split, tokens, np.zeros(len(rows), np.int64)
