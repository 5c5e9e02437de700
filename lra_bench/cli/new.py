"""The command lra-bench new: write an attention of one's own to begin with, and its test."""

import argparse
from pathlib import Path

from lra_bench.cli.common import one_of
from lra_bench.cli.paths import output_folder

NAME = "new"
HELP = "write an attention of your own to begin with, and its test"
DESCRIPTION = """\
Write a Python file with a mechanism that works, and a test that it keeps the contract. No other
file has to change, and nothing has to be installed: the other commands take the path of the file
wherever they take the name of an attention.
"""
_ATTENTION = '''\
"""{title}: say here in one line what it computes."""

import jax
import jax.numpy as jnp
import lra_bench
from jaxtyping import Array, Bool, Float


@lra_bench.register_attention("{name}", equivariant=True, family="kernel")
def {function}(
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
_TEST = '''\
"""{title} keeps the contract of an attention."""

from pathlib import Path

import lra_bench


def test_{function}_keeps_the_contract():
    lra_bench.require_contract(Path(__file__).with_name("{file}"))
'''


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    kind = one_of("kind", ("attention",))
    parser.add_argument("kind", type=kind, metavar="attention", help="what to write")
    named = "its name: lower-case words joined by hyphens, such as my-attention"
    parser.add_argument("name", metavar="NAME", help=named)
    where = "folder of the files; default: the working folder"
    parser.add_argument("--out", type=output_folder, default=Path(), metavar="DIR", help=where)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Write both files, and print the command to type next."""
    del argv
    from importlib.util import find_spec

    from lra_bench.display import command
    from lra_bench.display.progress import Display
    from lra_bench.errors import UsageError

    _check(args.name)
    written = {args.out / name: text for name, text in texts(args.name).items()}
    for path in written:
        if path.exists():
            raise UsageError(f"{path} is there already; choose another name or another --out")
        if find_spec(path.stem) is not None:
            raise UsageError(f"{path} would hide the module {path.stem}; choose another name")
    args.out.mkdir(parents=True, exist_ok=True)
    for path, text in written.items():
        path.write_text(text)
    display, (code, test) = Display(), written
    display.line(f"{code}   the attention {args.name}")
    display.line(f"{test}   its test, for pytest")
    display.line(f"next: {command.command('verify', command.path(code))}")
    return 0


def texts(name: str) -> dict[str, str]:
    """Return the text of both files, by their names: the attention, then its test."""
    function = name.replace("-", "_")
    words = {"name": name, "function": function, "file": f"{function}.py"}
    words["title"] = name.replace("-", " ").capitalize()
    return {
        f"{function}.py": _ATTENTION.format(**words),
        f"test_{function}.py": _TEST.format(**words),
    }


def _check(name: str) -> None:
    """Raise UsageError for a name that is malformed, taken, or no name in Python."""
    from keyword import iskeyword

    from lra_bench.conformance import check_name
    from lra_bench.errors import UsageError
    from lra_bench.registry import ATTENTIONS

    try:
        check_name("attention", name)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not name.replace("-", "_").isidentifier() or iskeyword(name):
        raise UsageError(f"attention name {name!r}: begins with a digit, or is a word of Python")
    if ATTENTIONS.has(name):
        raise UsageError(f"attention {name} exists already; choose another name")
