"""The count of operations, against closed forms and against XLA's where it counts all."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

from lra_bench.contracts import Dims
from lra_bench.model.mechanism import build_attention
from lra_bench.runtime.flops import count_flops, uncounted

A, B = jnp.zeros((3, 5)), jnp.zeros((5, 7))


def test_a_product_of_matrices():
    assert count_flops(jnp.matmul, A, B) == 2 * 3 * 5 * 7


def test_a_loop_counts_as_often_as_it_runs():
    def loop(a, b):
        return jax.lax.map(lambda row: row @ b, jnp.stack([a] * 4))

    assert count_flops(jax.jit(loop), A, B) == 4 * 2 * 3 * 5 * 7


def test_the_costlier_branch_counts():
    def branch(a, b):
        return jax.lax.cond(a[0, 0] > 0, lambda: a @ b, lambda: jnp.zeros((3, 7)))

    assert 0 <= count_flops(branch, A, B) - 2 * 3 * 5 * 7 < 5


def test_shapes_serve_as_well_as_arrays():
    shapes = (jax.ShapeDtypeStruct((3, 5), "float32"), jax.ShapeDtypeStruct((5, 7), "float32"))
    assert count_flops(jnp.matmul, *shapes) == count_flops(jnp.matmul, A, B)


def gradient(name, length):
    call = build_attention(name, Dims(2, 16, length), {}, nnx.Rngs(0))
    qkv = [jnp.zeros((1, length, 2, 16))] * 3
    mask = jnp.ones((1, length), bool)
    return jax.jit(
        jax.grad(lambda *qkv: jnp.sum(jnp.sin(call(*qkv, mask))), argnums=(0, 1, 2))
    ), qkv


def test_agrees_with_xla_where_there_is_no_loop():
    function, qkv = gradient("softmax", 256)
    xla = function.lower(*qkv).cost_analysis()["flops"]
    assert count_flops(function, *qkv) == pytest.approx(xla, rel=0.05)


@pytest.mark.parametrize("name", ["performer-softmax", "performer-relu"])
def test_twice_the_length_is_twice_the_work(name):
    """XLA says that it is the same: the loop's body is."""
    short, long = (count_flops(function, *qkv) for function, qkv in
                   (gradient(name, length) for length in (1_024, 2_048)))  # fmt: skip
    assert long == pytest.approx(2 * short, rel=0.01)


def test_a_branch_for_rare_inputs_is_not_counted():
    rare = uncounted(lambda x: jnp.sin(jnp.sin(x)))

    def program(x):
        return jax.lax.cond(jnp.any(x > 9), rare, jnp.cos, x)

    x = jnp.ones(100)
    comparison = count_flops(lambda x: jnp.any(x > 9), x)
    assert count_flops(program, x) - comparison == pytest.approx(100, abs=1)
    assert count_flops(rare, x) == 0


@pytest.mark.parametrize(
    ("transform", "shape", "each"),
    [
        (jnp.fft.fft, "complex64", 5.0),
        (jnp.fft.ifft, "complex64", 5.0),
        (jnp.fft.rfft, "float32", 2.5),
        (lambda x: jnp.fft.irfft(x[:, :513]), "complex64", 2.5),
    ],
)
def test_a_fourier_transform_counts_n_log_n(transform, shape, each):
    x = jax.ShapeDtypeStruct((3, 1_024), shape)
    assert count_flops(transform, x) == pytest.approx(3 * each * 1_024 * 10, rel=0.01)


def test_what_each_device_does_counts_for_all():
    eight = AbstractMesh((8,), ("x",), axis_types=(AxisType.Auto,))
    parts = PartitionSpec("x")

    def product(x):
        return jax.shard_map(lambda y: y @ y.T, mesh=eight, in_specs=parts, out_specs=parts)(x)

    assert count_flops(product, jnp.zeros((16, 5))) == 8 * 2 * 2 * 2 * 5


@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_counts_as_a_product_with_each_kernel(groups):
    """8 to 16 channels, a kernel of 33, 100 places; the gradients cost as much each."""
    x, kernel = jnp.ones((1, 8, 132)), jnp.ones((16, 8 // groups, 33))

    def convolution(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1,), "VALID", feature_group_count=groups)

    forward = 2 * 16 * 100 * 8 // groups * 33
    assert count_flops(convolution, x, kernel) == forward
    of_kernel = jax.grad(lambda kernel: jnp.sum(convolution(x, kernel)))
    assert count_flops(of_kernel, kernel) == pytest.approx(2 * forward, rel=0.01)


def test_a_loop_that_does_not_say_how_often_it_runs_has_no_count():
    def loop(times, a):
        return jax.lax.fori_loop(0, times, lambda _, x: jnp.sin(x), a)

    assert count_flops(loop, 3, A) is None
    assert count_flops(lambda x: jax.jit(loop)(x[0, 0].astype(int), x), A) is None
    assert count_flops(lambda x: loop(3, x), A) == pytest.approx(3 * A.size, abs=9)


def test_what_is_added_to_places_of_an_array_counts():
    rows = jnp.array([0, 2])
    added = count_flops(lambda a, b: a.at[rows].add(b), A, A[:2])
    put = count_flops(lambda a, b: a.at[rows].set(b), A, A[:2])
    assert added - put == A[:2].size


@pytest.mark.parametrize(
    ("function", "count"),
    [
        (jnp.argmax, 15),
        (lambda x: jax.lax.top_k(x, 2), 15),
        (lambda x: jax.lax.reduce(x, 0.0, lambda a, b: a * b + 1, (0,)), 15),
        (lambda x: jax.lax.reduce_window(x, 0.0, jax.lax.add, (2, 2), (1, 1), "VALID"), 8 * 4),
    ],
)
def test_a_reduction_counts_what_it_looks_at(function, count):
    assert count_flops(function, A) == count
