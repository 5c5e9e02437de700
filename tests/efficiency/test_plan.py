"""The cells that a choice asks for, and their programs."""

import dataclasses
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from efficiency_cases import cell
from kinds import KINDS

from lra_bench.efficiency import child, plan, programs
from lra_bench.efficiency.cells import SIZES, Cell
from lra_bench.errors import UsageError
from lra_bench.registry import ATTENTIONS


class TestPlan:
    def test_all_combinations_with_identity_last_at_each_length(self):
        choice = plan.Choice(
            ("softmax", "linear"), (64, 32), ("attention", "train"), batches=(2, 3)
        )
        found = [(c.scope, c.batch, c.direction, c.length, c.attention) for c in plan.cells(choice)]
        passes = [("attention", "forward"), ("attention", "backward"), ("train", "step")]
        attentions = ("softmax", "linear", "identity")
        wanted = {
            (scope, batch, direction, length, attention)
            for (scope, direction), batch, length, attention in itertools.product(
                passes, (2, 3), (32, 64), attentions
            )
        }
        assert set(found) == wanted
        assert len(found) == len(wanted)
        for number in range(0, len(found), 3):
            group = found[number : number + 3]
            assert [one[-1] for one in group] == list(attentions)
            assert len({one[:-1] for one in group}) == 1
        assert found[0][3] == 32

    def test_sizes_are_the_papers(self):
        found = cell(scope="model", sizes=("regular",)).config["model"]
        assert {key: found[key] for key in SIZES["regular"]} == SIZES["regular"]
        assert (found["dropout"], found["pooling"]) == (0.0, "mean")

    def test_a_task_has_its_own_length_and_batch(self):
        choice = plan.Choice(("linear",), sizes=("image", "retrieval"), scopes=("train",))
        lengths = {(c.size, c.length, c.batch, c.preset) for c in plan.cells(choice)}
        assert lengths == {("image", 1024, 256, "paper"), ("retrieval", 4000, 32, "paper")}

    def test_options_go_to_those_that_have_them(self):
        choice = plan.Choice(
            ("performer-relu", "softmax"), (8,), overrides=("attention.num_features=7",)
        )
        options = {c.attention: c.config["attention_options"] for c in plan.cells(choice)}
        assert options["performer-relu"]["num_features"] == 7
        assert "num_features" not in options["softmax"]

    def test_layers_and_dtype_reach_the_model(self):
        found = cell(scope="model", layers=(3,), dtypes=("bfloat16",))
        assert (found.layers, found.config["model"]["num_layers"]) == (3, 3)
        assert found.config["model"]["dtype"] == found.dtype == "bfloat16"

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"attentions": ("sofmax",)}, "did you mean 'softmax'"),
            ({"scopes": ("atention",)}, "did you mean 'attention'"),
            ({"sizes": ("txt",)}, "did you mean 'text'"),
            ({"passes": ("step",)}, "valid: forward, backward"),
            ({"dtypes": ("float16",)}, "valid: float32, bfloat16"),
            ({"layers": (2,)}, "--layers goes with --scope model or train"),
            ({"overrides": ("attention.num_feature=3",)}, "did you mean 'attention.num_features'"),
            ({"overrides": ("model.emb_dim=3",)}, "only attention.* can be set"),
            ({"devices": 2}, "2 devices"),
            ({"sizes": ("text",), "preset": "papr"}, "did you mean 'paper'"),
        ],
    )
    def test_what_is_wrong_is_named(self, change, words):
        with pytest.raises(UsageError, match=words.replace("*", r"\*")):
            plan.cells(plan.Choice(**{"lengths": (8,), **change}))


def test_a_cell_goes_through_json():
    one = cell("performer-softmax", scope="model")
    assert Cell(**json.loads(json.dumps(one.as_dict()))) == one
    assert dataclasses.replace(one, length=9).as_dict()["length"] == 9


# All of a mechanism of each kind; of each mechanism its own gradient, which contains its forward
# pass.
SCOPES = (
    ("attention", "forward"),
    ("attention", "backward"),
    ("model", "forward"),
    ("model", "backward"),
    ("train", "step"),
)
PROGRAMS = [
    pytest.param(name, *scope, marks=[pytest.mark.slow] if rare else [])
    for name in ATTENTIONS.names()
    for scope in SCOPES
    for rare in [name not in KINDS and scope != ("attention", "backward")]
]


class TestPrograms:
    @pytest.mark.parametrize(("name", "scope", "direction"), PROGRAMS)
    def test_each_attention_in_each_scope(self, name, scope, direction):
        """Only shapes are computed: gradients have those of the parameters and of q, k, v."""
        layers = () if scope == "attention" else (1,)
        program = programs.build(cell(name, 32, scope, direction, layers=layers))
        out = programs.Layout(jax.local_devices()[:1]).trace(program).out_info
        shapes = jax.tree.map(lambda x: x.shape, program.params(program.state))
        if direction == "backward":
            gradient = out[1]
            of_params = gradient[0] if scope == "attention" else gradient
            assert jax.tree.map(lambda x: x.shape, of_params) == shapes
        if direction == "step":
            assert jax.tree.map(lambda x: x.shape, out[0].params) == shapes

    def test_backward_is_the_gradient(self):
        program = programs.build(cell("linformer", 32, direction="backward"))
        layout = programs.Layout(jax.local_devices()[:1])
        state, (q, k, v, mask, given_) = layout.arrays(program, layout.compile_init(program))
        forward = programs.build(cell("linformer", 32)).function
        out, gradients = jax.jit(program.function)(state, q, k, v, mask, given_)

        def total(params, q, k, v):
            return jnp.sum(forward((params, state[1]), q, k, v, mask) * given_)

        wanted = jax.jit(jax.grad(total, argnums=(0, 1, 2, 3)))(state[0], q, k, v)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), gradients, wanted)
        np.testing.assert_allclose(out, jax.jit(forward)(state, q, k, v, mask), atol=1e-6)

    def test_tokens_are_real_and_below_the_vocabulary(self):
        program = programs.build(cell(scope="train", direction="step", sizes=("listops",)))
        tokens, labels = (x.draw(np.random.default_rng(0)) for x in program.inputs)
        vocabulary = 16
        assert tokens.shape == (32, 48)
        assert set(np.unique(tokens)) == set(range(1, vocabulary))
        assert labels.max() < 10

    def test_pairs_are_two_documents(self):
        program = programs.build(cell(scope="model", sizes=("retrieval",), batches=(3,)))
        assert program.inputs[0].shape == (3, 2, 48)

    def test_unused_inputs_count(self):
        """Identity reads neither q nor k, but its memory includes them."""
        layout = programs.Layout(jax.local_devices()[:1])
        program = programs.build(cell("identity"))
        found = child._plan(layout.trace(program).lower().compile())
        assert found.argument_bytes >= 3 * 48 * 64 * 4
