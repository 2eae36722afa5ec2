"""``flowd retry``: another attempt of a run, or of all that failed of an event and below it."""

from flowd.cli import printing, tree, waiting
from flowd.cli.exits import Exit
from flowd.cli.references import run_or_event_of
from flowd.cli.runs import draw_runs
from flowd.cli.session import Session
from flowd_client import requests
from flowd_client.discovery import is_in_step
from flowd_client.errors import ConflictError
from flowd_client.views.run import RunView, read_run, read_runs

_PAGE = 50


def run_or_event_to_retry(session: Session, text: str) -> tuple[str | None, str | None]:
    """The run that is meant, or the event where no run is: one of both.

    ``FLOW/STEP`` is the newest run of which an attempt has ended, so that one in the queue is in nobody's way. It is
    that one also where it ended well, or where its next attempt is on its way: what failed before is history then, and
    is retried by its id alone.
    """
    run_id, event_id = run_or_event_of(session, text)
    flow, slash, step = text.partition("/")
    if run_id is None or run_id == text or not slash:
        return run_id, event_id
    return _newest_attempted(session, flow, step) or run_id, None


def _newest_attempted(session: Session, flow: str, step: str) -> str | None:
    cursor = None
    while True:
        page = read_runs(session.ask(requests.list_runs(flow=flow, step=step, limit=_PAGE, cursor=cursor)))
        for run in page:
            if run.is_final or run.attempt_count > (run.process_status == "running"):
                return run.id
        if (cursor := page.next_cursor) is None:
            return None


def retry_run(session: Session, run_id: str, *, wait: bool, timeout_s: float | None, as_json: bool) -> int:
    """Retry a run, wait if asked to, show it, and give the exit code."""
    response = session.ask(requests.retry_run(run_id, will_wait=wait and timeout_s != 0))
    hint = f"See `{session.typed('run', run_id)}`."
    is_late = False
    if wait:
        stored = f"The retry of {run_id} is stored"
        records, is_late = waiting.wait_for(session, [run_id], timeout_s=timeout_s, stored=stored, hint=hint)
        response = {**response, "run": records[0]}
    view = read_run(response)
    if as_json:
        printing.print_json(response)
    else:
        draw_runs([view])
    if not wait:
        return Exit.GOOD
    return waiting.verdict(session, [view], is_late=is_late, timeout_s=timeout_s, hint=hint)


def retry_failed(
    session: Session, event_id: str, *, is_alone: bool, wait: bool, timeout_s: float | None, as_json: bool
) -> int:
    """Retry, wait if asked to, show the runs, and give the exit code."""
    events = tree.read(session, event_id)
    failed = [run for event in (events[:1] if is_alone else events) for run in tree.newest(event) if _failed(run)]
    will_wait = wait and timeout_s != 0
    if will_wait and not is_alone and is_in_step():  # so that a step that is a part of it does nothing to it
        session.ask(requests.wait_event(event_id, tree=True, timeout_ms=0))
    runs = _retried(session, failed, will_wait=will_wait)
    if not runs:
        printing.note("Nothing of it has failed." if not failed else "Nothing of it can be retried now.")
    hint = f"See `{session.typed('event', event_id)}`."
    is_late = False
    if wait and runs:
        stored = "What was retried is stored"
        if is_alone:
            records, is_late = waiting.wait_for(
                session, [run.id for run in runs], timeout_s=timeout_s, stored=stored, hint=hint
            )
            runs = [read_run(record) for record in records]
        else:
            _, is_late = waiting.wait_for_event(session, event_id, timeout_s=timeout_s, stored=stored, hint=hint)
            runs = [run for event in tree.read(session, event_id) for run in tree.newest(event)]
    if as_json:
        printing.print_json({"eventId": event_id, "runs": [run.raw for run in runs], "timedOut": is_late})
    elif runs:
        draw_runs(runs)
    return waiting.verdict(session, runs, is_late=is_late, timeout_s=timeout_s, hint=hint) if wait else Exit.GOOD


def _failed(run: RunView) -> bool:
    # One that ended unstarted is put back by the retry of what it needs.
    return run.is_final and run.effective_status == "failed" and run.reason != "needs_not_met"


def _retried(session: Session, failed: list[RunView], *, will_wait: bool) -> list[RunView]:
    """Those that could be retried. Where one needs another, the retry of that one has put it back already.

    Raises:
        ConflictError: A step could not wait for one of them; that one, and those behind it, are left as they are.
    """
    retried = []
    for run in failed:
        try:
            retried.append(read_run(session.ask(requests.retry_run(run.id, will_wait=will_wait))))
        except ConflictError as error:
            if error.slug == "would_deadlock":
                raise
            if error.slug not in ("run_active", "needs_active"):
                printing.note(f"flowd: {run.flow_name}/{run.step_name} ({run.id}): {error.message}")
    return retried
