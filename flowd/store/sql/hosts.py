"""The hosts that share a store. Functions that write run inside the writer's transaction."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from flowd.domain.errors import HostAliveError, NotYetError
from flowd.domain.hosts import HostSession, HostState, KnownHost, labels_of
from flowd.domain.notices import GIVE_UP_MS, NotifyRule
from flowd.ports.hosts import Served
from flowd.store.sql.connection import Connection

LIVE_MS = 30_000
"""A host that was heard of so lately may be about to do something: its name is its own."""


def register(db: Connection, host: HostSession) -> bool:
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
        " seen_at_ms = excluded.seen_at_ms, left_at_ms = 0, is_draining = 0",
        (host.name, host.host_id, host.session, host.version, json.dumps(sorted(host.labels))),
    )
    # What the daemon before this one has left running in the same state folder.
    db.execute(
        "UPDATE attempts SET session = ?, lease_until_ms = server_ms() + lost_after_ms"
        " WHERE host = ? AND host_id = ? AND status = 'running'",
        (host.session, host.name, host.host_id),
    )
    (wanted,) = db.execute("SELECT wanted FROM hosts WHERE name = ?", (host.name,)).fetchone()
    return bool(wanted == HostState.DRAINING)


def known(db: Connection, asked: str) -> list[KnownHost]:
    """See `flowd.ports.hosts.Hosts.known`; ``asked`` is the name of the host that asks."""
    found = db.execute(
        "SELECT name, version, labels, running, places, clock_offset_ms, wanted, is_draining, seen_at_ms, left_at_ms,"
        " server_ms(), git_commit FROM hosts ORDER BY name"
    )
    return [_known(row, asked) for row in found]


def _known(row: tuple[Any, ...], asked: str) -> KnownHost:
    name, version, labels, running, places, offset_ms, wanted, is_draining, seen_at_ms, left_at_ms, now_ms = row[:-1]
    state = HostState.READY
    if left_at_ms:
        state, seen_at_ms, running = HostState.GONE, left_at_ms, 0
    elif now_ms - seen_at_ms >= LIVE_MS:
        state = HostState.UNREACHABLE
    elif is_draining or wanted == HostState.DRAINING:
        state = HostState.DRAINING
    all_labels = tuple(sorted(labels_of(name, json.loads(labels))))
    silent_ms = max(0, now_ms - seen_at_ms)
    return KnownHost(
        name, state, version, all_labels, running, places, seen_at_ms, silent_ms, offset_ms, name == asked, row[-1]
    )


def want(db: Connection, name: str, *, is_draining: bool, is_own: bool) -> bool:
    """See `flowd.ports.hosts.Hosts.want`. Where it is this host's ``own`` name, its daemon goes by that, too."""
    wanted = HostState.DRAINING if is_draining else HostState.READY
    done = db.execute(
        "UPDATE hosts SET wanted = ?, is_draining = CASE ? WHEN 1 THEN 0 ELSE is_draining END WHERE name = ?",
        (wanted.value, int(is_own and not is_draining), name),
    )
    return done.rowcount > 0


def forget(db: Connection, name: str, *, is_forced: bool) -> int | None:
    """See `flowd.ports.hosts.Hosts.forget`."""
    host = db.execute("SELECT left_at_ms, server_ms() - seen_at_ms FROM hosts WHERE name = ?", (name,)).fetchone()
    if host is None:
        return None
    if not is_forced:
        _refuse_alive(db, name, has_left=bool(host[0]), silent_ms=host[1])
    db.execute("DELETE FROM hosts WHERE name = ?", (name,))
    db.execute("DELETE FROM host_abilities WHERE host = ?", (name,))
    db.execute("DELETE FROM host_packages WHERE host = ?", (name,))
    db.execute("DELETE FROM host_notifiers WHERE host = ?", (name,))
    db.execute("DELETE FROM schedules_of_hosts WHERE host = ?", (name,))
    # The folders of their rounds are gone with it.
    db.execute("UPDATE runs SET bound_to = '' WHERE status IN ('queued', 'running') AND bound_to = ?", (name,))
    return db.execute("UPDATE attempts SET lease_until_ms = 0 WHERE host = ? AND status = 'running'", (name,)).rowcount


def _refuse_alive(db: Connection, name: str, *, has_left: bool, silent_ms: int) -> None:
    if not has_left and silent_ms < LIVE_MS:
        raise HostAliveError(
            f"Host {name} was heard of {silent_ms / 1000:.0f} s ago. Stop its daemon first, or say --force: what runs "
            "there begins again elsewhere while it may still run.",
            host=name,
        )
    held, until_ms = db.execute(
        "SELECT count(*), max(lease_until_ms) - server_ms() FROM attempts"
        " WHERE host = ? AND status = 'running' AND lease_until_ms >= server_ms()",
        (name,),
    ).fetchone()
    if held:
        raise HostAliveError(
            f"Host {name} holds {held} {'run' if held == 1 else 'runs'} by leases that are over in {until_ms / 1000:.0f} "
            "s. Wait for that, or say --force if you know that nothing runs there any more.",
            host=name,
        )


def served(db: Connection) -> tuple[Served, Served]:
    """See `flowd.ports.hosts.Hosts.served`."""
    found = db.execute(
        "SELECT a.flow_name, a.step_name, string_agg(h.name, ' ' ORDER BY h.name), h.wanted = 'ready' AND h.is_draining = 0"
        " FROM host_abilities a JOIN hosts h ON h.name = a.host"
        f" WHERE h.seen_at_ms > server_ms() - {LIVE_MS}"
        " GROUP BY 1, 2, 4"
    )
    starting: Served = {}
    draining: Served = {}
    for flow, step, names, does_start in found:
        (starting if does_start else draining)[flow, step] = tuple(names.split())
    return starting, draining


def note_notifiers(db: Connection, host: HostSession, rules: Iterable[NotifyRule]) -> None:
    """See `flowd.ports.hosts.Hosts.note_notifiers`."""
    wanted = {rule.name: json.dumps({"on": sorted(rule.on), "flows": rule.flows}) for rule in rules}
    there = dict(db.execute("SELECT name, rule FROM host_notifiers WHERE host = ?", (host.name,)).fetchall())
    if wanted != there:
        db.execute("DELETE FROM host_notifiers WHERE host = ?", (host.name,))
        db.executemany(
            "INSERT INTO host_notifiers (host, name, rule) VALUES (?, ?, ?)",
            [(host.name, name, rule) for name, rule in wanted.items()],
        )


def notify_rules(db: Connection) -> list[NotifyRule]:
    """See `flowd.ports.hosts.Hosts.notify_rules`."""
    found = db.execute(
        "SELECT n.name, n.rule FROM host_notifiers n JOIN hosts h ON h.name = n.host"
        f" WHERE h.seen_at_ms > server_ms() - {GIVE_UP_MS} OR h.left_at_ms > server_ms() - {GIVE_UP_MS}"
        " ORDER BY n.name, n.host"
    )
    rules = ((name, json.loads(rule)) for name, rule in found)
    return [NotifyRule(name, frozenset(said["on"]), tuple(said["flows"])) for name, said in rules]


def leave(db: Connection, host: HostSession) -> None:
    """See `flowd.ports.hosts.Hosts.leave`."""
    db.execute(
        "UPDATE hosts SET left_at_ms = server_ms(), seen_at_ms = 0 WHERE name = ? AND session = ?",
        (host.name, host.session),
    )


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


def note_packages(db: Connection, host: HostSession, commit: str | None, hashes: Mapping[str, str]) -> None:
    """See `flowd.ports.hosts.Hosts.note_packages`."""
    db.execute(
        "UPDATE hosts SET git_commit = ? WHERE name = ? AND session = ?",
        (commit, host.name, host.session),
    )
    there = dict(db.execute("SELECT flow_name, hash FROM host_packages WHERE host = ?", (host.name,)).fetchall())
    for flow in there.keys() - hashes.keys():
        db.execute("DELETE FROM host_packages WHERE host = ? AND flow_name = ?", (host.name, flow))
    for flow, digest in hashes.items():
        if there.get(flow) != digest:
            db.execute(
                "INSERT INTO host_packages (host, flow_name, hash) VALUES (?, ?, ?)"
                " ON CONFLICT (host, flow_name) DO UPDATE SET hash = excluded.hash",
                (host.name, flow, digest),
            )


def differing(db: Connection) -> dict[str, dict[str, str]]:
    """See `flowd.ports.hosts.Hosts.differing`."""
    found = db.execute(
        "WITH here AS (SELECT p.flow_name, p.host, p.hash FROM host_packages p JOIN hosts h ON h.name = p.host"
        f" WHERE h.seen_at_ms > server_ms() - {LIVE_MS})"
        " SELECT flow_name, host, hash FROM here WHERE flow_name IN"
        " (SELECT flow_name FROM here GROUP BY flow_name HAVING min(hash) <> max(hash)) ORDER BY flow_name, host"
    )
    told: dict[str, dict[str, str]] = {}
    for flow, host, digest in found:
        told.setdefault(flow, {})[host] = digest
    return told


def alive(db: Connection) -> list[tuple[str, int]]:
    """The hosts whose daemons may do something any moment, each with how many milliseconds ago it was heard of."""
    found = db.execute(
        "SELECT name, server_ms() - seen_at_ms FROM hosts"
        f" WHERE left_at_ms = 0 AND server_ms() - seen_at_ms < {LIVE_MS} ORDER BY name"
    )
    return [(str(name), int(silent_ms)) for name, silent_ms in found]
