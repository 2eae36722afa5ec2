"""What comes by itself and what goes out, on a screen of its own."""

import asyncio
from datetime import UTC, datetime
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

from flowd.formats.terminal import escaped
from flowd.screen.by_itself import look_by_itself, words
from flowd.screen.watching import watch
from flowd_client.aio import AsyncFlowClient
from flowd_client.errors import FlowClientError


class _Lines(VerticalScroll):
    """Lines to scroll. ``j`` and ``k`` go down and up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "Down", show=False),
        Binding("k", "scroll_up", "Up", show=False),
    ]


class ByItselfScreen(Screen[None]):
    """Schedules, watches, and notices that could not be sent. The daemon is asked for them while it is open alone."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,b", "back", "Back")]

    def __init__(self, client: AsyncFlowClient) -> None:
        super().__init__()
        self._client = client
        self._away = Static(id="away")
        self._words = Static("Asking the daemon …")
        self._lines = _Lines(self._words, id="by-itself")

    def compose(self) -> ComposeResult:
        yield Static("BY ITSELF", classes="title")
        yield self._away
        yield self._lines
        yield Footer()

    def on_mount(self) -> None:
        """Begin to watch. Ends with the screen."""
        self.set_focus(self._lines)
        self.run_worker(watch(self._client, self._look, self._lost, asyncio.Event()))

    async def _look(self) -> None:
        found = await look_by_itself(self._client)
        self._words.update(words(found, datetime.now(UTC)))
        self._away.display = False

    def _lost(self, error: FlowClientError) -> None:
        self._away.display = True
        self._away.update(Text(escaped(error.message)))

    def action_back(self) -> None:
        """Back to all runs."""
        self.dismiss()
