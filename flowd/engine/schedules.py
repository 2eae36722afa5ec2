"""Tells the slots of schedules as they come: each becomes an event like any other, accepted once."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from flowd.domain import known_schedule, schedule
from flowd.domain.agenda import SET_BACK_MS, Agenda
from flowd.domain.errors import FlowdError, RefusedError, SlotDecidedError, SlotEarlyError
from flowd.domain.flow import Snapshot
from flowd.domain.instants import instant
from flowd.domain.known_schedule import KnownSchedule, LastSlot, ScheduleState
from flowd.domain.pauses import Pause
from flowd.domain.schedule import TASKS, Schedule
from flowd.domain.slots import Plan, ScheduleKey, Slot, Told
from flowd.engine.store_clock import StoreClock
from flowd.formats.cron import read_cron
from flowd.ports import Catalog, OpenStore

log = logging.getLogger("flowd.engine")

LOOK_S = 5.0
"""Timers do not see a clock that is set, nor a machine that sleeps; a look at the clock does. Well below
`flowd.domain.slots.GRACE_MS`, so that no slot is late for it."""

AGAIN_S = 1.0
"""After a refusal."""

TELL_EVERY_S = 10.0
AT_ONCE = 50
"""Events that are told together, in a few commits, before others have their turns."""

MAX_REFUSED = 100
"""Slots of one schedule that wait to be taken; the oldest beyond them are given up."""


class Tell(Protocol):
    """Accepts the event of a slot: `flowd.engine.engine.Engine.dispatch`."""

    def __call__(self, value: object, /, *, slot: Slot) -> Awaitable[object]:
        """Accept it, and remember the slot with it."""
        ...


class Owned(NamedTuple):
    """A schedule of a flow, or of the workspace, which is no flow."""

    flow: str
    is_stale: bool
    schedule: Schedule

    @property
    def key(self) -> ScheduleKey:
        """As the store knows it."""
        return ScheduleKey(self.flow, self.schedule.name, self.schedule.rule)

    @property
    def shown_flow(self) -> str:
        """Whose it is, for people."""
        return self.flow or TASKS


class Schedules:
    """All schedules in force. Does nothing while there are none."""

    def __init__(
        self,
        *,
        store: OpenStore,
        catalog: Catalog,
        clock: StoreClock,
        tell: Tell,
        now_s: Callable[[], float],
        look_s: float = LOOK_S,
    ) -> None:
        """Wire it.

        Args:
            now_s: A clock that only goes forward, for how often something is logged.
            look_s: Between two looks at the clock.
        """
        self._store = store
        self._catalog = catalog
        self._clock = clock
        self._tell = tell
        self._now_s = now_s
        self._look_s = look_s
        self._news = asyncio.Event()
        self._agenda = Agenda()
        self._defined: dict[ScheduleKey, Schedule] = {}
        self._followed: Snapshot | None = None
        self._waiting: dict[ScheduleKey, deque[Slot]] = {}
        self._problem: str | None = None
        self._tell_at_s = 0.0

    def packages_changed(self) -> None:
        """Another snapshot of the catalog is in force."""
        self._news.set()

    async def work(self) -> None:
        """Tell what is due, look after packages, and sleep until there is something to do. Without end."""
        while True:
            self._news.clear()
            try:
                await self.look()
            except (RefusedError, SlotEarlyError) as error:
                self._refused(error)
            except Exception:
                log.exception("schedules could not be looked after")
                self._problem = "an error in flowd, which its log has"
            try:
                async with asyncio.timeout(self.idle_s()):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def look(self) -> None:
        """Tell all that is due by now, of the packages as they are now.

        Raises:
            RefusedError: The store takes nothing just now. What is due is told by a later look.
            SlotEarlyError: By the store's clock something is not due yet. The same.
        """
        self._problem = None
        await self._follow()
        await self._clock.look()
        await self._plan()
        await self._tell_waiting()

    def idle_s(self) -> float | None:
        """Until the next look; None where only packages can make one necessary."""
        if self._problem is not None:
            return AGAIN_S
        next_ms = self._agenda.next_ms
        if next_ms is None:
            return None
        return min(self._look_s, max(0.0, (next_ms - self._clock.now_ms()) / 1000))

    def page(self, flow: str | None, *, limit: int, after: int) -> tuple[list[Owned], int | None]:
        """Schedules in force, by flow and as it has them, from the ``after``-th on; and where the next page begins."""
        found = [one for one in _all(self._catalog.snapshot) if flow in (None, one.shown_flow)]
        end = after + limit
        return found[after:end], end if end < len(found) else None

    async def known(self, shown: Sequence[Owned]) -> list[KnownSchedule]:
        """These schedules with what comes and what came."""
        if not shown:
            return []
        keys = [one.key for one in shown]
        told = await self._store.told_last(keys)
        ids = [schedule.event_id(key.flow, key.name, one.slot_ms) for key in keys for one in told.get(key, ())]
        ends = await self._store.ends_of(ids)
        pauses = await self._store.pauses()
        return [
            self._known(one, _last(key, told.get(key, ()), ends), pauses) for one, key in zip(shown, keys, strict=True)
        ]

    def _known(self, one: Owned, last: tuple[LastSlot, ...], pauses: Sequence[Pause]) -> KnownSchedule:
        plan = self._agenda.plan(one.key)
        state, problem = self._state(one, pauses)
        next_ms = None if plan is None else plan.next_ms
        return KnownSchedule(one.shown_flow, one.schedule, state, next_ms, last, problem)

    def _state(self, one: Owned, pauses: Sequence[Pause]) -> tuple[ScheduleState, str | None]:
        if waiting := self._waiting.get(one.key):
            slot = schedule.slot_text(waiting[0].slot_ms)
            return ScheduleState.REFUSED, f"its slot {slot} was not taken yet: {self._problem or 'it is being told'}"
        held = (pause.what.flow for pause in pauses if pause.what.step is None)
        paused = next((flow or "all" for flow in held if flow is None or flow == one.flow), None)
        if paused is not None:
            return ScheduleState.PAUSED, f"{paused} is paused, so its runs wait"
        if one.is_stale:
            return ScheduleState.STALE, "its package is broken; what it was before goes on"
        return ScheduleState.READY, None

    # --- inside

    async def _follow(self) -> None:
        """Have the schedules of the packages in force."""
        snapshot = self._catalog.snapshot
        if snapshot is self._followed:
            return
        wanted = {one.key: one.schedule for one in _all(snapshot)}
        if self._followed is None or wanted.keys() != self._defined.keys():
            broken = {"" if package.name == TASKS else package.name for package in snapshot.broken}
            begun = await self._store.begin_schedules(wanted, broken=broken, at_ms=self._clock.wall_ms())
            for key in self._agenda.keys - wanted.keys():
                self._agenda.drop(key)
                self._waiting.pop(key, None)
            for key, known in begun.items():
                if key not in self._agenda:
                    one = wanted[key]
                    slots = read_cron(one.cron, one.timezone)
                    self._agenda.put(Plan(key, slots, one.catch_up, known.since_ms, known.spans))
        self._defined = wanted
        self._followed = snapshot

    async def _plan(self) -> None:
        """Find what is due. Others have their turns meanwhile."""
        now_ms = self._clock.now_ms()
        for key, slots in list(self._waiting.items()):
            # The clock was set back since they were due: the agenda looks anew, and they will be due again.
            self._waiting[key] = deque(slot for slot in slots if slot.slot_ms <= now_ms + SET_BACK_MS)
            if not self._waiting[key]:
                del self._waiting[key]
        for looked_at, due in enumerate(self._agenda.due(now_ms), 1):
            for slot in due:
                waiting = self._waiting.setdefault(slot.key, deque())
                waiting.append(slot)
                if len(waiting) > MAX_REFUSED:
                    log.error("slot given up", extra={"slot": waiting.popleft().event_id, "waiting": MAX_REFUSED})
            if looked_at % AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _tell_waiting(self) -> None:
        """Tell what waits, the slots of one schedule one after the other, until all is taken, or one is refused."""
        while self._waiting:
            first = [slots[0] for _, slots in zip(range(AT_ONCE), self._waiting.values(), strict=False)]
            refusals = [error for error in await asyncio.gather(*map(self._tell_one, first)) if error is not None]
            if refusals:
                raise refusals[0]

    async def _tell_one(self, slot: Slot) -> RefusedError | SlotEarlyError | None:
        defined = self._defined.get(slot.key)
        if defined is None:
            self._taken(slot)
            return None
        try:
            await self._tell(_event(slot, defined), slot=slot)
        except RefusedError as error:
            return error
        except SlotEarlyError as error:
            self._clock.doubt()
            return error
        except SlotDecidedError:
            pass
        except FlowdError as error:
            # Nothing that passes by itself: trying again would be in vain.
            log.error("slot not told", extra={"slot": slot.event_id, "slug": error.slug, "problem": error.message})
        plan = self._agenda.plan(slot.key)
        if plan is not None:
            plan.told(slot, now_ms=self._clock.now_ms())
        self._taken(slot)
        return None

    def _taken(self, slot: Slot) -> None:
        waiting = self._waiting.get(slot.key)
        if waiting and waiting[0] == slot:
            waiting.popleft()
        if not waiting:
            self._waiting.pop(slot.key, None)

    def _refused(self, error: RefusedError | SlotEarlyError) -> None:
        self._problem = error.message
        if isinstance(error, SlotEarlyError):
            return
        now_s = self._now_s()
        if now_s >= self._tell_at_s:
            self._tell_at_s = now_s + TELL_EVERY_S
            slots = sum(map(len, self._waiting.values()))
            log.warning("schedules wait", extra={"slots": slots, "slug": error.slug, "problem": error.message})


def _all(snapshot: Snapshot) -> Iterator[Owned]:
    for flow in snapshot.flows:
        for one in flow.schedules:
            yield Owned(flow.name, flow.stale, one)
    for one in snapshot.tasks:
        yield Owned("", is_stale=False, schedule=one)


def _last(key: ScheduleKey, told: Sequence[Told], ends: Mapping[str, Collection[str]]) -> tuple[LastSlot, ...]:
    ids = [schedule.event_id(key.flow, key.name, one.slot_ms) for one in told]
    return tuple(
        LastSlot(one.slot_ms, id_, one.at_ms, known_schedule.summary(ends[id_]) if id_ in ends else None)
        for one, id_ in zip(told, ids, strict=True)
    )


def _event(slot: Slot, defined: Schedule) -> dict[str, object]:
    return {
        **defined.members,
        "id": slot.event_id,
        "type": defined.type,
        "source": defined.source or schedule.source(slot.key.flow, slot.key.name),
        "occurredAt": instant(slot.slot_ms),
        "payload": defined.payload,
    }
