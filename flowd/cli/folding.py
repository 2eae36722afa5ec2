"""Folds sentences between words, for terminals, which break lines within them."""

import re

from flowd.cli.tables import width

_KEPT = "\x00"
"""Stands for a blank of a command, which is copied as a whole and would be torn by a new line."""
_LEAST = 10
"""Columns; with less, nothing can be read either way."""


def folded(text: str, columns: int) -> str:
    """The text in lines that fit, each indented as the first one is; what is in backticks is not parted, nor is a word.

    Of a text that has several lines already, each is folded by itself, and those that begin with blanks are kept: these
    are commands to copy, or code and what points at a place in it.

    >>> folded("  the newest run has failed", 20)
    '  the newest run has\\n  failed'
    >>> folded("for more see `flowd runs --all`", 20)
    'for more see\\n`flowd runs --all`'
    >>> folded("it has failed there\\n    and this is its line", 20)
    'it has failed there\\n    and this is its line'
    """
    lines = text.split("\n")
    if len(lines) == 1:
        return _folded(text, columns)
    return "\n".join(line if line[:1].isspace() else _folded(line, columns) for line in lines)


def _folded(text: str, columns: int) -> str:
    if width(text) <= columns:
        return text
    from textwrap import fill  # noqa: PLC0415 - for long ones

    indent = text[: len(text) - len(text.lstrip(" "))]
    whole = re.sub(r"`[^`]*`", lambda command: command[0].replace(" ", _KEPT), text[len(indent) :])
    lines = fill(
        whole, max(columns, _LEAST), initial_indent=indent, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False, replace_whitespace=False, expand_tabs=False,
    )  # fmt: skip
    return lines.replace(_KEPT, " ")
