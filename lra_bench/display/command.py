"""Commands that a user may copy from the screen and run."""

import shlex
from collections.abc import Iterable


def command(*words: object) -> str:
    """Return a call of lra-bench as a shell reads it, on one line; words are quoted as needed."""
    return " ".join(["lra-bench", *(_quoted(str(word)) for word in words)])


def from_files(task: str, *words: str) -> str:
    """Return the command that prepares a task's data from files; PATH stands for theirs.

    Args:
        task: the name of the task.
        words: the options that choose the data.
    """
    return command("data", "prepare", task, "--source", "PATH", *words)


def settings(overrides: Iterable[str]) -> list[str]:
    """Return the words that pass on "group.key=value" overrides."""
    return [word for override in overrides for word in ("--set", override)]


def option(name: str, value: object) -> list[str]:
    """Return the words of an option; a value that looks like another option stays attached."""
    text = str(value)
    return [f"{name}={text}"] if text.startswith("-") else [name, text]


def path(value: object) -> str:
    """Return a path as a positional argument, which must not look like an option."""
    text = str(value)
    return f"./{text}" if text.startswith("-") else text


def _quoted(word: str) -> str:
    """Return a word for a shell; bash and zsh know the form for what cannot be printed."""
    if word.isprintable():
        return shlex.quote(word)
    signs = (sign if sign.isprintable() and sign not in "\\'" else _escaped(sign) for sign in word)
    return f"$'{''.join(signs)}'"


def _escaped(sign: str) -> str:
    """Return a character as the bytes of a file name, such as "\\033"."""
    return "".join(f"\\{byte:03o}" for byte in sign.encode(errors="surrogateescape"))
