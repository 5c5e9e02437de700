"""The sizes that an attention mechanism is built for, and the axes that devices form."""

from dataclasses import dataclass

# Axes of the mesh of devices: examples of a batch, and tokens of a sequence, are cut along them.
DATA, SEQUENCE = "data", "sequence"


@dataclass(frozen=True)
class Dims:
    """Sizes fixed when a mechanism is built.

    Attributes:
        num_heads: heads, `h` in shapes.
        head_dim: features a head, `d` in shapes.
        max_len: the longest sequence that will be seen, in tokens; calls may be shorter.
    """

    num_heads: int
    head_dim: int
    max_len: int
