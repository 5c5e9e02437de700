"""The settings of a run: the typed form of a configuration. No heavy imports."""

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class ModelSettings:
    """The settings of the encoder.

    Attributes:
        num_layers, emb_dim, ffn_dim, num_heads, head_dim: sizes.
        positions: "learned" or "sinusoidal".
        pooling: "mean" over the real tokens, or "cls": the vector of a token that is put first.
        dropout: share of the embedding and of each sublayer's output that is set to zero.
        dtype: "float32" or "bfloat16", the type of computation; parameters are always float32.
    """

    num_layers: int
    emb_dim: int
    ffn_dim: int
    num_heads: int
    head_dim: int
    positions: Literal["learned", "sinusoidal"]
    pooling: Literal["mean", "cls"]
    dropout: float
    dtype: Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class TrainSettings:
    """The settings of the optimiser and the loop.

    Attributes:
        batch_size: examples of a step, on all devices together.
        accumulate: number of parts of a batch that are computed in turn, to save memory.
        num_steps: number of updates.
        schedule: "constant", "linear", "cosine" or "rsqrt", after the warm-up.
        warmup_steps: updates of the warm-up.
        learning_rate: factor of the schedule.
        weight_decay, beta2, epsilon: AdamW's; beta1 is 0.9 everywhere.
        clip_norm: largest norm of the gradient; 0 for no clipping.
        log_every: steps between lines of training metrics.
        eval_every: steps between validations.
        eval_batch_size: examples of a batch in evaluation.
        resample_every: steps between redraws of random features and rotations; 0 for none.
        num_devices: number of local devices to use; 0 for all, those of other hosts too.
        sequence_devices: number of devices that share each sequence, which divides its memory.
            Linear attention then exchanges sums once, any other attention exchanges tokens.
    """

    batch_size: int
    accumulate: int
    num_steps: int
    schedule: Literal["constant", "linear", "cosine", "rsqrt"]
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    beta2: float
    epsilon: float
    clip_norm: float
    log_every: int
    eval_every: int
    eval_batch_size: int
    resample_every: int
    num_devices: int
    sequence_devices: int


# The training settings that place a run on devices; they change no result.
PLACEMENT = ("num_devices", "sequence_devices")


@dataclass(frozen=True)
class Origin:
    """The checkpoint whose parameters a run starts with; its `sha256` alone identifies it.

    Attributes:
        path: as the user gave it.
        sha256: checksum of its checksums.json.
        task, attention: of the run that made it.
        step: updates of that run.
        test_accuracy: of that run, in [0, 1], if it tested this step.
    """

    path: str
    sha256: str
    task: str
    attention: str
    step: int
    test_accuracy: float | None


@dataclass(frozen=True)
class RunSettings:
    """The settings of one run, in full: runs with equal settings give equal metrics."""

    task: str
    attention: str
    preset: str
    seed: int
    data_source: str
    data: dict[str, Any]
    attention_options: dict[str, Any]
    model: ModelSettings
    train: TrainSettings
    init_from: Origin | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, ready for JSON."""
        return asdict(self)


def from_dict(values: dict[str, Any]) -> RunSettings:
    """Return the settings that `RunSettings.as_dict` gave.

    Raises:
        KeyError, TypeError, AttributeError: the values are of another version, or no settings.
    """
    origin = values.get("init_from")
    typed = {
        "model": ModelSettings(**values["model"]),
        "train": TrainSettings(**values["train"]),
        "init_from": None if origin is None else Origin(**origin),
    }
    return RunSettings(**{**values, **typed})
