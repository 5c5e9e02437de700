"""A program knows, while it is traced, what it will be compiled for."""

import types

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType

from lra_bench.runtime import mesh
from lra_bench.runtime.devices import sharing


def platform_seen(over):
    seen = []

    def program(x):
        seen.append(mesh.platform())
        return jax.lax.scan(lambda carry, _: (carry + x, seen.append(mesh.platform())), x, None, 2)

    jax.jit(mesh.on_mesh(over, program)).trace(jnp.zeros(()))
    return set(seen)


def test_the_platform_is_that_of_the_mesh():
    abstract = sharing(jax.devices()[:1]).replicated.mesh.abstract_mesh
    device = type(abstract.abstract_device)("H100", None, "gpu")
    auto = AbstractMesh((1,), ("data",), axis_types=(AxisType.Auto,), abstract_device=device)
    assert platform_seen(auto) == {"gpu"}
    assert platform_seen(abstract) == {"cpu"}


def test_without_a_mesh_it_is_that_of_jax():
    assert mesh.platform() == jax.default_backend()


@pytest.mark.parametrize(
    ("name", "capability"), [("9.0", (9, 0)), ("7.5", (7, 5)), ("gfx90a", None), (None, None)]
)
def test_the_version_of_a_gpu_is_that_of_the_mesh(name, capability, monkeypatch):
    """A GPU of another maker has no such version, and a CPU none at all."""
    device = types.SimpleNamespace(compute_capability=name)
    reset = mesh._DEVICE.set(device)
    monkeypatch.setattr(mesh, "platform", lambda: "gpu")
    try:
        assert mesh.compute_capability() == capability
    finally:
        mesh._DEVICE.reset(reset)


def test_a_cpu_has_no_version_of_a_gpu():
    seen = []
    over = sharing(jax.devices()[:1]).replicated.mesh
    program = mesh.on_mesh(over, lambda x: (seen.append(mesh.compute_capability()), x)[1])
    jax.jit(program).trace(jnp.zeros(()))
    assert [*seen, mesh.compute_capability()] == [None, None]
