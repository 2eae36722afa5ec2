"""How long what has ended is kept: rules, and what a rule comes to at an instant.

Each run is under one rule: the first that fits it. A rule without limits keeps for ever. An event goes, with its whole
tree, once all runs of it are beyond their rules; so it is kept for as long as the most patient of them says. An event
without runs is under the rule of no flow and no status, if there is one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

STATUSES = ("completed", "failed", "canceled", "changed", "skipped")
"""Of runs that have ended, as lists take them; those that ask for a person are kept until somebody has answered."""

_UNITS_MS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms"))


@dataclass(frozen=True, slots=True)
class Rule:
    """How long runs are kept, those of this flow that ended so; None fits all, or limits nothing.

    Attributes:
        max_age_ms: Since the run has ended.
        max_events: The newest events with a run under this rule.
        max_bytes: The newest events with one that together have so many bytes: of the event as JSON, and of the output
            of those runs.
    """

    flow: str | None = None
    status: str | None = None
    max_age_ms: int | None = None
    max_events: int | None = None
    max_bytes: int | None = None

    def said(self, all_it_fits: str) -> str:
        """As people read it; one for all flows and statuses with this in the place of these.

        >>> Rule("nightly", "completed", max_age_ms=7 * 86_400_000).said("everything")
        'nightly completed: 7d'
        >>> Rule(max_events=1).said("everything"), Rule().said("everything else")
        ('everything: 1 event', 'everything else: for ever')
        """
        whose = " ".join(filter(None, (self.flow, self.status))) or all_it_fits
        age = None if self.max_age_ms is None else _span(self.max_age_ms)
        events = (
            None if self.max_events is None else f"{self.max_events:,} {'event' if self.max_events == 1 else 'events'}"
        )
        size = None if self.max_bytes is None else f"{self.max_bytes:,} bytes"
        return f"{whose}: {', '.join(filter(None, (age, events, size))) or 'for ever'}"

    @property
    def counts(self) -> bool:
        """Whether it needs to be known how much there is."""
        return self.max_events is not None or self.max_bytes is not None


def told(rules: Sequence[Rule]) -> list[str]:
    """Rules as people read them, in their order. Behind others, one that fits all is for what is left.

    >>> told([Rule(status="failed", max_age_ms=86_400_000), Rule(max_events=1)]), told([Rule(max_events=1)])
    (['failed: 1d', 'everything else: 1 event'], ['everything: 1 event'])
    """
    return [rule.said("everything else" if number else "everything") for number, rule in enumerate(rules)]


_AHEAD_MS = 60_000
"""What ended just now counts as ended before now, and the clock may have been set back meanwhile."""


@dataclass(frozen=True, slots=True)
class Cutoff:
    """What a rule comes to: a run that it fits may go if it ended before ``before_ms``, or if its event's number is
    below ``before_seq``. None: for no such reason.

    Attributes:
        spares_newest: The newest event stays, and that of the newest run, for their numbers would be given again. False
            only where nobody goes back in the journal.
    """

    flow: str | None = None
    status: str | None = None
    before_ms: int | None = None
    before_seq: int | None = None
    spares_newest: bool = True


def before(before_ms: int) -> tuple[Cutoff]:
    """Everything that ended before an instant, whatever it is."""
    return (Cutoff(before_ms=before_ms),)


def everything(now_ms: int) -> tuple[Cutoff]:
    """Everything that has ended, with nothing left of it; see `Cutoff.spares_newest`."""
    return (Cutoff(before_ms=now_ms + _AHEAD_MS, spares_newest=False),)


@dataclass(frozen=True, slots=True)
class Kept:
    """An event as a rule counts it: the first that fits some of its runs; ``rule`` is its place among the rules."""

    event_seq: int
    rule: int
    size_bytes: int


def _span(ms: int) -> str:
    unit, name = next((unit, name) for unit, name in _UNITS_MS if ms % unit == 0)
    return f"{ms // unit}{name}"


class Count:
    """Finds where the limits of rules are reached, being told of the events from the newest on."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._events = [0] * len(rules)
        self._bytes = [0] * len(rules)
        self._before: list[int | None] = [None] * len(rules)
        self._open = {number for number, rule in enumerate(rules) if rule.counts}

    @property
    def is_done(self) -> bool:
        """Whether no rule has a limit that is not reached yet."""
        return not self._open

    def add(self, kept: Kept) -> None:
        """The next older event of a rule."""
        number = kept.rule
        if number not in self._open:
            return
        rule = self._rules[number]
        self._events[number] += 1
        self._bytes[number] += kept.size_bytes
        too_many = rule.max_events is not None and self._events[number] > rule.max_events
        too_large = rule.max_bytes is not None and self._bytes[number] > rule.max_bytes
        if too_many or too_large:
            self._before[number] = kept.event_seq + 1
            self._open.discard(number)

    def cutoffs(self, now_ms: int) -> tuple[Cutoff, ...]:
        """What the rules come to, in their order."""
        return tuple(
            Cutoff(
                rule.flow,
                rule.status,
                None if rule.max_age_ms is None else now_ms - rule.max_age_ms,
                before_seq,
            )
            for rule, before_seq in zip(self._rules, self._before, strict=True)
        )
