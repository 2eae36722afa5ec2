"""What flowd costs with its store in PostgreSQL, beside single inserts that `pgbench` makes on the same server, and
beside the store in a file."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.daemon import Daemon, add_flow, cpu_s, running, scratch
from bench.figures import Figure
from bench.load import Load, Sent, dispatch, send
from bench.servers import Server, serving, settle
from bench.subjects import Subject

FANNED = 100
"""Runs of an event that fills the queue."""

READY = 100_000
WATCHED_S = 5
HISTORY = 1_000_000
CALLERS = {1: 500, 16: 3_000, 256: 6_000}
"""Accepts for each number of callers."""

STARTS = 100
LISTS = 25
IDLE_S = 10

_SLEEP = "#!/bin/sh\nexec sleep 3600\n"
_TELLS = '#!/bin/sh\necho "FLOW_RESULT {\\"status\\":\\"completed\\",\\"message\\":\\"$(date +%s%N)\\"}"\n'


def shared_accepts(subject: Subject) -> Iterator[Figure]:
    """Accepts with one run each, which stays queued, beside what pgbench inserts."""
    with serving() as server, scratch() as workspace, _occupied(subject, server, workspace) as daemon:
        _send(daemon, "warm", 500, 16)
        for callers, count in CALLERS.items():
            clients = min(callers, 16)
            floors = [server.floor(clients)]
            before_s = cpu_s(daemon.pid)
            sent = _send(daemon, f"with-{callers}", count, callers)
            spent_ms = (cpu_s(daemon.pid) - before_s) / count * 1000
            floors.append(server.floor(clients))
            floor = {f"pgbench, {clients} client{'s' * (clients > 1)}": median(floors)}
            name = f"{callers} caller{'s' * (callers > 1)}"
            yield Figure(f"accepts/s, {name}", sent.rate, "/s", floor)
            yield Figure(f"accept, {name}, p50", sent.percentile_ms(0.5), "ms")
            yield Figure(f"daemon's CPU an accept, {name}", spent_ms, "ms")


@contextlib.contextmanager
def _occupied(subject: Subject, server: Server, workspace: Path, address: str = "") -> Iterator[Daemon]:
    """A daemon whose only place is taken."""
    add_flow(workspace, "hold", "hold.go", script=_SLEEP)
    add_flow(workspace, "work", "work.go")
    add_flow(workspace, "fan", "fan.go", steps=FANNED)
    settings = {"FLOWD_MAX_PARALLEL": "1", "FLOWD_MAX_QUEUED": "1000000", "FLOWD_ON_STOP": "cancel"}
    with running(subject, workspace, **settings, FLOWD_STORE=address or server.database(subject)) as daemon:
        daemon.call("flow.dispatch", event={"id": "hold", "type": "hold.go", "payload": {}})
        yield daemon


def _send(daemon: Daemon, tag: str, count: int, callers: int) -> Sent:
    return send(Load(daemon.socket, [dispatch(f"{tag}-{n}", "work.go") for n in range(count)], callers=callers))


def shared_starts(subject: Subject) -> Iterator[Figure]:
    """From before an event is sent until its step has begun, in turn with the store in a file."""
    with serving() as server, scratch() as own, scratch() as shared:
        for workspace in (own, shared):
            add_flow(workspace, "tell", "tell.go", script=_TELLS)
        address = server.database(subject)
        with running(subject, own) as filed, running(subject, shared, FLOWD_STORE=address) as daemon:
            took_ms: dict[int, list[float]] = {filed.pid: [], daemon.pid: []}
            for number in range(STARTS):
                for asked in (filed, daemon) if number % 2 else (daemon, filed):
                    took_ms[asked.pid].append(_start_ms(asked, number))
    file = {"store in a file": median(took_ms[filed.pid])}
    yield Figure("accept to begun, p50", median(took_ms[daemon.pid]), "ms", file)
    file = {"store in a file": _late(took_ms[filed.pid])}
    yield Figure("accept to begun, p99", _late(took_ms[daemon.pid]), "ms", file)


def _start_ms(daemon: Daemon, number: int) -> float:
    event = {"id": f"start-{number}", "type": "tell.go", "payload": {}}
    began_ns = time.time_ns()
    daemon.call("flow.dispatch", event=event, wait=True)
    (run,) = daemon.call("flow.getEvent", eventId=event["id"])["runs"]
    return (int(run["result"]["message"]) - began_ns) / 1e6


def _late(took_ms: list[float]) -> float:
    return sorted(took_ms)[len(took_ms) * 99 // 100]


def shared_queue(subject: Subject) -> Iterator[Figure]:
    """Runs that end, each of which claims the next, while few and while very many are ready."""
    rates, spent_ms = {}, {}
    for ready in (READY // 20, READY):
        with serving() as server, scratch() as workspace, _occupied(subject, server, workspace) as daemon:
            events = [dispatch(f"fan-{n}", "fan.go") for n in range(ready // FANNED)]
            send(Load(daemon.socket, events, callers=4))
            daemon.call("flow.cancelRun", runId=_holder(daemon))
            began, before_s, done = time.perf_counter(), cpu_s(daemon.pid), _completed(daemon)
            time.sleep(WATCHED_S)
            ended = _completed(daemon) - done
            rates[ready] = ended / (time.perf_counter() - began)
            spent_ms[ready] = (cpu_s(daemon.pid) - before_s) / ended * 1000
    few = f"{READY // 20:,} ready"
    yield Figure(f"runs/s while {READY:,} are ready", rates[READY], "/s", {few: rates[READY // 20]})
    name = f"daemon's CPU a run while {READY:,} are ready"
    yield Figure(name, spent_ms[READY], "ms", {few: spent_ms[READY // 20]})


def _holder(daemon: Daemon) -> str:
    (run,) = daemon.call("flow.getEvent", eventId="hold")["runs"]
    return str(run["id"])


def _completed(daemon: Daemon) -> int:
    return int(daemon.call("daemon.status")["runs"].get("completed", 0))


def shared_history(subject: Subject) -> Iterator[Figure]:
    """The newest fifty runs beside a long history, and beside none."""
    with serving() as server, scratch() as workspace:
        address = server.database(subject)
        with _occupied(subject, server, workspace, address) as daemon:
            _send(daemon, "few", 60, 1)
            few_ms = _listed_ms(daemon)
            few = {name: _listed_ms(daemon, **where) for name, where in _LISTS.items()}
        _multiply(server, address)
        with running(subject, workspace, FLOWD_MAX_PARALLEL="1", FLOWD_STORE=address) as daemon:
            yield Figure(f"list of 50 out of {HISTORY:,}", _listed_ms(daemon), "ms", {"out of 60": few_ms})
            for name, where in _LISTS.items():
                title = f"list of 50 out of {HISTORY:,}, by {name}"
                yield Figure(title, _listed_ms(daemon, **where), "ms", {"out of 60": few[name]})


_LISTS: dict[str, dict[str, object]] = {
    "flow": {"flow": "work"},
    "status": {"status": "failed"},
    "flow and status": {"flow": "work", "status": "failed"},
}


def _listed_ms(daemon: Daemon, **where: object) -> float:
    took_ms = []
    for call in range(LISTS):
        # A commit before each: pages are kept until then.
        daemon.call("flow.dispatch", event={"id": f"l{call}-{time.monotonic_ns()}", "type": "x", "payload": {}})
        began_s = time.perf_counter()
        daemon.call("flow.listRuns", limit=50, **where)
        took_ms.append((time.perf_counter() - began_s) * 1000)
    return median(took_ms)


def _multiply(server: Server, address: str) -> None:
    """A history of failed runs below those that are there, made from one of them without its triggers."""
    columns = server.execute(
        address,
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'flowd'"
        " AND table_name IN ('events', 'runs') ORDER BY table_name, ordinal_position",
    )
    anew = {
        "events": {"seq": "n", "id": "'past-' || n"},
        "runs": {"seq": "n", "id": "'run_past' || n", "event_seq": "n", "status": "'failed'", "completed_at_ms": "1"},
    }
    statements = ["SET search_path = flowd", "SET session_replication_role = replica"]
    for table, values in anew.items():
        # What is there moves up, above what is made.
        moved = ["seq"] if table == "events" else ["seq", "event_seq"]
        statements.append(f"UPDATE {table} SET {', '.join(f'{name} = {name} + {HISTORY}' for name in moved)}")
        names = [name for of, name in columns if of == table]
        picked = ", ".join(values.get(name, f"o.{name}") for name in names)
        one = "type = 'work.go'" if table == "events" else "flow_name = 'work'"
        statements.append(
            f"INSERT INTO {table} SELECT {picked} FROM generate_series(1, {HISTORY}) n,"
            f" (SELECT * FROM {table} WHERE {one} ORDER BY seq LIMIT 1) o"
        )
    statements.append(f"UPDATE attempts SET run_seq = run_seq + {HISTORY}")
    statements.append(f"UPDATE journal SET event_seq = event_seq + {HISTORY}, run_seq = run_seq + {HISTORY}")
    server.execute(address, *statements)
    settle(server, address)


def shared_rest(subject: Subject) -> Iterator[Figure]:
    """Transactions of a daemon that nobody asks anything."""
    with serving() as server, scratch() as workspace, _idle(subject, server, workspace) as (daemon, address):
        _send(daemon, "warm", 10, 1)
        time.sleep(3)  # what its start has begun, and what the server's counts are late
        before, before_s, began_s = server.transactions(address), cpu_s(daemon.pid), time.perf_counter()
        time.sleep(IDLE_S)
        took_s = time.perf_counter() - began_s
        yield Figure("transactions/s at rest", (server.transactions(address) - before) / took_s, "/s")
        yield Figure("daemon's CPU at rest", (cpu_s(daemon.pid) - before_s) / took_s * 1000, "ms/s")


@contextlib.contextmanager
def _idle(subject: Subject, server: Server, workspace: Path) -> Iterator[tuple[Daemon, str]]:
    add_flow(workspace, "work", "work.go")
    address = server.database(subject)
    with running(subject, workspace, FLOWD_STORE=address) as daemon:
        yield daemon, address
