"""What the reader wants to see: a filter as it is typed, in words. Pure."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from flowd.cli import run_words
from flowd_client.views.run import RunView

_NAMES = ("flow", "step", "status", "run")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter.

    Attributes:
        named: What a flow, step, status or run has to be called, by these names.
        words: Each has to be somewhere in what the screen shows of a run, in either case.
        event_id: Only this event's runs. It is chosen, not typed: an id may hold what no keyboard has.
    """

    named: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...] = ()
    event_id: str | None = None

    def __bool__(self) -> bool:
        return bool(self.named or self.words or self.event_id)

    def get(self, name: str) -> str | None:
        """What has been typed for a name; None for nothing."""
        return dict(self.named).get(name)

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
        text = "\n".join(_shown(run, said)).casefold()
        return all(word in text for word in self.words)


def _shown(run: RunView, said: Iterable[str]) -> Iterable[str]:
    found = (
        f"{run.flow_name}/{run.step_name}", run.event_id, run.id, run.effective_status, run.message, run.error,
        run.reason, run_words.waiting(run), *said,
    )  # fmt: skip
    return filter(None, found)


def read_wanted(typed: str) -> Wanted:
    """A filter from what was typed: words, and ``flow=…``, ``step=…``, ``status=…``, ``run=…``.

    >>> read_wanted("flow=release Timeout 'two words'")
    Wanted(named=(('flow', 'release'),), words=('timeout', 'two words'))
    >>> bool(read_wanted("  "))
    False
    """
    named, words = [], []
    for word in _words(typed):
        name, is_named, value = word.partition("=")
        if is_named and name in _NAMES and value:
            named.append((name, value))
        else:
            words.append(word.casefold())
    return Wanted(tuple(named), tuple(words))


def _words(typed: str) -> list[str]:
    try:
        return shlex.split(typed)
    except ValueError:  # a quotation mark that has no second one yet
        return typed.split()
