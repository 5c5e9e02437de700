"""The cell that one measurement is about. No heavy imports."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Scope = Literal["attention", "model", "train"]
Pass = Literal["forward", "backward", "step"]

# The Transformers of the Performer paper's Fig. 3, which calls them (heads, layers, d_ff, d).
SIZES = {
    "regular": {"num_heads": 8, "num_layers": 6, "ffn_dim": 2_048, "emb_dim": 512, "head_dim": 64},
    "small": {"num_heads": 1, "num_layers": 6, "ffn_dim": 64, "emb_dim": 64, "head_dim": 64},
}
# Their tokens, as in the paper.
VOCABULARY = 256
HERE, ESTIMATE = "here", "estimate"


@dataclass(frozen=True)
class Cell:
    """One program at one length, on one target.

    Attributes:
        attention: its registered name.
        scope: "attention" alone, the whole "model", or a "train" step with the optimiser.
        size: "regular" or "small" of the Performer paper, or a task.
        preset: of the task; None for the paper's sizes.
        direction: "forward"; "backward", which is forward and backward; or "step".
        length: tokens of an example.
        batch: examples of all devices together.
        dtype: the type in which the program computes.
        layers: of the model; None for the attention alone.
        devices: number of devices that share the batch.
        target: "here"; "estimate", compiled for this machine's CPU and not run; or a TPU or
            GPU, or the file that describes a GPU, compiled for and not run.
        memory_limit: bytes that a device may use; None for all that it has.
        config: the settings of a run, from which sizes and options are taken; the groups
            `attention_options`, `model` and `train` are always there.
    """

    attention: str
    scope: Scope
    size: str
    preset: str | None
    direction: Pass
    length: int
    batch: int
    dtype: str
    layers: int | None
    devices: int
    target: str
    memory_limit: int | None
    config: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, ready for JSON."""
        return asdict(self)
