"""Fill in what README.md, docs/ and results/ show of records, registry and presets.

    python docs/generate.py            write
    python docs/generate.py --check    write nothing; exit status 1 and a line for each stale block

A block is what stands between a line `<!-- made by: COMMAND -->` and a line `<!-- end -->`.
COMMAND is

    lra-bench ...                  what that command prints
    lra-bench ... | table WORD..   of that the rows of the one table whose heading has these words
    docs/facts.py NAME             what that file says of attentions or tasks
    a copy of FILE                 the file
"""

import argparse
import contextlib
import functools
import io
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from facts import FACTS

from lra_bench import cli

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^<!-- made by: (.+?) -->\n(.*?)^<!-- end -->$", re.MULTILINE | re.DOTALL)
EDGE = re.compile(r"^<!-- (made by: .+|end) -->$", re.MULTILINE)


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write, or only check, the documents below `root`; the exit status."""
    parser = argparse.ArgumentParser(description="Fill in the generated blocks of the documents.")
    parser.add_argument("--check", action="store_true", help="write nothing, name what is stale")
    check = parser.parse_args(argv).check
    with contextlib.chdir(root):
        changed = sum(renew(path, write=not check) for path in documents())
    return 1 if check and changed else 0


def documents() -> Iterator[Path]:
    """All that may have blocks, relative to the root."""
    yield from sorted(Path().glob("*.md"))
    yield from sorted(Path("docs").glob("*.md"))
    yield from sorted(Path("results").rglob("*.md"))


def renew(path: Path, *, write: bool) -> int:
    """Make the blocks of a document anew and name those that changed; how many they are."""
    text = path.read_text()
    if len(EDGE.findall(text)) != 2 * len(BLOCK.findall(text)):
        sys.exit(f"{path}: a block has no end, or an end no block")
    changed = [match[1] for match in BLOCK.finditer(text) if match[0] != block(match[1])]
    for command in changed:
        print(f"{path}: {'made anew' if write else 'stale'}: {command}")
    if write and changed:
        path.write_text(BLOCK.sub(lambda match: block(match[1]), text))
    return len(changed)


def block(command: str) -> str:
    """The whole block, its edges included."""
    return f"<!-- made by: {command} -->\n\n{made(command).strip()}\n\n<!-- end -->"


@functools.cache
def made(command: str) -> str:
    """What a command makes."""
    before, _, words = command.partition(" | table ")
    if words:
        return one_table(made(before), shlex.split(words))
    if before.startswith("lra-bench "):
        return printed(shlex.split(before)[1:])
    if before.startswith("a copy of "):
        return Path(before.removeprefix("a copy of ")).read_text()
    name = before.removeprefix("docs/facts.py ")
    return FACTS[name]() if name in FACTS else sys.exit(f"nothing makes a block by: {command}")


def printed(argv: list[str]) -> str:
    """The standard output of `lra-bench`, called in this process."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        if cli.main(argv):
            sys.exit(f"lra-bench {shlex.join(argv)} failed")
    return out.getvalue()


def one_table(text: str, words: list[str]) -> str:
    """The rows of the only table whose heading has all the words."""
    sections = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    found = [it for it in sections if all(word in it.partition("\n")[0] for word in words)]
    if len(found) != 1:
        sys.exit(f"{len(found)} tables have {words} in their headings, not one")
    return "\n".join(line for line in found[0].splitlines() if line.startswith("|"))


if __name__ == "__main__":
    sys.exit(main())
