"""What keeps a queued run from starting, other than that all places are taken."""

from dataclasses import dataclass
from typing import Literal

TimeReason = Literal["retry", "delay", "notBefore", "debounce"]


@dataclass(frozen=True, slots=True)
class MissedStep:
    """A step that runs wait for.

    Attributes:
        gone_since_ms: On the steady clock, since when it is in no package; None where nobody has noted that.
    """

    flow_name: str
    step_name: str
    gone_since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class TimeWait:
    """It may start from an instant on.

    Attributes:
        until_ms: By a clock that nobody sets: see `flowd.ports.Clock.steady_ms`. For ``notBefore`` by the wall clock.
            Of what a store says, by the clock of the store, where hosts share it.
        whole_ms: The length of the wait from its beginning. After a restart no more than this is left of it, should the
            wall clock have been set back meanwhile. 0 for ``notBefore``.
        why: ``retry``: the step's policy makes another attempt then. ``delay``: its step asks for that. ``notBefore``:
            its event asks for that. ``debounce``: until then no other event of its key may come, else that one's run
            waits in its place.
        max_attempts: How many the policy makes at most.
    """

    until_ms: int
    whole_ms: int
    why: TimeReason
    max_attempts: int | None = None


@dataclass(frozen=True, slots=True)
class PackageWait:
    """No package in force has its step: it was removed, or is broken and no last good definition of it is known."""

    name: str


@dataclass(frozen=True, slots=True)
class HostWait:
    """No host that lives can run its step.

    Attributes:
        labels: What the step requires of a host.
        hosts: How many hosts that live have these labels, whatever else keeps them from it.
        name: The host that alone can start it, as it has the folder of its round; None where any may.
    """

    labels: tuple[str, ...]
    hosts: int = 0
    name: str | None = None


@dataclass(frozen=True, slots=True)
class PersonWait:
    """A person has to say something first.

    Attributes:
        run_id: The run that it needs and that asks. None: it was queued in a state that came from elsewhere, a copy or
            a clone, and a person says whether it is to run.
    """

    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class NeedsWait:
    """Steps that it needs have not ended.

    Attributes:
        names: Of these, in the order of its needs.
    """

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyWait:
    """Others hold the key that it takes, or its round.

    Attributes:
        key_json: The key's value, a JSON array.
        holder: A run that holds it, or one of the round that does.
        behind: How many that wait come before it; None where they are more than are counted.
        asks: A run that asks a person, for whose answer a round that holds the key waits; None where there is none.
    """

    group: str
    key_json: str
    holder: str | None
    behind: int | None
    asks: str | None = None


@dataclass(frozen=True, slots=True)
class PauseWait:
    """A person has paused it.

    Attributes:
        what: ``*``, its flow, or ``flow/step``.
    """

    what: str


@dataclass(frozen=True, slots=True)
class PlaceWait:
    """It is ready, and waits for a place.

    Attributes:
        place: Its own among those that are ready, from 1; `MAX_PLACE` + 1 stands for all behind that.
    """

    place: int


MAX_PLACE = 100
"""Places are counted so far."""


def goes_by_itself(waiting: "WaitingFor | None") -> bool:
    """Whether what waits so, or for nothing but a place, will go on without anybody's doing."""
    return waiting is None or isinstance(waiting, TimeWait | PackageWait | HostWait | PlaceWait)


WaitingFor = TimeWait | PackageWait | HostWait | PersonWait | NeedsWait | KeyWait | PauseWait | PlaceWait
