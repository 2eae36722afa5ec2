"""One run: what it is, and its output as it comes."""

import asyncio
from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, Input, Static

from flowd.formats.terminal import escaped
from flowd.screen import actions
from flowd.screen.acting import ActingScreen
from flowd.screen.dialogs import Help
from flowd.screen.facts import facts
from flowd.screen.lines import MARKS, Lines
from flowd.screen.output import follow
from flowd.screen.output_view import OutputView
from flowd.screen.watching import PACE_S, watch
from flowd_client.aio import AsyncFlowClient
from flowd_client.errors import FlowClientError
from flowd_client.views.run import RunView
from flowd_client.wire import Stream

_KEYS = (
    ("j k, arrows, PgUp PgDn", "Read the output"),
    ("g, G, Home, End", "Go to its begin, or to its end and follow it"),
    ("/, n, N", "Find words in it; the next place, and the one before"),
    ("E", "Go to the next line of stderr"),
    ("w", "Wrap long lines, or do not"),
    *((action.key, action.words) for action in actions.ACTIONS),
    ("Escape, q", "Back to all runs"),
)

_UNTOLD = ("answer", "pause")
"""Not in the line of keys, for which a narrow terminal has no room."""


class RunScreen(ActingScreen):
    """A run. Goes on with its next attempt when there is one.

    Attributes:
        output: What it has written.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "back", "Back"),
        Binding("question_mark", "help", "Help"),
        Binding("w", "wrap", "Wrap"),
        Binding("slash", "find", "Find"),
        Binding("n", "again(False)", "Next", show=False),
        Binding("N", "again(True)", "Before", show=False),
        Binding("E", "error", "Error", show=False),
        *(
            Binding(
                action.key,
                f"act('{action.name}')",
                action.name.capitalize(),
                show=action.name not in _UNTOLD,
            )
            for action in actions.ACTIONS
        ),
    ]

    def __init__(self, client: AsyncFlowClient, run: RunView) -> None:
        super().__init__(client)
        self._run = run
        self._lines = Lines()
        self._facts = Static(facts(run), id="facts")
        self._away = Static(id="away")
        self._unfinished = Static(id="unfinished")
        self.output = OutputView(id="output")
        self._find = Input(placeholder="words to find in the output", id="find")
        self._looked = asyncio.Event()

    def compose(self) -> ComposeResult:
        yield self._facts
        yield self._away
        yield self.output
        yield self._unfinished
        yield self._find
        yield Footer()

    def on_mount(self) -> None:
        """Begin to watch."""
        self.set_focus(self.output)
        self.run_worker(watch(self.client, self._look, self._lost, self.ring, run_id=self._run.id))
        self.run_worker(self._follow_attempts())

    @property
    def selected(self) -> RunView | None:
        """The run that is shown."""
        return self._run

    async def _look(self) -> None:
        self._run = await self.client.get_run(self._run.id)
        self._facts.update(facts(self._run))
        self._away.display = False
        self._looked.set()

    def _lost(self, error: FlowClientError) -> None:
        away = self._away
        away.display = True
        away.update(Text(escaped(error.message)))

    async def _follow_attempts(self) -> None:
        """Show the output of the latest attempt to its end, and then of those that come after it."""
        attempt = 0
        while True:
            while self._run.attempt_count <= attempt:
                self._looked.clear()
                await self._looked.wait()
            attempt = attempt + 1 if attempt else self._run.attempt_count
            if self.output.lines:
                self._write([Text(f"── attempt {attempt} ──", "bold")])
            await self._follow(attempt)

    async def _follow(self, attempt: int) -> None:
        """Show the output of an attempt. After a restart of the daemon it is shown anew, so that nothing is missed."""
        self._lines = Lines()
        while True:
            try:
                await follow(self.client, self._run.id, attempt, self._take)
            except FlowClientError as error:
                self._lost(error)
                await asyncio.sleep(PACE_S)
                self._lines = Lines()
                self.output.clear()
            else:
                self._write(self._lines.end())
                self._unfinished.update("")
                return

    def _take(self, stream: Stream, data: bytes) -> None:
        self._write(self._lines.feed(stream, data))
        self._unfinished.update(self._lines.unfinished())

    def _write(self, lines: list[Text]) -> None:
        if lines:
            self.output.add(lines)

    def action_wrap(self) -> None:
        """Wrap long lines, or do not."""
        self.output.wrap()

    def action_find(self) -> None:
        """Let the reader type what to find."""
        self._find.display = True
        self.set_focus(self._find)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Find it."""
        event.stop()
        self.action_again(back=False)

    def action_again(self, back: bool) -> None:
        """Go to the next place, or to the one before."""
        self._leave_find()
        if word := self._find.value.casefold():
            self._seek(lambda text: word in text.casefold(), f"{self._find.value!r} is not in the output.", back=back)

    def action_error(self) -> None:
        """Go to the next line of stderr."""
        self._seek(lambda text: text.startswith(MARKS["stderr"]), "There is nothing on stderr.")

    def _seek(self, fits: Callable[[str], bool], none: str, *, back: bool = False) -> None:
        if not self.output.seek(fits, back=back):
            self.tell(none)

    def _leave_find(self) -> None:
        self._find.display = False
        self.set_focus(self.output)

    def action_help(self) -> None:
        """Show the keys."""
        self.app.push_screen(Help(_KEYS))

    def action_back(self) -> None:
        """Back to the output, and from there to all runs."""
        if self._find.has_focus:
            self._leave_find()
            return
        self.dismiss()
