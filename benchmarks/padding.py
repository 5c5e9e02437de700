"""Measure how far padding and batch mates move the outputs of published code.

    python benchmarks/padding.py

Prints one row per formula of `_kernel_formulas.py`, `_pattern_formulas.py` and `_mixer_formulas.py`
as a markdown table. Each formula is computed in float64 on one fixed random example of 20 real
tokens, padded to 32 positions, in a batch with a mate of 16 real tokens.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

import _kernel_formulas
import _mixer_formulas
import _pattern_formulas
import numpy as np
from _formulas import Array, Batch

Formula = Callable[[Batch], Array]
_REAL, _LENGTH, _OTHER_LENGTHS = (20, 16), 32, (20, 48)
# Queries and keys of another mate are so many times as long.
_OTHER_MATES = (1.0, 2.0)
_HEADS, _FEATURES = 2, 8
# What is below this is rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Moved:
    """Moved holds the relative changes of real tokens' outputs, max |out - out'| / max |out|.

    Attributes:
        content: when the padded tokens are others.
        amount: when the batch is padded to another length; the larger change of two lengths.
        mate: when the other example of the batch is another one; the larger change of two.
    """

    content: float
    amount: float
    mate: float


@dataclass(frozen=True)
class Place:
    """A place is lines or a name in a file of a repository.

    Attributes:
        repository: owner and name at GitHub.
        commit: 40 hexadecimal digits.
        path: the file.
        where: lines such as `10-20,31`, or the name of a class or function.
    """

    repository: str
    commit: str
    path: str
    where: str

    def markdown(self) -> str:
        """Return the shortened place, as a link to its first lines."""
        address = f"https://github.com/{self.repository}/blob/{self.commit}/{self.path}"
        first, _, last = self.where.partition(",")[0].partition("-")
        anchor = f"#L{first}-L{last}" if last else ""
        name = f"{self.repository}@{self.commit[:7]}"
        return f"[{name}: {self.path.rpartition('/')[2]}]({address}{anchor}), {self.where}"


def main() -> None:
    """Print the table."""
    print(table())


def table() -> str:
    """Return the markdown table of all formulas."""
    head = ["mechanism", "code", "padded keys", "batch mates", "content", "amount", "mate"]
    lines = [head, ["---"] * 4 + ["---:"] * 3, *map(_row, formulas())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def formulas() -> Iterator[Formula]:
    """Yield the formulas of all files, in their order."""
    for module in (_kernel_formulas, _pattern_formulas, _mixer_formulas):
        yield from _public(module)


def _public(module: ModuleType) -> Iterator[Formula]:
    """Yield the formulas that a module defines itself."""
    for name, value in vars(module).items():
        if inspect.isfunction(value) and value.__module__ == module.__name__ and name[0] != "_":
            yield value


def _row(formula: Formula) -> list[str]:
    """Return the cells of a formula's row."""
    said = facts(formula)
    code = "; ".join(place.markdown() for place in sources(formula))
    moved = measure(formula)
    figures = map(_shown, (moved.content, moved.amount, moved.mate))
    return [f"`{said['Mechanism']}`", code, said["Padding"], said["Mates"], *figures]


def facts(formula: Formula) -> dict[str, str]:
    """Return what a formula's docstring says after `Mechanism:`, `Padding:` and `Mates:`."""
    text = " ".join((inspect.getdoc(formula) or "").split())
    parts = re.split(r" (Mechanism|Padding|Mates|Source): ", text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def sources(formula: Formula) -> list[Place]:
    """Return the sources that a formula's docstring names as `repository@commit:path:where`."""
    found = facts(formula)["Source"].split()
    matches = [re.fullmatch(r"([^@]+)@([0-9a-f]{40}):([^:]+):(.+)", text) for text in found]
    if not matches or None in matches:
        raise ValueError(f"{formula.__name__}: a source is not repository@commit:path:where")
    return [Place(*match.groups()) for match in matches if match]


def measure(formula: Formula) -> Moved:
    """Return how far the output of the first example's real tokens moves."""
    out = _observed(formula, batch(_LENGTH))

    def change(other: Batch) -> float:
        return float(abs(_observed(formula, other) - out).max() / abs(out).max())

    return Moved(
        content=change(batch(_LENGTH, padding=1)),
        amount=max(change(batch(length)) for length in _OTHER_LENGTHS),
        mate=max(change(batch(_LENGTH, mate=norm)) for norm in _OTHER_MATES),
    )


def batch(length: int, *, padding: int = 0, mate: float | None = None) -> Batch:
    """Return the batch with a padded length, other padding by number, another mate by norm."""
    other = _tokens(seed=1) if mate is None else _tokens(seed=2)
    other[:2] *= mate or 1
    examples = np.stack([_tokens(seed=0), other], axis=1)
    filling = np.stack([_tokens(seed=3 + 2 * padding), _tokens(seed=4 + 2 * padding)], axis=1)
    mask = np.arange(length) < np.array(_REAL)[:, None]
    real = mask[None, :, :, None, None]
    q, k, v = np.where(real, examples[:, :, :length], filling[:, :, :length])
    return Batch(q, k, v, mask)


def _tokens(seed: int) -> Array:
    """Return queries, keys and values of an example, of shape (3, l, h, d), normal."""
    shape = (3, max(_OTHER_LENGTHS), _HEADS, _FEATURES)
    return np.random.RandomState(seed).standard_normal(shape)


def _observed(formula: Formula, given: Batch) -> Array:
    """Return the outputs of the first example's real tokens."""
    return formula(given)[0, : _REAL[0]]


def _shown(change: float) -> str:
    """Return a change with two significant digits; 0 stands for rounding errors."""
    return "0" if change < _ROUNDING else f"{change:.2g}"


if __name__ == "__main__":
    main()
