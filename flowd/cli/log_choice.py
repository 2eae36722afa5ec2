"""Which runs ``flowd logs`` prints where none is named: the newest round, or a flow's runs, or those since then."""

from collections.abc import Sequence

from flowd.cli import printing, typos
from flowd.cli.exits import CommandError, Exit
from flowd.cli.filters import Filters
from flowd.cli.session import Session
from flowd_client import requests
from flowd_client.views.run import RunView, read_runs

_MOST = 20
"""Runs that are printed where no --since says how many are wanted."""
_PAGE = 200


def newest_round(session: Session, filters: Filters) -> Sequence[RunView]:
    """The runs of the newest dispatch or replay that made some, oldest first.

    Raises:
        CommandError: There is none.
    """
    newest = _runs(session, filters, most=1)
    if not newest:
        typos.refuse(session, filters)
        raise CommandError(f"There is no run{_of(filters)} yet.", Exit.NOT_FOUND)
    made = newest[0]
    together = _runs(session, Filters(flow=filters.flow), event_id=made.event_id)
    return [run for run in together if run.round == made.round]


def recent(session: Session, filters: Filters) -> Sequence[RunView]:
    """The runs that fit, oldest first: all since then, or the newest.

    Raises:
        CommandError: There is none.
    """
    found = _runs(session, filters, most=None if filters.since else _MOST + 1)
    if not found:
        typos.refuse(session, filters)
        raise CommandError(
            f"There is no run{_of(filters)}{' since then' if filters.since else ' yet'}.", Exit.NOT_FOUND
        )
    if not filters.since and len(found) > _MOST:
        printing.note(f"flowd: These are the newest {_MOST} runs; --since 2h prints all since then.")
        return found[-_MOST:]
    return found


def _of(filters: Filters) -> str:
    return "" if filters.flow is None else f" of flow {filters.flow}"


def _runs(session: Session, filters: Filters, *, event_id: str | None = None, most: int | None = None) -> list[RunView]:
    """Oldest first."""
    found: list[RunView] = []
    cursor = None
    while most is None or len(found) < most:
        limit = _PAGE if most is None else min(_PAGE, most - len(found))
        request = requests.list_runs(event_id=event_id, limit=limit, cursor=cursor, **filters._asdict())
        page = read_runs(session.ask(request))
        found += page.items
        if (cursor := page.next_cursor) is None:
            break
    return found[::-1]
