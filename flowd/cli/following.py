"""Follows runs to their ends, and says how each ended: for ``logs -f`` and ``dispatch --follow``."""

import sys
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from flowd.cli import asking, printed_order, printing, run_words, tree, waiting
from flowd.cli.exits import Exit
from flowd.cli.follow.ends import EndTeller, end_of
from flowd.cli.session import Session
from flowd_client import requests
from flowd_client.views.run import RunView, read_runs
from flowd_client.wire import Stream

if TYPE_CHECKING:
    from flowd.cli.follow.logs import Begun

_MAX_TAILS = 200
_MAX_TOLD = 10
"""Runs that ended badly and have a line each; more are counted."""


def to_the_end(session: Session, event_id: str, *, is_alone: bool) -> Exit:
    """Print what the runs of an event print, and of all that they cause, until nothing of it goes on without a person.

    Returns:
        1 where a run ended badly, or waits for a person.
    """
    hint = f"See `{session.typed('event', event_id)}`."
    with waiting.telling_on_interrupt(lambda: f"flowd: Event {event_id} is stored with its runs, and goes on. {hint}"):
        return follow(session, (), event_id, None, is_raw=False, is_alone=is_alone, is_telling=True)


def follow(
    session: Session,
    run_ids: Sequence[str],
    event_id: str | None,
    only: Stream | None,
    *,
    is_raw: bool,
    is_alone: bool,
    is_telling: bool | None = None,
    lines: int | None = None,
) -> Exit:
    """Follow several runs, and those of an event, as `flowd.cli.follow.logs.follow` does.

    Args:
        lines: Of what is printed already, only so many of each run.
        is_telling: Say how each ended, once it has, and each attempt behind which another comes. By default on a
            terminal: else stderr has what steps wrote there, and no more.
    """
    from flowd.cli.follow import logs as follow_logs  # noqa: PLC0415 - asyncio, which nothing else here needs

    tails = {}
    if lines is not None:
        runs = _runs(session, run_ids, event_id, is_alone=is_alone)
        tails = {run.id: _tail(session, run, only, lines) for run in runs if run.attempt_count}
    ends = EndTeller() if (sys.stderr.isatty() if is_telling is None else is_telling) else None
    left = follow_logs.follow(
        session, run_ids, event_id, only, is_raw=is_raw, is_alone=is_alone, tails=tails, ends=ends
    )
    runs = _runs(session, run_ids, event_id, is_alone=is_alone)
    if ends is not None:
        tell_ends(runs, ends.ended)
    _tell_left(session, left)
    return Exit.RUN_FAILED if left or any(map(is_bad, runs)) else Exit.GOOD


def follow_flow(session: Session, flow: str, only: Stream | None, *, is_raw: bool, lines: int | None) -> None:
    """Follow the runs of a flow, until Ctrl-C."""
    from flowd.cli.follow import logs as follow_logs  # noqa: PLC0415 - as above

    tails = {}
    if lines is not None:
        running = read_runs(session.ask(requests.list_runs(flow=flow, status="running", limit=_MAX_TAILS)))
        tails = {run.id: _tail(session, run, only, lines) for run in running.items}
    follow_logs.follow_flow(session, flow, only, is_raw=is_raw, tails=tails)


def _runs(session: Session, run_ids: Sequence[str], event_id: str | None, *, is_alone: bool) -> list[RunView]:
    runs = [session.view(requests.get_run(run_id)) for run_id in run_ids]
    if event_id is not None:
        events = tree.read(session, event_id)
        runs += [run for event in (events[:1] if is_alone else events) for run in tree.newest(event)]
    return runs


def _tail(session: Session, run: RunView, only: Stream | None, lines: int) -> "Begun":
    from flowd.cli.follow.logs import Begun  # noqa: PLC0415 - as above

    tail = printed_order.tail(session, run.id, run.attempt_count, lines, only)
    return Begun(tail.pieces, (run.attempt_count, *tail.ends))


def is_bad(run: RunView) -> bool:
    """Whether a run ended badly."""
    return run.effective_status in waiting.BAD_STATUSES


def tell_ends(runs: Sequence[RunView], told: Collection[str] = ()) -> None:
    """How runs ended: one in a line; of several those that ended badly, and how many ended how.

    Args:
        told: Runs whose ends were told as they came; those of others are told now, too.
    """
    ended = [run for run in runs if run.is_final]
    is_one = len(runs) == 1
    for run in [run for run in ended if run.id not in told or (is_bad(run) and not is_one)][:_MAX_TOLD]:
        printing.note(f"flowd: {end_of(run)}")
    if not is_one:
        counts = Counter(run.effective_status for run in runs)
        said = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        printing.note(f"flowd: {len(runs)} runs: {said}")


def _tell_left(session: Session, left: Sequence[RunView]) -> None:
    """Why nothing goes on."""
    unfinished = [run for run in left if not run.is_final]
    if unfinished:
        first = unfinished[0]
        many = "1 run has" if len(unfinished) == 1 else f"{len(unfinished)} runs have"
        waits = f" {run_words.waiting(first)}" if run_words.waiting(first) else ""
        printing.note(f"flowd: {many} not ended: {first.flow_name}/{first.step_name} ({first.id}){waits}")
    asking.tell_questions(session, left)
