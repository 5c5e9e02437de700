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

from lra_bench.config import presets
from lra_bench.efficiency import child, plan, programs
from lra_bench.efficiency.cells import SIZES, Cell
from lra_bench.errors import UsageError
from lra_bench.registry import ATTENTIONS, TASKS
from lra_bench.runtime import memory


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

    @pytest.mark.parametrize(
        ("task", "preset", "padded"),
        [
            ("text", "nystromformer", 1024),
            ("listops", "skyformer", 2048),
            ("retrieval", "skyformer", 4096),
        ],
    )
    def test_a_length_is_that_of_what_the_model_sees(self, task, preset, padded):
        """The task has 1,000, 2,000 or 4,000 tokens, and its preset pads them."""
        choice = plan.Choice(("linear",), sizes=(task,), scopes=("model",), preset=preset)
        for asked, length in (((), padded), ((128,), 128)):
            cells = plan.cells(dataclasses.replace(choice, lengths=asked, batches=(1,)))
            program = programs.build(cells[0])
            assert {c.length for c in cells} == {program.inputs[0].shape[-1]} == {length}
            traced = jax.make_jaxpr(program.function)(
                program.state, *(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in program.inputs)
            )
            sizes = {n for e in traced.eqns for x in e.outvars for n in x.aval.shape}
            assert length in sizes
            assert (padded in sizes) == (length == padded)

    def test_all_stands_for_the_tasks_that_go_with_the_rest(self):
        choice = plan.Choice(("linformer",), (8,), sizes=("regular", "all", "text"), preset="mini")
        found = {(c.size, c.attention) for c in plan.cells(choice)}
        tasks = {name for name in TASKS.names() if "mini" in presets(name)}
        assert {size for size, _ in found} == {"regular"} | tasks < {"regular", *TASKS.names()}
        assert ("text-lm", "identity") in found
        assert ("text-lm", "linformer") not in found
        assert ("listops", "linformer") in found
        said = plan.not_planned(choice)
        assert "left out: pathx, which has no preset mini" in said
        assert "left out: text-lm with linformer, which can't be causal" in said

    def test_named_tasks_are_refused_or_kept(self):
        named = plan.Choice(("linformer",), (8,), sizes=("text-lm",), preset="mini")
        with pytest.raises(UsageError, match="linformer can't be causal"):
            plan.cells(named)
        every = dataclasses.replace(named, attentions=("all",))
        assert "linformer" not in {c.attention for c in plan.cells(every)}
        assert plan.not_planned(named) == []

    def test_the_attention_alone_has_no_layers(self):
        choice = plan.Choice(("linear",), (8,), ("attention", "model"), layers=(2, 3))
        found = [(c.scope, c.layers, c.attention, c.direction) for c in plan.cells(choice)]
        assert len(found) == len(set(found)) == 2 * 2 * (1 + 2)
        twice = dataclasses.replace(choice, lengths=(8, 8))
        assert len(plan.cells(twice)) == len(found)

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
            ({"sizes": ("all",), "preset": "papr"}, "unknown preset of"),
            ({"overrides": ("model.dtype=bfloat16",)}, "argument of its own, --dtype"),
            ({"overrides": (" train.num_devices =2",)}, "argument of its own, --devices"),
            ({"overrides": ("train.sequence_devices=2",)}, "see --devices"),
            ({"overrides": ("model.padded_length=16",)}, "--lengths is there too"),
            ({"overrides": ("train.batch_size=2",), "batches": (4,)}, "--batch is there too"),
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

    def test_inputs_are_drawn_outside_the_memory_that_is_limited(self):
        """On the way to a device they count neither in their type nor in that of the draw."""
        before = memory.status("VmData")
        drawn = programs.Input((2**25,), "bfloat16").draw(np.random.default_rng(0))
        assert drawn.astype(np.float32).std() == pytest.approx(1, abs=0.01)
        assert memory.status("VmData") - before < drawn.nbytes / 4

    def test_inputs_are_copied_to_the_device(self):
        layout, drawn = programs.Layout(jax.local_devices()[:1]), programs.Input((64,), "bool")
        host = drawn.draw(np.random.default_rng(0))
        there = layout._put(host)
        host[:] = False
        assert there.all()

    def test_unused_inputs_count(self):
        """Identity reads neither q nor k, but its memory includes them."""
        layout = programs.Layout(jax.local_devices()[:1])
        program = programs.build(cell("identity"))
        found = child._plan(layout.trace(program).lower().compile())
        assert found.argument_bytes >= 3 * 48 * 64 * 4
