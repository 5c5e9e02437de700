"""Fill in the blocks of README.md, docs/ and results/ that come from records, registry and presets.

    python docs/generate.py            write
    python docs/generate.py --check    write nothing; exit status 1 and a line for each stale block

A block is the text between a line `<!-- made by: COMMAND -->` and a line `<!-- end -->`. COMMAND is
one of

    lra-bench ...                  the output of that command
    lra-bench ... | table WORD..   the rows of the one table there whose heading has these words
    COMMAND beside COMMAND ..      the columns of several tables, by the names in the first column
    docs/facts NAME                the text of that function in docs/facts
    python benchmarks/NAME.py      the output of that script, which must be the same everywhere
    a copy of FILE                 the file
"""

import argparse
import contextlib
import functools
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from facts import FACTS

from lra_bench import cli

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^<!-- made by: (.+?) -->\n(.*?)^<!-- end -->$", re.MULTILINE | re.DOTALL)
EDGE = re.compile(r"^<!-- (made by: .+|end) -->$", re.MULTILINE)


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write, or only check, the documents below `root`; return the exit status."""
    parser = argparse.ArgumentParser(description="Fill in the generated blocks of the documents.")
    parser.add_argument("--check", action="store_true", help="write nothing, name what is stale")
    check = parser.parse_args(argv).check
    with contextlib.chdir(root):
        changed = sum(renew(path, write=not check) for path in documents())
    return 1 if check and changed else 0


def documents() -> Iterator[Path]:
    """Yield every document that may have blocks, relative to the current folder."""
    yield from sorted(Path().glob("*.md"))
    yield from sorted(Path("docs").glob("*.md"))
    yield from sorted(Path("results").rglob("*.md"))


def renew(path: Path, *, write: bool) -> int:
    """Renew the blocks of a document, print those that changed, and return their number."""
    text = path.read_text()
    if len(EDGE.findall(text)) != 2 * len(BLOCK.findall(text)):
        sys.exit(f"{path}: a block has no end, or an end has no block")
    changed = [match[1] for match in BLOCK.finditer(text) if match[0] != block(match[1])]
    for command in changed:
        print(f"{path}: {'renewed' if write else 'stale'}: {command}")
    if write and changed:
        path.write_text(BLOCK.sub(lambda match: block(match[1]), text))
    return len(changed)


def block(command: str) -> str:
    """Return the whole block of a command, including its first and last line."""
    return f"<!-- made by: {command} -->\n\n{made(command).strip()}\n\n<!-- end -->"


@functools.cache
def made(command: str) -> str:
    """Return the text that a command makes."""
    first, *others = command.split(" beside ")
    if others:
        return functools.reduce(beside, map(made, others), made(first))
    source, _, words = command.partition(" | table ")
    if words:
        return one_table(made(source), shlex.split(words))
    if source.startswith("lra-bench "):
        return printed(shlex.split(source)[1:])
    if source.startswith("a copy of "):
        return Path(source.removeprefix("a copy of ")).read_text()
    if source.startswith("python benchmarks/"):
        return run(source.removeprefix("python "))
    name = source.removeprefix("docs/facts ")
    return FACTS[name]() if name in FACTS else sys.exit(f"unknown command of a block: {command}")


def printed(argv: list[str]) -> str:
    """Return the standard output of `lra-bench`, called in this process."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        if cli.main(argv):
            sys.exit(f"lra-bench {shlex.join(argv)} failed")
    return out.getvalue()


def run(script: str) -> str:
    """Return the standard output of a script of this repository, run in its own process."""
    command = [sys.executable, str(ROOT / script)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def one_table(text: str, words: list[str]) -> str:
    """Return the rows of the only table whose heading has all the words."""
    sections = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    headings = [section.partition("\n")[0] for section in sections]
    chosen = [
        section
        for section, heading in zip(sections, headings, strict=True)
        if all(word in heading for word in words)
    ]
    if len(chosen) != 1:
        sys.exit(f"{len(chosen)} tables have {words} in their headings, not one")
    return "\n".join(line for line in chosen[0].splitlines() if line.startswith("|"))


def beside(left: str, right: str) -> str:
    """Return a table with the columns of another one, empty where that has no such row."""
    more = {name(line): line.split("|", 2)[2] for line in right.splitlines()}
    nothing = re.sub(r"[^|]", " ", next(iter(more.values())))
    return "\n".join(line + more.get(name(line), nothing) for line in left.splitlines())


def name(line: str) -> str:
    """Return the name at the beginning of a row, as tables of accuracy have it."""
    return line.split("|", 2)[1].strip(" -").removesuffix(" (OPT)")


if __name__ == "__main__":
    sys.exit(main())
