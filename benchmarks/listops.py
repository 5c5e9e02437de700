"""Measure how fast ListOps is generated, against a plain recursive generator.

    python benchmarks/listops.py

Prints the CPU milliseconds per accepted example of 500 to 2,000 symbols, with its value and its
source string. The recursive generator follows the paper: it draws one random tree at a time,
rejects it if its length is out of bounds, then formats and evaluates it.
"""

import random
import statistics
import time
from collections.abc import Callable

import numpy as np

from lra_bench.tasks._listops_trees import Limits, generate, to_source

Tree = int | tuple[str, list]
OPERATORS: dict[str, Callable[[list[int]], int]] = {
    "[MIN": min,
    "[MAX": max,
    "[MED": lambda values: int(statistics.median(values)),
    "[SM": lambda values: sum(values) % 10,
}


def grow(depth: int, limits: Limits) -> tuple[Tree, int]:
    """Draw a random tree and return it with its length."""
    if depth >= limits.max_depth or random.random() > 0.25:
        return random.randrange(10), 1
    children = [grow(depth + 1, limits) for _ in range(random.randint(2, limits.max_args))]
    operator = random.choice(list(OPERATORS))
    return (operator, [tree for tree, _ in children]), 2 + sum(size for _, size in children)


def value(tree: Tree) -> int:
    """Return the value of a tree."""
    if isinstance(tree, int):
        return tree
    return OPERATORS[tree[0]]([value(child) for child in tree[1]])


def text(tree: Tree) -> str:
    """Format a tree as the release does."""
    if isinstance(tree, int):
        return str(tree)
    opened = "( " * (len(tree[1]) + 1) + tree[0]
    return opened + "".join(f" {text(child)} )" for child in tree[1]) + " ] )"


def recursive(count: int, limits: Limits) -> None:
    """Generate `count` accepted examples one by one."""
    accepted = 0
    while accepted < count:
        tree, length = grow(1, limits)
        if limits.min_length < length < limits.max_length:
            accepted += 1
            text(tree)
            value(tree)


def batched(count: int, limits: Limits) -> None:
    """Generate `count` accepted examples by the project's generator, with their strings."""
    tokens, arities, _ = generate(np.random.default_rng(0), count, limits)
    for row in zip(tokens, arities, strict=True):
        to_source(*row)


def tokens_only(count: int, limits: Limits) -> None:
    """Generate `count` accepted examples without strings, as the harness does."""
    generate(np.random.default_rng(0), count, limits)


def milliseconds(make: Callable[[int, Limits], None], count: int) -> float:
    """Return the CPU milliseconds per example, the median of five."""
    times = []
    for _ in range(5):
        started = time.process_time()
        make(count, Limits())
        times.append((time.process_time() - started) / count * 1e3)
    return statistics.median(times)


def main() -> None:
    """Print the three rates and their ratios."""
    random.seed(0)
    plain = milliseconds(recursive, 200)
    print(f"plain recursive       {plain:.3f} ms per example")
    for name, make in (("with strings", batched), ("tokens and values", tokens_only)):
        ours = milliseconds(make, 4096)
        print(f"ours, {name:<18}{ours:.3f} ms per example, {plain / ours:.1f}x")


if __name__ == "__main__":
    main()
