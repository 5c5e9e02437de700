"""The registries of attention mechanisms and of tasks.

A mechanism or a task is one file that registers itself with a decorator. The registry finds the
files in `lra_bench.attentions` and `lra_bench.tasks` by itself; other packages name their module
in an entry point of the same name. A name that is looked up is searched first in the file of that
name, then in all files, then in the entry point of that name, then in all entry points: a run
imports no plug-in that it does not need. A file or a plug-in that is broken is left out.

A user may also name a file of their own wherever a name is asked for; see `source_files`.
"""

from lra_bench.registry.decorators import register_attention, register_task
from lra_bench.registry.entry import Entry
from lra_bench.registry.families import IDENTITY, REFERENCE, family_of, is_exact
from lra_bench.registry.registry import ATTENTIONS, TASKS, Registry
from lra_bench.registry.tasks import data_options, data_types, make_task

__all__ = [
    "ATTENTIONS",
    "IDENTITY",
    "REFERENCE",
    "TASKS",
    "Entry",
    "Registry",
    "data_options",
    "data_types",
    "family_of",
    "is_exact",
    "make_task",
    "register_attention",
    "register_task",
]
