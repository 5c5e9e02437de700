"""The facts that the documents show, from the registry, the presets and the records, by name."""

from collections.abc import Callable

from facts.approximation import approximation_table
from facts.attentions import attention_sections, attention_table, new_attention
from facts.reproduced import guess_table, reproduced_table
from facts.results import brackets_table, headline
from facts.settings import difference_table, settings_table, task_settings
from facts.tasks import new_task, task_sections, task_table

FACTS: dict[str, Callable[[], str]] = {
    "headline": headline,
    "settings_table": settings_table,
    "task_settings": task_settings,
    "attention_table": attention_table,
    "attention_sections": attention_sections,
    "new_attention": new_attention,
    "new_task": new_task,
    "task_table": task_table,
    "brackets_table": brackets_table,
    "reproduced_table": reproduced_table,
    "guess_table": guess_table,
    "approximation_table": approximation_table,
    "task_sections": task_sections,
    "difference_table": difference_table,
}
