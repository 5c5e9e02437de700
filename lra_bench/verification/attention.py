"""Check every promise of one attention mechanism."""

from collections.abc import Callable, Iterator
from functools import partial

from lra_bench.registry import ATTENTIONS
from lra_bench.verification import contract
from lra_bench.verification.agreement import Counterexample
from lra_bench.verification.promise import CheckedPromise, judge
from lra_bench.verification.subject import DIMS, DIMS_LONG, Mechanism, registered

_BOTH, _FLOAT32 = ("float32", "bfloat16"), ("float32",)
# In words, what each check of the contract is of, and the dtypes in which it is made. A check that
# compares two programs says where values come from, which is the same for every dtype.
_ALWAYS: dict[Callable[[Mechanism, str], None], tuple[str, tuple[str, ...]]] = {
    contract.check_shape_and_dtype: ("the output has the shape and the dtype of v", _BOTH),
    contract.check_padding_is_never_read: ("padding is never read, even if it is NaN", _BOTH),
    contract.check_padding_may_be_anywhere: ("padding may be anywhere", _BOTH),
    contract.check_more_padding_changes_nothing: ("more padding changes nothing", _FLOAT32),
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
_DIGITS = "bfloat16 loses no digits in sums over 1,025 tokens"


def verify_attention(name: str) -> Iterator[CheckedPromise]:
    """Yield the verdict on each promise of a registered attention, as soon as it is known.

    The promises that `register_attention` declares are checked besides those that every attention
    has to keep, and that causal attention never looks ahead where `causal` is an option.

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
    if entry.supports_causal:
        yield _checked(name, _CAUSAL, contract.check_never_looks_ahead, _FLOAT32, causal=True)
        finite = "causal: outputs and gradients are finite at norms 0 to 100"
        yield _checked(name, finite, contract.check_finite_at_extremes, _FLOAT32, causal=True)
    digits = contract.check_sums_have_digits_enough
    yield judge(_DIGITS, lambda: digits(registered(name, DIMS_LONG)))


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
