"""What the reader wants to see: a filter as it is typed, in words. Pure."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flowd.cli import run_words
from flowd_client.views.run import RunView
from flowd_client.wire import PROCESS_STATUSES, RESULT_STATUSES

_NAMES = ("flow", "step", "status", "run")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter.

    Attributes:
        named: What a flow, step, status or run has to be called, by these names.
        labels: What a run's labels have to be.
        words: Each has to be somewhere in what the screen shows of a run, in either case.
        event_id: Only this event's runs. It is chosen, not typed: an id may hold what no keyboard has.
    """

    named: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...] = ()
    event_id: str | None = None

    def __bool__(self) -> bool:
        return bool(self.named or self.labels or self.words or self.event_id)

    @property
    def status(self) -> str | None:
        """The status that is wanted; None for any, or where there is none of this name."""
        status = dict(self.named).get("status")
        return status if status in (*PROCESS_STATUSES, *RESULT_STATUSES) else None

    @property
    def names(self) -> dict[str, Any]:
        """What the daemon can be asked for in every list: flow, step and labels."""
        named = dict(self.named)
        flow, is_both, step = named.get("step", "").rpartition("/")
        found = {
            "flow": flow if is_both else named.get("flow"),
            "step": step or None,
            "labels": dict(self.labels) or None,
        }
        return {name: value for name, value in found.items() if value is not None}

    def fits(self, run: RunView, *said: str) -> bool:
        """Whether a run is wanted; ``said`` is what is shown of it besides its names."""
        own = {
            "flow": (run.flow_name,),
            "step": (run.step_name, f"{run.flow_name}/{run.step_name}"),
            "status": (run.effective_status, run.process_status),
            "run": (run.id,),
        }
        if any(value not in own[name] for name, value in self.named) or self.event_id not in (None, run.event_id):
            return False
        if any(run.labels.get(name) != value for name, value in self.labels):
            return False
        text = "\n".join(_shown(run, said)).casefold()
        return all(word in text for word in self.words)


def _shown(run: RunView, said: Iterable[str]) -> Iterable[str]:
    found = (
        f"{run.flow_name}/{run.step_name}", run.event_id, run.id, run.effective_status, run.message, run.error,
        run.reason, run_words.waiting(run), *said,
    )  # fmt: skip
    return filter(None, found)


def read_wanted(typed: str) -> Wanted:
    """A filter from what was typed: words, and ``flow=…``, ``step=…``, ``status=…``, ``run=…``; by
    any other name, a label.

    >>> read_wanted("flow=release Timeout version=1.2 'two words'")
    Wanted(named=(('flow', 'release'),), labels=(('version', '1.2'),), words=('timeout', 'two words'), event_id=None)
    >>> bool(read_wanted("  "))
    False
    """
    named, labels, words = [], [], []
    for word in _words(typed):
        name, is_named, value = word.partition("=")
        if name in _NAMES and value:
            named.append((name, value))
        elif is_named and name and value:
            labels.append((name, value))
        else:
            words.append(word.casefold())
    return Wanted(tuple(named), tuple(labels), tuple(words))


def _words(typed: str) -> list[str]:
    try:
        return shlex.split(typed)
    except ValueError:  # a quotation mark that has no second one yet
        return typed.split()
