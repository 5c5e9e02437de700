"""Text of unknown origin, made harmless for each place where it is shown."""

import html as markup
import re
import unicodedata

# What a spreadsheet takes for the start of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
# In Markdown: signs that end a cell or quote code; the start of a tag, an entity or the target of a
# link; and underscores, unless letters or digits are on both sides.
_MARKDOWN = re.compile(r"[\\|`]|<(?=[A-Za-z/!?])|&(?=[#\w])|\](?=[(\[])|(?<![^\W_])_|_(?![^\W_])")
_ENTITIES = {"<": "&lt;", "&": "&amp;"}
# Signs of Markdown that mean nothing alone: "OOM*", "~3.1".
_PAIRED = "*~"
_TEX = {sign: rf"\{sign}" for sign in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "µ": r"$\mu$",
    "<": "$<$",
    ">": "$>$",
}


def terminal(text: object) -> str:
    """Return text in which whatever a terminal would obey is written as an escape, on one line.

    These are control characters (ESC, newlines and carriage returns too), characters that turn the
    direction of writing, separators of lines, and bytes of names that are not UTF-8.
    """
    return "".join(_visible(sign) for sign in str(text))


def lines(text: object) -> str:
    """Return text as `terminal` does, but keep its newlines."""
    return "\n".join(map(terminal, str(text).split("\n")))


def _visible(sign: str) -> str:
    """Return a character, or its escape if it cannot be seen as such."""
    if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return sign.encode("unicode_escape", errors="surrogatepass").decode()
    return sign


def markdown(text: object, *, in_table: bool = True) -> str:
    """Return text as Markdown shows it: no markup, no tag, no new line and no new column.

    Signs that have no meaning where they stand are left alone, as in "num_features" or "OOM*".

    Args:
        text: to show.
        in_table: whether it is a cell; outside of tables, " | " may separate values.
    """
    shown = _MARKDOWN.sub(_unmarked, terminal(text))
    if not in_table:
        shown = shown.replace(r" \| ", " | ")
    for sign in _PAIRED:
        if shown.count(sign) > 1:
            shown = shown.replace(sign, rf"\{sign}")
    return shown


def _unmarked(match: re.Match[str]) -> str:
    return _ENTITIES.get(match[0], rf"\{match[0]}")


def csv(value: object) -> object:
    """Return the value of a CSV cell; a text that a spreadsheet would calculate starts with `'`.

    Numbers stay numbers.
    """
    if not isinstance(value, str):
        return value
    text = terminal(value)
    return f"'{text}" if value.lstrip().startswith(_FORMULA) else text


def latex(text: object) -> str:
    r"""Return text as LaTeX shows it; after `\\`, a bracket or a star would be an argument."""
    shown = terminal(text).translate(str.maketrans(_TEX))
    return f"{{{shown[0]}}}{shown[1:]}" if shown.startswith(("[", "*")) else shown


def html(text: object) -> str:
    """Return text as HTML shows it, in an element or a quoted attribute; newlines are kept."""
    return markup.escape(lines(text))


def figure(text: object, longest: int = 120) -> str:
    """Return text as matplotlib shows it: on one line, and a dollar begins no formula.

    Args:
        text: to show.
        longest: characters that there is room for; longer text is cut.
    """
    shown = terminal(text)
    shown = shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
    # A legend leaves out what begins with an underscore.
    return (" " if shown.startswith("_") else "") + shown.replace("$", r"\$")
