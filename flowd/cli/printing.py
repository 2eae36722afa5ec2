"""Prints tables and fields for people, and JSON for programs."""

import json
import os
import sys
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import click

from flowd.cli.exits import discard
from flowd.formats.terminal import escaped, escaped_json

ABSOLUTE = "flowd.absolute"
"""In the meta of click's context: whether times are wanted in place of ages."""

STATUS_STYLES = {
    "queued": "dim",
    "running": "cyan",
    "completed": "green",
    "changed": "green",
    "skipped": "dim",
    "ok": "green",
    "matched": "green",
    "accepted": "green",
    "duplicate": "yellow",
    "stale": "yellow",
    "shadowed": "yellow",
    "blocked": "yellow",
    "needs_intervention": "yellow",
    "canceled": "magenta",
    "failed": "red",
    "broken": "red",
}


_COLUMNS = 80
"""Of a terminal that does not say."""


def is_terminal() -> bool:
    """Whether a person reads stdout."""
    return sys.stdout.isatty()


def screen_columns() -> int | None:
    """How wide the terminal is that is printed on; None into a pipe."""
    if not is_terminal():
        return None
    # As `shutil.get_terminal_size` has it, whose import loads three libraries that compress.
    told = os.environ.get("COLUMNS", "")
    return (int(told) if told.isdecimal() else 0) or os.get_terminal_size(sys.stdout.fileno()).columns or _COLUMNS


def has_colours() -> bool:
    """Whether stdout is a terminal whose reader wants colours (https://no-color.org)."""
    return is_terminal() and not os.environ.get("NO_COLOR")


def print_json(value: Any) -> None:
    """Print JSON: indented for a person, on one line for a program."""
    layout: dict[str, Any] = {"indent": 2} if is_terminal() else {"separators": (",", ":")}
    text = json.dumps(value, ensure_ascii=False, **layout)
    if is_terminal():
        text = escaped_json(text)
    # Lone surrogates are in no UTF-8 text; Python's backslash form of one is its JSON escape.
    click.echo(text.encode("utf-8", "backslashreplace"))


def line(text: str = "") -> None:
    """Print a line on stdout, control characters escaped."""
    _echo(clean(text))


def sentence(text: str) -> None:
    """Print a sentence on stdout, folded between words where a terminal would break it within one."""
    columns = screen_columns()
    line(text if columns is None else _folded(clean(text), columns))


def _folded(text: str, columns: int) -> str:
    if len(text) * 2 <= columns:  # no character is wider than two columns
        return text
    from flowd.cli.folding import folded  # noqa: PLC0415 - only for long ones

    return folded(text, columns)


def line_with_status(before: str, value: str, after: str) -> None:
    """Print a line with a status in it, which may be padded, coloured on a terminal."""
    name = value.rstrip()
    _echo(f"{clean(before)}{status(name)}{value[len(name) :]}{clean(after)}")


def note(text: str) -> None:
    """Print a note on stderr, folded between words on a terminal. It is no error when it cannot be written."""
    try:
        shown = clean(text)
        if sys.stderr.isatty():
            shown = _folded(shown, os.get_terminal_size(sys.stderr.fileno()).columns or _COLUMNS)
        click.echo(shown.encode("utf-8", "backslashreplace"), err=True)
    except BrokenPipeError:
        raise
    except OSError:
        discard(sys.stderr)


def clean(text: str) -> str:
    r"""The text with control characters as escapes, because they could take over the reader's terminal.

    >>> clean("a\x1b[31mred\x07")
    'ared\\x07'
    """
    return escaped(text)


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    prose: str | None = None,
    yields: Sequence[str] = (),
    whole: Collection[str] = (),
    shared: Collection[str] = (),
) -> None:
    """Print a table. No cell is ever cut, because people copy ids, and nobody is to look a reason up elsewhere.

    Into a pipe, all columns are aligned, with two spaces or more between them and never two within a cell. On a
    terminal that is too narrow, columns leave the table for a line beneath each row, always in the same order: first
    ``prose``, then those that yield, then the others from the right; see `flowd.cli.tables`.

    Args:
        prose: The column of sentences: where one does not fit, it alone stands beneath its row.
        yields: Columns that leave before others, in this order.
        whole: Columns that never leave, as the first never does.
        shared: Columns of what rows have in common.
    """
    columns = screen_columns()
    if columns is None:
        _echo("\n".join(aligned([headers, *rows])))
        return
    from flowd.cli import tables  # noqa: PLC0415 - piped output does not pay for it

    cells = [[_one_line(cell) for cell in row] for row in rows]
    order = tables.Order(prose, tuple(yields), frozenset(whole), frozenset(shared))
    lines = tables.lay_out(headers, cells, order, columns=columns)
    _echo("\n".join("".join(_bold(text) if is_name else status(text) for text, is_name in parts) for parts in lines))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines of aligned columns, two spaces between them.

    >>> aligned([("ID", "STATUS"), ("run_1", "completed")])
    ['ID     STATUS', 'run_1  completed']
    """
    cells = [[_one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _one_line(cell: str) -> str:
    return " ".join(clean(cell).split()) or "-"


def _bold(text: str) -> str:
    return click.style(text, bold=True) if has_colours() else text


def _echo(text: str) -> None:
    click.echo(text.encode("utf-8", "backslashreplace"))


def status(value: str) -> str:
    """A status as a cell or in a line: coloured on a terminal."""
    style = STATUS_STYLES.get(value, "")
    if not has_colours() or not style:
        return value
    return click.style(value, dim=True) if style == "dim" else click.style(value, fg=style)


def fields(pairs: Sequence[tuple[str, str | None]]) -> None:
    """Print names and values, one a line. Names without a value are left out."""
    present = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in present), default=0)
    columns = screen_columns()
    for name, value in present:
        label = _bold(name.ljust(width))
        text = clean(value)
        first, *rest = (text if columns is None else _folded(text, columns - width - 2)).splitlines() or [""]
        shown = status(first) if name in ("status", "process", "state") else first
        _echo(f"{label}  {shown}")
        for more in rest:
            line(" " * (width + 2) + more)


def when(at: datetime | None) -> str:
    """An instant: for a person how long ago or ahead it is, or with ``--absolute`` the time by the clock of here;
    elsewhere in ISO 8601, in UTC."""
    if at is None:
        return "-"
    if not is_terminal():
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    from flowd.cli import time_words  # noqa: PLC0415 - as above

    return time_words.clock(at) if wants_times() else time_words.near(at)


def when_said(instant: object) -> str:
    """An instant from a view within a sentence: how long ago it is for a person, else that it was at this time."""
    from flowd.cli import time_words  # noqa: PLC0415 - as above

    at = time_words.instant(instant)
    if at is None or not is_terminal():
        return f"at {instant}"
    return f"at {time_words.clock(at)}" if wants_times() else time_words.near(at)


def wants_times() -> bool:
    """Whether ``--absolute`` is given."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(ABSOLUTE))


def when_exactly(at: datetime | None) -> str:
    """An instant for a view that has room: how long ago it is, and the time by the clock of here."""
    if at is None or not is_terminal():
        return when(at)
    from flowd.cli import time_words  # noqa: PLC0415 - as above

    return f"{time_words.near(at)} ({time_words.clock(at)})"


def took(duration_ms: int | None) -> str:
    """A duration.

    >>> took(12), took(1500), took(75_000), took(None)
    ('12ms', '1.5s', '1m15s', '-')
    """
    if duration_ms is None:
        return "-"
    if duration_ms < 1000:
        return f"{duration_ms}ms"
    if duration_ms < 60_000:
        return f"{duration_ms / 1000:.1f}s"
    minutes, seconds = divmod(duration_ms // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{seconds:02}s"


def count(number: int, noun: str) -> str:
    """A number of things.

    >>> count(1, "run"), count(2, "run")
    ('1 run', '2 runs')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def size(value: object) -> str:
    """Bytes for people.

    >>> size(4 << 20), size(1500), size(3 << 30), size(None)
    ('4 MiB', '1.5 KiB', '3 GiB', '?')
    """
    if not isinstance(value, int):
        return "?"
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if value >= unit:
            digits = 0 if value >= 10 * unit or value % unit == 0 else 1
            return f"{value / unit:.{digits}f} {name}"
    return f"{value} bytes"
