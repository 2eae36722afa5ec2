"""A step from its inside: what it was given, and how it says how it goes and how it ended."""

from __future__ import annotations

import os

from flowd_step import _given, _printing
from flowd_step._given import Answer, Event, Flow, Need, Needs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Any

_KEPT = ("failed", "blocked", "needs_intervention")
"""What flowd takes of a step that exits with another code than 0."""


_MAX_ERROR_CHARS = 10_000
"""Of an exception: a message may quote all that somebody has read, and Python prints it whole on stderr."""


_MAX_PROGRESS_CHARS = 1_000
"""Of what the step is at: flowd takes no notice of a line of more than 8 KiB."""


class EndedError(Exception):
    """The step has said already how it ended."""


def context(given: Mapping[str, Any] | None = None) -> Step:
    """The step that this program is.

    Args:
        given: What flowd called ``run`` with, or an event to try a function with: how the step ended is what its
            methods return then, and nothing is printed. Without, the context, or an event, is read from standard
            input, and the step's end is printed.

    Raises:
        ContextError: There is none on standard input, or it is none.
    """
    return Step(_given.as_context(_given.read_stdin() if given is None else given), prints=given is None)


class Step:
    """A step, its event and its surroundings. As a context manager it also says ``failed`` for what is raised inside.

    It ends once, by one of `completed`, `changed`, `skipped`, `failed`, `blocked` and `needs_intervention`. These do
    not end the program: they say how it went, and return that for ``run`` to return.

    Attributes:
        name: The step's; empty where it was given a bare event.
        flow: The flow that it belongs to.
        event: What it runs for.
        config: The ``[config]`` of its flow; empty where there is none.
        needs: How the steps ended that it needs, by their names.
        run_id: Empty where flowd did not start it.
        attempt: From 1.
        is_replay: Somebody asked for its event to be run again.
        answer: What a person answered to this run's question; None before.
        traceparent: Of the trace that the event belongs to; None where there is none.
        fence: Grows with each attempt of the store, for guards of one's own; None where flowd did not start it.
        raw: The context as it came.
    """

    def __init__(self, context: dict[str, Any], *, prints: bool) -> None:
        """See `flowd_step.context`, which makes one."""
        flow, runtime = context["flow"], context.get("runtime", {})
        self.raw = context
        self.name: str = flow.get("step", "")
        self.flow = Flow(flow)
        self.event = Event(flow["event"])
        self.config: dict[str, Any] = flow.get("config", {})
        self.needs = Needs((name, Need(name, end)) for name, end in flow.get("needs", {}).items())
        self.run_id: str = runtime.get("runId", "")
        self.attempt: int = runtime.get("attempt", 1)
        self.is_replay: bool = runtime.get("replay", False)
        self.answer = Answer(runtime["answer"]) if "answer" in runtime else None
        self.traceparent: str | None = runtime.get("traceparent")
        fence = os.environ.get("FLOWD_FENCE")
        self.fence = int(fence) if fence else None
        self._prints = prints
        self._next: list[dict[str, Any]] = []
        self._status: str | None = None
        self._shown: bytes | None = None

    @property
    def workspace(self) -> Path | None:
        """The workspace that flowd runs this step for; None where flowd did not start it."""
        return _path(os.environ.get("FLOWD_STEP_WORKSPACE"))

    @property
    def round_dir(self) -> Path | None:
        """The folder that all steps of this round share; None without ``round_dir = true`` in flow.toml."""
        return _path(self.raw.get("runtime", {}).get("roundDir"))

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Say how far the step is, for ``flowd runs`` and whoever waits.

        Call it as often as you like: a line is printed where the message or the whole percentage has changed.

        Args:
            done: So much of ``total``; of 100, where there is none.
            total: What it will be at the end. 0 says no percentage, and neither does what cannot be worked out (NaN).
            message: What the step is at; flowd shows its first 500 characters.

        Raises:
            TypeError: ``done`` or ``total`` is no number.
        """
        percent = _percent(done, 100 if total is None else total)
        said: dict[str, Any] = {} if percent is None else {"percent": percent}
        if message is not None:
            said["message"] = str(message)[:_MAX_PROGRESS_CHARS]
        found = _printing.line("FLOW_PROGRESS", said)
        if found != self._shown:
            self._shown = found
            _printing.write(found)

    def emit(
        self,
        type: str,  # noqa: A002 - the word of events
        payload: Any = None,
        *,
        id: str | None = None,  # noqa: A002 - likewise
        **members: Any,
    ) -> None:
        """Add an event to the result, for flowd to accept when the step has ended as ``completed`` or ``changed``.

        Args:
            type: What triggers are matched against.
            payload: Any JSON value; an empty object where there is none.
            id: The same id is accepted once. By default flowd makes one of this run and the event's place.
            members: What else an event may have: ``source``, ``occurredAt``, ``notBefore``, or what you like.

        Raises:
            EndedError: The step has ended.
        """
        self._refuse_after_end("emit an event")
        named = {} if id is None else {"id": id}
        self._next.append({**named, "type": type, "payload": {} if payload is None else payload, **members})

    def completed(self, message: str | None = None, **members: Any) -> dict[str, Any]:
        """End well. ``members`` become members of the result, ``artifacts`` among them, which steps that need this one
        find under ``step.needs["…"].result``.

        Raises:
            EndedError: The step has ended already; so for the others.
            ValueError: It cannot be written as JSON, or has more than 1 MiB; so for the others.
        """
        return self._end("completed", message, None, members)

    def changed(self, message: str | None = None, **members: Any) -> dict[str, Any]:
        """End well, having changed something."""
        return self._end("changed", message, None, members)

    def skipped(self, message: str | None = None, **members: Any) -> dict[str, Any]:
        """End without having had anything to do."""
        return self._end("skipped", message, None, members)

    def failed(
        self, message: str | None = None, *, retry_after_s: float | None = None, **members: Any
    ) -> dict[str, Any]:
        """End badly.

        Args:
            message: Why.
            retry_after_s: Seconds until the next attempt, in place of the time that ``[steps.retry]`` says, where that
                allows one (``on = ["result:failed"]``).
            members: What else the result has.
        """
        return self._end("failed", message, retry_after_s, members)

    def blocked(
        self, message: str | None = None, *, retry_after_s: float | None = None, **members: Any
    ) -> dict[str, Any]:
        """End without being able to go on: asks a person, or for another attempt (``on = ["result:blocked"]``)."""
        return self._end("blocked", message, retry_after_s, members)

    def needs_intervention(self, message: str | None = None, **members: Any) -> dict[str, Any]:
        """End with a question, which is the message, for a person to answer (``flowd approve``, ``flowd answer``)."""
        return self._end("needs_intervention", message, None, members)

    def _end(
        self, status: str, message: str | None, retry_after_s: float | None, members: dict[str, Any]
    ) -> dict[str, Any]:
        self._refuse_after_end(f"end as {status}")
        taken = [name for name in ("status", "next") if name in members]
        if taken:
            raise TypeError(f"{taken[0]} is no member to give: the method's name is the status, and emit() makes next")
        result: dict[str, Any] = {"status": status}
        if message is not None:
            result["message"] = message
        result.update(members)
        if retry_after_s is not None:
            result["retryAfterMs"] = _milliseconds(retry_after_s)
        if self._next:
            result["next"] = self._next
        found = _printing.line("FLOW_RESULT", result)
        self._status = status
        if self._prints:
            _printing.write(found)
        return result

    def _refuse_after_end(self, what: str) -> None:
        if self._status is not None:
            raise EndedError(f"The step has ended as {self._status} already, and cannot {what} any more.")

    def __enter__(self) -> Step:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Say ``failed`` with the exception's line. The exception goes on, so Python prints where it was raised, and
        exits with 1. ``sys.exit`` is the step's own word, and so is an end that said what was wrong."""
        is_failure = error is not None and not isinstance(error, (SystemExit, KeyboardInterrupt))
        if is_failure and self._prints and self._status not in _KEPT:
            assert kind is not None
            try:
                text = " ".join(str(error)[:_MAX_ERROR_CHARS].split())
            except Exception:  # noqa: BLE001 - what was raised cannot be shown, and counts all the same
                text = ""
            self._status = "failed"
            message = f"{kind.__name__}: {text}" if text else kind.__name__
            _printing.write(_printing.line("FLOW_RESULT", {"status": "failed", "message": message}))


def _milliseconds(seconds: float) -> int:
    try:
        return max(0, round(seconds * 1000))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"retry_after_s is a number of seconds, and not {seconds!r}") from None


def _percent(done: float, total: float) -> int | None:
    """How much of ``total`` that is, from 0 to 100; None where that is no number, so that no step fails for it."""
    try:
        # JSON has no NaN, which compares with nothing: it is neither at most 100 nor more.
        found = 100 * done / total if total > 0 else float("nan")
        return int(max(0, min(100, found))) if found <= 100 or found > 100 else None
    except OverflowError:
        return None
    except TypeError:
        kinds = f"{type(done).__name__} of {type(total).__name__}"
        raise TypeError(f"progress is told in numbers, done and total; these are {kinds}") from None


def _path(found: str | None) -> Path | None:
    from pathlib import Path  # noqa: PLC0415 - 3 ms that few steps need

    return Path(found) if found else None
