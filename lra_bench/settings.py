"""The settings of a run, with their types and ranges. No heavy imports."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal

from lra_bench.ranges import (
    COUNT,
    SEED,
    STEPS,
    Range,
    checked,
    defaults_of,
    frozen,
    mapping,
    plain,
)


@dataclass(frozen=True)
class ModelSettings:
    """The settings of the encoder.

    Attributes:
        num_layers: blocks.
        emb_dim: e, numbers of a token's vector.
        ffn_dim: hidden numbers of the FFN.
        num_heads: h, heads of a block.
        head_dim: d, numbers of a query, a key and a value.
        positions: "learned" or "sinusoidal", added to the embeddings; or "rotary": queries and keys
            are turned by angles that grow with the place (RoPE).
        pooling: "mean" over the real tokens; "cls": the vector of a token that is put first;
            or "none", if tokens are predicted.
            Published code has others: "mean-all": the sum over the real tokens, divided by the
            number of all tokens; "mean-padded": the mean over all tokens, padding too; "first": the
            vector of the first token of the sequence.
        dropout: share of the embedding and of each sublayer's output that is set to zero.
        dropout_bits: the generator of dropout's random bits: "threefry", which gives the same bits
            everywhere, or "rbg", the device's own, which is meant for TPUs.
        dtype: "float32" or "bfloat16", the type of computation; parameters are always float32.

    The settings with a default are there to follow published code, or to save memory. No preset of
    the protocol changes them.

    Attributes:
        remat: whether the backward pass computes each block again, instead of keeping all that is
            in it: memory for time. It changes no result but for rounding.
        init: how parameters are drawn: as "flax" does, as "pytorch" does with embeddings of
            N(0, 0.02^2), or as the "lra" code does; see `lra_bench.model.initial`.
        activation: of the FFN: "gelu-tanh", or "gelu-erf", which is exact.
        hidden_dropout: share of the hidden numbers of the FFN that is set to zero.
        norm_epsilon: is added to the variance in layer normalisation.
        projection_bias: whether the projections of queries, keys, values and outputs have biases.
        pair_head_layers: hidden layers of the classifier of a paired task, 1 or 2; the second has
            half the size.
        pair_features: what the classifier of a paired task sees of both vectors: "all", which is
            x1, x2, x1 * x2 and x1 - x2, or "vectors", which is x1 and x2.
        vocab_size: rows of the embedding, if they are more than the ids of the task.
        padded_length: tokens to which sequences are padded, if they are more than those of the
            task. With pooling "mean-all", and with mechanisms that depend on the length, it
            matters.
    """

    num_layers: Annotated[int, Range(1, 1_000)]
    emb_dim: Annotated[int, Range(1, 2**16)]
    ffn_dim: Annotated[int, Range(1, 2**20)]
    num_heads: Annotated[int, Range(1, 2**12)]
    head_dim: Annotated[int, Range(1, 2**12)]
    positions: Literal["learned", "sinusoidal", "rotary"]
    pooling: Literal["mean", "mean-all", "mean-padded", "cls", "first", "none"]
    dropout: Annotated[float, Range(0, 0.99)]
    dropout_bits: Literal["threefry", "rbg"]
    dtype: Literal["float32", "bfloat16"]
    init: Literal["flax", "pytorch", "lra"] = "flax"
    activation: Literal["gelu-tanh", "gelu-erf"] = "gelu-tanh"
    hidden_dropout: Annotated[float, Range(0, 0.99)] = 0.0
    norm_epsilon: Annotated[float, Range(1e-12, 1)] = 1e-6
    projection_bias: bool = True
    pair_head_layers: Annotated[int, Range(1, 2)] = 1
    pair_features: Literal["all", "vectors"] = "all"
    vocab_size: Annotated[int, Range(0, 2**20)] = 0
    padded_length: Annotated[int, Range(0, 2**24)] = 0
    remat: bool = False


@dataclass(frozen=True)
class TrainSettings:
    """The settings of the optimiser and the loop.

    Attributes:
        batch_size: examples of a step, on all devices together.
        accumulate: number of parts of a batch that are computed in turn, to save memory.
        num_steps: number of updates.
        schedule: "constant", "linear", "cosine" or "rsqrt", after the warm-up; or "onecycle":
            PyTorch's OneCycleLR, which moves beta1 too.
        warmup_steps: updates of the warm-up. A run of fewer steps never reaches its highest rate.
        learning_rate: factor of the schedule.
        weight_decay: decoupled weight decay of AdamW.
        beta2: decay of AdamW's second moment; beta1 is 0.9 unless the schedule moves it. In float32
            one closer to 1 would be 1, and divide by zero.
        epsilon: AdamW's, added to the denominator. In float32 a smaller one would be 0.
        clip_norm: largest norm of the gradient; 0 for no clipping.
        log_every: steps between lines of training metrics.
        eval_every: steps between validations.
        eval_batch_size: examples of a batch in evaluation.
        resample_every: steps between redraws of random features and rotations; 0 for none.
        num_devices: number of local devices to use; 0 for all, those of other hosts too.
        sequence_devices: number of devices that share each sequence, which divides its memory.
            Linear attention then exchanges sums once, any other attention exchanges tokens.

    The settings with a default are there to follow published code. No preset of the protocol
    changes them.

    Attributes:
        clip_value: largest absolute value of each number of the gradient; 0 for no clipping.
        eval_drop_last: whether evaluation leaves out the examples that do not fill a batch.
        select_after: steps before which no checkpoint counts as the best.
        eval_examples: largest number of examples of an evaluation, evenly spread over the split; 0
            for all. It is there for a quick look: `--limit` sets it.
    """

    batch_size: Annotated[int, COUNT]
    accumulate: Annotated[int, COUNT]
    num_steps: Annotated[int, STEPS]
    schedule: Literal["constant", "linear", "cosine", "rsqrt", "onecycle"]
    learning_rate: Annotated[float, Range(1e-12, 100)]
    warmup_steps: Annotated[int, Range(0, 2**31 - 1)]
    weight_decay: Annotated[float, Range(0, 10)]
    beta2: Annotated[float, Range(0, 0.999999)]
    epsilon: Annotated[float, Range(1e-20, 1)]
    clip_norm: Annotated[float, Range(1e-6, 1e6, or_zero=True)]
    log_every: Annotated[int, STEPS]
    eval_every: Annotated[int, STEPS]
    eval_batch_size: Annotated[int, COUNT]
    resample_every: Annotated[int, Range(0, 2**31 - 1)]
    num_devices: Annotated[int, Range(0, 2**16)]
    sequence_devices: Annotated[int, Range(1, 2**16)]
    clip_value: Annotated[float, Range(1e-6, 1e6, or_zero=True)] = 0.0
    eval_drop_last: bool = False
    select_after: Annotated[int, Range(0, 2**31 - 1)] = 0
    eval_examples: Annotated[int, Range(0, 2**31 - 1)] = 0

    def evaluated(self, examples: int) -> int:
        """Return how many examples of a split are evaluated; all, if they do not fill a batch."""
        if self.eval_examples:
            examples = min(examples, self.eval_examples)
        left = examples % self.eval_batch_size if self.eval_drop_last else 0
        return examples if left == examples else examples - left


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
    step: Annotated[int, Range(0, 2**31 - 1)]
    test_accuracy: Annotated[float, Range(0, 1)] | None


@dataclass(frozen=True)
class CodeFile:
    """A file of the user that defines the attention or the task of a run.

    Attributes:
        name: without its folder.
        sha256: checksum of its contents.
        options: those of the attention or the task, with their defaults.
    """

    name: str
    sha256: str
    options: dict[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", frozen(self.options))


@dataclass(frozen=True)
class ConfigFile:
    """A file of the user's own that some of the settings came from; they are in the config too.

    Attributes:
        path: as the user gave it.
        sha256: of its contents.
    """

    path: str
    sha256: str


@dataclass(frozen=True)
class RunSettings:
    """The settings of one run, in full: runs with equal settings give equal metrics.

    Attributes:
        task, attention, preset, seed: as in the arguments; of files, the names that they register.
        data_source, data, attention_options, model, train: the settings proper.
        init_from: the checkpoint that the run starts with.
        attention_file, task_file: the files of the user that define them; None for those of
            packages.
        config_file: where settings came from; it changes no result.
    """

    task: str
    attention: str
    preset: str
    seed: Annotated[int, SEED]
    data_source: str
    data: dict[str, Any]
    attention_options: dict[str, Any]
    model: ModelSettings
    train: TrainSettings
    init_from: Origin | None = None
    attention_file: CodeFile | None = None
    task_file: CodeFile | None = None
    config_file: ConfigFile | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain dictionaries and lists, equal to what a JSON file of them holds."""
        values = plain(asdict(self))
        return {key: x for key, x in values.items() if x is not None or key not in FILES}


# The parts of a config that only runs with files of the user have: files of code first.
CODE_FILES = ("attention_file", "task_file")
FILES = (*CODE_FILES, "config_file")
# The parts that a config may lack.
OPTIONAL: dict[str, None] = dict.fromkeys(("init_from", *FILES))
# Settings that were added later, with what runs did before there was a choice.
_LATER = {
    "model": {"dropout_bits": "threefry", **defaults_of(ModelSettings)},
    "train": defaults_of(TrainSettings),
}
# The same for the data of each task.
_LATER_DATA = {
    "listops": {"brackets": "kept"},
    **{task: {"black": "pixel"} for task in ("image", "pathfinder", "pathx")},
}


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a run, maybe of an older version, with the settings added later.

    The folder of an unfinished run is not read in this way: its steps were rounded otherwise, so
    it would not go on to the same results.
    """
    later = {**_LATER, "data": _LATER_DATA.get(str(config.get("task")), {})}
    added = {
        name: {**settings, **config[name]}
        for name, settings in later.items()
        if isinstance(config.get(name), Mapping)
    }
    return {**config, **added}


def from_dict(values: Any) -> RunSettings:
    """Return the settings that `RunSettings.as_dict` gave.

    Raises:
        ValueError: a key is missing or unknown, or a value has the wrong type or range; the message
            names key and value.
    """
    settings = checked(RunSettings, {**OPTIONAL, **completed(mapping("the config", values))})
    parts = {"model": ModelSettings, "train": TrainSettings, "init_from": Origin}
    parts |= {"attention_file": CodeFile, "task_file": CodeFile, "config_file": ConfigFile}
    return replace(
        settings,
        data=frozen(settings.data),
        attention_options=frozen(settings.attention_options),
        **{
            name: checked(kind, value, f"{name}.")
            for name, kind in parts.items()
            if (value := getattr(settings, name)) is not None
        },
    )
