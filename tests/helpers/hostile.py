"""Hostile values, damage of files, and what no output may hold: for fuzzers of all readers."""

import contextlib
import copy
import csv
import io
import json
import os
import re
import signal
import unicodedata

from common import PATIENCE
from junk import key_paths

SCRIPT = "<script>alert(1)</script>"
TEXTS = [
    SCRIPT, "a | b", "|x|", "two\nlines", "\r", "\x1b[31mred\x1b[0m", "\x9b1m", "=1+1", "+1", "-1",
    "@SUM(1)", "\t=1", " =1", "[x](javascript:alert(1))", "![](//x)", "*b*", "__b__", "_x", "`c`",
    "~~s~~", "&lt;", "\\", "\\|", "$x^{", "$a$", "%", "\\input{x}", "[2cm]", "*", "'\"><b>", "]]>",
    "\u202eabc", "\u2028", "\0", "é漢字🙂", "x" * 5_000, "../../etc/passwd", "lra-bench: done", "",
    "\ud800", "-->", "{{7*7}}", "%s%n", "nan",
]  # fmt: skip
VALUES = [
    None, True, False, 0, -1, 1, 2, 0.5, -0.0, 1e-300, 1e300, 1e999, float("nan"), float("-inf"),
    10**400, -(10**400), 2**63, 2**64, 10**30, [], {}, [[]], [1, 2], ["a"], {"a": None}, [None] * 9,
    {"": ""}, {"accuracy": 1}, [0.5, "x"],
]  # fmt: skip


def hostile(chance):
    """A value of any kind, texts as often as others."""
    return copy.deepcopy(chance.choice(chance.choice((TEXTS, VALUES))))


def mutated(values, chance):
    """A copy with a few changes: hostile values, keys removed, added or renamed."""
    changed = copy.deepcopy(values)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        paths = list(key_paths(changed))
        if not paths:
            break
        *way, last = chance.choice(paths)
        place = changed
        for key in way:
            place = place[key]
        kind = chance.randrange(8)
        if kind == 0:
            place.pop(last)
        elif kind == 1:
            place[chance.choice(TEXTS)] = place.pop(last)
        elif kind == 2:
            place[chance.choice(TEXTS)] = hostile(chance)
        else:
            place[last] = hostile(chance)
    return changed


def damaged(content, chance):
    """Bytes with a bit flipped, some cut out, doubled or replaced."""
    content = bytearray(content)
    at = chance.randrange(len(content) or 1)
    piece = slice(at, at + chance.choice((1, 4, 30)))
    kind = chance.randrange(6)
    if kind == 0:
        return bytes(content[:at])
    if kind == 1:
        del content[piece]
    elif kind == 2:
        content[piece] = content[piece] * 2
    elif kind == 3:
        content[piece] = bytes(chance.randrange(256) for _ in range(4))
    elif kind == 4:
        content[piece] = chance.choice((b"[" * 3_000, b"9" * 400, b"\xff\xfe", b"\\ud800", b"NaN"))
    elif content:
        content[at] ^= 1 << chance.randrange(8)
    return bytes(content)


def swapped(path, chance):
    """Put something else than a regular file in the place of a file."""
    path.unlink()
    kind = chance.randrange(6)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.mkdir()
    elif kind < 5:
        path.symlink_to(("/dev/zero", path.name, "/dev/stdin")[kind - 2])
    else:
        with path.open("wb") as file:
            file.truncate(2**40)  # takes no room on the disk


@contextlib.contextmanager
def no_hang(seconds=PATIENCE):
    """Fail where the block takes longer; a read that never returns is interrupted."""

    def fail(*_):
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def dumped(values):
    """JSON as anybody may write it, with NaN and half surrogate pairs."""
    return json.dumps(values).encode()


def controls(text):
    """The characters that a terminal obeys, newlines aside."""
    return [
        x for x in text if unicodedata.category(x) in ("Cc", "Cf", "Cs", "Zl", "Zp") if x != "\n"
    ]


def check_markdown(text):
    assert not controls(text)
    assert not re.search(r"<(?!/?u>)[a-z/!?]", text, re.IGNORECASE)
    assert not re.search(r"(?<!\\)\]\(", text)
    assert not re.search(r"(?<!\\)`", text)
    # Each line of a table has as many columns as its head.
    for block in text.split("\n\n"):
        rows = [line for line in block.split("\n") if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in rows}) <= 1, block


def check_csv(text):
    assert not controls(text)
    rows = list(csv.reader(io.StringIO(text)))
    assert len({len(row) for row in rows}) <= 1
    for cell in (cell for row in rows for cell in row):
        if cell.lstrip().startswith(("=", "+", "-", "@")):
            float(cell)


def check_latex(text):
    assert not controls(text)
    assert "<script" not in text
    assert r"\input{" not in text
    # Nothing but $<$, $>$ and $\pm$ is mathematics.
    assert not re.search(
        r"(?<!\\)\$(?!(<|>|\\pm|\\mu)\$)", re.sub(r"\$(<|>|\\pm|\\mu)\$", "", text)
    )
    assert not re.search(r"^[\[*]", text, re.MULTILINE)


def check_html(text):
    assert not [x for x in controls(text) if x not in "\xad"]
    assert "<script>alert" not in text
    assert '<b>"' not in text
    assert "'\"><b>" not in text


def check_json(text):
    assert text == "" or json.loads(text) is not None


CHECKS = {
    "markdown": check_markdown,
    "csv": check_csv,
    "latex": check_latex,
    "html": check_html,
    "json": check_json,
}


def check_messages(err):
    """Each line on standard error is one of ours, and forges nothing."""
    assert not controls(err)
    assert "Traceback" not in err
    for line in err.splitlines():
        assert line.startswith("lra-bench: "), line
