"""What the tests of the documents know of markdown, as GitHub shows it."""

import re
import shlex
from collections import Counter
from pathlib import PurePath

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`]+`")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*$", re.MULTILINE)


def documents(root):
    """README, CONTRIBUTING, docs/ and results/, as paths relative to the root."""
    found = [*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob("results/**/*.md")]
    return sorted(path.relative_to(root).as_posix() for path in found)


def links(text):
    """Targets of links and images; code has none."""
    return _LINK.findall(_CODE.sub("", _FENCE.sub("", text)))


def anchors(text):
    """What `#...` may name: of each heading, numbered where several are alike."""
    seen = Counter()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        name = _anchor(heading)
        yield f"{name}-{seen[name]}" if seen[name] else name
        seen[name] += 1


def _anchor(heading):
    shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")


def commands(text):
    """The arguments of each call of lra-bench in a block of shell."""
    for language, block in _FENCE.findall(text):
        if language == "sh":
            yield from _calls(block)


def _calls(shell):
    """Those within quotes too, which another machine is told to do."""
    for words in _simple_commands(shell):
        for place, word in enumerate(words):
            if PurePath(word).name == "lra-bench" and "install" not in words[:place]:
                yield words[place + 1 :]
            elif "lra-bench " in word:
                yield from _calls(word)


def _simple_commands(shell):
    """Words, up to a line's end or an operator."""
    text = _COMMENT.sub("", shell.replace("\\\n", " "))
    lexer = shlex.shlex(text, posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.commenters, lexer.whitespace_split = " \t", "", True
    words = []
    for word in lexer:
        if set(word) <= set("();<>|&\n"):
            yield words
            words = []
        else:
            words.append(word)
    yield words
