"""What flowd promises of runs in order, people, keys and trees, as a plain program: no store, no tasks, no races.

The real one must come to the same. Each method is something that is asked or that happens; those that are refused raise
`RefusedError` and change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from model import rules
from model.flows import End, Flow, NextEvent, Step
from model.queue import Queue
from model.records import ASKING, UNFINISHED, WELL, Copied, Event, Round, Run, Wait
from model.times import LOOK_MS

RETRY_MS = 1_000
"""A policy's wait before the second attempt; doubled for each after it."""


def _comes_later(run: Run) -> bool:
    is_quiet = run.waits_for_quiet and run.step.quiet is not None
    return bool(run.copied or run.step.key or run.round.flow.key or is_quiet)


class RefusedError(Exception):
    """Nothing was changed. The message is the error's slug."""


class Model(Queue):
    """All that can be asked, and all that happens."""

    def __init__(
        self,
        flows: Iterable[Flow],
        *,
        max_parallel: int = 3,
        max_depth: int = 32,
        max_tree_events: int = 10_000,
        name_run: Callable[[str, str, str], str] = lambda event, flow, step: f"{event}.{flow}.{step}",
    ) -> None:
        """``name_run`` gives the id of an event's first run of a flow's step, which ids of caused events begin with."""
        super().__init__(flows, max_parallel=max_parallel)
        self._max_depth = max_depth
        self._max_tree_events = max_tree_events
        self._name_run = name_run

    # --- events

    def accept(self, event_id: str, type_: str, key: str, not_before_ms: int | None = None) -> None:
        """Somebody dispatches an event. A known id is a duplicate."""
        if event_id not in self.events:
            self._accept(NextEvent(type_, key, event_id, not_before_ms), None)
        self.settle()

    def dispatch_from(self, run: Run, event_id: str, type_: str, key: str, not_before_ms: int | None = None) -> None:
        """A step dispatches an event. Its run is the cause while it runs and nobody wants it ended."""
        if run.status != "running":
            self.accept(event_id, type_, key, not_before_ms)
            return
        if run.ending is not None:
            raise RefusedError("cause_canceled")
        event = NextEvent(type_, key, event_id, not_before_ms)
        if not self._may_cause(run, [event]):
            raise RefusedError("chain_limit")
        self._accept(event, run)
        self.settle()

    def replay(self, event_id: str, names: Sequence[str] | None = None, *, and_below: bool = False) -> None:
        """New rounds of an event: all that it matches now, or the steps (``flow/step``) named, and those below them."""
        event = self._event(event_id)
        matches = {flow: flow.matching(event.type) for flow in self._in_force()}
        labels = {f"{flow.name}/{step.name}" for flow, steps in matches.items() for step in steps}
        if not labels.issuperset(names or ()):
            raise RefusedError("invalid_params")
        rounds = []
        for flow, steps in matches.items():
            named = {step.name for step in steps if f"{flow.name}/{step.name}" in (names or ())}
            chosen = {step.name for step in steps} if names is None else set(named)
            for step in steps if and_below else ():
                chosen |= {step.name} if chosen.intersection(step.needs) else set()
            taken = [step for step in steps if step.name in chosen]
            copies = {s.name: {n: self._copy(event, flow, n) for n in s.needs if n not in chosen} for s in taken}
            rounds.append((flow, taken, copies, named))
        self._add_rounds(event, event.key, None, rounds, waits_for_quiet=False)
        self.settle()

    def _copy(self, event: Event, flow: Flow, name: str) -> Copied:
        runs = [r for r in self.runs if r.round.event is event and r.step.flow == flow.name and r.step.name == name]
        if not runs:
            raise RefusedError("invalid_params")
        if runs[-1].status in UNFINISHED or runs[-1].asks:
            raise RefusedError("needs_active")
        return rules.copy_of(runs[-1])

    def _in_force(self) -> list[Flow]:
        return [flow for name in self.flows if (flow := self.flow_in_force(name)) is not None]

    def _accept(self, new: NextEvent, cause: Run | None) -> None:
        assert new.id is not None
        event = self.events.get(new.id)
        if event is None:
            event = self.events[new.id] = Event(new.id, new.type, new.key, cause)
        elif cause is None or not self._is_caused_anew(event, cause.round):
            return
        if cause is not None:
            event.causes.append(cause.round)
        matched = [(flow, flow.matching(new.type)) for flow in self._in_force()]
        rounds = [(flow, steps, {}, set[str]()) for flow, steps in matched]
        later = new.not_before_ms is not None and new.not_before_ms > self.wall_ms
        not_before_ms = new.not_before_ms if later else None
        self._add_rounds(event, new.key, None if cause is None else cause.round, rounds, not_before_ms=not_before_ms)

    def _is_caused_anew(self, event: Event, cause: Round) -> bool:
        """Whether a round causes a known event again: once for each round of what has caused it already."""
        same = [one for one in event.causes if one.event is cause.event and one.flow.name == cause.flow.name]
        return bool(same) and cause not in same

    def _add_rounds(
        self,
        event: Event,
        key: str,
        cause: Round | None,
        rounds: Iterable[tuple[Flow, list[Step], dict[str, dict[str, Copied]], set[str]]],
        *,
        not_before_ms: int | None = None,
        waits_for_quiet: bool = True,
    ) -> None:
        added: list[Run] = []
        for flow, steps, copies, named in rounds:
            if not steps:
                continue
            number = 1 + sum(round_.flow.name == flow.name for round_ in event.rounds)
            round_ = Round(len(self.rounds), event, flow, number, key, cause)
            self.rounds.append(round_)
            event.rounds.append(round_)
            for step in steps:
                version = self.versions[flow.name]
                assert version is not None
                run = Run(len(self.runs), round_, step, version, copies.get(step.name, {}), step.name in named)
                run.not_before_ms, run.waits_for_quiet = not_before_ms, waits_for_quiet
                round_.runs[step.name] = run
                self.runs.append(run)
                added.append(run)
        for run in added:
            run.waits = Wait("needs")  # until it is looked at
        # Those that nothing but a pause or a place can keep are ready first.
        for run in sorted(added, key=_comes_later):
            if run.waits == Wait("needs"):
                self.let_on(run)

    def _event(self, event_id: str) -> Event:
        if event_id not in self.events:
            raise RefusedError("event_not_found")
        return self.events[event_id]

    # --- ends of attempts, and what they cause

    def exit(self, run: Run, end: End) -> None:
        """An attempt ends. Its policy makes another, or the run ends, lets go of what waited, and causes events."""
        out = rules.outcome(run, end)
        if out.reason == "exit" and not run.ending and run.attempts - run.attempts_before < run.max_attempts:
            delay = RETRY_MS * 2 ** (run.attempts - run.attempts_before - 1)
            run.status, run.waits = "queued", Wait("time", "retry", self.steady_ms + delay, delay)
            self.give_up_key(run)
            self.settle()
            return
        is_well = out.status == "completed" and out.result in WELL
        does_cause = is_well and not run.ending
        if (is_well or out.result in ASKING) and end.next is None:
            out = rules.Outcome("failed", None, "bad_next")
        elif does_cause and not self._may_cause(run, end.next or ()):
            out = rules.Outcome("failed", None, "chain_limit")
        run.status, run.result, run.reason = out.status, out.result, out.reason
        run.next = end.next if not run.ending else ()
        if run.asks and run.ending and (run.is_called_off or run.round.is_canceled):
            run.resolution = "canceled"
        self.let_go(run)
        if does_cause and out.status == "completed":
            self._cause(run)
        self.settle()

    def _named(self, run: Run, events: Sequence[NextEvent]) -> list[NextEvent]:
        first = self._name_run(run.round.event.id, run.step.flow, run.step.name)
        return [replace(new, id=new.id or f"{first}:{index}") for index, new in enumerate(events)]

    def _may_cause(self, run: Run, events: Sequence[NextEvent]) -> bool:
        new = {event.id for event in self._named(run, events)} - self.events.keys()
        root = run.round.event.root
        size = sum(event.root is root for event in self.events.values())
        is_too_deep = run.round.event.depth + 1 > self._max_depth
        return not new or (not is_too_deep and size + len(new) <= self._max_tree_events)

    def _cause(self, run: Run) -> None:
        for event in self._named(run, run.next or ()):
            self._accept(event, run)
        run.next = ()

    # --- people

    def retry(self, run: Run) -> None:
        """Another attempt, whatever its ``when`` says. All that is below it waits for it again."""
        if run.status in UNFINISHED:
            raise RefusedError("run_active")
        if run.effective not in ("failed", "canceled", *ASKING):
            raise RefusedError("not_retryable")
        self._start_anew(run)

    def _start_anew(self, run: Run, *, is_answer: bool = False) -> None:
        """It goes on to its next attempt, and all that is below waits for it again, whatever that had ended as."""
        below = run.all_below
        if any(need.status in UNFINISHED or need.asks for need in run.needs):
            raise RefusedError("needs_active")
        if any(one.status == "running" for one in below):
            raise RefusedError("dependent_active")
        run.round.is_canceled = False
        for one in (run, *below):
            self._put_back(one)
        if is_answer:
            run.attempts_before, run.is_answered = run.attempts, True
        for one in (run, *below):
            self.give_up_key(one)
        for one in below:
            self.let_on(one)
        self.let_on(run, behind="time")
        self.settle()

    def _put_back(self, run: Run) -> None:
        run.status, run.result, run.resolution, run.reason = "queued", None, None, None
        run.ending, run.is_called_off, run.is_below_failure, run.next = None, False, False, ()
        run.attempts_before, run.is_answered = 0, False
        run.waits, run.gone_since_ms = Wait("needs"), None  # until it is looked at
        run.expires_ms = run.queue_left_ms = None

    def resolve(self, run: Run, status: str) -> None:
        """A person says how a question ended. What it asked for next goes out if it ended well."""
        self._be_asked(run)
        is_well = status in WELL
        if is_well and not self._may_cause(run, run.next or ()):
            raise RefusedError("chain_limit")
        run.resolution = status
        self.closed(run)
        if is_well:
            self._cause(run)
        self.settle()

    def answer(self, run: Run) -> None:
        """A retry with a person's answer, from which its policy counts."""
        self._be_asked(run)
        self._start_anew(run, is_answer=True)

    def _be_asked(self, run: Run) -> None:
        if run.resolution is not None or (run.is_answered and run.status in UNFINISHED):
            raise RefusedError("already_answered")
        if run.status in UNFINISHED:
            raise RefusedError("run_active")
        if not run.asks:
            raise RefusedError("not_asking")

    def cancel(self, run: Run) -> None:
        """End a run. What runs is being ended from now on."""
        if run.status == "queued":
            self.end_unstarted([run], "canceled", "canceled")
        elif run.status == "running":
            run.ending = run.ending or "canceled"
        elif run.status != "canceled":
            raise RefusedError("run_finished")
        self.settle()

    def cancel_event(self, event_id: str, *, tree: bool = False) -> None:
        """End all that is unfinished or asked of an event, or of its tree, but for what runs ``finally``: once."""
        event = self._event(event_id)
        events = [one for one in self.events.values() if one is event or (tree and one.is_below(event))]
        rounds = [round_ for one in events for round_ in one.rounds]
        ending = [
            run
            for round_ in rounds
            for run in round_.unfinished
            if round_.is_canceled or run.step.when != "finally"
        ]  # fmt: skip
        asking = [run for round_ in rounds for run in round_.runs.values() if run.asks]
        for round_ in rounds:
            round_.is_canceled = True
        for run in ending:
            run.is_called_off = True
            run.ending = run.ending or ("canceled" if run.status == "running" else None)
        for run in sorted([*ending, *asking], key=lambda run: run.seq):
            if run.is_called_off and run.status == "queued":
                self.end_unstarted([run], "canceled", "canceled")
            elif run.asks:
                run.resolution = "canceled"
                self.closed(run)
        self.settle()

    # --- the operator, and what happens

    def pause(self, scope: str) -> None:
        """Keep what has not started of all flows (``*``), of one, or of a step."""
        self._require_known(scope)
        super().pause(scope)

    def resume(self, scope: str) -> None:
        """Let it go on. That nothing is paused is no mistake, unless there is no such thing."""
        if scope not in self.pauses:
            self._require_known(scope)
        super().resume(scope)

    def _require_known(self, scope: str) -> None:
        name, _, step = scope.partition("/")
        if scope == "*" or (self.is_package_broken(name) and not step):
            return
        flow = self.flow_in_force(name)
        if flow is None or (step and flow.step(step) is None):
            raise RefusedError("step_not_found")

    def parallel(self, places: int) -> None:
        """So many places until the restart. What runs beyond them runs on."""
        self.places = places
        self.settle()

    def edit(self, flow: str, version: int | None, *, is_broken: bool) -> None:
        """A package changes, is removed (None), or is broken without a last good definition."""
        self.versions[flow], self.is_broken = version, is_broken
        self.look()
        self.settle()

    def pass_time(self, ms: int, *, is_noticed: bool = True) -> None:
        """``is_noticed`` is False where the daemon died before it could write down whose time had come."""
        self.wall_ms += ms
        self.steady_ms += ms
        if is_noticed:
            self.settle()

    def step_clock(self, ms: int) -> None:
        """Somebody sets the wall clock, which those see some seconds later who wait for an instant."""
        self.wall_ms += ms
        self.pass_time(LOOK_MS)

    def restart(
        self, *, unrecorded: Run | None = None, unstarted: Iterable[Run] = (), begun: Collection[Run] = ()
    ) -> None:
        """The daemon ends, and the next one begins.

        Args:
            unrecorded: It ended just before, but its end is recorded by the next daemon: its wait begins then.
            unstarted: They were given a place, but no process yet: they are queued in their old order.
            begun: Those of them whose attempt was written down. It is forgotten; but where it would have been the
                first, the run shows what it was to be made with.
        """
        for run in unstarted:
            run.status, run.attempts = "queued", run.attempts - 1
            if run.attempts or run not in begun:
                run.shown = run.showed
            if run not in begun:
                run.expires_ms, run.queue_left_ms = run.queued_until
            self.started.remove(run)
        self.steady_ms = self.wall_ms
        self.places = self.max_parallel
        self.is_dying = False
        self.gone.clear()
        for run in self.runs:
            if run.waits is not None and run.waits.kind == "time":
                latest = self.steady_ms + run.waits.whole_ms
                until = latest if run is unrecorded else min(run.waits.until_ms, latest)
                run.waits = replace(run.waits, until_ms=until)
            if run.expires_ms is not None:
                run.expires_ms = min(run.expires_ms, self.steady_ms + (run.queue_left_ms or 0))
        for run in unstarted:
            self.begin_to_queue(run)
        self.settle()
        self.look()
        self.settle()
