"""The plans of all schedules, in the order in which they are due."""

import heapq
from collections.abc import Iterator
from itertools import count

from flowd.domain.slots import Plan, ScheduleKey, Slot

SET_BACK_MS = 30_000
"""A clock that is set back by more is looked at anew: what is decided is found in the spans. Less is waited for."""


class Agenda:
    """Plans by when they are due. A look costs nothing but for what is due."""

    def __init__(self) -> None:
        self._plans: dict[ScheduleKey, Plan] = {}
        self._heap: list[tuple[int, int, Plan]] = []
        self._entries: dict[ScheduleKey, int] = {}
        self._numbers = count()
        self._seen_ms = 0

    def __contains__(self, key: ScheduleKey) -> bool:
        return key in self._plans

    @property
    def keys(self) -> frozenset[ScheduleKey]:
        """Of all schedules."""
        return frozenset(self._plans)

    @property
    def next_ms(self) -> int | None:
        """When something is due; in the past where something has to be looked at. None where nothing ever is."""
        while self._heap and self._entries.get(self._heap[0][2].key) != self._heap[0][1]:
            heapq.heappop(self._heap)  # dropped, or put anew
        return self._heap[0][0] if self._heap else None

    def plan(self, key: ScheduleKey) -> Plan | None:
        """A schedule's."""
        return self._plans.get(key)

    def put(self, plan: Plan) -> None:
        """Have a schedule from now on."""
        self._plans[plan.key] = plan
        self._push(plan, 0)

    def drop(self, key: ScheduleKey) -> None:
        """Have a schedule no more."""
        self._plans.pop(key, None)
        self._entries.pop(key, None)

    def look_anew(self) -> None:
        """Go by the spans alone: another time has come."""
        self._seen_ms = 0
        self._heap.clear()
        for plan in self._plans.values():
            plan.after_ms = None
            self._push(plan, 0)

    def due(self, now_ms: int) -> Iterator[list[Slot]]:
        """The slots to be told by now, those of one schedule at a time. One whose slots were taken is not due any more,
        so whoever stops halfway goes on with the next call."""
        if now_ms < self._seen_ms - SET_BACK_MS:
            self.look_anew()
        self._seen_ms = max(self._seen_ms, now_ms)
        while (next_ms := self.next_ms) is not None and next_ms <= now_ms:
            _, _, plan = heapq.heappop(self._heap)
            slots = plan.due(now_ms)
            if plan.next_ms is not None:
                self._push(plan, plan.next_ms)
            yield slots

    def _push(self, plan: Plan, due_ms: int) -> None:
        number = next(self._numbers)
        self._entries[plan.key] = number
        heapq.heappush(self._heap, (due_ms, number, plan))
