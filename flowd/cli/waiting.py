"""Waits for runs to end, and shows progress meanwhile."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flowd.cli import asking, printing, run_words, time_words
from flowd.cli.exits import CommandError, Exit
from flowd.cli.session import Session
from flowd_client import requests, wire
from flowd_client.errors import ConnectionLostError, DaemonNotRunningError, FlowClientError
from flowd_client.request import Request
from flowd_client.views.event import EventStateView
from flowd_client.views.run import RunView, read_run

_POLL_MS = 2_000
"""One wait on the daemon; in between the spinner's words are renewed."""

_FIRST_POLL_MS = 500
"""The first one: whoever waits for what cannot come is told soon."""

_RESTART_S = 20.0
"""How long the daemon may be gone while we wait: runs outlive its restart, so do those who wait for them."""

_RECONNECT_S = 0.2

_SOON_S = 10.0
"""What starts by then is not worth a line of its own."""

BAD_STATUSES = frozenset({"failed", "blocked", "needs_intervention", "canceled"})


def wait_for(
    session: Session, run_ids: Sequence[str], *, timeout_s: float | None, stored: str, hint: str
) -> tuple[list[dict[str, Any]], bool]:
    """Wait until every run has ended or the time is up. Says on stderr, once, what keeps the daemon from going on.

    Args:
        stored: What is on the daemon's disk whatever becomes of the daemon, as a sentence.
        hint: How to look at it later, as a sentence.

    Returns:
        The runs' records as they are then, in the order of the ids, and whether the time was up before all had ended.

    Raises:
        CommandError: The daemon stopped, and none came back within 20 s, or in time.
    """
    deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
    records: list[dict[str, Any]] = []
    is_late = False
    poll_ms, told = _FIRST_POLL_MS, ""
    with telling_on_interrupt(lambda: f"flowd: {stored}, and goes on. {hint}"), progress() as (say, tell):
        for run_id in run_ids:
            how_far = ""
            while True:
                say(f"{len(records)} of {len(run_ids)} runs have ended; waiting for {run_id}{how_far}")
                left_ms = max(0, min(poll_ms, (deadline - time.monotonic()) * 1000))
                try:
                    waited = _ask_over_restarts(session, requests.wait_run(run_id, timeout_ms=int(left_ms)), deadline)
                except (DaemonNotRunningError, ConnectionLostError) as error:
                    gone = f"The daemon stopped while this command waited. {stored}, and goes on with the next one."
                    raise CommandError(f"{gone} {hint}", Exit.NO_DAEMON) from error
                record = waited.get("run", waited)
                run = read_run(record)
                if run.is_final or not waited.get("timedOut", True):  # else it waits for a person
                    break
                if time.monotonic() >= deadline:
                    is_late = True
                    break
                poll_ms, how_far = _POLL_MS, _how_far(run)
                obstacle = _obstacle(session, run)
                if obstacle and obstacle != told:
                    told = obstacle
                    tell(f"flowd: {obstacle}")
            records.append(record)
    return records, is_late


def wait_for_event(
    session: Session, event_id: str, *, timeout_s: float | None, stored: str, hint: str
) -> tuple[EventStateView, bool]:
    """Wait until nothing of an event and all that it causes goes on without a person, or the time is up; as `wait_for`.

    Returns:
        How it all is then, and whether the time was up before.
    """
    deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
    poll_ms, told = _FIRST_POLL_MS, ""
    with telling_on_interrupt(lambda: f"flowd: {stored}, and goes on. {hint}"), progress() as (say, tell):
        say(f"waiting for {event_id} and all that it causes")
        while True:
            left_ms = max(0, min(poll_ms, (deadline - time.monotonic()) * 1000))
            request = requests.wait_event(event_id, tree=True, timeout_ms=int(left_ms))
            try:
                view = request.read(_ask_over_restarts(session, request, deadline))
            except (DaemonNotRunningError, ConnectionLostError) as error:
                gone = f"The daemon stopped while this command waited. {stored}, and goes on with the next one."
                raise CommandError(f"{gone} {hint}", Exit.NO_DAEMON) from error
            if not view.timed_out or time.monotonic() >= deadline:
                return view.state, view.timed_out
            poll_ms = _POLL_MS
            unfinished = [run for run in view.state.open if not run.is_final]
            ended = sum(view.state.statuses.values()) - len(unfinished)
            if unfinished:
                first = next((run for run in unfinished if run.progress), unfinished[0])
                say(f"{ended} of {ended + len(unfinished)} runs have ended; waiting for {first.id}{_how_far(first)}")
                obstacle = _obstacle(session, unfinished[0])
                if obstacle and obstacle != told:
                    told = obstacle
                    tell(f"flowd: {obstacle}")


def _how_far(run: RunView) -> str:
    progress = run_words.progress(run.progress)
    return f" ({progress})" if progress else ""


def _ask_over_restarts(session: Session, request: Request[Any], deadline: float) -> dict[str, Any]:
    """Ask, and ask again where the daemon restarts meanwhile."""
    give_up_at = min(deadline, time.monotonic() + _RESTART_S)
    while True:
        try:
            response: dict[str, Any] = session.ask(request)
            return response
        except (DaemonNotRunningError, ConnectionLostError):
            if time.monotonic() >= give_up_at:
                raise
            time.sleep(_RECONNECT_S)


def _obstacle(session: Session, run: RunView) -> str | None:
    """Why the run cannot go on for now, as a sentence; None where the daemon does not know of anything."""
    status = _status(session)
    if run.process_status == "queued" and status.get("state") == "draining":
        return "The daemon is draining and starts no more runs; waiting for the next one."
    if status.get("waitingForStorage"):
        return "The daemon cannot write to its disk; its log says why. It continues as soon as it can."
    return _later(run)


def _later(run: RunView) -> str | None:
    """When a run starts that waits for its time, by the clock, so that the sentence stays the same; None where it is
    soon, or more events may put it off."""
    said = run.waiting_for or {}
    left_s = time_words.left_s(said.get("until"))
    if left_s is None or left_s < _SOON_S or said.get("why") == "debounce":
        return None
    what = f"attempt {said['attempt']} of run {run.id}" if "attempt" in said else f"run {run.id}"
    return f"waiting for {what}, which starts at {time_words.on_the_clock(said['until'])}."


def _status(session: Session) -> dict[str, Any]:
    try:
        response = session.ask(requests.call(wire.STATUS, None))
    except FlowClientError:
        return {}
    return response if isinstance(response, dict) else {}


@contextmanager
def telling_on_interrupt(line: Callable[[], str]) -> Iterator[None]:
    """On Ctrl-C, say what that means."""
    try:
        yield
    except KeyboardInterrupt:
        printing.note(line())
        raise


@contextmanager
def progress() -> Iterator[tuple[Callable[[str], None], Callable[[str], None]]]:
    """Show a spinner on a terminal. Gives what sets its text, and what prints a line that stays."""
    import sys  # noqa: PLC0415 - beside the check that needs it

    if not sys.stderr.isatty():
        yield lambda _: None, printing.note
        return
    from rich.console import Console  # noqa: PLC0415 - only where it draws
    from rich.text import Text  # noqa: PLC0415 - as above

    console = Console(stderr=True, highlight=False, markup=False)
    with console.status("") as spinner:
        # A spinner takes the brackets in a plain string for markup, whatever its console is told.
        yield lambda text: spinner.update(Text(printing.clean(text))), lambda text: console.print(printing.clean(text))


def verdict(session: Session, runs: Sequence[RunView], *, is_late: bool, timeout_s: float | None, hint: str) -> Exit:
    """The exit code for runs that were waited for. Says on stderr which have not ended, what is asked, and what holds
    runs that nobody waits for any longer, since they cannot go on by themselves."""
    if is_late:
        left = [run for run in runs if not run.is_final]
        late = f"{len(left)} of {len(runs)} runs had not ended after {timeout_s:g} s; {_outlook(session, left)}"
        older = f"these runs have ended, and after {timeout_s:g} s others of the event had not; they go on"
        printing.note(f"flowd: {late if left else older}. {hint}")
    asking.tell_questions(session, runs)
    _tell_held(session, runs)
    is_bad = any(not run.is_final or run.effective_status in BAD_STATUSES for run in runs)
    return Exit.RUN_FAILED if is_late or is_bad else Exit.GOOD


def _tell_held(session: Session, runs: Sequence[RunView]) -> None:
    """Which runs start only when somebody has ended a pause, brought their package back, or said that they may."""
    for run in runs:
        held = run.waiting_for or {}
        if run.is_final or not ("pause" in held or "package" in held or held.get("why") == "foreign"):
            continue
        command = ""
        if "pause" in held:
            what = str(held["pause"])
            command = f"; `{session.typed('resume') if what == '*' else session.typed('resume', what)}` lets it start"
        printing.note(f"flowd: {run.flow_name}/{run.step_name} has not run: {run_words.waiting(run)}{command}")


def _outlook(session: Session, left: Sequence[RunView]) -> str:
    if any(run_words.asked_of(run) for run in left):
        return "they go on, some of them once a person has answered"
    queued = sum(run.process_status == "queued" for run in left)
    if not queued or _status(session).get("state") != "draining":
        return "they go on"
    return f"{'they' if queued == len(left) else 'the queued ones'} start with the next daemon, as this one is draining"
