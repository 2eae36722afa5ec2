"""The widget that shows output: any number of lines come cheaply, for only those in sight are drawn."""

from collections.abc import Callable, Iterable
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

MAX_LINES = 10_000
"""Older ones are let go. `flowd logs` has all of it."""


_MARK = Style(reverse=True)


class OutputView(ScrollView, can_focus=True):
    """Lines of output. Follows their end unless the reader has scrolled up.

    Attributes:
        lines: Those that are kept.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "Down", show=False),
        Binding("k", "scroll_up", "Up", show=False),
        Binding("g", "scroll_home", "Begin", show=False),
        Binding("G", "scroll_end", "End", show=False),
    ]

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.lines: list[Text] = []
        self._rows: list[Text] = []
        self._is_wrapped = False
        self._width = 0
        self._follows = True
        self._found: int | None = None

    def add(self, lines: Iterable[Text]) -> None:
        """Add lines at the end."""
        added = list(lines)
        self.lines += added
        self._rows += self._cut(added)
        if len(self.lines) > MAX_LINES:
            del self.lines[:-MAX_LINES]
            self._rows = self._cut(self.lines)
            self._found = None
        self._measure()

    def clear(self) -> None:
        """Forget all lines."""
        self.lines, self._rows, self._width, self._follows = [], [], 0, True
        self._found = None
        self._measure()

    def wrap(self) -> None:
        """Wrap lines that are too long, or let the reader scroll sideways again."""
        self._is_wrapped = not self._is_wrapped
        self._lay_out()

    def on_resize(self, _: events.Resize) -> None:
        """Wrap anew."""
        if self._is_wrapped:
            self._lay_out()

    def seek(self, fits: Callable[[str], bool], *, back: bool = False) -> bool:
        """Go to the next row whose text fits, or to the one before, and mark it. Begins at the one that is marked, else
        at what is in sight; goes on from the other end. Returns whether there is one."""
        count = len(self._rows)
        at = self._found if self._found is not None else self.scroll_offset.y - (not back)
        step = -1 if back else 1
        for place in (((at + step * away) % count) for away in range(1, count + 1)):
            if fits(self._rows[place].plain):
                self._found = place
                self.scroll_to(y=max(0, place - self.size.height // 2), animate=False)
                self.refresh()
                return True
        return False

    def _lay_out(self) -> None:
        self._width = 0
        self._found = None
        self._rows = self._cut(self.lines)
        self._measure()

    def _cut(self, lines: list[Text]) -> list[Text]:
        """Lines as rows: as they are, or none wider than the view."""
        width = self.scrollable_content_region.width
        if not self._is_wrapped or width < 1:
            self._width = max([self._width, *(line.cell_len for line in lines)])
            return lines.copy()
        return [row for line in lines for row in line.divide(breaks(line.plain, width))]

    def _measure(self) -> None:
        self.virtual_size = Size(self._width, len(self._rows))
        self.refresh()
        if self._follows:
            self.call_after_refresh(self._go_to_end)  # which is elsewhere until all is laid out

    def _go_to_end(self) -> None:
        if self._follows:
            self.scroll_end(animate=False, x_axis=False)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Follow on from the end, and not from where the reader has scrolled up to."""
        super().watch_scroll_y(old_value, new_value)
        self._follows = self.is_vertical_scroll_end or (self._follows and new_value > old_value)

    def render_line(self, y: int) -> Strip:
        """A row of what is in sight."""
        left, top = self.scroll_offset
        width = self.size.width
        if top + y >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        row = self._rows[top + y]
        strip = Strip(row.render(self.app.console), row.cell_len)
        shown = strip.crop_extend(left, left + width, self.rich_style).apply_style(self.rich_style)
        return shown.apply_style(_MARK) if top + y == self._found else shown


def breaks(text: str, width: int) -> list[int]:
    r"""Where to cut a text into rows that are no wider than this.

    >>> breaks("abcdef", 4), breaks("ab", 4), breaks("\u65e5\u672cab", 3)
    ([4], [], [1, 3])
    """
    if text.isascii():
        return list(range(width, len(text), width))
    found, taken = [], 0
    for at, character in enumerate(text):
        wide = cell_len(character)
        if taken + wide > width and at:
            found.append(at)
            taken = 0
        taken += wide
    return found
