"""What a run is made of: the typed form of a configuration. No heavy imports."""

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class ModelSettings:
    """The encoder.

    Attributes:
        num_layers, emb_dim, ffn_dim, num_heads, head_dim: sizes.
        positions: "learned" or "sinusoidal".
        pooling: "mean" over the real tokens, or "cls", the vector of a token put first.
        dropout: of the embedding and of each sublayer's output.
        dtype: "float32" or "bfloat16", what is computed in; parameters are float32 always.
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
    """The optimiser and the loop.

    Attributes:
        batch_size: examples a step, over all devices together.
        accumulate: parts that a batch is cut into, one after the other, to save memory.
        num_steps: updates.
        schedule: "constant", "linear", "cosine" or "rsqrt", after `warmup_steps`.
        learning_rate: what the schedule is multiplied by.
        weight_decay, beta2, epsilon: AdamW's; beta1 is 0.9 everywhere.
        clip_norm: the gradient's largest norm; 0 doesn't clip.
        log_every, eval_every: steps between lines of training and of validation metrics.
        eval_batch_size: examples at a time in evaluation.
        resample_every: steps between redrawings of random features and rotations; 0 never.
        num_devices: how many of the local devices to use; 0 takes all, those of other hosts too.
        sequence_devices: how many of them share each sequence, which spreads its memory; attention
            that is linear in the length then costs one exchange of sums, any other one of tokens.
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


# Of the training's settings, those of what it is done on: they change no result.
PLACEMENT = ("num_devices", "sequence_devices")


@dataclass(frozen=True)
class Origin:
    """The checkpoint whose parameters a run starts with; its `sha256` alone says which it is.

    Attributes:
        path: as the user gave it.
        sha256: of the checkpoint's checksums.json.
        task, attention: of the run that made it.
        step: how far that run was.
        test_accuracy: of that run, if it is this step that was tested.
    """

    path: str
    sha256: str
    task: str
    attention: str
    step: int
    test_accuracy: float | None


@dataclass(frozen=True)
class RunSettings:
    """One run, in full: two runs with equal settings give equal metrics."""

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
        """Plain dictionaries, ready for JSON."""
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
