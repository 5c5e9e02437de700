"""A terminal of some width that keeps all that is written to it."""

import io
import re
import sys

_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen(io.StringIO):
    """Standard output of a test that is a terminal."""

    encoding = "utf-8"

    def isatty(self):
        return True

    def texts(self):
        """What was written between two moves of the cursor to a new line or to the first column."""
        return [text for text in re.split(r"[\r\n]", _CODES.sub("", self.getvalue())) if text]


def screen(monkeypatch, columns):
    """Make standard output a terminal of this width."""
    found = Screen()
    monkeypatch.setattr(sys, "stdout", found)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    return found
