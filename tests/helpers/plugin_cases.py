"""Packages with entry points, made in a folder without installing anything."""

HEAD = "from lra_bench.registry import register_attention, register_task\n"
# An attention that works; its name can be set.
GOOD = """
@register_attention("{0}", equivariant=True)
def attend(q, k, v, mask):
    \"\"\"Return the mean of the real values.\"\"\"
    weights = mask / mask.sum(axis=1, keepdims=True).clip(1)
    return (v * weights[:, :, None, None].astype(v.dtype)).sum(1, keepdims=True) + 0 * v
"""
# A task that works except for its name and its presets, which follow.
TASK = '''
from dataclasses import dataclass
from typing import ClassVar
from lra_bench.contracts import Source


@register_task("{0}")
@dataclass(frozen=True)
class Fake:
    """Do nothing."""

    size: int = 10
    name: ClassVar[str] = "{0}"
    num_classes: ClassVar[int] = 2
    class_names: ClassVar[tuple] = ("a", "b")
    vocab_size: ClassVar[int] = 8
    pad_id: ClassVar[None] = None
    max_len: ClassVar[int] = 8
    paired: ClassVar[bool] = False
    side: ClassVar[None] = None
    sources: ClassVar[tuple] = (Source("generate", "none"),)
    version: ClassVar[int] = 1
    data_options = sizes = inputs = read = to_text = features = official = lambda *_: dict()
'''


def make_package(folder, module, text, points, group="attentions"):
    """Write a package of one module, and its entry points as {name: value}."""
    package = folder / module
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "plugin.py").write_text(text)
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in points.items()]
    text = "\n".join([f"[lra_bench.{group}]", *lines, ""])
    (metadata / "entry_points.txt").write_text(text)
