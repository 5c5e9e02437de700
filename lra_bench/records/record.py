"""The record of a run: what it holds, how it is written and read."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float

from lra_bench.data.chance import COMMONEST, Chance
from lra_bench.data.store import Provenance
from lra_bench.errors import RunError
from lra_bench.files.json_files import read_json, with_checksum, without_checksum, write_json
from lra_bench.files.paths import unreadable
from lra_bench.records.answers import ANSWERS, Answers, answers_of
from lra_bench.records.values import (
    group,
    is_count,
    is_number,
    is_positive,
    is_share,
    is_text,
    is_whole,
    kept,
    or_none,
)
from lra_bench.runtime.environment import Environment
from lra_bench.settings import RunSettings, completed

SCHEMA = 1
# What older records lack.
LACKING = {
    "init_from": None,
    "guess": COMMONEST,
    "chance_loss": None,
    "uniform_loss": None,
    "held_out": None,
}
FILE = "record.json"
# A record of 25,000 test examples has 10 KB.
MOST_BYTES = 16 * 2**20
# Of a value in a message, in characters.
_LONGEST = 40
Status = Literal["ok", "diverged", "out_of_memory", "failed"]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True)
class Score:
    """The result on every example of a split.

    Attributes:
        accuracy: share of right answers, in [0, 1].
        loss: mean cross-entropy, in nats.
        examples: number of examples.
        answers: those on each example; None if unknown.
    """

    accuracy: float
    loss: float | None
    examples: int
    answers: Answers | None = None

    def shares(self) -> Float[np.ndarray, " n"] | None:
        """Return for each example a number whose mean is the accuracy; None if unknown."""
        return None if self.answers is None else self.answers.shares(self.examples)

    def variance(self, accuracy: float | None = None) -> float:
        """Return the variance of the accuracy over other examples.

        It is that of a binomial number. Where an example has several answers, these depend on each
        other, and the accuracy is a ratio of sums over examples, sum r / sum a: its variance is
        about that of the mean of r - R a, divided by the square of the mean of a.

        Args:
            accuracy: of the binomial number, and R; that of the score if None.
        """
        share = self.accuracy if accuracy is None else accuracy
        if self.answers is not None and self.answers.counts is not None:
            return float(self.answers.residuals(self.examples, share).var() / self.examples)
        return share * (1 - share) / self.examples

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        answers = {} if self.answers is None else self.answers.as_dict()
        head = {"accuracy": self.accuracy, "loss": self.loss}
        return {**head, **answers, "examples": self.examples}


@dataclass(frozen=True)
class Start:
    """The checkpoint whose parameters a run started with, and its scores before any step.

    Attributes:
        task, attention: of the run that made the checkpoint.
        path: where it was, as the user named it.
        sha256: of the list of its checksums.
        step: after which it was saved.
        test_accuracy: of that run, in [0, 1], if this step is the one that it tested.
        validation, test: scores of the parameters in this run before any step.
    """

    path: str | None
    sha256: str | None
    task: str
    attention: str
    step: int | None
    test_accuracy: float | None
    validation: Score | None = None
    test: Score | None = None


@dataclass(frozen=True)
class Record:
    """The record of one run, written when it ends. Unknown or absent parts are None.

    Attributes:
        status: how the run ended.
        error: why it did not end well.
        config: the settings as the run wrote them; the groups `data`, `attention_options`, `model`
            and `train` are always there, and so is `data_source`, which may be None.
        init_from: the checkpoint that it started with.
        parameters: learned numbers of the model.
        parameters_vs_softmax: the same over those of the model with softmax attention.
        chance: expected accuracy of a guess, in [0, 1].
        guess: what is guessed, in words.
        chance_loss: where tokens are predicted: cross-entropy of their frequencies in the training
            set, in nats.
        uniform_loss: the same of equal chances for all ordinary tokens.
        best_step: the step that validated best and was tested.
        validation, test: scores at that step.
        held_out: score on examples that differ in kind, where a task has such.
        steps: updates.
        steps_per_second: of training, without compilation, data and evaluation.
        tokens_per_second: the same in tokens, padding included.
        flops_per_step: floating-point operations of a training step.
        peak_memory_bytes: of the process on CPU, of a device elsewhere.
        compile_seconds: time to compile the training step; None if it was read from a cache.
        data: where the data come from.
        environment: where the run took place.
        path: the file that it was read from.
    """

    status: Status
    error: str | None
    task: str
    attention: str
    preset: str
    seed: int
    config: Mapping[str, Any]
    init_from: Start | None
    parameters: float | None
    parameters_vs_softmax: float | None
    chance: float
    guess: str
    chance_loss: float | None
    uniform_loss: float | None
    best_step: int | None
    validation: Score | None
    test: Score | None
    held_out: Score | None
    steps: int
    steps_per_second: float | None
    tokens_per_second: float | None
    flops_per_step: float | None
    peak_memory_bytes: float | None
    compile_seconds: float | None
    data: Provenance | None
    environment: Environment | None
    path: Path | None = None

    @property
    def name(self) -> str:
        """Return the path, or the task and seed of a record that was not read from a file."""
        return str(self.path) if self.path else f"{self.task}, seed {self.seed}"

    @property
    def device(self) -> str:
        """Return the devices in words; speeds compare only on the same devices."""
        return (self.environment or Environment()).device

    @property
    def data_sha256(self) -> str | None:
        """Return the checksum of the data."""
        return self.data and self.data.sha256

    @property
    def is_official(self) -> bool:
        """Return whether the data are the published data of the benchmark."""
        return self.data is not None and self.data.official

    def as_dict(self) -> dict[str, Any]:
        """Return plain values in the order of the file, ready for JSON."""
        values = {"schema": SCHEMA}
        for field in fields(self):
            if field.name != "path":
                values[field.name] = _plain(getattr(self, field.name))
        return values


def _plain(value: Any) -> Any:
    """Return a part of a record as plain values."""
    if isinstance(value, Start):
        scores = {name: _plain(getattr(value, name)) for name in ("validation", "test")}
        return {**asdict(value), **scores}
    if isinstance(value, Score | Environment):
        return value.as_dict()
    return asdict(value) if isinstance(value, Provenance) else value


def begin(
    settings: RunSettings,
    chance: Chance,
    data: Provenance | None = None,
    environment: Environment | None = None,
) -> Record:
    """Return the record of a run in which nothing is measured yet; it counts as failed.

    Args:
        settings: of the run.
        chance: what a guess reaches.
        data: where the data come from.
        environment: where the run takes place.
    """
    origin = settings.init_from
    measured = ("parameters", "parameters_vs_softmax", "best_step", "validation", "test",
                "held_out", "steps_per_second", "tokens_per_second", "flops_per_step",
                "peak_memory_bytes", "compile_seconds")  # fmt: skip
    return Record(
        status="failed",
        error=None,
        task=settings.task,
        attention=settings.attention,
        preset=settings.preset,
        seed=settings.seed,
        config=settings.as_dict(),
        init_from=None if origin is None else Start(**asdict(origin)),
        chance=chance.accuracy,
        guess=chance.guess,
        chance_loss=chance.loss,
        uniform_loss=chance.uniform,
        steps=0,
        data=data,
        environment=environment,
        **dict.fromkeys(measured),
    )


def write(folder: Path, record: Record) -> None:
    """Write `record.json`, the last file of a run, with its checksum into its folder."""
    write_json(folder / FILE, with_checksum(record.as_dict()))


def read(path: Path) -> Record:
    """Return the record in a file.

    Raises:
        RunError: the file holds no record of this schema; the message says why.
    """
    try:
        value = read_json(path, MOST_BYTES)
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: unreadable: {unreadable(error)}") from None
    try:
        return parse(value, path)
    except ValueError as error:
        raise RunError(f"{path}: {error}") from None


def parse(value: Any, path: Path | None = None) -> Record:
    """Return the record that a JSON value holds.

    A part that readers rely on must be valid. Any other part becomes None where it is not.

    Args:
        value: the contents of a record file.
        path: of the file.

    Raises:
        ValueError: the value is no record of this schema, or does not match its checksum; the
            message says why.
    """
    if not isinstance(value, dict) or "schema" not in value:
        raise ValueError("not a run record")
    if value["schema"] != SCHEMA or isinstance(value["schema"], bool):
        raise ValueError(f"schema {_brief(value['schema'])}, this version reads {SCHEMA}")
    # Older records lack these and the checksum.
    value = {**LACKING, **without_checksum(value)}
    if missing := [key for key in _VALID if key not in value]:
        raise ValueError(f"incomplete: {', '.join(missing)}")
    if wrong := [*_invalid(value)]:
        raise ValueError(f"not as it should be: {', '.join(wrong)}")
    known = {field.name: value.get(field.name) for field in fields(Record)}
    return Record(**{**known, **_typed(value), "path": path})


def _brief(value: Any) -> str:
    """Return a value as text, cut where a message would be too long."""
    text = json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _invalid(value: dict[str, Any]) -> list[str]:
    """Return the keys whose values a reader could not rely on."""
    wrong = [key for key, valid in _VALID.items() if not valid(value[key])]
    if value["status"] == "ok":
        wrong += [key for key in ("test", "validation", "best_step") if value[key] is None]
    return wrong


def _typed(value: dict[str, Any]) -> dict[str, Any]:
    """Return the parts that have types of their own, and figures that only people read."""
    figures = ("tokens_per_second", "flops_per_step", "peak_memory_bytes", "compile_seconds")
    return {
        "config": {"data_source": None, **completed(value["config"])},
        "init_from": _start(value["init_from"]),
        "validation": _score(value["validation"]),
        "test": _score(value["test"]),
        "held_out": _score(value["held_out"]),
        "data": _provenance(value["data"]),
        "environment": parse_environment(value["environment"]),
        **{name: kept(value.get(name), is_positive) for name in figures},
    }


def _score(value: dict[str, Any] | None) -> Score | None:
    if value is None:
        return None
    loss = kept(value.get("loss"), is_number)
    return Score(value["accuracy"], loss, value["examples"], answers_of(value))


def _start(value: dict[str, Any] | None) -> Start | None:
    if value is None:
        return None
    scores = {name: _score(kept(value.get(name), _is_score)) for name in ("validation", "test")}
    return Start(
        path=kept(value.get("path"), is_text),
        sha256=kept(value.get("sha256"), is_text),
        task=value["task"],
        attention=value["attention"],
        step=kept(value.get("step"), is_whole),
        test_accuracy=kept(value.get("test_accuracy"), is_share),
        **scores,
    )


def _provenance(value: dict[str, Any] | None) -> Provenance | None:
    """Return where data come from; an empty object tells nothing."""
    if not value:
        return None
    sizes = {name: size for name, size in group(value.get("sizes")).items() if is_whole(size)}
    source, sha256 = (kept(value.get(key), is_text) for key in ("source", "sha256"))
    return Provenance(source, sha256, sizes, value.get("official") is True)


def parse_environment(value: Any) -> Environment | None:
    """Return the environment that a JSON value holds; parts that are not valid are left out."""
    if not isinstance(value, dict):
        return None
    versions = {k: v for k, v in group(value.get("versions")).items() if is_text(v)}
    texts = ("device_kind", "platform", "dtype", "git_commit", "host", "host_cpu", "xla_flags",
             "libtpu_init_args", "memory_method", "huge_pages")  # fmt: skip
    counts = ("device_count", "processes", "host_cpu_count", "usable_cores")
    return Environment(
        versions=versions,
        **{name: kept(value.get(name), is_text) for name in texts},
        **{name: kept(value.get(name), is_count) for name in counts},
    )


def _is_group(value: Any) -> bool:
    return isinstance(value, dict)


def _is_config(value: Any) -> bool:
    groups = ("data", "model", "train", "attention_options")
    if not (isinstance(value, dict) and all(isinstance(value.get(g), dict) for g in groups)):
        return False
    every = [*value.values(), *(x for name in groups for x in value[name].values())]
    numbers = [x for x in every if isinstance(x, int | float) and not isinstance(x, bool)]
    return all(map(is_number, numbers))


def _is_data(value: Any) -> bool:
    """Return whether the source and the checksum of the data, if known, are texts."""
    return isinstance(value, dict) and all(
        or_none(is_text)(value.get(key)) for key in ("source", "sha256")
    )


def _is_score(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    if not (is_share(value.get("accuracy")) and is_count(value.get("examples"))):
        return False
    if not value.keys() & {*ANSWERS}:
        return True
    return all(is_text(value[key]) for key in ANSWERS if key in value) and _agrees(value)


def _agrees(value: dict[str, Any]) -> bool:
    """Return whether the answers are of so many examples and make that accuracy."""
    answers = answers_of(value)
    try:
        return answers is not None and answers.accuracy(value["examples"]) == value["accuracy"]
    except RunError:
        return False


def _is_start(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return is_text(value.get("attention")) and is_text(value.get("task"))


# The parts that a reader relies on; the other keys are for people.
_VALID: dict[str, Callable[[Any], bool]] = {
    "status": lambda value: is_text(value) and value in STATUSES,
    "error": or_none(is_text),
    "task": is_text,
    "attention": is_text,
    "preset": is_text,
    "seed": lambda value: is_number(value) and isinstance(value, int) and abs(value) < 2**63,
    "config": _is_config,
    "init_from": or_none(_is_start),
    "chance": is_share,
    "guess": is_text,
    "chance_loss": or_none(is_positive),
    "uniform_loss": or_none(is_positive),
    "held_out": or_none(_is_score),
    "best_step": or_none(is_whole),
    "steps": is_whole,
    "validation": or_none(_is_score),
    "test": or_none(_is_score),
    "parameters": or_none(is_positive),
    "parameters_vs_softmax": or_none(is_positive),
    "steps_per_second": or_none(is_positive),
    "data": or_none(_is_data),
    "environment": or_none(_is_group),
}
# The keys that a record has; `LACKING` says which of them older records lack.
REQUIRED = tuple(_VALID)
