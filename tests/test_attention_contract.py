"""Every registered mechanism keeps every promise."""

import contract
import pytest

from lra_bench.registry import ATTENTIONS

# Besides its defaults, a mechanism is tested where its own loops and limits matter.
OPTIONS = {
    "reformer": ({}, {"bucket_size": 8, "num_hashes": 3}),
    "linformer": ({}, {"num_projected": 7}),
}
CASES = [
    pytest.param(name, options, id="-".join([name, *map(str, options.values())]))
    for name in ATTENTIONS.names()
    for options in OPTIONS.get(name, ({},))
]
dtypes = pytest.mark.parametrize("dtype", contract.DTYPES)


def promising(trait):
    return [case for case in CASES if getattr(ATTENTIONS.get(case.values[0]).traits, trait)]


@pytest.mark.parametrize(("name", "options"), CASES)
@dtypes
@pytest.mark.parametrize("check", contract.ALWAYS, ids=lambda check: check.__name__)
def test_always(check, name, options, dtype):
    check(contract.registered(name, **options), dtype)


@pytest.mark.parametrize(("name", "options"), promising("equivariant"))
@dtypes
def test_equivariant(name, options, dtype):
    contract.check_permuting_tokens_permutes_output(contract.registered(name, **options), dtype)


@pytest.mark.parametrize(("name", "options"), promising("exact"))
@dtypes
def test_exact(name, options, dtype):
    contract.check_equals_softmax(contract.registered(name, **options), dtype)
