"""Files of a user that register an attention or a task."""

import re

from common import ROOT

ATTENTION = '''"""Mine."""

import jax.numpy as jnp

from lra_bench import register_attention


@register_attention("{name}", equivariant=True)
def mine(q, k, v, mask, *, scale: float = 1.0):
    """Return the mean of the real values."""
    real = mask[:, :, None, None]
    total = jnp.where(real, v, 0).sum(1, keepdims=True, dtype=jnp.promote_types(v.dtype, "float32"))
    mean = scale * total / jnp.maximum(mask.sum(1), 1)[:, None, None, None]
    return jnp.broadcast_to(mean, v.shape).astype(v.dtype)
'''


def write_attention(path, name="mine", change=""):
    """Write a file with an attention that works, and a line more; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(ATTENTION.replace("{name}", name) + change)
    return path


def write_task(path, name="same-ends"):
    """Write a file with the task of CONTRIBUTING.md and its presets; return its path."""
    chapter = (ROOT / "CONTRIBUTING.md").read_text().split("## Add a task\n")[1]
    task, presets = re.findall(r"```python\n(.*?)```", chapter, re.DOTALL)[:2]
    presets = presets.split('"""\n', 1)[1].replace("from lra_bench.tasks.same_ends import", "#")
    path.write_text(task.replace("same-ends", name) + presets)
    return path
