"""Folds sentences between words, for terminals, which break lines within them."""

import re

from flowd.cli.tables import width

_KEPT = "\x00"
"""Stands for a blank of a command, which is copied as a whole and would be torn by a new line."""
_LEAST = 10
"""Columns; with less, nothing can be read either way."""


def folded(text: str, columns: int, *, margin: str = "") -> str:
    """The text in lines that fit, each indented as the first one is; what is in backticks is not parted, nor is a word.

    Args:
        margin: Indents the lines below the first one further.

    >>> folded("  the newest run has failed", 20)
    '  the newest run has\\n  failed'
    >>> folded("for more see `flowd runs --all`", 20)
    'for more see\\n`flowd runs --all`'
    """
    if width(text) <= columns:
        return text
    from textwrap import fill  # noqa: PLC0415 - for long ones

    indent = text[: len(text) - len(text.lstrip(" "))]
    whole = re.sub(r"`[^`]*`", lambda command: command[0].replace(" ", _KEPT), text[len(indent) :])
    lines = fill(
        whole, max(columns, _LEAST), initial_indent=indent, subsequent_indent=indent + margin,
        break_long_words=False, break_on_hyphens=False, replace_whitespace=False, expand_tabs=False,
    )  # fmt: skip
    return lines.replace(_KEPT, " ")
