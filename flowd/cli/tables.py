"""Lays a table out for a terminal: what stands beside each other, and what beneath its row.

One rule for every list. Nothing is cut. What does not fit leaves the table for a line beneath each row, in an order
that its verb names and no content changes, so that a list of one kind looks the same each time.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

_MIN_PROSE = 20
"""With less room than this, sentences stand beneath all rows."""

_GAP, _MARGIN = "  ", "  "

Parts = list[tuple[str, bool]]
"""A line in parts, each with whether it is a column's name."""


class Order(NamedTuple):
    """Who leaves the table, and when.

    Attributes:
        prose: The column of sentences. It leaves first; where it can stay, a sentence too long stands beneath its row.
        yields: Columns that leave next, in this order. Then the others do, from the right.
        whole: Columns that never leave, as the first never does.
        shared: Columns of what rows have in common, as runs have their event. Once they have left, what rows that
            follow each other have in common is told once, beneath the last of them.
    """

    prose: str | None = None
    yields: tuple[str, ...] = ()
    whole: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()

    def of(self, headers: Sequence[str]) -> list[int]:
        """The columns that may leave, the first to do so first; without the prose.

        >>> Order("WHY", ("EVENT",), frozenset({"STATUS"})).of(("RUN", "STATUS", "STEP", "EVENT", "TOOK", "WHY"))
        [3, 4, 2]
        """
        named = [headers.index(name) for name in self.yields if name in headers]
        others = [n for n in reversed(range(1, len(headers))) if n not in named and headers[n] != self.prose]
        return [n for n in (*named, *others) if headers[n] not in self.whole]


def lay_out(headers: Sequence[str], rows: Sequence[Sequence[str]], order: Order, *, columns: int) -> Iterator[Parts]:
    """The lines of a table; ``columns`` is how wide the terminal is."""
    widths = [max(map(width, cells)) for cells in zip(headers, *rows, strict=True)]
    prose = headers.index(order.prose) if order.prose in headers else None
    beside = [n for n in range(len(headers)) if n != prose]
    beneath: list[int] = []
    for leaving in order.of(headers):
        if _needed(widths, beside) <= columns:
            break
        beside.remove(leaving)
        beneath.append(leaving)
    room = columns - _needed(widths, beside) - len(_GAP)
    if prose is not None and not beneath and room >= _MIN_PROSE:
        widths[prose] = room
        beside.append(prose)
    yield _row(headers, beside, widths, are_names=True)
    for number, row in enumerate(rows):
        is_beneath = prose is not None and (prose not in beside or width(row[prose]) > room)
        yield _row([*row[:prose], "", *row[prose + 1 :]] if is_beneath and prose is not None else row, beside, widths)
        sentence = row[prose] if is_beneath and prose is not None and row[prose] != "-" else ""
        *folded, last = _sentence(sentence, columns) if sentence else [""]
        yield from ([(text, False)] for text in folded)
        following = rows[number + 1 : number + 2]
        shared = {n for n in beneath if headers[n] in order.shared and any(other[n] == row[n] for other in following)}
        told = [(headers[n], row[n]) for n in sorted(beneath) if row[n] != "-" and n not in shared]
        yield from _named(last, told, columns)


def width(text: str) -> int:
    """Columns of the terminal that a text takes.

    >>> width("ab"), width("\u65e5"), width("e\u0301")
    (2, 2, 1)
    """
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - only for those who need it

    return cell_len(text)


def _needed(widths: Sequence[int], beside: Sequence[int]) -> int:
    return sum(widths[n] + len(_GAP) for n in beside) - len(_GAP)


def _row(cells: Sequence[str], beside: Sequence[int], widths: Sequence[int], *, are_names: bool = False) -> Parts:
    parts: Parts = []
    for n in beside:
        parts += [(cells[n], are_names), (" " * (widths[n] - width(cells[n])) + _GAP, False)]
    while parts and not parts[-1][0].strip():
        del parts[-1]
    return parts


def _named(before: str, cells: Sequence[tuple[str, str]], columns: int) -> Iterator[Parts]:
    """Cells beneath their row, each behind its column's name: as many on a line as have room there, the first ones
    behind the end of the sentence."""
    parts: Parts = [(before, False)] if before else []
    for name, cell in cells:
        more = [(_MARGIN, False), (name, True), (" ", False), (cell, False)]
        if parts and sum(width(text) for text, _ in parts + more) > columns:
            yield parts
            parts = []
        parts += more
    if parts:
        yield parts


def _sentence(text: str, columns: int) -> list[str]:
    """A sentence beneath its row: whole, folded between words."""
    if width(text) + len(_MARGIN) <= columns:
        return [_MARGIN + text]
    from textwrap import wrap  # noqa: PLC0415 - for long ones

    return wrap(
        text, max(columns, _MIN_PROSE), initial_indent=_MARGIN, subsequent_indent=_MARGIN,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
