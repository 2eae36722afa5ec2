"""What a step may wait for, and what keeps that from ending before the step does. No I/O."""

from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass

from flowd.domain.errors import WouldDeadlockError


@dataclass(frozen=True, slots=True)
class Awaited:
    """A run, or else an event.

    Attributes:
        is_tree: With the event all below it, too.
    """

    run_id: str | None = None
    event_id: str | None = None
    is_tree: bool = False

    def __str__(self) -> str:
        return f"event {self.event_id}" if self.run_id is None else f"run {self.run_id}"


@dataclass(frozen=True, slots=True)
class HeldUp:
    """Why something cannot end before one of some runs does.

    Attributes:
        by: That run, where it is a part of it or something of it needs it; None where they hold all of a key that
            something of it takes.
        is_part: The run itself is what is waited for, or a part of that.
    """

    by: str | None = None
    is_part: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """A step that is about to wait.

    Attributes:
        caller: Its run.
        others: What all steps wait for that wait already, the caller among them where it does, by their runs.
        awaited: What it is to wait for; None: for each of the runs that are made, or queued again, with this.
    """

    caller: str
    others: Mapping[str, tuple[Awaited, ...]]
    awaited: Awaited | None = None


Question = tuple[Collection[str], Awaited]
"""Why what is awaited cannot end before one of these runs does. Answered by a `HeldUp`, or None where it can."""


def judge(
    waiting: Waiting, awaited: Awaited, *, is_stored: bool = True
) -> Generator[Question, HeldUp | None, WouldDeadlockError | None]:
    """Decide whether a step may wait for something: yields questions to the store, and returns the refusal; None where
    it may.

    It must not where that, or another step that waits for its end, is a part of what it waits for, or something of that
    needs it, or takes a key that it or its round holds.

    Args:
        is_stored: What it would wait for is there whatever comes of this; else nothing of it is done.
    """
    caller = waiting.caller
    waits = {**waiting.others, caller: (*waiting.others.get(caller, ()), awaited)}
    if (yield waits.keys(), awaited) is None:
        return None
    stuck = yield from _stuck(waits)
    held = (yield stuck, awaited) if caller in stuck else None
    return None if held is None else _refusal(caller, awaited, held, is_alone=len(stuck) == 1, is_stored=is_stored)


def _stuck(waits: Mapping[str, tuple[Awaited, ...]]) -> Generator[Question, HeldUp | None, Collection[str]]:
    """Those of the steps that wait for each other: what remains without all whose waiting can end."""
    stuck = set(waits)
    while True:
        free = set()
        for one in stuck:
            if not (yield from _is_held_up(stuck, waits[one])):
                free.add(one)
        if not free:
            return stuck
        stuck -= free


def _is_held_up(stuck: Collection[str], those: tuple[Awaited, ...]) -> Generator[Question, HeldUp | None, bool]:
    for awaited in those:
        if (yield stuck, awaited) is not None:
            return True
    return False


def _refusal(caller: str, awaited: Awaited, held: HeldUp, *, is_alone: bool, is_stored: bool) -> WouldDeadlockError:
    if held.by is None:
        holder = f"{caller} or its round holds until it ends" if is_alone else "steps hold that wait for each other"
        why = f"{'it' if awaited.run_id else 'something of it'} needs a key (`concurrency`) that {holder}"
    elif held.by != caller:
        why = f"that ends only after {held.by}, whose step waits for {caller} to end"
    elif not held.is_part:
        why = f"that ends only after {caller} has ended"
    elif awaited.run_id is None:
        why = "for it is one of its runs itself"
    else:
        return WouldDeadlockError(f"Run {caller} must not wait for its own end.", runId=caller)
    data = {"eventId": awaited.event_id} if awaited.run_id is None else {"runId": awaited.run_id}
    mark = "," if why.startswith("for ") else ":"
    outlook = "" if is_stored else " Nothing was done: do it without waiting, and it starts then."
    if held.by is None and is_stored:
        outlook = " It is stored, and starts then; do not wait for it."
    return WouldDeadlockError(f"Run {caller} must not wait for {awaited}{mark} {why}.{outlook}", **data)
