"""What both screens have in common: they ask, act, and say what came of it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from textual.screen import ModalScreen, Screen

from flowd.formats.terminal import escaped
from flowd.screen.actions import ACTIONS, Action
from flowd_client.aio import AsyncFlowClient
from flowd_client.errors import FlowClientError
from flowd_client.views.run import RunView

T = TypeVar("T")


class ActingScreen(Screen[None]):
    """A screen with a run under the cursor, about which one can do something.

    Attributes:
        client: To the daemon.
        ring: Set for a look at once.
    """

    def __init__(self, client: AsyncFlowClient) -> None:
        super().__init__()
        self.client = client
        self.ring = asyncio.Event()

    @property
    def selected(self) -> RunView | None:
        """The run that is meant."""
        raise NotImplementedError

    def action_act(self, name: str) -> None:
        """Do something about the run that is meant, once the reader has confirmed it."""
        action = next(action for action in ACTIONS if action.name == name)
        run = self.selected
        if run is None:
            self.tell("There is no run under the cursor.", is_bad=True)
        elif (unfit := action.unfit(run)) is not None:
            self.tell(unfit, is_bad=True)
        else:
            self.do(lambda: self._act(action, run))

    async def _act(self, action: Action, run: RunView) -> str | None:
        return await action.do(self.client, run, self.ask)

    def do(self, act: Callable[[], Awaitable[str | None]]) -> None:
        """Do something beside all else, and tell what came of it."""
        self.app.run_worker(self._do(act), exit_on_error=True)

    async def _do(self, act: Callable[[], Awaitable[str | None]]) -> None:
        try:
            done = await act()
        except FlowClientError as error:
            self.tell(error.message, is_bad=True)
        else:
            if done is not None:
                self.tell(done)
        self.ring.set()

    async def ask(self, dialog: ModalScreen[T]) -> T | None:
        """Show a dialog, and wait for what the reader says."""
        return await self.app.push_screen_wait(dialog)

    def tell(self, said: str, *, is_bad: bool = False) -> None:
        """Show a sentence for a few seconds."""
        self.app.notify(escaped(said), severity="error" if is_bad else "information", markup=False)
