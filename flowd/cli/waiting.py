"""Waits for runs to end, and shows progress meanwhile."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flowd.cli import people, printing
from flowd.cli.exits import CommandError, Exit
from flowd.cli.session import Session
from flowd_client import requests, wire
from flowd_client.errors import ConnectionLostError, DaemonNotRunningError, FlowClientError
from flowd_client.views.run import RunView, read_run

_POLL_MS = 2_000
"""One wait on the daemon; in between the spinner's words are renewed."""

_FIRST_POLL_MS = 500
"""The first one: whoever waits for what cannot come is told soon."""

_RESTART_S = 20.0
"""How long the daemon may be gone while we wait: runs outlive its restart, so do those who wait for them."""

_RECONNECT_S = 0.2

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
    with _telling_on_interrupt(f"flowd: {stored}, and goes on. {hint}"), _progress() as (say, tell):
        for run_id in run_ids:
            while True:
                say(f"{len(records)} of {len(run_ids)} runs have ended; waiting for {run_id}")
                left_ms = max(0, min(poll_ms, (deadline - time.monotonic()) * 1000))
                try:
                    record = _ask_over_restarts(session, requests.wait_run(run_id, timeout_ms=int(left_ms)), deadline)
                except (DaemonNotRunningError, ConnectionLostError) as error:
                    gone = f"The daemon stopped while this command waited. {stored}, and goes on with the next one."
                    raise CommandError(f"{gone} {hint}", Exit.NO_DAEMON) from error
                run = read_run(record)
                if run.is_final:
                    break
                if time.monotonic() >= deadline:
                    is_late = True
                    break
                poll_ms = _POLL_MS
                obstacle = _obstacle(session, run)
                if obstacle and obstacle != told:
                    told = obstacle
                    tell(f"flowd: {obstacle}")
            records.append(record)
    return records, is_late


def _ask_over_restarts(session: Session, request: requests.Request[RunView], deadline: float) -> dict[str, Any]:
    """Ask for the run's record, and ask again where the daemon restarts meanwhile."""
    give_up_at = min(deadline, time.monotonic() + _RESTART_S)
    while True:
        try:
            response = session.ask(request)
            record: dict[str, Any] = response.get("run", response)
            return record
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
    return None


def _status(session: Session) -> dict[str, Any]:
    try:
        response = session.ask(requests.call(wire.STATUS, None))
    except FlowClientError:
        return {}
    return response if isinstance(response, dict) else {}


@contextmanager
def _telling_on_interrupt(line: str) -> Iterator[None]:
    """On Ctrl-C, say that only the waiting ends."""
    try:
        yield
    except KeyboardInterrupt:
        printing.note(line)
        raise


@contextmanager
def _progress() -> Iterator[tuple[Callable[[str], None], Callable[[str], None]]]:
    """Show a spinner on a terminal. Gives what sets its text, and what prints a line that stays."""
    import sys  # noqa: PLC0415 - beside the check that needs it

    if not sys.stderr.isatty():
        yield lambda _: None, printing.note
        return
    from rich.console import Console  # noqa: PLC0415 - only where it draws

    console = Console(stderr=True, highlight=False, markup=False)
    with console.status("") as spinner:
        yield lambda text: spinner.update(printing.clean(text)), lambda text: console.print(printing.clean(text))


def verdict(session: Session, runs: Sequence[RunView], *, is_late: bool, timeout_s: float | None, hint: str) -> Exit:
    """The exit code for runs that were waited for. Says on stderr which have not ended."""
    if is_late:
        left = [run for run in runs if not run.is_final]
        late = f"{len(left)} of {len(runs)} runs had not ended after {timeout_s:g} s"
        printing.note(f"flowd: {late}; {_outlook(session, left)}. {hint}")
    people.tell_questions(session, runs)
    return Exit.RUN_FAILED if is_late or any(run.effective_status in BAD_STATUSES for run in runs) else Exit.GOOD


def _outlook(session: Session, left: Sequence[RunView]) -> str:
    queued = sum(run.process_status == "queued" for run in left)
    if not queued or _status(session).get("state") != "draining":
        return "they go on"
    return f"{'they' if queued == len(left) else 'the queued ones'} start with the next daemon, as this one is draining"
