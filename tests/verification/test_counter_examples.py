"""A broken promise is shown at the token that is most wrong, and in small numbers."""

import numpy as np
import pytest
from own_files import write_attention

from lra_bench.errors import UsageError
from lra_bench.registry import ATTENTIONS
from lra_bench.verification.agreement import Counterexample, same
from lra_bench.verification.promise import judge
from lra_bench.verification.subject import registered
from lra_bench.verification.verify import require_contract, subjects


def arrays(**changes):
    """Two equal arrays (2 5 3 4), the second with other numbers at some places."""
    one = np.ones((2, 5, 3, 4), np.float32)
    other = one.copy()
    for place, value in changes.values():
        other[place] = value
    return one, other


def test_the_token_that_is_most_wrong_is_named():
    with pytest.raises(Counterexample) as caught:
        same(*arrays(a=((1, 3, 2, 0), 1.5), b=((0, 4, 1, 1), 3.0)), "float32", what="the output")
    assert str(caught.value) == (
        "the output is 3 instead of 1 at example 0, token 4, head 1, feature 1: off by 2, allowed "
        "2e-05; wrong at 2 of 10 tokens"
    )


def test_tokens_of_padding_do_not_count():
    mask = np.ones((2, 5), bool)
    mask[0, 4] = False
    same(*arrays(b=((0, 4, 1, 1), np.nan)), "float32", mask)
    with pytest.raises(Counterexample, match=r"is nan instead of 1 at example 0, token 4, .* inf"):
        same(*arrays(b=((0, 4, 1, 1), np.nan)), "float32")


def test_rounding_is_allowed_by_the_largest_number():
    one, other = arrays(a=((0, 0, 0, 0), 1e4))
    one[0, 0, 0, 0] = 1e4
    same(one, other + 0.1, "float32")
    with pytest.raises(Counterexample):
        same(one, other + 0.3, "float32")


def test_a_check_that_stops_with_another_error_is_broken_too():
    verdict = judge("it works", lambda: 1 / 0)
    assert (verdict.kept, verdict.detail) == (False, "ZeroDivisionError: division by zero")
    assert judge("it works", lambda: None).kept


def test_an_edited_file_is_checked_anew(tmp_path):
    path = write_attention(tmp_path / "mine.py")
    ATTENTIONS.named(str(path))
    before = registered("mine")
    assert registered("mine") is before
    path.write_text(path.read_text() + "# edited\n")
    ATTENTIONS.named(str(path))
    assert registered("mine") is not before


def test_what_a_name_or_a_file_stands_for(tmp_path):
    assert subjects("linear") == [("attention", "linear")]
    assert subjects("listops") == [("task", "listops")]
    path = write_attention(tmp_path / "mine.py")
    assert subjects(str(path)) == subjects(f"{path}:mine") == [("attention", "mine")]
    with pytest.raises(UsageError, match="did you mean 'linear'"):
        subjects("liner")


def test_a_test_of_a_user_fails_with_all_broken_promises(tmp_path):
    path = write_attention(tmp_path / "mine.py")
    path.write_text(path.read_text().replace(".astype(v.dtype)", ""))
    with pytest.raises(AssertionError) as caught:
        require_contract(path)
    first, *_ = str(caught.value).splitlines()
    assert first == (
        "the output has the shape and the dtype of v: in bfloat16 the output is float32 "
        "(2, 141, 3, 8), expected bfloat16 (2, 141, 3, 8), as v is"
    )
