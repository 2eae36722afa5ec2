"""What keeps queued runs from starting, as callers see it."""

from typing import Annotated, Literal

import msgspec

from flowd.api.json import instant
from flowd.api.shapes import View
from flowd.domain.hosts import Able, Unserved
from flowd.domain.run import Run
from flowd.domain.waiting import (
    HostWait,
    KeyWait,
    NeedsWait,
    PackageWait,
    PauseWait,
    PersonWait,
    PlaceWait,
    TimeWait,
    WaitingFor,
)


class KeyWaitView(View):
    """A key that others hold: its group, its values in the event, a run that holds it or one of the round that does,
    and how many that wait get it before (missing where they are more than 100). ``asks``: the run that asks a person,
    for whose answer a round that holds it waits."""

    group: str
    key: Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "array"})]
    holder: str | None = None
    behind: int | None = None
    asks: str | None = None


class HostWaitView(View):
    """A host: which labels it must have, and how many that live have them. ``name``: it must be this one, which has the
    folder of the run's round."""

    labels: tuple[str, ...]
    hosts: int
    name: str | None = None


class WaitingView(View):
    """What keeps a queued run from starting: ``needs`` that have not ended; a ``person``, who is to answer this run;
    its time ``until`` when, and why it waits for one (a ``delay`` of its step; ``notBefore`` of its event;
    ``debounce``: until then no other event of its key may come; a ``retry``, with the number of the ``attempt`` that
    comes then, ``of`` so many); a ``pause`` of all (``*``), of its flow or of ``flow/step``; a ``key``; the ``package``
    that has its step; or a ``host`` that can run it.
    With ``place`` it is ready, and this one in the order in which runs start (101: behind the first 100). ``foreign``:
    the state was copied from elsewhere, and ``daemon.resume`` lets it start."""

    until: str | None = None
    why: Literal["retry", "delay", "notBefore", "debounce", "foreign"] | None = None
    attempt: int | None = None
    of: int | None = None
    package: str | None = None
    needs: tuple[str, ...] | None = None
    pause: str | None = None
    place: int | None = None
    person: str | None = None
    key: KeyWaitView | None = None
    host: HostWaitView | None = None


def waiting_view(waiting: WaitingFor, run: Run) -> WaitingView:
    """What a queued run waits for."""
    match waiting:
        case TimeWait():
            return _time_view(waiting, run)
        case PackageWait():
            return WaitingView(package=waiting.name)
        case HostWait():
            return WaitingView(host=HostWaitView(waiting.labels, waiting.hosts, waiting.name))
        case PersonWait(None):
            return WaitingView(why="foreign")
        case PersonWait(run_id):
            return WaitingView(person=run_id)
        case NeedsWait():
            return WaitingView(needs=waiting.names)
        case KeyWait():
            key = msgspec.Raw(waiting.key_json.encode())
            return WaitingView(key=KeyWaitView(waiting.group, key, waiting.holder, waiting.behind, waiting.asks))
        case PauseWait():
            return WaitingView(pause=waiting.what)
        case PlaceWait():
            return WaitingView(place=waiting.place)


def _time_view(waiting: TimeWait, run: Run) -> WaitingView:
    view = WaitingView(until=instant(waiting.until_ms), why=waiting.why)
    if waiting.max_attempts is not None:
        view.attempt, view.of = run.attempt_count - run.attempts_before + 1, waiting.max_attempts
    return view


class UnservedView(View):
    """A queued run that no host starts just now. ``runsOn``: labels that its step requires of a host; ``hosts``: how
    many can run it, which is 0; ``name``: the only one that may, as it has the folder of the run's round. ``unserved``:
    why, as those that could are ``draining``, none has the ``labels``, none has the ``package``, or that one is not
    there (``folder``); ``problem``: the same as a sentence without a subject."""

    run_id: str
    flow: str
    step: str
    unserved: Unserved
    problem: str
    hosts: int
    runs_on: tuple[str, ...] | None = None
    name: str | None = None


def unserved_view(run: Run, able: Able) -> UnservedView:
    """A run that no host starts, and who could."""
    assert able.unserved is not None
    return UnservedView(
        run_id=run.id,
        flow=run.flow_name,
        step=run.step_name,
        unserved=able.unserved,
        problem=able.problem or "",
        hosts=able.hosts or 0,
        runs_on=able.required or None,
        name=able.bound_to,
    )
