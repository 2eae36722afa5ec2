"""Forgets old events: those that somebody names by their age, and by itself what the rules of ``[retention]`` let go.

By itself only while the clock can be trusted: one that jumps a year ahead would let everything go. So nobody is
forgotten by age while the wall clock has gone another way than the steady one since the last look.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flowd.domain import retention
from flowd.domain.errors import RefusedError, StorageFailedError
from flowd.domain.retention import Count, Cutoff, Rule
from flowd.domain.stored import Pruned
from flowd.ports import Clock
from flowd.ports.records import Upkeep

log = logging.getLogger("flowd.engine")

FIRST_LOOK_S = 600.0
LOOK_EVERY_S = 3600.0
MAX_CLOCK_STEP_MS = 60_000
"""Between two looks; clocks that are slewed go apart by less."""

_BEFORE_ALL = -(1 << 62)
"""Imported events have numbers below 1: they are older than all that flowd accepted itself."""

_AFTER_ALL = 1 << 62

_FEW, _MANY = 5, 400
_QUICK_S, _SLOW_S = 0.004, 0.008
"""Between these a transaction is as large as it should be: whoever accepts an event meanwhile waits for one of them."""


@dataclass(frozen=True, slots=True)
class Look:
    """When the rules were last looked at, by the wall clock, and what they let go."""

    at_ms: int
    forgot: Pruned


class Keeping:
    """Keeps what the rules say, and forgets the rest.

    Args:
        remove_output: Removes the files of an attempt.
        rules: Those of the settings; `take` puts others into force.
        after: Called when something was forgotten.
    """

    def __init__(
        self,
        *,
        store: Upkeep,
        remove_output: Callable[[str], None],
        clock: Clock,
        rules: Sequence[Rule],
        after: Callable[[], None],
    ) -> None:
        self._store = store
        self._remove_output = remove_output
        self._clock = clock
        self._after = after
        self.rules = tuple(rules)
        self.last: Look | None = None
        self._changed = asyncio.Event()
        self._apart_ms: int | None = None

    def take(self, rules: Sequence[Rule]) -> None:
        """Put other rules into force; they are looked at ten minutes from now."""
        if self.rules != (rules := tuple(rules)):
            self.rules = rules
            self._changed.set()

    async def prune(self, *, older_than_ms: int, dry_run: bool) -> tuple[int, Pruned]:
        """Forget events whose runs have all ended so long ago, with their runs and output.

        Some at a time, so that events are accepted meanwhile. What was forgotten when this is interrupted stays so.

        Returns:
            The instant before which they had ended, and all of it together.
        """
        before_ms = self._clock.now_ms() - older_than_ms
        return before_ms, await self._forget(retention.before(before_ms), dry_run=dry_run)

    async def forget_all(self) -> None:
        """Forget all that has ended, for an engine whose journal nobody goes back in: ids may be used again at once."""
        await self._forget(retention.everything(self._clock.now_ms()), dry_run=False)

    async def apply(self, *, dry_run: bool) -> Pruned:
        """Forget what the rules let go now; nothing where there are none."""
        if not (rules := self.rules):
            return Pruned()
        count = Count(rules)
        below_seq: int | None = _AFTER_ALL
        while below_seq is not None and not count.is_done:
            kept = await self._store.kept_events(rules, below_seq=below_seq)
            for one in kept.items:
                count.add(one)
            below_seq = kept.next_seq
        now_ms = self._clock.now_ms()
        forgot = await self._forget(count.cutoffs(now_ms), dry_run=dry_run)
        if not dry_run:
            self.last = Look(now_ms, forgot)
        return forgot

    async def look_for_ever(self) -> None:
        """Look at the rules ten minutes from now, and then every hour. Without end."""
        self._is_clock_steady()
        wait_s = FIRST_LOOK_S
        while True:
            try:
                await asyncio.wait_for(self._changed.wait(), wait_s)
            except TimeoutError:
                wait_s = LOOK_EVERY_S
                await self._look()
            else:
                self._changed.clear()
                wait_s = FIRST_LOOK_S

    async def _look(self) -> None:
        if not self.rules or not self._is_clock_steady():
            return
        try:
            forgot = await self.apply(dry_run=False)
            if forgot.events:
                log.info("forgot old events", extra={"events": forgot.events, "runs": forgot.runs})
        except (RefusedError, StorageFailedError):
            pass  # who writes tells it
        except Exception:
            log.exception("old events could not be forgotten")

    def _is_clock_steady(self) -> bool:
        apart_ms = self._clock.now_ms() - self._clock.steady_ms()
        before, self._apart_ms = self._apart_ms, apart_ms
        if before is None or abs(apart_ms - before) <= MAX_CLOCK_STEP_MS:
            return True
        log.warning("the clock was set: old events are not forgotten before the next look")
        return False

    async def _forget(self, cutoffs: Sequence[Cutoff], *, dry_run: bool) -> Pruned:
        forgot = Pruned()
        size = _FEW
        next_seq: int | None = _BEFORE_ALL
        while next_seq is not None:
            old = await self._store.old_events(cutoffs, after_seq=next_seq)
            left = old.seqs
            while left:
                asked_s = time.monotonic()
                forgot += await self._store.prune(
                    left[:size], cutoffs, dry_run=dry_run, remove_output=self._remove_output
                )
                took_s = time.monotonic() - asked_s
                left = left[size:]
                size = max(_FEW, size // 2) if took_s > _SLOW_S else min(_MANY, size * 2) if took_s < _QUICK_S else size
                if not dry_run:
                    await asyncio.sleep(took_s)  # the writer has others, too
            next_seq = old.next_seq
        if forgot.events and not dry_run:
            self._after()
        return forgot
