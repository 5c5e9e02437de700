"""A parser of arguments that says in one line what is wrong, and what may have been meant."""

import argparse
import difflib
import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from lra_bench.display.escape import terminal
from lra_bench.errors import suggestions, unknown
from lra_bench.settings import ModelSettings, TrainSettings

_NEGATIVE = re.compile(r"-\d+|-\d*\.\d+")


class _Formatter(argparse.HelpFormatter):
    """A formatter that wraps each paragraph of a description by itself, and cuts no word."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip().split("\n\n")
        return "\n\n".join(_wrapped(paragraph, width, indent) for paragraph in paragraphs)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


def _wrapped(paragraph: str, width: int, indent: str) -> str:
    """Return a paragraph in lines of at most `width` characters."""
    options = {"initial_indent": indent, "break_on_hyphens": False}
    return "\n".join(
        textwrap.fill(line, width, subsequent_indent=indent + hanging, **options)
        for line, hanging in _lines(paragraph)
    )


def _lines(paragraph: str) -> list[tuple[str, str]]:
    """Return the lines to wrap, each with the indent of its rest; a list stays one line an entry.

    An entry of a list is a word, two or more spaces, and a text.
    """
    lines = paragraph.splitlines()
    entries = [re.match(r"\S+ {2,}", line) for line in lines]
    if not all(entries):
        return [(" ".join(lines), "")]
    return [
        (line, " " * len(entry[0])) for line, entry in zip(lines, entries, strict=True) if entry
    ]


class Parser(argparse.ArgumentParser):
    """A parser without abbreviations and without the usage above an error."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", _Formatter)
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> None:  # type: ignore[override]
        """Print a message and end the program with status 2."""
        hint = "" if "--help" in message else f" (see {self.prog} --help)"
        self.exit(2, f"{self.prog}: {terminal(message)}{hint}\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write a message; unlike argparse, do not ignore that a disk is full."""
        (file or sys.stderr).write(message or "")

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Return the arguments; any word too many is an error."""
        words = list(sys.argv[1:] if args is None else args)
        values, extra = self.parse_known_args(words, namespace)
        if extra:
            self.leaf(words).error(self.leaf(words).superfluous(words, extra))
        return values

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Check the names of commands and options, then parse; argparse calls it for each level."""
        words = list(sys.argv[1:] if args is None else args)
        self._check(words)
        return super().parse_known_args(self._folded(words), namespace)

    def _folded(self, words: list[str]) -> list[str]:
        """Return the words with the command, which may be in upper case, as it is called."""
        for number, word in enumerate(words):
            if word.lower() in self.commands():
                return [*words[:number], word.lower(), *words[number + 1 :]]
        return words

    def _check(self, words: Sequence[str]) -> None:
        """End the program if a word is an unknown command or option of this level."""
        commands = self.commands()
        for number, word in enumerate(words):
            if word == "--":
                return
            if _is_option(word):
                if problem := self._problem(words, number):
                    self.error(problem)
            elif commands:
                if word.lower() not in commands:
                    self.error(str(unknown("command", word, list(commands))))
                return  # the words after it are for the command

    def commands(self) -> dict[str, "Parser"]:
        """Return the parsers of the commands of this level, by their names."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                return action.choices  # type: ignore[return-value]
        return {}

    @property
    def actions(self) -> list[argparse.Action]:
        """Return the definitions of the arguments of this level."""
        return self._actions

    def leaf(self, words: Sequence[str]) -> "Parser":
        """Return the parser of the command that the words name."""
        for number, word in enumerate(words):
            if word.lower() in self.commands():
                return self.commands()[word.lower()].leaf(words[number + 1 :])
        return self

    def _problem(self, words: Sequence[str], number: int) -> str | None:
        """Return what is wrong with the option that is a word of this number, if anything is."""
        name, equals, value = words[number].partition("=")
        action = self._option_string_actions.get(name)
        if action is None:
            return self._unknown_option(name, words[number - 1] if number else None)
        if equals and action.nargs == 0:
            return f"argument {name}: takes no value, not {value!r}; write {name}, or leave it out"
        return None

    def _unknown_option(self, name: str, before: str | None) -> str:
        """Return the message for an option that does not exist.

        Args:
            name: the option, without its value.
            before: the word before it, if any.
        """
        if self.commands():
            command = f"{self.prog} COMMAND {name}"
            return f"no option {name!r} before the command; options follow it: {command}"
        if setting := self._setting(name):
            return f"unknown option {name!r}; did you mean --set {setting}=VALUE?"
        options = [
            each
            for each, action in self._option_string_actions.items()
            if each.startswith("--") and action.help != argparse.SUPPRESS
        ]
        text = str(unknown("option", name, options))
        action = self._option_string_actions.get(before or "")
        if action is not None and action.nargs in (None, "?"):
            text += f"; a value that begins with - is written {before}={name}"
        return text

    def _setting(self, name: str) -> str | None:
        """Return the setting of --set that is called as this option; None if there is none."""
        if "--set" not in self._option_string_actions:
            return None
        asked = name.lstrip("-").replace("-", "_").lower()
        options = [each.lstrip("-").replace("-", "_") for each in self._option_string_actions]
        if difflib.get_close_matches(asked, options, n=1, cutoff=0.75):
            return None
        groups = {"train": TrainSettings, "model": ModelSettings}
        keys = [f"{group}.{each.name}" for group, kind in groups.items() for each in fields(kind)]
        return next(iter(suggestions(asked, keys)), None)

    def superfluous(self, words: Sequence[str], extra: Sequence[str]) -> str:
        """Return the message for words that belong to no argument."""
        before = list(words[: words.index(extra[0])]) if extra[0] in words else []
        places = [place for place, word in enumerate(before) if _is_option(word)]
        option = before[places[-1]] if places else ""
        name, _, value = option.partition("=")
        action = self._option_string_actions.get(name)
        text = f"unexpected {' '.join(map(repr, extra))}"
        if action is None:
            return f"{text}; each value follows the name of its option"
        if action.nargs == 0:
            return f"{text}; {name} takes no value"
        values = [value] if value else before[places[-1] + 1 :]
        if name == "--set" and values:
            return f"{text}; {_as_settings([*values, *extra])}"
        listed = ",".join([*values, *extra])
        return f"{text}; lists are separated by commas, without spaces: {name} {listed}"


def _as_settings(words: Sequence[str]) -> str:
    """Return how words that were meant as settings are written, for a message."""
    settings = re.sub(r"\s*=\s*", "=", " ".join(words)).split()
    if len(settings) == 2 and "=" not in "".join(settings):
        settings = ["=".join(settings)]
    if all("=" in setting for setting in settings):
        return f"write {' '.join(f'--set {setting}' for setting in settings)}"
    return "a setting is written --set KEY=VALUE, in quotes if the value has spaces"


def _is_option(word: str) -> bool:
    """Return whether argparse takes a word for an option."""
    return word[:1] == "-" and len(word) > 1 and " " not in word and not _NEGATIVE.fullmatch(word)
