"""What comes next: the events of a result, read, normalised and matched before the transaction that stores them."""

import asyncio
from collections.abc import Callable

from flowd.domain import timing, trees
from flowd.domain.errors import ChainLimitError, InvalidEventError, PayloadTooLargeError
from flowd.domain.event import Event
from flowd.domain.instants import read_whole_instant
from flowd.domain.outcome import Outcome
from flowd.domain.queueing import MAX_AT_ONCE
from flowd.domain.result import FlowResult
from flowd.domain.run import ATTENTION, ProcessStatus, Reason
from flowd.domain.stored import NewEventRuns
from flowd.engine.intake import Intake

_AT_ONCE = 50
"""Events that are matched before others have their turn on the event loop."""


class Follows:
    """Reads the ``next`` of results."""

    def __init__(self, *, intake: Intake, now: Callable[[], str], max_tree_events: int) -> None:
        """``now()`` is the instant for events that say none; ``max_tree_events`` is more than one result can cause."""
        self._intake = intake
        self._now = now
        self._max_tree_events = max_tree_events
        self.are_wanted = True
        """False: results cause nothing."""

    async def of_outcome(
        self, outcome: Outcome, *, is_last: bool, label: str, first_run_id: str
    ) -> tuple[Outcome, tuple[NewEventRuns, ...]]:
        """The outcome of an attempt as its ``next`` makes it, and what that is to cause.

        A result that asks a person causes nothing yet, but a bad ``next`` of it is told at once, also where its process
        failed: nobody could approve it.

        Args:
            is_last: No other attempt follows by itself. Else nothing is caused: the run has not ended.
            label: ``flow/step``, for the error's sentence.
            first_run_id: See `flowd.domain.trees.next_events`.
        """
        result = outcome.result
        if result is None or not is_last or not self.are_wanted:
            return outcome, ()
        try:
            if result.status in trees.GOES_ON and outcome.status is ProcessStatus.COMPLETED:
                return outcome, await self.of_result(result, first_run_id=first_run_id)
            if result.status in ATTENTION:
                self._read(result, first_run_id)
        except trees.BadNextError as error:
            return outcome.undone(Reason.BAD_NEXT, f"Step {label} said a bad next: {error.message}"), ()
        except ChainLimitError as error:
            return outcome.undone(Reason.CHAIN_LIMIT, f"Step {label} causes too much: {error.message}"), ()
        return outcome, ()

    async def of_result(self, result: FlowResult, *, first_run_id: str) -> tuple[NewEventRuns, ...]:
        """What a result is to cause once it counts, as packages are now.

        Raises:
            BadNextError: Its ``next`` is no list of events.
            ChainLimitError: They are more than a tree may have, or make more runs than `MAX_AT_ONCE`.
        """
        prepared: list[NewEventRuns] = []
        runs = 0
        for index, event in enumerate(self._read(result, first_run_id)):
            if index and index % _AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                prepared.append(await self._intake.prepare(event))
            except InvalidEventError as error:
                raise trees.bad_next(index, error) from error
            except PayloadTooLargeError as error:
                raise trees.bad_next(index, InvalidEventError(error.message)) from error
            runs += len(prepared[-1].runs)
            if runs > MAX_AT_ONCE:
                raise trees.too_many_runs()
        return tuple(prepared)

    def _read(self, result: FlowResult, first_run_id: str) -> list[Event]:
        now = self._now()
        found = trees.next_events(result, first_run_id=first_run_id, now=now, max_events=self._max_tree_events)
        for index, event in enumerate(found):
            try:
                timing.not_before_ms(event.members, now_ms=read_whole_instant(now) or 0)
            except InvalidEventError as error:
                raise trees.bad_next(index, error) from error
        return found
