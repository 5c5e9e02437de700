"""The words of the code: one meaning for a class name, and docstrings that read as sentences."""

import ast
import re
import subprocess
from collections import defaultdict
from functools import cache

from common import ROOT

FOLDERS = ("lra_bench", "attentions", "tasks", "configs", "docs", "benchmarks")
# A class of each plan, and a class of each study, which the command line builds by that name.
SHARED = {"Choice", "Setup"}
# A docstring that opens so has no verb, or a subject that a reader must guess.
OPENINGS = re.compile(r"(Of|Those|What|How|Whether|Which|Where|The same|All that|As|By|None|No)\b")
PHRASES = re.compile(r"\b(be it|needn't|whatever is|lest|for want of|ere|thereof|wherein)\b")


@cache
def trees():
    listed = subprocess.run(
        ["git", "ls-files", *(f"{folder}/*.py" for folder in FOLDERS)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    files = [ROOT / name for name in listed]
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_text())
        for path in files
        if path.is_file() and not path.is_symlink()
    }


def docstrings():
    """Where each docstring stands, and its text."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for name, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, documented) and (text := ast.get_docstring(node)):
                yield f"{name}:{getattr(node, 'lineno', 1)}", text


def test_a_class_name_has_one_meaning():
    homes = defaultdict(list)
    for name, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(name)
    assert {name: found for name, found in homes.items() if len(found) > 1}.keys() <= SHARED


def test_first_lines_have_a_subject_and_a_verb():
    lines = [(where, text.partition("\n")[0]) for where, text in docstrings()]
    assert [(where, line) for where, line in lines if OPENINGS.match(line)] == []


def test_functions_say_what_they_do():
    """They begin with a verb, not with the thing that they return."""
    nouns = [
        (f"{name}:{node.lineno}", text.partition("\n")[0])
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and (text := ast.get_docstring(node))
        if re.match(r"(The|An?|Each|Every|All|Its|Their|Such)\b", text)
    ]
    assert nouns == []


def test_docstrings_are_plain():
    found = [(where, PHRASES.search(text)) for where, text in docstrings()]
    assert [(where, phrase[0]) for where, phrase in found if phrase] == []
