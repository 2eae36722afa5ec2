"""The hosts that share a store. Functions that write run inside the writer's transaction."""

import json
from collections.abc import Iterable

from flowd.domain.errors import NotYetError
from flowd.domain.hosts import HostSession
from flowd.store.sql.connection import Connection

LIVE_MS = 30_000
"""A host that was heard of so lately may be about to do something: its name is its own."""


def register(db: Connection, host: HostSession) -> None:
    """See `flowd.ports.hosts.Hosts.register`."""
    known = db.execute(
        "SELECT host_id, version, server_ms() - seen_at_ms FROM hosts WHERE name = ?", (host.name,)
    ).fetchone()
    if known is not None and known[0] != host.host_id and known[2] < LIVE_MS:
        raise NotYetError(
            f"There is a host {host.name} already (flowd {known[1]}), which was heard of {known[2] / 1000:.0f} s ago. "
            "Give this one another name: [host] name in its settings, or FLOWD_HOST."
        )
    db.execute(
        "INSERT INTO hosts (name, host_id, session, version, labels, since_ms, seen_at_ms)"
        " VALUES (?, ?, ?, ?, ?, server_ms(), server_ms())"
        " ON CONFLICT (name) DO UPDATE SET host_id = excluded.host_id, session = excluded.session,"
        " version = excluded.version, labels = excluded.labels, since_ms = excluded.since_ms,"
        " seen_at_ms = excluded.seen_at_ms",
        (host.name, host.host_id, host.session, host.version, json.dumps(sorted(host.labels))),
    )
    # What the daemon before this one has left running in the same state folder.
    db.execute(
        "UPDATE attempts SET session = ?, lease_until_ms = server_ms() + lost_after_ms"
        " WHERE host = ? AND host_id = ? AND status = 'running'",
        (host.session, host.name, host.host_id),
    )


def served(db: Connection) -> dict[tuple[str, str], int]:
    """See `flowd.ports.hosts.Hosts.served`."""
    found = db.execute(
        "SELECT a.flow_name, a.step_name, count(*) FROM host_abilities a JOIN hosts h ON h.name = a.host"
        f" WHERE h.seen_at_ms > server_ms() - {LIVE_MS} GROUP BY a.flow_name, a.step_name"
    )
    return {(flow, step): hosts for flow, step, hosts in found}


def leave(db: Connection, host: HostSession) -> None:
    """See `flowd.ports.hosts.Hosts.leave`."""
    db.execute("UPDATE hosts SET seen_at_ms = 0 WHERE name = ? AND session = ?", (host.name, host.session))


def note_abilities(db: Connection, host: HostSession, steps: Iterable[tuple[str, str]]) -> None:
    """See `flowd.ports.hosts.Hosts.note_abilities`."""
    wanted = set(steps)
    known = db.execute("SELECT flow_name, step_name FROM host_abilities WHERE host = ?", (host.name,))
    there = {(flow, step) for flow, step in known}
    for flow, step in there - wanted:
        db.execute(
            "DELETE FROM host_abilities WHERE host = ? AND flow_name = ? AND step_name = ?", (host.name, flow, step)
        )
    for flow, step in wanted - there:
        db.execute("INSERT INTO host_abilities VALUES (?, ?, ?)", (host.name, flow, step))
