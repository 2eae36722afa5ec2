"""Checks the hosts that share the store: whether they are heard of, and whether some host starts each run."""

from collections.abc import Iterator

from flowd.catalog.scan import scan_once
from flowd.doctor.finding import Finding, ok, warn
from flowd.doctor.scene import Scene
from flowd.domain.flow import Snapshot
from flowd.domain.hosts import Able, HostState, KnownHost, missing
from flowd.domain.queue_view import StepQueue
from flowd.ports.hosts import Served
from flowd.store.sql import depths, hosts
from flowd.store.sql.connection import Connection

_CLOCK_MS = 1_000
_MINUTE_MS = 60_000


def check(scene: Scene) -> Iterator[Finding]:
    """Nothing where the store is not shared, or cannot be reached, of which the check of the database tells."""
    if scene.settings.store is None:
        return
    with scene.reading() as connection:
        if connection is None:
            return
        known = hosts.known(connection, scene.settings.host)
        held = _held(connection)
        starting, draining = hosts.served(connection)
        queues = depths.ready(connection)
        differing = hosts.differing(connection)
    up = [host for host in known if host.state.is_up]
    yield ok("hosts", f"{len(up)} of {len(known)} are heard of" if known else "none has begun yet")
    for host in known:
        yield from _about(host, held.get(host.name, 0))
    for name, hashes in differing.items():
        yield warn(
            "hosts.packages",
            f"flow {name} is not the same on {' and '.join(hashes)}",
            "Bring all hosts to one commit (`flowd hosts` shows where each is), unless you mean it.",
        )
    snapshot = scan_once(scene.settings.workspace, is_vouched=scene.settings.is_vouched) if queues else Snapshot()
    yield from _unserved(scene, queues, starting, draining, snapshot)


def _about(host: KnownHost, held: int) -> Iterator[Finding]:
    if host.state is HostState.UNREACHABLE:
        holds = f", and holds {_runs(held)}" if held else ""
        yield warn(
            "hosts.away",
            f"host {host.name} was not heard of for {_span(host.silent_ms)}{holds}",
            f"Look after it; if it is gone for good: flowd hosts forget {host.name}",
        )
    elif host.state.is_up and abs(host.clock_offset_ms) > _CLOCK_MS:
        ahead = "ahead of" if host.clock_offset_ms > 0 else "behind"
        yield warn(
            "hosts.clock",
            f"the clock of host {host.name} is {abs(host.clock_offset_ms) / 1000:.1f} s {ahead} the database's",
            "Set both by NTP.",
        )


def _unserved(
    scene: Scene, queues: list[StepQueue], starting: Served, draining: Served, snapshot: Snapshot
) -> Iterator[Finding]:
    """A finding for each step whose runs no host starts."""
    for queue in queues:
        step = queue.flow_name, queue.step_name
        able = [name for name in starting.get(step, ()) if queue.bound_to in (None, name)]
        resting = [name for name in draining.get(step, ()) if queue.bound_to in (None, name)]
        who = Able(_lacked(scene, snapshot, *step), len(able), bool(resting), bound_to=queue.bound_to)
        if who.problem is not None:
            yield warn(
                "hosts.runs",
                f"{_runs(queue.runs)} of {'/'.join(step)} cannot start: {who.problem}",
                "`flowd hosts` shows who is there, `flowd queue` what waits.",
            )


def _lacked(scene: Scene, snapshot: Snapshot, flow_name: str, step_name: str) -> list[str]:
    flow = snapshot.by_name.get(flow_name)
    step = flow.step(step_name) if flow else None
    return missing(step.runs_on, scene.settings.all_labels) if step else []


def _held(connection: Connection) -> dict[str, int]:
    found = connection.execute(
        "SELECT host, count(*) FROM attempts WHERE status = 'running' AND host IS NOT NULL GROUP BY host"
    )
    return dict(found.fetchall())


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _span(ms: int) -> str:
    """A length of time for people.

    >>> _span(45_000), _span(300_000)
    ('45 s', '5 min')
    """
    return f"{ms // 1000} s" if ms < 2 * _MINUTE_MS else f"{ms // _MINUTE_MS} min"
