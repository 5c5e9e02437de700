"""The decorators by which mechanisms and tasks register themselves."""

from collections.abc import Callable

from lra_bench.conformance import check_mechanism, check_task, quoted_value
from lra_bench.contracts import FAMILIES, AttentionTraits, StateSize
from lra_bench.registry.registry import ATTENTIONS, TASKS, Target


def register_attention(
    name: str,
    *,
    exact: bool = False,
    equivariant: bool = False,
    shares_query_key: bool = False,
    mixer: bool = False,
    family: str = "other",
    state: StateSize | None = None,
) -> Callable[[Target], Target]:
    """Register a mechanism: a function of (q, k, v, mask), or an `nnx.Module` class.

    A class is built as `cls(dims, rngs=rngs, **options)` and called with (q, k, v, mask). Its other
    keyword-only parameters are its options. A mixer is called with (x, mask). A mechanism whose
    call also has the parameter `rngs=None` gets the random keys of the training there; a mixer with
    `stream=None` gets the input of its block before it was normalised, to which the block adds the
    output. See `AttentionTraits` for the promises.

    Raises:
        ValueError: the name is malformed or taken, or the mechanism cannot be called like this.
    """
    if not isinstance(name, str):
        raise ValueError('needs a name: @register_attention("my-name")')
    promises = (exact, equivariant, shares_query_key, mixer)
    if not all(isinstance(promise, bool) for promise in promises):
        raise ValueError(f"attention {quoted_value(name)}: a promise is neither True nor False")
    if family not in FAMILIES:
        valid = ", ".join(FAMILIES)
        raise ValueError(f"attention {quoted_value(name)}: family={family!r}: valid: {valid}")
    if state is not None and not callable(state):
        raise ValueError(f"attention {quoted_value(name)}: state is no function")
    traits = AttentionTraits(*promises, family, state)

    def register(target: Target) -> Target:
        check_mechanism(name, target, traits.arrays)
        return ATTENTIONS.add(name, target, traits)

    return register


def register_task(name: str) -> Callable[[Target], Target]:
    """Register a class whose instances are a `Task`.

    Raises:
        ValueError: the name is malformed or taken, or the class lacks a part of a `Task`.
    """
    if not isinstance(name, str):
        raise ValueError('needs a name: @register_task("my-name")')

    def register(target: Target) -> Target:
        check_task(name, target)
        return TASKS.add(name, target, None)

    return register
