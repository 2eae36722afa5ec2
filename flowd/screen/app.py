"""The screen: the program that Textual runs, and its overview of all runs."""

import time
from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, Input, Static

from flowd.formats.terminal import escaped
from flowd.screen import actions
from flowd.screen.acting import ActingScreen
from flowd.screen.board import Answers, Board, Section, board_of
from flowd.screen.by_itself_screen import ByItselfScreen
from flowd.screen.daemon_link import DaemonLink
from flowd.screen.dialogs import Help
from flowd.screen.run_screen import RunScreen
from flowd.screen.section import RunTable, SectionView
from flowd.screen.summary import summary
from flowd.screen.wanted import Wanted, read_wanted
from flowd.screen.watching import look, watch
from flowd_client.aio import AsyncFlowClient
from flowd_client.errors import FlowClientError
from flowd_client.views.run import RunView

_KEYS = (
    ("j k, arrows", "Go down and up in a section"),
    ("Tab, 1 2 3 4", "Go to the next section, or to one of the four"),
    ("z", "Give the section the whole screen, and take it back"),
    ("Enter", "Open a run: what it is, and its output as it comes"),
    ("e", "Show all runs of this run's event, and nothing else"),
    *((action.key, action.words) for action in actions.ACTIONS),
    ("u", "Resume what is paused"),
    ("b", "By itself: schedules, watches, and notices that could not be sent"),
    ("/", "Filter: words, flow=… step=… status=… LABEL=…"),
    ("Escape", "End the filter"),
    ("t", "Dark or light"),
    ("q", "Quit; the daemon and its runs go on"),
)


class Overview(ActingScreen):
    """The four sections, the summary above them, and the filter below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "Help"),
        Binding("q", "app.quit", "Quit"),
        Binding("slash", "filter", "Filter"),
        *(
            Binding(action.key, f"act('{action.name}')", action.name.capitalize(), show=action.name != "answer")
            for action in actions.ACTIONS
        ),
        Binding("b", "by_itself", "By itself"),
        Binding("u", "resume", "Resume", show=False),
        Binding("escape", "unfilter", "All", show=False),
        Binding("e", "event", "Event", show=False),
        Binding("z", "zoom", "Zoom", show=False),
        *(Binding(str(n), f"section('{section}')", "", show=False) for n, section in enumerate(Section, 1)),
    ]

    def __init__(self, client: AsyncFlowClient, place: str) -> None:
        super().__init__(client)
        self._place = place
        self._wanted = Wanted()
        self._only: str | None = None
        self._answers: Answers | None = None
        self._board: Board | None = None
        self._away_since_s: float | None = None
        self._why_away = ""
        # Kept, not looked up: when the screen is taken down, its parts go before what still watches.
        self._summary = Static("Asking the daemon …", id="summary")
        self._away = Static(id="away")
        self._only_bar = Static(id="only")
        self._sections = {section: SectionView(section) for section in Section}
        self._filter = Input(placeholder="words, flow=… step=… status=… run=… LABEL=…", id="filter")

    def compose(self) -> ComposeResult:
        yield self._summary
        yield self._away
        yield self._only_bar
        yield from self._sections.values()
        yield self._filter
        yield Footer()

    def on_mount(self) -> None:
        """Begin to watch."""
        self.run_worker(watch(self.client, self._look, self._lost, self.ring))
        self.set_interval(1.0, self._tick)
        self.set_focus(self.section_of(Section.RECENT).table)

    async def _look(self) -> None:
        self._answers = await look(self.client, self._wanted)
        self._away_since_s = None
        self._show()
        self._tick()

    def _lost(self, error: FlowClientError) -> None:
        self._away_since_s = self._away_since_s or time.monotonic()
        self._why_away = error.message
        self._tick()

    def _tick(self) -> None:
        """Redraw what changes with time alone."""
        away = self._away
        away.display = self._away_since_s is not None
        if self._away_since_s is not None:
            for_s = int(time.monotonic() - self._away_since_s)
            away.update(Text(f"Trying again, for {for_s} s by now. {escaped(self._why_away)}"))
        elif self.is_current:
            for section in self._sections.values():
                section.draw_times()

    def _show(self) -> None:
        if self._answers is None:
            return
        self._board = board_of(self._answers, self._wanted)
        self._summary.update(summary(self._board, self._place))
        for section in self._sections.values():
            of = section.section
            hint = self._hint() if of is Section.RECENT else ""
            section.show(self._board.rows[of], self._board.totals.get(of), hint=hint)
        if not isinstance(self.focused, Input) and self.selected is None:
            self._go_to_runs()  # the last run has left the section that one was in

    def _hint(self) -> str:
        """Why there is nothing to see, if there is nothing."""
        if self._board is None or any(self._board.rows.values()):
            return ""
        return "Nothing fits the filter." if self._wanted else "Nothing has run yet: `flowd dispatch` sends an event."

    def section_of(self, section: Section) -> SectionView:
        """A section."""
        return self._sections[section]

    @property
    def selected(self) -> RunView | None:
        """The run under the cursor of the section that has the focus."""
        focused = self.focused
        if isinstance(focused, RunTable) and isinstance(focused.parent, SectionView):
            return focused.parent.selected
        return None

    def action_open(self) -> None:
        """Open the run under the cursor."""
        if (run := self.selected) is not None:
            self.app.push_screen(RunScreen(self.client, run))

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """The same, by Enter or by a click on the row that has the cursor."""
        event.stop()
        self.action_open()

    def action_resume(self) -> None:
        """Resume what is paused."""
        pauses = () if self._board is None else self._board.pauses
        if pauses:
            self.do(lambda: actions.resume(self.client, pauses, self.ask))
        else:
            self.tell("Nothing is paused.")

    def action_by_itself(self) -> None:
        """Show what comes by itself, and what goes out."""
        self.app.push_screen(ByItselfScreen(self.client))

    def action_section(self, name: str) -> None:
        """Go to a section."""
        self.set_focus(self.section_of(Section(name)).table)  # at once: the next key may come at once, too

    def action_zoom(self) -> None:
        """Give the section with the focus the whole screen, or take it back."""
        focused = self.focused
        if isinstance(focused, RunTable) and isinstance(focused.parent, SectionView):
            is_zoomed = not focused.parent.has_class("zoomed")
            for section in self._sections.values():
                section.set_class(is_zoomed and section is focused.parent, "zoomed")
                section.set_class(is_zoomed and section is not focused.parent, "aside")

    def action_filter(self) -> None:
        """Let the reader type a filter."""
        field = self._filter
        field.display = True
        self.set_focus(field)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show what fits, with every key."""
        self._want(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go back to the runs. Ask the daemon again, which may know more of what is wanted."""
        self.ring.set()
        event.input.display = bool(event.value.strip())
        self._go_to_runs()

    def action_unfilter(self) -> None:
        """Show all again."""
        field = self._filter
        field.value = ""
        field.display = False
        self._only = None
        self._want("")
        self.ring.set()
        self._go_to_runs()

    def action_event(self) -> None:
        """Show the runs of one event alone."""
        if (run := self.selected) is not None:
            self._only = run.event_id
            self._want(self._filter.value)
            self.ring.set()

    def _want(self, typed: str) -> None:
        self._wanted = replace(read_wanted(typed), event_id=self._only)
        only = self._only_bar
        only.display = self._only is not None
        only.update(Text(escaped(f"Only the event {self._only}. Escape shows all.")))
        self._show()

    def _go_to_runs(self) -> None:
        if self.selected is None:
            with_rows = [view for view in self._sections.values() if view.selected is not None]
            self.set_focus((with_rows or [self.section_of(Section.RECENT)])[0].table)

    def action_help(self) -> None:
        """Show the keys."""
        self.app.push_screen(Help(_KEYS))


class TopApp(App[None]):
    """``flowd top``."""

    ENABLE_COMMAND_PALETTE = False
    TITLE = "flowd top"
    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "light", "Dark or light", show=False),
        Binding("ctrl+c", "quit", "Quit", show=False),
    ]

    def __init__(self, link: DaemonLink) -> None:
        super().__init__()
        self._link = link
        self._client = link.connect()

    def on_mount(self) -> None:
        """Show the overview."""
        self.push_screen(Overview(self._client, self._link.place))

    async def on_unmount(self) -> None:
        """Let go of the daemon."""
        await self._client.close()

    def action_light(self) -> None:
        """Change between dark and light."""
        self.theme = "textual-light" if self.current_theme.dark else "textual-dark"
