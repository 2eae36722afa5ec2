"""Accepts and replays events: normalises them, matches them, and only then stores them, in one transaction."""

from collections.abc import Callable, Sequence

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
from flowd.domain.matching import Match, Verdict
from flowd.domain.queueing import Claim, NewRun
from flowd.domain.run import Run
from flowd.domain.stored import Accepted, NewEvent, StoredEvent
from flowd.engine.steps_in_force import StepsInForce
from flowd.ports import Catalog, Clock, PayloadChecks, Store

_ENVELOPE_BYTES = 64 * 1024
"""What the rest of an event may take beside its payload."""


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
        self, value: object, *, only: tuple[str, str] | None = None, claim: Callable[[int], Claim | None]
    ) -> Accepted:
        """Store an event with a queued run for each step that it matches.

        Args:
            value: The event as it came.
            only: A flow and a step of it to run instead, whatever they match.
            claim: Told how many runs there will be, gives what is to be claimed in the same transaction. Called last,
                when nothing but the store can refuse the event any more.

        Raises:
            InvalidEventError: It is no event.
            StepNotFoundError: There is no such step.
            PayloadTooLargeError: It is larger than ``max_payload_bytes``.
            RefusedError: It cannot be stored now. Nothing was.
        """
        at_ms = self._clock.now_ms()
        event = self.read(value, at_ms=at_ms)
        body = self._body(event)
        content = {key: member for key, member in event.members.items() if key != "receivedAt"}
        new = NewEvent(
            id=event.id,
            type=event.type,
            source=event.source,
            occurred_at=event.occurred_at,
            received_at=event.received_at,
            body=body,
            fingerprint=events.fingerprint(self._canonical(content)),
        )
        runs = [
            NewRun(ids.run_id(event.id, match.flow.name, match.step.name), self._steps.of(match.flow, match.step))
            for match in await self._matches(event, body, only)
        ]
        return await self._store.accept(new, runs, at_ms=at_ms, claim=claim(len(runs)))

    async def replay(self, event_id: str, steps: Sequence[str] | None) -> tuple[Run, ...]:
        """Queue new runs for a stored event, of what it matches now.

        Args:
            steps: Only these, each ``step`` or ``flow/step``; None is all.

        Raises:
            EventNotFoundError: No such event.
            InvalidParamsError: A name in ``steps`` is none of a step that the event matches.
        """
        stored = await self._store.event(event_id)
        if stored is None:
            raise EventNotFoundError(event_id)
        at_ms = self._clock.now_ms()
        event = self.read(self._decode(stored.body), at_ms=at_ms)
        verdicts = await self._settled(matching.judge(self._catalog.snapshot, event), stored.body)
        matches = _only(matching.matches(verdicts), steps)
        runs = []
        for match in matches:
            names = event.id, match.flow.name, match.step.name
            original = _original(stored, *names)
            nonce = f"{at_ms}:{self._nonce()}"
            runs.append(
                NewRun(ids.replay_run_id(*names, nonce), self._steps.of(match.flow, match.step), replay_of=original)
            )
        return await self._store.add_runs(event_id, runs, at_ms=at_ms)

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
            verdicts = await self._settled(verdicts, self._body(event))
        return event, verdicts

    async def _settled(self, verdicts: list[Verdict], body: bytes) -> list[Verdict]:
        """The verdicts after the checks that may take long, if there are any."""
        sources = matching.deferred(verdicts)
        return matching.settle(verdicts, await self._checks.check(sources, body)) if sources else verdicts

    async def _matches(self, event: Event, body: bytes, only: tuple[str, str] | None) -> list[Match]:
        snapshot = self._catalog.snapshot
        if only is None:
            return matching.matches(await self._settled(matching.judge(snapshot, event), body))
        flow = snapshot.by_name.get(only[0])
        if flow is None:
            raise StepNotFoundError(f"Unknown flow: {only[0]}. `flowd flows` lists what is there.")
        step = flow.step(only[1])
        if step is None:
            names = ", ".join(step.name for step in flow.steps)
            raise StepNotFoundError(f"Flow {flow.name} has no step {only[1]}. It has: {names}.")
        return [Match(flow, step)]

    def _body(self, event: Event) -> bytes:
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
        if body.count(b"{") + body.count(b"[") > events.MAX_DEPTH and events.is_too_deep(event.members):
            raise InvalidEventError(f"The event is nested deeper than {events.MAX_DEPTH} levels.")
        return body


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
