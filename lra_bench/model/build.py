"""The model of a task."""

from typing import Any

from flax import nnx

from lra_bench.contracts import Task, TokenTask
from lra_bench.model.classifier import Classifier
from lra_bench.model.language_model import LanguageModel
from lra_bench.settings import ModelSettings

Model = Classifier | LanguageModel


def make_model(
    task: Task, settings: ModelSettings, attention: str, options: dict[str, Any], rngs: nnx.Rngs
) -> Model:
    """Return the model of a task: a language model if it is scored at its tokens."""
    kind = LanguageModel if isinstance(task, TokenTask) else Classifier
    return kind(task, settings, attention, options, rngs)
