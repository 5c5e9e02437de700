"""The documents: generated blocks are fresh, links lead somewhere, commands parse."""

import contextlib
import importlib
import io
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import pytest
from common import ROOT, edit_record, unsealed
from documents import anchors, commands, documents, links

from lra_bench import cli
from lra_bench.config import make_settings
from lra_bench.runtime.source_files import is_reference

pytestmark = pytest.mark.ci

DOCUMENTS = documents(ROOT)
EXAMPLES = set(re.findall(r'@register_\w+\("(.+?)"', (ROOT / "CONTRIBUTING.md").read_text()))
COMMANDS = [(name, argv) for name in DOCUMENTS for argv in commands((ROOT / name).read_text())]


@pytest.fixture
def generate(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    module = importlib.import_module("generate")
    module.made.cache_clear()
    yield module
    module.made.cache_clear()


@pytest.fixture
def copy(tmp_path):
    """README and records, to be spoilt: the blocks of docs/ take long, and are checked once."""
    shutil.copytree(ROOT / "results", tmp_path / "results")
    shutil.copy(ROOT / "README.md", tmp_path)
    return tmp_path


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_generated_blocks_are_fresh():
    """Stale? python docs/generate.py"""
    command = [sys.executable, "docs/generate.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_an_edited_number_is_stale(generate, copy, capsys):
    before = (copy / "README.md").read_text()
    figure = re.search(r"\d\d\.\d ± \d\.\d", before)[0]
    replace(copy / "README.md", figure, f"9{figure}")
    assert generate.main(["--check"], copy) == 1
    (command,) = re.findall(r"made by: (.*results/battery results/mini-cpu .*) -->", before)
    assert capsys.readouterr().out.splitlines() == [f"README.md: stale: {command}"]
    assert (copy / "README.md").read_text() != before
    assert generate.main([], copy) == 0
    assert (copy / "README.md").read_text() == before
    assert generate.main(["--check"], copy) == 0


def test_a_new_record_makes_its_tables_stale(generate, copy, capsys):
    path = copy / "results/mini-cpu/pathfinder-reformer-seed0/record.json"
    record = unsealed(path)
    answers = record["test"].pop("correct")
    assert answers
    edit_record(path, test={**record["test"], "accuracy": 0.9})
    assert generate.main(["--check"], copy) == 1
    stale = [line.split(": ")[0] for line in capsys.readouterr().out.splitlines()]
    assert stale == ["README.md", "results/mini-cpu.md"]


def test_tables_stand_beside_each_other(generate):
    left = ["| name | a |", "|:-----|--:|", "| x    | 1 |", "| y    | 2 |", "| none | 3 |"]
    right = ["| name    | b  |", "|:--------|---:|", "| y       | 20 |", "| x (OPT) | 10 |"]
    assert generate.beside("\n".join(left), "\n".join(right)).splitlines() == [
        *("| name | a | b  |", "|:-----|--:|---:|", "| x    | 1 | 10 |", "| y    | 2 | 20 |"),
        "| none | 3 |    |",
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("<!-- end -->", "", "a block has no end"),
        ("docs/facts attention_table", "docs/facts attention_tables", "unknown command"),
        ("docs/facts attention_table", "lra-bench table results/drop-in | table x", "0 tables"),
    ],
)
def test_a_malformed_block_is_refused(generate, copy, old, new, said):
    shutil.copytree(ROOT / "docs", copy / "docs")
    replace(copy / "docs/attentions.md", old, new)
    with pytest.raises(SystemExit, match=said):
        generate.main(["--check"], copy)


def test_no_table_of_the_readme_is_written_by_hand(generate):
    by_hand = generate.BLOCK.sub("", (ROOT / "README.md").read_text())
    assert [line for line in by_hand.splitlines() if line.startswith("|")] == []


def test_each_folder_of_records_stands_in_a_document():
    made = re.findall(r"made by: (.+) -->", "".join((ROOT / x).read_text() for x in DOCUMENTS))
    words = [PurePosixPath(word) for command in made for word in command.split()]
    named = {*words, *(word.parent for word in words if word.suffix == ".md")}
    folders = {path.parents[1] for path in (ROOT / "results").rglob("record.json")}
    folders |= {path.parent for path in (ROOT / "results").rglob("efficiency.jsonl")}
    assert folders
    for folder in folders:
        below = PurePosixPath(folder.relative_to(ROOT).as_posix())
        assert {below, *below.parents[:-2]} & named, folder


def test_the_document_of_a_folder_of_records_begins_with_its_tables():
    for name in DOCUMENTS:
        folder = name.removesuffix(".md")
        if (ROOT / folder).is_dir():
            first = (ROOT / name).read_text().partition("\n")[0]
            assert (
                first.replace(" --published", "") == f"<!-- made by: lra-bench table {folder} -->"
            )


def broken(root, name):
    """The links of a document that lead nowhere."""
    text = (root / name).read_text()
    return [link for link in links(text) if not _leads(root / name, link)]


def _leads(document, link):
    parts = urlsplit(link)
    if parts.scheme:
        return parts.scheme == "https" and "." in parts.netloc
    target = document.parent / parts.path if parts.path else document
    if not target.exists() or not parts.fragment:
        return target.exists()
    return parts.fragment in anchors(target.read_text())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    assert broken(ROOT, name) == []


def test_broken_links_are_found(tmp_path):
    (tmp_path / "other.md").write_text("# A `b`, c\n\n## Twice\n\n## Twice\n\n```sh\n# no\n```\n")
    good = "[a](other.md#a-b-c) [b](other.md#twice-1) [c](https://a.org/b#c) `[d](no)` [e](#here)"
    bad = ["no.md", "other.md#no", "other.md#twice-2", "http:/a.org", "#there"]
    text = f"## Here\n\n{good} {' '.join(f'[x]({link})' for link in bad)}\n"
    (tmp_path / "one.md").write_text(text)
    assert broken(tmp_path, "one.md") == bad


def test_the_entry_leads_to_every_page():
    pages = {name.removeprefix("docs/") for name in DOCUMENTS if name.startswith("docs/")}
    linked = {link.partition("#")[0] for link in links((ROOT / "docs/README.md").read_text())}
    assert pages - linked == {"README.md"}
    assert "docs/README.md" in links((ROOT / "README.md").read_text())


def understood(argv):
    """Whether the real parser takes it, and the settings exist; nothing is run."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            args = cli.parser().parse_args(argv)
    except SystemExit as ended:
        return ended.code == 0
    names = {args.task, args.attention} if args.command is cli.run else set()
    if names and not names & EXAMPLES and not any(map(is_reference, names)):
        make_settings(args.task, args.attention, args.preset, args.seed, args.set)
    return True


@pytest.mark.parametrize(
    "argv", [pytest.param(argv, id=f"{name}: {shlex.join(argv)}") for name, argv in COMMANDS]
)
def test_commands_parse(argv):
    assert understood(argv)


def test_commands_are_found_wherever_they_stand():
    text = "\n".join(
        [
            "```sh",
            "lra-bench run --task text \\",
            "    --seed 1   # a comment",
            "lra-bench table a && ~/bin/lra-bench list > b 2>&1",
            "ssh x --command='cd y; nohup lra-bench report r --out \"s t\" &'",
            "pip install lra-bench",
            "```",
        ]
    )
    assert list(commands(text)) == [
        ["run", "--task", "text", "--seed", "1"],
        ["table", "a"],
        ["list"],
        ["report", "r", "--out", "s t"],
    ]
    assert not understood(["run", "--tusk", "text"])
