"""Accepts and replays events: normalises them, matches them, and only then stores them, in one transaction."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from flowd.domain import event as events
from flowd.domain import ids, matching
from flowd.domain.errors import (
    EventNotFoundError,
    InvalidEventError,
    InvalidParamsError,
    PayloadTooLargeError,
    StepNotFoundError,
)
from flowd.domain.event import Event
from flowd.domain.matching import LeftOut, Match, Verdict
from flowd.domain.queueing import Claim, NewRun
from flowd.domain.stored import Accepted, NewEvent, NewEventRuns, RunFilter, StoredEvent
from flowd.engine.steps_in_force import StepsInForce
from flowd.ports import Catalog, Clock, PayloadChecks, Store

_ENVELOPE_BYTES = 64 * 1024
"""What the rest of an event may take beside its payload."""

_PAGE = 500


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
        self._clock = clock
        self._encode = encode
        self._canonical = canonical
        self._decode = decode
        self._instant = instant
        self._nonce = nonce
        self._max_payload_bytes = max_payload_bytes

    async def accept(
        self,
        value: object,
        *,
        only: tuple[str, str] | None = None,
        caused_by: str | None = None,
        claim: Callable[[int], Claim | None],
    ) -> Accepted:
        """Store an event with a queued run for each step that it matches.

        Args:
            value: The event as it came.
            only: A flow and a step of it to run instead, whatever they match.
            caused_by: The run whose step sends it, see `flowd.ports.Store.accept`.
            claim: Told how many runs there will be, gives what is to be claimed in the same transaction. Called last,
                when nothing but the store can refuse the event any more.

        Raises:
            InvalidEventError: It is no event.
            StepNotFoundError: There is no such step.
            PayloadTooLargeError: It is larger than ``max_payload_bytes``.
            RefusedError: It cannot be stored now. Nothing was.
        """
        at_ms = self._clock.now_ms()
        new = await self.prepare(self.read(value, at_ms=at_ms), only=only)
        return await self._store.accept(
            new.event, new.runs, at_ms=at_ms, claim=claim(len(new.runs)), caused_by=caused_by
        )

    async def prepare(self, event: Event, *, only: tuple[str, str] | None = None) -> NewEventRuns:
        """All that is to be stored of a normalised event, if it is not known yet.

        Raises:
            InvalidEventError: It cannot be written as JSON.
            StepNotFoundError: There is no such step as ``only`` says.
            PayloadTooLargeError: It is larger than ``max_payload_bytes``.
        """
        body = await self._body(event)
        found, left_out = await self._matches(event, body, only)
        content = {key: member for key, member in event.members.items() if key != "receivedAt"}
        new = NewEvent(
            id=event.id,
            type=event.type,
            source=event.source,
            occurred_at=event.occurred_at,
            received_at=event.received_at,
            body=body,
            fingerprint=events.fingerprint(self._canonical(content)),
            left_out=left_out,
        )
        runs = tuple(
            NewRun(ids.run_id(event.id, match.flow.name, match.step.name), self._steps.of(match.flow, match.step))
            for match in found
        )
        return NewEventRuns(new, runs)

    async def replay(self, event_id: str, steps: Sequence[str] | None, *, is_missing: bool) -> Accepted:
        """Queue new runs for a stored event, of what it matches now.

        Args:
            steps: Only these, each ``step`` or ``flow/step``; None is all.
            is_missing: Only steps that have no run of this event yet; these are first runs and no replays.

        Raises:
            EventNotFoundError: No such event.
            InvalidParamsError: A name in ``steps`` is none of a step that the event matches.
        """
        stored = await self._store.event(event_id)
        if stored is None:
            raise EventNotFoundError(event_id)
        at_ms = self._clock.now_ms()
        event = self.read(self._decode(stored.body), at_ms=at_ms)
        found, left_out = await self._matches(event, stored.body, None)
        matches = _only(found, steps)
        if is_missing:
            known = await self._steps_with_runs(event_id)
            matches = [match for match in matches if (match.flow.name, match.step.name) not in known]
        runs = [self._again(stored, match, at_ms, is_first=is_missing) for match in matches]
        # What is left out now is all that still is, unless some steps alone were asked for.
        remembered = left_out if is_missing and steps is None else None
        created = await self._store.add_runs(event_id, runs, at_ms=at_ms, left_out=remembered)
        return Accepted(replace(stored, left_out=left_out), created)

    def _again(self, stored: StoredEvent, match: Match, at_ms: int, *, is_first: bool) -> NewRun:
        names = stored.id, match.flow.name, match.step.name
        definition = self._steps.of(match.flow, match.step)
        if is_first:
            return NewRun(ids.run_id(*names), definition)
        run_id = ids.replay_run_id(*names, f"{at_ms}:{self._nonce()}")
        return NewRun(run_id, definition, replay_of=_original(stored, *names))

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
        verdicts = matching.explain(self._catalog.snapshot, event)
        if matching.deferred(verdicts):
            verdicts = await self._settled(verdicts, await self._body(event))
        return event, verdicts

    async def _settled(self, verdicts: list[Verdict], body: bytes) -> list[Verdict]:
        """The verdicts after the checks that may take long, if there are any."""
        sources = matching.deferred(verdicts)
        return matching.settle(verdicts, await self._checks.check(sources, body)) if sources else verdicts

    async def _matches(
        self, event: Event, body: bytes, only: tuple[str, str] | None
    ) -> tuple[list[Match], tuple[LeftOut, ...]]:
        """The steps to run, and whose share of the event is not run."""
        snapshot = self._catalog.snapshot
        if only is None:
            verdicts = await self._settled(matching.judge(snapshot, event), body)
            return matching.matches(verdicts), matching.left_out(snapshot, event, verdicts)
        flow = snapshot.by_name.get(only[0])
        if flow is None:
            raise StepNotFoundError(f"Unknown flow: {only[0]}. `flowd flows` lists what is there.")
        step = flow.step(only[1])
        if step is None:
            names = ", ".join(step.name for step in flow.steps)
            raise StepNotFoundError(f"Flow {flow.name} has no step {only[1]}. It has: {names}.")
        return [Match(flow, step)], ()

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


async def _is_too_deep(event: Event) -> bool:
    """Others have their turns meanwhile."""
    looking = events.is_too_deep(event.members)
    while True:
        try:
            next(looking)
        except StopIteration as end:
            return bool(end.value)
        await asyncio.sleep(0)


def _original(stored: StoredEvent, event_id: str, flow_name: str, step_name: str) -> str:
    """The id of the event's first run of a step."""
    usual = ids.run_id(event_id, flow_name, step_name)
    longer = ids.longer_run_id(usual, event_id, flow_name, step_name)
    return longer if longer in stored.run_ids else usual


def _only(matches: list[Match], steps: Sequence[str] | None) -> list[Match]:
    if steps is None:
        return matches
    labels = {f"{match.flow.name}/{match.step.name}" for match in matches} | {match.step.name for match in matches}
    unknown = [step for step in steps if step not in labels]
    if unknown:
        raise InvalidParamsError(
            f"The event does not match {unknown[0]!r}. It matches: {', '.join(sorted(labels)) or 'nothing'}.",
            param="steps",
        )
    wanted = set(steps)
    return [match for match in matches if {match.step.name, f"{match.flow.name}/{match.step.name}"} & wanted]
