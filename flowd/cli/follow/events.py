"""Prints updates as they come, a line each: for ``flowd events -f`` and ``flowd runs -f``."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from flowd.cli import printing
from flowd.cli.session import Session
from flowd_client import wire
from flowd_client.client import FlowClient
from flowd_client.views.update import UpdateView

RECONNECT_S = 60.0
"""How long the daemon may be gone while somebody watches: its restart, or an upgrade with a package manager."""


def follow(
    session: Session,
    topic: str,
    *,
    event_id: str | None = None,
    after: str | None = None,
    as_json: bool,
    wants: Callable[[UpdateView], bool] = lambda _: True,
    draw: Callable[[UpdateView], str],
    begin: Callable[[FlowClient, str], Iterable[UpdateView]] = lambda *_: (),
) -> None:
    """Print updates of one topic as they come, until Ctrl-C. Goes on over a restart of the daemon.

    Args:
        wants: Which of them to print.
        draw: An update as a line for people; with ``as_json`` each is one line of JSON instead.
        begin: What to print first, if the reader does not go on from a cursor. It is called once updates behind the
            cursor that it is given are sure to come.
    """

    def show(update: UpdateView) -> None:
        if wants(update):
            # echo flushes each line, so that a program behind a pipe sees it at once.
            printing.line(_one_line(update) if as_json else draw(update))

    with (
        _client(session) as client,
        client.subscribe([topic], event_id=event_id, after=after, reconnect_s=RECONNECT_S) as updates,
    ):
        if after is None:
            for update in begin(client, updates.cursor or ""):
                show(update)
        for update in updates:
            if update.kind == "lagging":
                printing.note(f"flowd: {update.behind} updates behind; they follow.")
            else:
                show(update)


@contextmanager
def _client(session: Session) -> Iterator[FlowClient]:
    with FlowClient(session.transport) as client:
        client.call(wire.STATUS)  # where no daemon listens, say so at once
        yield client


def _one_line(update: UpdateView) -> str:
    return json.dumps(update.raw, separators=(",", ":"))


def clock(update: UpdateView) -> str:
    """When an update happened: the local time of day for a person, ISO 8601 otherwise."""
    if update.at is None or not printing.is_terminal():
        return printing.when(update.at)
    return f"{update.at.astimezone():%H:%M:%S}"
