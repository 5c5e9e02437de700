"""Check every promise of one attention mechanism."""

from collections.abc import Callable, Iterator
from functools import partial

from lra_bench.registry import ATTENTIONS
from lra_bench.verification import contract
from lra_bench.verification.agreement import Counterexample
from lra_bench.verification.promise import CheckedPromise, judge
from lra_bench.verification.subject import (
    DIMS,
    DIMS_LONG,
    Mechanism,
    is_random_in_training,
    registered,
    registered_in_training,
)

_BOTH, _FLOAT32 = ("float32", "bfloat16"), ("float32",)
# In words, what each check of the contract is of, and the dtypes in which it is made. A check that
# compares two programs says where values come from, which is the same for every dtype.
_ALWAYS: dict[Callable[[Mechanism, str], None], tuple[str, tuple[str, ...]]] = {
    contract.check_shape_and_dtype: ("the output has the shape and the dtype of v", _BOTH),
    contract.check_padding_is_never_read: ("padding is never read, even if it is NaN", _BOTH),
    contract.check_padding_may_be_anywhere: ("padding may be anywhere", _BOTH),
    contract.check_more_padding_changes_nothing: ("more padding changes nothing", _FLOAT32),
    contract.check_short_sequences: ("a sequence may be of 1 token, or of any length", _FLOAT32),
    contract.check_examples_do_not_mix: ("the examples of a batch do not mix", _FLOAT32),
    contract.check_finite_at_extremes: (
        "outputs and gradients are finite at norms 0 to 100",
        _BOTH,
    ),
    contract.check_all_masked_gives_nothing: ("nothing is read where no token is real", _BOTH),
}
_EXACT = "exact: the output is that of softmax attention in float64"
_EQUIVARIANT = "equivariant: permuting the tokens permutes the output"
_CAUSAL = "causal: a token sees no later one"
_TRAINING = "padding is never read in training, with random keys"
_DIGITS = "bfloat16 loses no digits in sums over 1,025 tokens"


def verify_attention(name: str) -> Iterator[CheckedPromise]:
    """Yield the verdict on each promise of a registered attention, as soon as it is known.

    The promises that `register_attention` declares are checked besides those that every attention
    has to keep. Where `causal` is an option, they are checked with it too, and that causal
    attention never looks ahead.

    Raises:
        UsageError: no attention has that name.
    """
    entry = ATTENTIONS.get(name)
    checked = partial(_checked, name)
    for check, (promise, dtypes) in _ALWAYS.items():
        yield checked(promise, check, dtypes)
    if entry.traits.equivariant:
        yield checked(_EQUIVARIANT, contract.check_permuting_tokens_permutes_output, _FLOAT32)
    if entry.traits.exact:
        yield checked(_EXACT, contract.check_equals_softmax, _BOTH)
    yield _with_digits(name, _DIGITS)
    if is_random_in_training(name):
        yield judge(_TRAINING, partial(_padding_in_training, name))
    if entry.supports_causal:
        yield from _causal(name, exact=entry.traits.exact)


def _causal(name: str, *, exact: bool) -> Iterator[CheckedPromise]:
    """Yield the verdicts on the promises of the causal form, which is other code as a rule."""
    checked = partial(_checked, name, causal=True)
    yield checked(_CAUSAL, contract.check_never_looks_ahead, _FLOAT32)
    for check, (promise, dtypes) in _ALWAYS.items():
        yield checked(f"causal: {promise}", check, dtypes)
    if exact:
        equals = partial(contract.check_equals_softmax, causal=True)
        yield checked(f"causal, {_EXACT}", equals, _BOTH)
    yield _with_digits(name, f"causal: {_DIGITS}", causal=True)


def _padding_in_training(name: str) -> None:
    for check in (contract.check_padding_is_never_read, contract.check_padding_may_be_anywhere):
        check(registered_in_training(name), "float32")


def _with_digits(name: str, promise: str, **options: bool) -> CheckedPromise:
    digits = contract.check_sums_have_digits_enough
    return judge(promise, lambda: digits(registered(name, DIMS_LONG, **options)))


def _checked(
    name: str,
    promise: str,
    check: Callable[[Mechanism, str], None],
    dtypes: tuple[str, ...],
    **options: bool,
) -> CheckedPromise:
    """Return the verdict of a check in these dtypes, on a mechanism with these options."""
    return judge(
        promise,
        *(lambda dtype=dtype: _in(dtype, name, check, options) for dtype in dtypes),
    )


def _in(
    dtype: str, name: str, check: Callable[[Mechanism, str], None], options: dict[str, bool]
) -> None:
    """Make a check in a dtype, which a counter-example names unless it is float32."""
    try:
        check(registered(name, DIMS, **options), dtype)
    except Counterexample as error:
        if dtype == "float32":
            raise
        raise Counterexample(f"in {dtype} {error}") from None
