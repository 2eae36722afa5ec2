"""The model of the queue: what keeps a run, and what lets it go on.

A queued run passes needs, person, time, pause and key, in this order. The first that keeps it is what it waits for;
behind the last it is ready, and starts when a place is free.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from model import rules
from model.flows import Flow, Step
from model.records import UNFINISHED, Event, Lane, Round, Run, Wait, declared_key
from model.times import Times

GONE_MS = 60_000
"""A step that no package has for so long, at every look, was removed."""

SEEN_AGAIN_MS = 10_000
"""So long a daemon sees that itself, also where one before it had seen it go."""


class Queue(Times):
    """All runs, and all that keeps them."""

    def __init__(self, flows: Iterable[Flow], *, max_parallel: int) -> None:
        super().__init__()
        self.flows = {flow.name: flow for flow in flows}
        self.versions: dict[str, int | None] = dict.fromkeys(self.flows, 1)
        self.is_broken = False
        self.gone: dict[tuple[str, str], tuple[int, int]] = {}  # since when, and since when this daemon knows it
        self.events: dict[str, Event] = {}
        self.rounds: list[Round] = []
        self.lanes: dict[tuple[str, str, str | None], Lane] = {}
        self.pauses: set[str] = set()
        self.max_parallel = self.places = max_parallel
        self.is_dying = False
        self.started: list[Run] = []
        self._numbers = 0
        self._waiting: deque[tuple[Run, str]] = deque()
        self._ends: deque[tuple[Callable[[Run], None], Run]] = deque()
        self._round_ends: deque[Round] = deque()

    # --- gates

    def let_on(self, run: Run, *, behind: str = "") -> None:
        """Let a queued run go on from the gate that it has passed, or from the beginning, until something keeps it; and
        do all that follows from that."""
        self._waiting.append((run, behind))
        self._work()

    def _work(self) -> None:
        """Do what is to be done, in the order in which it came up: first who goes on, then what ends let go of, and at
        last what is left of rounds."""
        while self._waiting or self._ends or self._round_ends:
            if self._waiting:
                run, behind = self._waiting.popleft()
                if behind == "ended":
                    self._note_end(run)
                elif run.status == "queued":  # else what came before it has ended it
                    self._pass_gates(run, behind)
            elif self._ends:
                follows, run = self._ends.popleft()
                follows(run)
            else:
                self._let_go_of_round(self._round_ends.popleft())

    def _pass_gates(self, run: Run, behind: str) -> None:
        if run.is_called_off:
            self._end(run, "canceled", "canceled")
            self._note_end(run)
            return
        gates = ("needs", "person", "time", "pause", "key")
        for name in gates[gates.index(behind) + 1 if behind else 0 :]:
            if name == "key":
                self.begin_to_queue(run)
            if getattr(self, f"_is_kept_by_{name}")(run):
                return
        self._numbers += 1
        run.waits, run.ready = None, self._numbers

    def _is_kept_by_needs(self, run: Run) -> bool:
        unfinished = tuple(need.step.name for need in run.needs if need.status in UNFINISHED)
        if unfinished:
            run.waits = Wait("needs", unfinished)
        return bool(unfinished)

    def _is_kept_by_person(self, run: Run) -> bool:
        asking = next((need for need in run.needs if need.asks), None)
        if asking is not None:
            run.waits = Wait("person", asking)
        elif run.step.needs and not rules.is_met(run):
            run.is_below_failure = rules.is_below_failure(run)
            self._end(run, "completed", "needs_not_met")
            self._note_end(run)
            return True
        return asking is not None

    def _is_kept_by_pause(self, run: Run) -> bool:
        scope = self.pause_of(run)
        if scope is not None:
            run.waits = Wait("pause", scope)
            self.hold_in_queue(run)
        return scope is not None

    def _is_kept_by_key(self, run: Run) -> bool:
        """The round's key comes first."""
        for one in (run.round, run):
            lane = self.lane_of(one)
            if lane is None or one in lane.holders:
                continue
            run.waits = Wait("key", lane)
            if one not in lane.waiting:
                self._come_to(lane, one, run)
            if one not in lane.holders:
                return True  # whoever hands over the key lets it on
        return False

    # --- ends

    def end_unstarted(self, runs: Iterable[Run], status: str, reason: str) -> None:
        """End queued runs, all of them at once."""
        runs = list(runs)
        for run in runs:
            self._end(run, status, reason)
        for run in runs:
            self.let_go(run)

    def _end(self, run: Run, status: str, reason: str) -> None:
        run.status, run.reason, run.waits, run.is_called_off = status, reason, None, False
        run.expires_ms = run.queue_left_ms = None
        run.result = "skipped" if status == "completed" else None

    def let_go(self, run: Run) -> None:
        """It has ended: let go of what waited for that."""
        self._note_end(run)
        self._work()

    def _note_end(self, run: Run) -> None:
        self._ends += [(self._give_up_key, run), (self._look_at_dependents, run)]
        self._round_ends.append(run.round)

    def closed(self, run: Run) -> None:
        """A person has said how it ended, or nobody will: let go of what waited for that."""
        self._waiting.extend((one, "") for one in run.dependents if one.waits == Wait("person", run))
        self._work()

    def _look_at_dependents(self, run: Run) -> None:
        for one in run.dependents:
            if one.waits is not None and one.waits.kind in ("needs", "person") and not self._is_kept_by_needs(one):
                self._waiting.append((one, ""))

    def _let_go_of_round(self, round_: Round) -> None:
        lane = self.lane_of(round_)
        if lane is None or round_ not in lane.holders:
            return
        if not round_.unfinished:
            lane.holders.remove(round_)
            self._hand_over(lane)
        elif self._gives_way(round_) and any(other.seq > round_.seq for other in lane.waiting):
            self.supersede(round_)

    def _gives_way(self, one: Run | Round) -> bool:
        """Whether it is a round that only waits for a person, and others of its key do not want to wait for that."""
        key = declared_key(one)
        return isinstance(one, Round) and key is not None and key.on_busy in ("latest", "replace") and one.only_asks

    # --- keys

    def lane_of(self, one: Run | Round) -> Lane | None:
        """The lane of its key; None where it asks for none."""
        key = declared_key(one)
        if key is None:
            return None
        kind, round_ = ("step", one.round) if isinstance(one, Run) else ("flow", one)
        name = kind, key.group, round_.key if key.member else None
        return self.lanes.setdefault(name, Lane(key.group, self._limit(kind, key.group)))

    def _limit(self, kind: str, group: str) -> int:
        """The smallest that is declared in the group."""
        flows = self.flows.values()
        keys = [step.key for flow in flows for step in flow.steps] if kind == "step" else [flow.key for flow in flows]
        return min(key.limit for key in keys if key is not None and key.group == group)

    def _come_to(self, lane: Lane, one: Run | Round, run: Run) -> None:
        """A run, or by it its round, comes to a key: it takes it, waits for it, ends, or ends others for it."""
        is_busy = bool(lane.waiting) or not lane.has_room
        waiting, holding = list(lane.waiting), list(lane.holders)
        lane.waiting.append(one)
        key = declared_key(one)
        assert key is not None
        rivals = {"replace": waiting + holding, "latest": waiting}.get(key.on_busy, []) if is_busy else []
        if is_busy and key.on_busy == "skip":
            self._end_whole(one, "key_busy", run)
        elif any(other.seq > one.seq for other in rivals):
            self._end_whole(one, "superseded", run)
        else:
            asking = [other for other in holding if other.seq < one.seq and self._gives_way(other)]
            for other in dict.fromkeys([*rivals, *asking]):
                self.supersede(other)
        self._hand_over(lane, run)

    def supersede(self, one: Run | Round) -> None:
        """End it in favour of a newer one: at once what does not run; what runs is being ended from now on."""
        lane = self.lane_of(one)
        assert lane is not None
        if isinstance(one, Run) or one in lane.waiting:
            self._end_whole(one, "superseded")
            return
        for run in one.runs.values():
            run.resolution = "canceled" if run.asks else run.resolution
        self._end_whole(one, "superseded", but_finally=True)
        for run in one.runs.values():
            self._waiting.extend((o, "") for o in run.dependents if o.waits == Wait("person", run))

    def _end_whole(self, one: Run | Round, reason: str, by: Run | None = None, *, but_finally: bool = False) -> None:
        """``by`` is the run that is looked at just now, if it is one of them."""
        for run in [one] if isinstance(one, Run) else one.unfinished:
            if but_finally and run.step.when == "finally":
                continue
            if run.status == "running":
                run.ending = run.ending or "superseded"
            elif run.status == "queued":
                self._end(run, "completed", reason)
                if run is by:
                    self._note_end(run)
                else:
                    self._waiting.append((run, "ended"))

    def _give_up_key(self, run: Run) -> None:
        """It is no longer started or admitted, and stands in no line: its step's key is the next one's."""
        lane = self.lane_of(run.round)
        if lane is not None and all(r.waits != Wait("key", lane) for r in run.round.runs.values()):
            lane.waiting = [one for one in lane.waiting if one is not run.round]
        lane = self.lane_of(run)
        if lane is not None:
            lane.waiting = [one for one in lane.waiting if one is not run]
            lane.holders = [one for one in lane.holders if one is not run]
            self._hand_over(lane)

    def _supersede_for_quiet(self, run: Run) -> None:
        self._end(run, "completed", "superseded")
        self._waiting.append((run, "ended"))

    def give_up_key(self, run: Run) -> None:
        """It comes to its gates again before it starts."""
        self._give_up_key(run)
        self._work()

    def _hand_over(self, lane: Lane, by: Run | None = None) -> None:
        """``by`` is the run that is looked at just now: it goes on by itself."""
        while lane.has_room and lane.waiting:
            one = lane.first()
            lane.waiting.remove(one)
            lane.holders.append(one)
            behind = "key" if isinstance(one, Run) else "pause"
            for run in [one] if isinstance(one, Run) else one.unfinished:
                if run.waits == Wait("key", lane) and run is not by:
                    self._waiting.append((run, behind))

    # --- pauses

    def pause_of(self, run: Run) -> str | None:
        """What is paused that it belongs to."""
        scopes = ("*", run.step.flow, f"{run.step.flow}/{run.step.name}")
        return next((scope for scope in scopes if scope in self.pauses), None)

    def pause(self, scope: str) -> None:
        """Keep what has not started. Those behind this gate come back to it, and give up their step's key."""
        self.pauses.add(scope)
        behind = [run for run in self.runs if run.is_ready or (run.waits and run.waits.kind == "key")]
        taken = [run for run in behind if self._is_kept_by_pause(run)]
        for run in taken:
            self.give_up_key(run)
        self.settle()

    def resume(self, scope: str) -> None:
        """Let them go on."""
        self.pauses.discard(scope)
        for run in self.runs:
            if run.waits == Wait("pause", scope):
                self.let_on(run, behind="time")
        self.settle()

    # --- times, places and packages

    def settle(self) -> None:
        """Those whose time has come go on; of the ready ones as many start as there are places, in their order."""
        for run, behind in self.due():
            self.let_on(run, behind=behind)
        for run in (expired := self.expired()):
            self._end(run, "failed", "queue_timeout")
        self._waiting.extend((run, "ended") for run in expired)
        self._work()
        has_parked = False
        while (
            not self.is_dying
            and (ready := self.ready())
            and sum(run.status == "running" for run in self.runs) < self.places
        ):
            has_parked = not self._start(ready[0]) or has_parked
        if has_parked:
            self.look()
            self.settle()

    def ready(self) -> list[Run]:
        """Those that only wait for a place, in the order in which they get one."""
        return sorted((run for run in self.runs if run.is_ready), key=lambda run: (-run.priority, run.ready))

    def flow_in_force(self, name: str) -> Flow | None:
        """As its package is now; None where it is missing."""
        version = self.versions[name]
        return None if version is None else self.flows[name].in_version(version)

    def is_package_broken(self, name: str) -> bool:
        """Whether it is there, and nobody knows its steps."""
        return self.is_broken and self.versions[name] is None

    def step_in_force(self, run: Run) -> Step | None:
        """Its step as its package is now."""
        flow = self.flow_in_force(run.step.flow)
        return None if flow is None else flow.step(run.step.name)

    def _start(self, run: Run) -> bool:
        step, version = self.step_in_force(run), self.versions[run.step.flow]
        if step is None or version is None:
            run.waits = Wait("package")
            self.hold_in_queue(run)
            self.give_up_key(run)
            return False
        run.showed = run.shown
        run.status, run.shown, run.attempts, run.max_attempts = "running", version, run.attempts + 1, step.max_attempts
        run.queued_until, run.expires_ms, run.queue_left_ms = (run.expires_ms, run.queue_left_ms), None, None
        self.started.append(run)
        return True

    def look(self) -> None:
        """Runs whose package is back go on; those whose step has been gone for a minute of looks fail."""
        parked = [run for run in self.runs if run.waits == Wait("package")]
        for name in sorted({(run.step.flow, run.step.name) for run in parked} | self.gone.keys()):
            waiting = [run for run in parked if (run.step.flow, run.step.name) == name]
            flow, is_broken = self.flow_in_force(name[0]), self.is_package_broken(name[0])
            is_back = flow is not None and flow.step(name[1]) is not None
            if not waiting or is_back or is_broken:
                self.gone.pop(name, None)
                for run in waiting:
                    run.gone_since_ms = None
            if is_back:
                for run in waiting:
                    self.let_on(run, behind="time")
            elif waiting and not is_broken:
                self._look_at_gone(name, waiting)

    def _look_at_gone(self, name: tuple[str, str], waiting: list[Run]) -> None:
        noted = [run.gone_since_ms for run in waiting if run.gone_since_ms is not None]
        since, seen = self.gone.setdefault(name, (min([*noted, self.steady_ms]), self.steady_ms))
        if not noted:
            for run in waiting:
                run.gone_since_ms = since
        if self.steady_ms - since >= GONE_MS and self.steady_ms - seen >= SEEN_AGAIN_MS:
            self.end_unstarted(waiting, "failed", "step_removed")
