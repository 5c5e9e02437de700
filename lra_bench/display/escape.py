"""Text of unknown origin, made harmless for each place where it is shown."""

import re
import unicodedata

# What a spreadsheet takes for the start of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
# Signs that have a meaning in a cell of a Markdown table, wherever they stand.
_MARKDOWN = re.compile(r"([\\`*_\[\]|~])")
_HTML = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"}


def terminal(text: object) -> str:
    """Return text in which whatever a terminal would obey is written as an escape, on one line.

    These are control characters (ESC, newlines and carriage returns too), characters that turn the
    direction of writing, separators of lines, and bytes of names that are not UTF-8.
    """
    return "".join(_visible(sign) for sign in str(text))


def _visible(sign: str) -> str:
    """Return a character, or its escape if it cannot be seen as such."""
    if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return sign.encode("unicode_escape", errors="surrogatepass").decode()
    return sign


def markdown(text: object) -> str:
    """Return text as a cell of a Markdown table shows it: no markup, no tag, no new column."""
    return _MARKDOWN.sub(r"\\\1", terminal(text).translate(_HTML))


def csv(value: object) -> object:
    """Return the value of a CSV cell; a text that a spreadsheet would calculate starts with `'`.

    Numbers stay numbers.
    """
    if not isinstance(value, str):
        return value
    text = terminal(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
