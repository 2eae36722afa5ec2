"""Acts on all runs or events that a filter finds: ``flowd cancel --flow F``, ``flowd retry --flow F --since 2h``,
``flowd replay --type T``."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from flowd.cli import printing, typos
from flowd.cli.exits import CommandError, Exit
from flowd.cli.filters import Filters
from flowd.cli.session import Session
from flowd.cli.waiting import progress, telling_on_interrupt
from flowd_client import requests
from flowd_client.errors import ConflictError, NotFoundError, RefusedError
from flowd_client.request import Request
from flowd_client.views.event import EventView, read_events
from flowd_client.views.run import RunView, read_runs

_PAGE = 200


def refuse_both(filters: Filters, *named: object) -> None:
    """Say that one thing and all of a filter are two different wishes.

    Raises:
        CommandError: Something is named, and there are filters.
    """
    if filters != Filters() and any(one is not None for one in named):
        raise CommandError("Either name one, or give filters like --flow and --since, which mean all that fit.")


def runs(session: Session, filters: Filters, statuses: Sequence[str]) -> Iterator[RunView]:
    """All runs that fit, page by page, of these statuses one after the other: each page as it is when it is read."""
    for status in statuses:
        cursor = None
        while True:
            options = {**filters._asdict(), "status": status}
            page = read_runs(session.ask(requests.list_runs(limit=_PAGE, cursor=cursor, **options)))
            yield from page.items
            if (cursor := page.next_cursor) is None:
                break


def events(session: Session, event_type: str | None, filters: Filters) -> Iterator[EventView]:
    """All events that fit, oldest page last."""
    cursor = None
    while True:
        options = filters._asdict()
        page = read_events(session.ask(requests.list_events(type=event_type, limit=_PAGE, cursor=cursor, **options)))
        yield from page.items
        if (cursor := page.next_cursor) is None:
            return


def act(
    session: Session,
    found: Iterable[tuple[str, str]],
    request: Callable[[str], Request[Any]],
    *,
    filters: Filters,
    event_type: str | None = None,
    noun: str,
    done: str,
    dry_run: bool,
    as_json: bool,
) -> Exit:
    """Do it to each of what was found, and say how many they were. One that has changed meanwhile, so that it cannot be
    done to it, is left alone and counted; what the daemon cannot take now ends it.

    Args:
        found: An id, and what people call it.
        filters: What found it, and of events their ``event_type``.
        noun: What they are: ``run``.
        done: What is done to them: ``canceled``.
    """
    ids: list[str] = []
    left: Counter[str] = Counter()

    def so_far() -> str:
        return f"{done} {_count(len(ids), noun)} so far"

    with progress() as (show, say), telling_on_interrupt(lambda: f"{so_far()}; the rest is as it was."):
        for id_, label in found:
            if not dry_run:
                try:
                    session.ask(request(id_))
                except (ConflictError, NotFoundError) as error:
                    left[error.slug or "not_found"] += 1
                    continue
                except RefusedError:
                    say(f"flowd: {so_far()}; then the daemon took no more.")
                    raise
            ids.append(id_)
            show(f"{so_far()}: {label}")
            if dry_run and not as_json:
                printing.line(f"{id_}  {label}")
    if not ids and not left:
        (typos.tell if as_json else typos.refuse)(session, filters, event_type)
    if as_json:
        printing.print_json({f"{noun}Ids": ids, "dryRun": dry_run, "leftAlone": dict(left)})
        return Exit.GOOD
    printing.line(f"{'would have ' if dry_run else ''}{done} {_count(len(ids), noun)}")
    if left:
        why = ", ".join(f"{count} {slug}" for slug, count in sorted(left.items()))
        printing.note(f"{_count(left.total(), noun)} left alone: {why}")
    return Exit.GOOD


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def label_of(run: RunView) -> str:
    """What people call a run."""
    return f"{run.flow_name}/{run.step_name} ({run.effective_status})"
