"""How long a host may hold runs of a store that it shares with others. Pure: clocks are passed in.

An attempt has a lease in the store. Its host renews it; where nothing is heard of that for ``lost_after_ms``, another
host declares the attempt lost. So the host has to have ended it before then, even if it cannot reach the store any
more: its keeper is told until when the step may run, see `flowd.ports.Keeper.lease`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from flowd.domain.outcome import Outcome
from flowd.domain.queueing import LeftRunning
from flowd.domain.run import ProcessStatus, Reason

RENEW_EVERY_S = 5.0
MARGIN_S = 5.0
"""Between the end of a step's grace and the end of its lease: what outlives SIGKILL has as long to be gone."""
GAP_S = 12.0
"""Between two renewals: two of them may fail until we cannot say that we have been there all the time."""
TRUSTED_AFTER_S = 15.0
"""After an outage of the store, every host looks lost until it has been able to renew again."""


@dataclass(frozen=True, slots=True)
class Held:
    """An attempt that this host holds, as its renewal has found it in the store."""

    attempt_id: str
    run_id: str
    number: int
    lost_after_ms: int
    cancel_requested: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """An attempt whose lease is over.

    Attributes:
        host: That held it.
        is_declared: Somebody has said that the host is lost.
    """

    left: LeftRunning
    host: str
    lost_after_ms: int
    is_declared: bool = False


def may_run_until_s(asked_s: float, *, lost_after_ms: int, grace_ms: int) -> float:
    """When a step has to begin to end, unless its lease is renewed before.

    Args:
        asked_s: Before the store was asked for the lease, which counts from later on.

    >>> may_run_until_s(1000.0, lost_after_ms=120_000, grace_ms=5_000)
    1110.0
    """
    return asked_s + (lost_after_ms - grace_ms) / 1000 - MARGIN_S


def renew_after_s(lost_after_ms: Iterable[int]) -> float:
    """How long to wait until the next renewal of such leases.

    >>> renew_after_s([]), renew_after_s([120_000]), renew_after_s([120_000, 15_000])
    (5.0, 5.0, 3.75)
    """
    return min([RENEW_EVERY_S, *(lost_ms / 4000 for lost_ms in lost_after_ms)])


def outcome_of(lost: Lost) -> Outcome:
    """The outcome of an attempt whose host is lost. Where somebody had asked to cancel it, it counts as canceled."""
    label = lost.left.definition.label
    how = "was declared lost" if lost.is_declared else f"was not heard of for {lost.lost_after_ms / 1000:g} s"
    if lost.left.run.cancel_requested:
        why = f"Step {label} was canceled: its host {lost.host}, which was to end it, {how}"
        return Outcome(ProcessStatus.CANCELED, Reason.CANCELED, why)
    why = f"Step {label} was interrupted: its host {lost.host} {how}"
    return Outcome(ProcessStatus.FAILED, Reason.INTERRUPTED, why)


class Presence:
    """Whether this host has been heard of without a gap, so that it may say of others that they were not."""

    def __init__(self) -> None:
        self._since_s = self._last_s = float("-inf")

    def renewed(self, asked_s: float) -> None:
        """A renewal that was asked for at this instant has come to the store."""
        if asked_s - self._last_s > GAP_S:
            self._since_s = asked_s
        self._last_s = asked_s

    def is_trusted(self, now_s: float) -> bool:
        """Whether it may be trusted to judge others.

        >>> presence = Presence()
        >>> presence.is_trusted(0.0)
        False
        >>> for asked_s in (100.0, 105.0, 110.0, 115.0):
        ...     presence.renewed(asked_s)
        >>> presence.is_trusted(114.9), presence.is_trusted(115.1), presence.is_trusted(200.0)
        (False, True, False)
        """
        return now_s - self._last_s <= GAP_S and now_s - self._since_s >= TRUSTED_AFTER_S
