"""Files that `lra-bench new` writes: a mechanism or a task that works, and its test."""

from keyword import iskeyword

ATTENTION = '''\
"""{title}: say here in one line what it computes."""

import jax
import jax.numpy as jnp
import lra_bench
from jaxtyping import Array, Bool, Float


@lra_bench.register_attention("{name}", equivariant=True, family="kernel")
def {module}(
    q: Float[Array, "b l h d"],
    k: Float[Array, "b l h d"],
    v: Float[Array, "b l h d"],
    mask: Bool[Array, "b l"],
    *,
    epsilon: float = 1e-3,
) -> Float[Array, "b l h d"]:
    """Compute sum_j phi(q) phi(k_j) v_j / sum_j phi(q) phi(k_j), with phi(x) = relu(x) + epsilon.

    Time O(l d^2), memory O(l d + d^2).
    """
    real = mask[:, :, None, None]  # True where a token is real; other keys and values may be NaN
    k, v = (jnp.where(real, x, 0) for x in (k, v))
    phi_q = jax.nn.relu(q) + epsilon
    phi_k = jnp.where(real, jax.nn.relu(k) + epsilon, 0)
    wide = {{"preferred_element_type": jnp.float32}}  # bfloat16 has too few digits for sums
    sums = jnp.einsum("blhd,blhe->bhde", phi_k, v, **wide)
    above = jnp.einsum("blhd,bhde->blhe", phi_q, sums, **wide)
    below = jnp.einsum("blhd,bhd->blh", phi_q, phi_k.sum(1, dtype=jnp.float32), **wide)
    return (above / jnp.maximum(below, 1e-6)[..., None]).astype(v.dtype)
'''
TASK = '''\
"""{title}: does a sequence end with the symbol that it starts with?

Change `read`, and all that describes it; `lra_bench.contracts.Task` says what each name means.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np

from lra_bench.configs.base import quick, tiny
from lra_bench.contracts import Block, Range, Reading, Source
from lra_bench.registry import register_task


@register_task("{name}")
@dataclass(frozen=True)
class {type}:
    """Tell whether the first and the last symbol of a sequence are equal."""

    length: Annotated[int, Range(2, 2**14)] = 256
    size: int = 10_000
    seed: int = 0

    name: ClassVar[str] = "{name}"
    num_classes: ClassVar[int] = 2
    class_names: ClassVar[tuple[str, ...]] = ("different", "same")
    vocab_size: ClassVar[int] = 8
    pad_id: ClassVar[int | None] = None
    paired: ClassVar[bool] = False
    side: ClassVar[int | None] = None
    sources: ClassVar[tuple[Source, ...]] = (
        Source("generate", splits="each split from a random stream of its own"),
    )
    version: ClassVar[int] = 1

    @property
    def max_len(self) -> int:
        """Return the length of a sequence, in tokens."""
        return self.length

    def data_options(self, source: str) -> dict[str, Any]:
        """Return all options: the data depend on each."""
        del source
        return asdict(self)

    def sizes(self, source: str) -> dict[str, int]:
        """Return the number of examples per split; a tenth each for validation and test."""
        del source
        tenth = self.size // 10
        return {{"train": self.size - 2 * tenth, "validation": tenth, "test": tenth}}

    def inputs(self, source: str, path: Path | None) -> dict[str, Path]:
        """Return no files, because none is read."""
        del source, path
        return {{}}

    def read(self, reading: Reading) -> Iterator[Block]:
        """Yield one block per split."""
        for number, (split, size) in enumerate(self.sizes(reading.source).items()):
            rng = np.random.default_rng([self.seed, number])
            tokens = rng.integers(self.vocab_size, size=(size, self.length), dtype=np.uint8)
            labels = rng.integers(2, size=size)
            shift = rng.integers(1, self.vocab_size, size) * (1 - labels)
            tokens[:, -1] = (tokens[:, 0] + shift) % self.vocab_size
            yield split, tokens, labels

    def to_text(self, tokens: np.ndarray) -> str:
        """Return the symbols as numbers."""
        return " ".join(map(str, tokens))

    def features(self, tokens: np.ndarray) -> np.ndarray:
        """Return whether both ends are equal, as float32 of shape (n, 1)."""
        return (tokens[:, :1] == tokens[:, -1:]).astype(np.float32)

    def official(self, source: str, checksums: dict[str, str], sizes: dict[str, int]) -> bool:
        """Return False: there are no published data."""
        del source, checksums, sizes
        return False


def smoke() -> Any:
    """Show in seconds that everything runs."""
    config = tiny()
    config.data = dict(asdict({type}()), length=32, size=4_000)
    return config


def mini() -> Any:
    """Train in minutes on two CPU cores."""
    config = quick()
    config.data = asdict({type}())
    return config


PRESETS = {{"smoke": smoke, "mini": mini}}
'''
TEST = '''\
"""{title} keeps the contract of {article} {kind}."""

from pathlib import Path

import lra_bench


def test_{module}_keeps_the_contract():
    lra_bench.require_contract(Path(__file__).with_name("{file}"))
'''
# What the file of an attention imports under this name; its function must have another one.
IMPORTED = ("jnp",)
# What the file of a task imports; its class must have another name.
_TAKEN = ("Annotated", "Any", "Block", "ClassVar", "Iterator", "Path", "Range", "Reading", "Source")
_TEXTS = {"attention": ATTENTION, "task": TASK}
KINDS = tuple(_TEXTS)


def texts(kind: str, name: str) -> dict[str, str]:
    """Return the text of both files, by their names: the attention or the task, then its test.

    Args:
        kind: one of `KINDS`.
        name: lower-case words joined by hyphens.
    """
    module = name.replace("-", "_")
    words = {"name": name, "module": module, "file": f"{module}.py", "kind": kind}
    words["title"] = name.replace("-", " ").capitalize()
    words["type"] = _class_name(name)
    words["article"] = "an" if kind == "attention" else "a"
    return {
        f"{module}.py": _TEXTS[kind].format(**words),
        f"test_{module}.py": TEST.format(**words),
    }


def _class_name(name: str) -> str:
    """Return "MyTask" for "my-task", and "PathTask" where "Path" is another name already."""
    camel = "".join(word.capitalize() for word in name.split("-"))
    return f"{camel}Task" if iskeyword(camel) or camel in _TAKEN else camel
