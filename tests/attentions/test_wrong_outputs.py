"""A mechanism that returns something else than an array like its values is told so, in one line."""

import jax.numpy as jnp
import pytest

from lra_bench.cli import main
from lra_bench.contracts import AttentionTraits
from lra_bench.errors import RunError
from lra_bench.model.mechanism import attended
from lra_bench.registry import ATTENTIONS, Entry

WRONG = {
    "returned (2, 7, 3, 4), expected (2, 8, 3, 4)": lambda q, k, v, mask: v[:, :-1],
    "returned float32, expected bfloat16": lambda q, k, v, mask: v.astype(jnp.float32),
    "returned tuple, expected an array (2, 8, 3, 4)": lambda q, k, v, mask: (v, mask),
    "returned NoneType, expected an array (2, 8, 3, 4)": lambda q, k, v, mask: None,
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_output_is_named(message):
    x = jnp.zeros((2, 8, 3, 4), jnp.bfloat16)
    with pytest.raises(RunError) as error:
        attended("mine", WRONG[message], x, x, x, jnp.ones((2, 8), bool))
    assert str(error.value) == f"mine: {message}"


def test_a_run_names_a_wrong_output(monkeypatch, tmp_path, capsys):
    ATTENTIONS.names()
    entry = Entry("short", lambda q, k, v, mask: v[:, :-1], __name__, AttentionTraits())
    monkeypatch.setitem(ATTENTIONS._entries, "short", entry)
    arguments = ["--task=listops", "--preset=smoke", "--attention=short"]
    assert main(["run", *arguments, f"--out={tmp_path / 'out'}"]) == 1
    written = "".join(capsys.readouterr())
    assert "short: returned (" in written
    assert "Traceback" not in written
