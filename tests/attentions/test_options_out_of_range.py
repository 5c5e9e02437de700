"""No mechanism takes an option out of its range: it says so in one line."""

import math

import numpy as np
import pytest
from flax import nnx

from lra_bench.errors import UsageError
from lra_bench.model.mechanism import build_attention
from lra_bench.ranges import COUNT
from lra_bench.registry import ATTENTIONS
from lra_bench.verification.subject import DIMS

LONGER = DIMS.max_len + 1
# More tokens than there are; other counts may be as large as memory allows.
OF_TOKENS = {
    ("h-transformer", "block_size"),
    ("linformer", "num_projected"),
    ("reformer", "bucket_size"),
    ("sinkhorn", "block_size"),
}


def absurd(name, option, usual):
    """Values that make no sense in place of the usual one."""
    if isinstance(usual, bool):
        return ()
    if isinstance(usual, int):
        others = [LONGER, 9_999] if (name, option) in OF_TOKENS else []
        zero = [] if takes_zero(name, option) else [0]
        return (*zero, -1, -(10**9), 2.5, *others)
    if isinstance(usual, float):
        return (-1e-9, -1.0, math.nan, math.inf)
    return ("", "nonsense", *([-1] if usual is None else [str(usual).upper()]))


def takes_zero(name, option):
    """Whether its own range says so; other counts are from 1."""
    range_ = getattr(ATTENTIONS.get(name).types()[option], "__metadata__", (COUNT,))[0]
    return range_.holds(0)


CASES = [
    pytest.param(name, option, value, id=f"{name}-{option}={value}")
    for name in ATTENTIONS.names()
    for option, usual in ATTENTIONS.get(name).options().items()
    for value in absurd(name, option, usual)
]


def build_and_call(name, options):
    """A function, which is not built, says so when it is called."""
    call = build_attention(name, DIMS, options, nnx.Rngs(0))
    call(*[np.ones((1, 4, 3, 8), np.float32)] * 3, np.ones((1, 4), bool))


@pytest.mark.parametrize(("name", "option", "value"), CASES)
def test_an_absurd_value_is_refused_in_one_line(name, option, value):
    with pytest.raises((UsageError, ValueError), match=f"{option}=") as error:
        build_and_call(name, {option: value})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "option"), sorted(OF_TOKENS))
def test_the_usual_count_of_tokens_fits_short_sequences(name, option):
    short = type(DIMS)(DIMS.num_heads, DIMS.head_dim, 5)
    build_attention(name, short, {}, nnx.Rngs(0))
    with pytest.raises(UsageError, match=f"{option}=6: must be at most 5"):
        build_attention(name, short, {option: 6}, nnx.Rngs(0))
