"""Accepts and replays events: normalises them, matches them, and only then stores them, in one transaction."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from flowd.domain import event as events
from flowd.domain import ids, joining, matching, timing
from flowd.domain.awaited import Waiting
from flowd.domain.errors import (
    EventNotFoundError,
    InvalidEventError,
    NoMatchError,
    PayloadTooLargeError,
    StepNotFoundError,
)
from flowd.domain.event import Event
from flowd.domain.filters import RunFilter
from flowd.domain.matching import LeftOut, Match, Verdict
from flowd.domain.queueing import Claim, NewRun
from flowd.domain.slots import Slot
from flowd.domain.stored import Accepted, NewEvent, NewEventRuns, new_event
from flowd.engine import run_labels, timings
from flowd.engine.new_rounds import Selection, first_round, how_many_start, original
from flowd.engine.steps_in_force import StepsInForce
from flowd.engine.wanted_keys import WantedKeys
from flowd.ports import Catalog, Clock, PayloadChecks, Store

_ENVELOPE_BYTES = 64 * 1024
"""What the rest of an event may take beside its payload."""

_PAGE = 500

_AT_ONCE = 500
"""Runs that are made before others have their turn on the event loop."""


class Intake:
    """Accepts and replays events."""

    def __init__(
        self,
        *,
        store: Store,
        catalog: Catalog,
        steps: StepsInForce,
        checks: PayloadChecks,
        clock: Clock,
        encode: Callable[[object], bytes],
        canonical: Callable[[object], bytes],
        decode: Callable[[bytes], object],
        instant: Callable[[int], str],
        nonce: Callable[[], str],
        max_payload_bytes: int,
    ) -> None:
        """Wire the use cases.

        Args:
            encode: Makes JSON and keeps the order of keys; ``canonical`` sorts them.
            instant: Makes an ISO string of milliseconds since the epoch.
            nonce: Makes a new random text.
            max_payload_bytes: Of a payload as JSON.
        """
        self._store = store
        self._catalog = catalog
        self._steps = steps
        self._checks = checks
        self._keys = WantedKeys(catalog, canonical)
        self._clock = clock
        self._encode = encode
        self._canonical = canonical
        self._decode = decode
        self._instant = instant
        self._nonce = nonce
        self._max_payload_bytes = max_payload_bytes
        self.waits_for_instants = True
        """False: runs start whatever their events say of when."""
        self.starts_unasked = True
        """False: an event starts only the steps that whoever sends it names."""

    async def accept(
        self,
        value: object,
        *,
        only: tuple[str, str] | None = None,
        among: Collection[tuple[str, str]] | None = None,
        caused_by: str | None = None,
        traceparent: str | None = None,
        slot: Slot | None = None,
        must_match: bool = False,
        claim: Callable[[int], Claim | None],
    ) -> Accepted:
        """Store an event with a queued run for each step that it matches.

        Args:
            value: The event as it came.
            only: A flow and a step of it to run instead, whatever they match.
            among: Flows and steps; of those that it matches, only these are run, and now, whatever they say of times.
            caused_by: The run whose step sends it, see `flowd.ports.Store.accept`.
            traceparent: Kept with it and given to its steps (W3C Trace Context).
            slot: The slot of a schedule that it tells, see `flowd.ports.Store.accept`.
            must_match: Refuse it where it starts nothing, unless it is stored already.
            claim: Told how many runs may start, gives what is to be claimed in the same transaction. Called last,
                when nothing but the store can refuse the event any more.

        Raises:
            InvalidEventError: It is no event.
            StepNotFoundError: There is no such step.
            PayloadTooLargeError: It is larger than ``max_payload_bytes``.
            NoMatchError: It starts nothing, and ``must_match``. Nothing was stored.
            RefusedError: It cannot be stored now. Nothing was.
        """
        at_ms = self._clock.now_ms()
        new = await self.prepare(self.read(value, at_ms=at_ms), only=only, among=among)
        if must_match and not new.runs and await self._store.event(new.event.id) is None:
            raise _no_match(new.event)
        event = new.event if traceparent is None else replace(new.event, traceparent=traceparent)
        accepted = await self._store.accept(
            event, new.runs, at_ms=at_ms, claim=claim(how_many_start(new.runs)), caused_by=caused_by, slot=slot
        )
        return accepted if accepted.is_duplicate else replace(accepted, outside=new.outside)

    async def prepare(
        self,
        event: Event,
        *,
        only: tuple[str, str] | None = None,
        among: Collection[tuple[str, str]] | None = None,
    ) -> NewEventRuns:
        """All that is to be stored of a normalised event, if it is not known yet.

        Raises:
            InvalidEventError: It cannot be written as JSON.
            StepNotFoundError: There is no such step as ``only`` says.
            PayloadTooLargeError: It is larger than ``max_payload_bytes``.
        """
        body = await self._body(event)
        if among is None and only is None and not self.starts_unasked:
            among = ()
        found, left_out, outside = await self._matches(event, body, only)
        if among is not None:
            found = [match for match in found if (match.flow.name, match.step.name) in among]
            left_out, outside = (), ()
        new = replace(new_event(event, body, self._canonical), left_out=left_out)
        runs: list[NewRun] = []
        for first in range(0, len(found), _AT_ONCE):
            if first:
                await asyncio.sleep(0)
            runs += first_round(self._steps, event.id, found[first : first + _AT_ONCE])
        given = self._given(runs, event)
        if only is None and among is None:  # else somebody wants this step to run, whatever it waits for else
            not_before_ms = timing.not_before_ms(event.members, now_ms=self._clock.now_ms())
            given = self._timed(given, event, not_before_ms if self.waits_for_instants else None)
        return NewEventRuns(new, given, outside)

    def _given(self, runs: Sequence[NewRun], event: Event) -> tuple[NewRun, ...]:
        """With their keys and labels."""
        return run_labels.give(self._keys.give(runs, event.members), event.members, self._catalog.snapshot)

    def _timed(
        self, runs: tuple[NewRun, ...], event: Event, not_before_ms: int | None, *, waits_for_quiet: bool = True
    ) -> tuple[NewRun, ...]:
        """With what they ask of times."""
        snapshot = self._catalog.snapshot
        if not_before_ms is None and not snapshot.has_timings:
            return runs
        canonical = self._canonical if waits_for_quiet else None
        return timings.give(runs, event.members, snapshot, not_before_ms=not_before_ms, canonical=canonical)

    async def replay(
        self,
        event_id: str,
        steps: Sequence[str] | None,
        *,
        from_steps: Sequence[str] | None = None,
        is_missing: bool,
        waiting: Waiting | None = None,
    ) -> Accepted:
        """Queue new runs for a stored event, of what it matches now.

        Args:
            steps: Only these, each ``step`` or ``flow/step``, whatever those ended as that they need.
            from_steps: These, and all that need them, in their order.
            is_missing: Only steps that have no run of this event yet; these are first runs and no replays.
            waiting: The step that is about to wait for what is made.

        Raises:
            EventNotFoundError: No such event.
            InvalidParamsError: A name is none of a step that the event matches, or a step needs one that was never run.
            NeedsActiveError: A step needs one that has not ended, or that asks a person.
            WouldDeadlockError: The step could not wait for it; nothing was made.
        """
        stored = await self._store.event(event_id)
        if stored is None:
            raise EventNotFoundError(event_id)
        at_ms = self._clock.now_ms()
        event = self.read(self._decode(stored.body), at_ms=at_ms)
        found, left_out, outside = await self._matches(event, stored.body, None)
        chosen = Selection.of(found, self._catalog.snapshot, steps=steps, from_steps=from_steps)
        if is_missing:
            chosen = chosen.without(await self._steps_with_runs(event_id))
        known = frozenset(stored.run_ids)
        runs: list[NewRun] = []
        for index, match in enumerate(chosen.matches, 1):
            runs.append(self._again(event_id, known, chosen, match, at_ms, is_first=is_missing))
            if index % _AT_ONCE == 0:
                await asyncio.sleep(0)
        is_whole = steps is None and from_steps is None
        # What is left out now is all that still is, unless some steps alone were asked for.
        remembered = left_out if is_missing and is_whole else None
        given = self._timed(self._given(runs, event), event, None, waits_for_quiet=False)
        created = await self._store.add_runs(event_id, given, at_ms=at_ms, left_out=remembered, waiting=waiting)
        return Accepted(replace(stored, left_out=left_out), created, outside=outside if is_whole else ())

    def _again(
        self, event_id: str, known: frozenset[str], chosen: Selection, match: Match, at_ms: int, *, is_first: bool
    ) -> NewRun:
        names = event_id, match.flow.name, match.step.name
        if is_first:
            return chosen.run(match, ids.run_id(*names), self._steps, None)
        run_id = ids.replay_run_id(*names, f"{at_ms}:{self._nonce()}")
        return chosen.run(match, run_id, self._steps, original(known, *names))

    async def _steps_with_runs(self, event_id: str) -> set[tuple[str, str]]:
        known: set[tuple[str, str]] = set()
        cursor: str | None = None
        while True:
            page = await self._store.runs(RunFilter(event_id=event_id), limit=_PAGE, cursor=cursor)
            known |= {(run.flow_name, run.step_name) for run in page.items}
            cursor = page.next_cursor
            if cursor is None:
                return known

    def read(self, value: object, *, at_ms: int | None = None) -> Event:
        """Check and normalise an event without storing it."""
        return events.normalise(value, now=self._instant(self._clock.now_ms() if at_ms is None else at_ms))

    async def explain(self, value: object) -> tuple[Event, list[Verdict]]:
        """What every step says to an event. Stores nothing.

        Raises:
            InvalidEventError: It is no event.
        """
        event = self.read(value)
        timing.not_before_ms(event.members, now_ms=self._clock.now_ms())
        snapshot = self._catalog.snapshot
        verdicts = matching.explain(snapshot, event)
        if matching.deferred(verdicts):
            verdicts = await self._settled(verdicts, await self._body(event))
        return event, joining.join(snapshot, verdicts)

    async def _settled(self, verdicts: list[Verdict], body: bytes) -> list[Verdict]:
        """The verdicts after the checks that may take long, if there are any."""
        sources = matching.deferred(verdicts)
        return matching.settle(verdicts, await self._checks.check(sources, body)) if sources else verdicts

    async def _matches(
        self, event: Event, body: bytes, only: tuple[str, str] | None
    ) -> tuple[list[Match], tuple[LeftOut, ...], tuple[LeftOut, ...]]:
        """The steps to run; whose share of the event is not run; and which steps are outside of their round."""
        snapshot = self._catalog.snapshot
        if only is None:
            asked = await self._settled(matching.judge(snapshot, event), body)
            verdicts = joining.join(snapshot, asked)
            outside = joining.left_out_of_rounds(snapshot, verdicts)
            return matching.matches(verdicts), matching.left_out(snapshot, event, verdicts), outside
        flow = snapshot.by_name.get(only[0])
        if flow is None:
            raise StepNotFoundError.of_flow(only[0], snapshot.by_name)
        step = flow.step(only[1])
        if step is None:
            names = ", ".join(step.name for step in flow.steps)
            raise StepNotFoundError(f"Flow {flow.name} has no step {only[1]}. It has: {names}.")
        return [Match(flow, replace(step, needs=()))], (), ()

    async def _body(self, event: Event) -> bytes:
        try:
            body = self._encode(event.members)
            if len(body) > self._max_payload_bytes:
                size = len(self._encode(event.payload))
                if size > self._max_payload_bytes or len(body) - size > _ENVELOPE_BYTES:
                    raise PayloadTooLargeError(
                        f"The event has {len(body)} bytes of JSON; max_payload_bytes is {self._max_payload_bytes}. "
                        f"Put large data into a file or an object store, and its address into the event.",
                        bytes=len(body),
                        maxPayloadBytes=self._max_payload_bytes,
                    )
        except (RecursionError, UnicodeEncodeError) as error:
            raise InvalidEventError(f"The event cannot be written as JSON: {error}.") from error
        # There are no more levels than brackets, and most events have few.
        if body.count(b"{") + body.count(b"[") > events.MAX_DEPTH and await _is_too_deep(event):
            raise InvalidEventError(f"The event is nested deeper than {events.MAX_DEPTH} levels.")
        return body


def _no_match(event: NewEvent) -> NoMatchError:
    broken = f" {event.left_out[0].label}, which may be meant: {event.left_out[0].why}" if event.left_out else ""
    return NoMatchError(
        f"No step matches event {event.id} of type {event.type}, so nothing was stored.{broken}", eventId=event.id
    )


async def _is_too_deep(event: Event) -> bool:
    """Others have their turns meanwhile."""
    looking = events.is_too_deep(event.members)
    while True:
        try:
            next(looking)
        except StopIteration as end:
            return bool(end.value)
        await asyncio.sleep(0)
