"""A section of the screen: its title, and its runs as a table that keeps its place while it changes."""

from datetime import UTC, datetime
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import DataTable, Static

from flowd.cli.printing import STATUS_STYLES
from flowd.formats.terminal import escaped
from flowd.screen.board import Row, Section
from flowd_client.views.run import RunView

_COLUMNS = ("SINCE", "STATUS", "STEP", "WHAT", "EVENT", "RUN")
_HAS_STATUS = {Section.ATTENTION, Section.RECENT}
_AGE_WIDTH = 4
_MAX_CELL = 60
"""Columns of the terminal; the rest of a name or a message is on the run's own screen."""


class RunTable(DataTable[Text]):
    """Runs, a row each. ``j`` and ``k`` go down and up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False),
        Binding("k", "cursor_up", "Up", show=False),
        Binding("g", "scroll_top", "First", show=False),
        Binding("G", "scroll_bottom", "Last", show=False),
    ]


class SectionView(Vertical):
    """A section. It takes no more lines than it has runs."""

    def __init__(self, section: Section) -> None:
        super().__init__(id=section.value)
        self.section = section
        self._rows: tuple[Row, ...] = ()
        self._table = RunTable(cursor_type="row", show_header=False, cursor_foreground_priority="renderable")
        self._title = Static(classes="title")
        self._shown: dict[str, dict[str, Text]] = {}

    def compose(self) -> ComposeResult:
        yield self._title
        yield self._table

    def on_mount(self) -> None:
        """Add the columns."""
        for name in self._names():
            self._table.add_column(name, key=name, width=_AGE_WIDTH if name == "SINCE" else None)

    def _names(self) -> tuple[str, ...]:
        return tuple(name for name in _COLUMNS if name != "STATUS" or self.section in _HAS_STATUS)

    @property
    def table(self) -> RunTable:
        """Its table, which is what has the focus."""
        return self._table

    @property
    def selected(self) -> RunView | None:
        """The run under the cursor."""
        at = self._table.cursor_row
        return self._rows[at].run if 0 <= at < len(self._rows) else None

    def show(self, rows: tuple[Row, ...], total: int | None, *, hint: str = "") -> None:
        """Show these, with the cursor on the run that it was on; ``hint`` says why there are none."""
        self._rows = rows
        shown = "" if total is None else f" {total}" if total == len(rows) else f" {len(rows)} of {total}"
        self._title.update(Text.assemble(f"{self.section.value.upper()}{shown}  ", (hint, "not bold")))
        self.set_class(not rows, "empty")
        self._draw()

    def _draw(self) -> None:
        """Draw the runs: anew where there are others, and else what has changed of them."""
        now = datetime.now(UTC)
        cells = {row.run.id: self._cells(row, now) for row in self._rows}
        if list(cells) == list(self._shown):
            for run_id, after in cells.items():
                for name, text in after.items():
                    if text != self._shown[run_id][name]:
                        self._table.update_cell(run_id, name, text, update_width=name != "SINCE")
        else:
            self._fill(cells)
        self._shown = cells

    def draw_times(self) -> None:
        """Draw what changes by itself: how long it is since."""
        now = datetime.now(UTC)
        for row in self._rows:
            cells, text = self._shown[row.run.id], _since(row.since, now)
            if cells["SINCE"].plain != text:
                cells["SINCE"] = _age(text)
                self._table.update_cell(row.run.id, "SINCE", cells["SINCE"])

    def _fill(self, cells: dict[str, dict[str, Text]]) -> None:
        table = self._table
        before, at, top = list(self._shown), table.cursor_row, table.scroll_y
        table.clear()
        for run_id, row in cells.items():
            table.add_row(*row.values(), key=run_id)
        chosen = before[at] if 0 <= at < len(before) else None
        # On top the newest is what one looks at; anywhere else a run is, which may have moved.
        place = list(cells).index(chosen) if at > 0 and chosen in cells else min(at, len(cells) - 1)
        table.move_cursor(row=max(0, place), animate=False, scroll=False)
        table.scroll_to(y=max(0, top + place - at), animate=False)

    def _cells(self, row: Row, now: datetime) -> dict[str, Text]:
        run = row.run
        status = Text(run.effective_status, STATUS_STYLES.get(run.effective_status, ""))
        cells = {
            "SINCE": _age(_since(row.since, now)),
            "STATUS": status,
            "STEP": Text(_cut(row.step)),
            "WHAT": Text(_cut(row.said)),
            "EVENT": Text(_cut(run.event_id or ""), "dim"),
            "RUN": Text(run.id, "dim"),
        }
        return {name: cells[name] for name in self._names()}


def _since(at: datetime | None, now: datetime) -> str:
    return "-" if at is None else _in_short((now - at).total_seconds())


def _in_short(seconds: float) -> str:
    """So long, in the four columns that there are for it.

    >>> _in_short(3), _in_short(125), _in_short(7200), _in_short(3 * 86400)
    ('3s', '2m', '2h', '3d')
    """
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "m"), (129_600, 3600, "h")):
        if seconds < limit:
            return f"{max(0, int(seconds // unit))}{name}"
    return f"{int(seconds // 86_400)}d"


def _age(text: str) -> Text:
    return Text(text, "dim", justify="right")


def _cut(text: str) -> str:
    line = " ".join(escaped(text).split())
    return line if len(line) <= _MAX_CELL else f"{line[: _MAX_CELL - 1]}…"
