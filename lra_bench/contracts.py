"""The contracts: what an attention mechanism and a task must provide. No heavy imports."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from lra_bench.errors import unknown
from lra_bench.ranges import Range as Range  # what tasks and attentions declare their options with
from lra_bench.ranges import hints_of, valid

SPLITS = ("train", "validation", "test")
# A task may also have examples that differ in kind from all others, such as proteins of organisms
# that training never sees. The model is tested on them too.
HELD_OUT = "held-out"
# The objective "masked", after Devlin et al. 2019, Section 3.1, and Appendix A.1 of the Performer
# paper: the share of the tokens that are predicted; of these, the share that the model sees as the
# mask, and as a random token. The rest it sees as they are.
CHOSEN, MASKED, RANDOM = 0.15, 0.8, 0.1
# What mechanisms have in common, after Tay et al. 2020, arXiv:2009.06732, Fig. 2. Figures of many
# mechanisms have a colour for each.
FAMILIES = (
    "kernel", "low-rank", "fixed-pattern", "learned-pattern", "recurrent", "convolution", "other",
)  # fmt: skip


@dataclass(frozen=True)
class Dims:
    """The sizes that an attention mechanism is built for.

    Attributes:
        num_heads: heads, `h` in shapes.
        head_dim: features of a head, `d` in shapes.
        max_len: tokens of the longest sequence; calls may be shorter.
        emb_dim: features of a token outside the heads, `e` in shapes; h d if it is 0.
    """

    num_heads: int
    head_dim: int
    max_len: int
    emb_dim: int = 0

    def __post_init__(self) -> None:
        if not self.emb_dim:
            object.__setattr__(self, "emb_dim", self.inner)

    @property
    def inner(self) -> int:
        """Return the features of all heads together, h d."""
        return self.num_heads * self.head_dim


# Of the sizes of the model and all options of a mechanism, the numbers that it keeps.
StateSize = Callable[[Dims, Mapping[str, Any]], int]


@dataclass(frozen=True)
class AttentionTraits:
    """The promises of an attention mechanism; the contract tests check each of them.

    Attributes:
        exact: the output equals softmax attention, Eq. (1) of the Performer paper.
        equivariant: permuting the real tokens permutes the output.
        shares_query_key: queries and keys have one projection; `q` and `k` are the same array.
        mixer: it is a function of (x, mask) with x (b, l, e), the input of the block, and takes the
            place of the whole self-attention; others are functions of (q, k, v, mask).
        family: one of `FAMILIES`; of no meaning if it is exact.
        state: of the sizes and the options, how many numbers of a sequence of `max_len` tokens a
            layer has to keep to answer one query: all that it reads besides the query's own token,
            its parameters and its random numbers. For sums over keys that is their size, for
            windows the keys and values of one window. Where it differs between queries, it is that
            of most; what a few global tokens read does not count. None if it is not declared.
    """

    exact: bool = False
    equivariant: bool = False
    shares_query_key: bool = False
    mixer: bool = False
    family: str = "other"
    state: StateSize | None = None

    @property
    def arrays(self) -> tuple[str, ...]:
        """Return the names of the arrays that a call takes."""
        return ("x", "mask") if self.mixer else ("q", "k", "v", "mask")


@dataclass(frozen=True)
class Rule:
    """A way in which training changes a learned array: `nnx.Param(value, rule=Rule(rate=0.1))`.

    Attributes:
        rate: factor of the learning rate.
        decay: whether weight decay applies.
        average: if given, the optimiser leaves the array alone, and after each step it becomes
            `average * value + (1 - average) * observed`. Its "gradient" must be value - observed.
    """

    rate: float = 1.0
    decay: bool = True
    average: float | None = None


@dataclass(frozen=True)
class Source:
    """A place from which the data of a task come.

    Attributes:
        name: the value of the setting `data.source`.
        splits: the rule that divides the examples into train, validation and test.
        files: what a user must have, such as "cifar-10-binary.tar.gz"; empty for a generator.
        url: the address where those files can be downloaded.
        size: bytes of the download.
        sha256: checksum of the one file at `url`, if it can be downloaded as it is.
        examples: of train, validation and test in the published files, for estimates of the space
            on disk; empty for a generator.
    """

    name: str
    splits: str
    files: str = ""
    url: str = ""
    size: int = 0
    sha256: str = ""
    examples: tuple[int, ...] = ()


# Tells people what is being done, how much of it is done, and out of how much, if that is known.
Report = Callable[[str, int, int | None], None]


def silent(*_: object) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Reading:
    """The arguments with which a task reads its data.

    Attributes:
        source: name of the source.
        path: where the files of the source are; None for a generator.
        scratch: a folder for intermediate results. It survives an interruption, and is removed
            when the data are complete.
        report: tells people how far the reading is.
        note: adds a remark to the manifest, such as a file that was left out.
    """

    source: str
    path: Path | None
    scratch: Path
    report: Report = silent
    note: Callable[[str], None] = silent


# Some examples of one split: its name, their tokens, their labels.
Block = tuple[str, np.ndarray, np.ndarray]


def check_ranges(task: Any) -> None:
    """Check the options of a task, a dataclass, against the types and ranges that it declares.

    Raises:
        ValueError: an option is out of range; the message names it, its value and the range.
    """
    for field in fields(task):
        valid(field.name, getattr(task, field.name), hints_of(type(task))[field.name])


class Task(Protocol):
    """A task: a frozen dataclass whose fields are its data options, each with a default.

    The type of a field may say which values are valid: `Annotated[int, Range(1, 100)]` or a
    `Literal`. The configuration refuses others.

    Attributes:
        name: the registered name.
        num_classes: number of labels.
        class_names: the meaning of each label, in order.
        vocab_size: number of token ids.
        pad_id: the token id of padding; None if every token is real.
        max_len: tokens of an example, or of one document if `paired`.
        paired: whether an example is two documents.
        side: pixels of a side, if an example is a square image: its grey values, or the red, green
            and blue value of each pixel; else None.
        sources: where its data can come from; the first is the default.
        version: a number that is raised whenever the same options give other data.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def num_classes(self) -> int: ...  # noqa: D102
    @property
    def class_names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def vocab_size(self) -> int: ...  # noqa: D102
    @property
    def pad_id(self) -> int | None: ...  # noqa: D102
    @property
    def max_len(self) -> int: ...  # noqa: D102
    @property
    def paired(self) -> bool: ...  # noqa: D102
    @property
    def side(self) -> int | None: ...  # noqa: D102
    @property
    def sources(self) -> tuple[Source, ...]: ...  # noqa: D102
    @property
    def version(self) -> int: ...  # noqa: D102

    def data_options(self, source: str) -> dict[str, Any]:
        """Return the options on which the data of that source depend."""
        ...

    def sizes(self, source: str) -> dict[str, int]:
        """Return the examples of each split if they are known before reading; else {}."""
        ...

    def inputs(self, source: str, path: Path | None) -> dict[str, Path]:
        """Return the files that decide what is read; their checksums are kept.

        Raises:
            RunError: a file is missing.
        """
        ...

    def read(self, reading: Reading) -> Iterator[Block]:
        """Yield blocks of (split, tokens, labels) in any order; the split may be `HELD_OUT`.

        Tokens are uint8 or uint16 (n, max_len), or (n, 2, max_len) if paired; labels int (n,).
        """
        ...

    def to_text(self, tokens: np.ndarray) -> str:
        """Return an example as a person reads it."""
        ...

    def features(self, tokens: np.ndarray) -> np.ndarray:
        """Return cheap features, float32 (n, f), that tell something about the label.

        A linear model on them shows that the data are not noise. (n, 0) if there are none.
        """
        ...

    def official(self, source: str, checksums: dict[str, str], sizes: dict[str, int]) -> bool:
        """Return whether these data are the published data of the benchmark.

        Args:
            source: name of the source.
            checksums: SHA-256 of each of `inputs`.
            sizes: examples of each split.
        """
        ...


@runtime_checkable
class Computable(Protocol):
    """A task whose labels follow from the tokens; a check of its data computes them."""

    def compute_labels(self, tokens: np.ndarray) -> np.ndarray | None:
        """Return the labels, int (n,), of tokens as `Task.read` yields them; -1 if impossible.

        None if labels do not follow from tokens with the task's options; `Task.read` then compares
        them with what it leaves out.
        """
        ...


@runtime_checkable
class TokenTask(Task, Protocol):
    """A task that is scored at its tokens: a language model predicts them.

    Its examples have a single class, 0, which nothing reads.

    Attributes:
        objective: "next": each token from those before it, by causal attention; or "masked": 15 %
            of the tokens from all the others.
        mask_id: the token id that hides a token; it is never predicted.
        ordinary: the first and the last token id of those that a hidden token may be.
    """

    @property
    def objective(self) -> Literal["next", "masked"]: ...  # noqa: D102
    @property
    def mask_id(self) -> int: ...  # noqa: D102
    @property
    def ordinary(self) -> tuple[int, int]: ...  # noqa: D102

    def scored(self, tokens: Any) -> Any:
        """Return which tokens, (n, l), are predicted and counted, bool (n, l).

        Tokens are an array of NumPy or of JAX; the result is one of the same library.
        """
        ...


@runtime_checkable
class Started(TokenTask, Protocol):
    """A task of tokens whose first one is predicted too, if the objective is "next".

    Attributes:
        start_id: the token id that the model then reads before the first token. The last token is
            not read, so that an example keeps its length.
    """

    @property
    def start_id(self) -> int: ...  # noqa: D102


@runtime_checkable
class InBits(Protocol):
    """A task of tokens whose loss is shown in bits instead of as perplexity.

    Attributes:
        bits_per: what a token is, in a word, such as "byte".
    """

    bits_per: str


@runtime_checkable
class Guessable(Protocol):
    """A task with a better guess than its commonest label: the chance of its records.

    Attributes:
        guess: what is guessed, in words, such as "always the commonest value present".
    """

    @property
    def guess(self) -> str: ...  # noqa: D102

    def chance(self) -> float:
        """Return the expected accuracy of that guess, in [0, 1]."""
        ...


@runtime_checkable
class Cautioned(Protocol):
    """A task whose accuracies say less than they seem to; tables and reports repeat it.

    Attributes:
        caution: what to know, in a phrase that may follow the name of the task and a colon; an
            attribute of the class.
    """

    caution: str


def source_of(task: Task, name: str) -> Source:
    """Return the source of that name.

    Raises:
        UsageError: the task has no such source.
    """
    for source in task.sources:
        if source.name == name:
            return source
    raise unknown(f"data source of {task.name}", name, [source.name for source in task.sources])
