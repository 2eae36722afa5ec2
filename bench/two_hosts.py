"""What two daemons on one PostgreSQL cost: what one accepts and the other begins, ends, and does beside it."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.daemon import Daemon, add_flow, running, scratch
from bench.figures import Figure
from bench.load import Load, dispatch, send
from bench.servers import serving
from bench.subjects import Subject

STARTS = 60
UNSERVED = 100_000
FANNED = 100
CANCELS = 20
NAPS = 120
PLACES = 8
_WAIT_S = 0.002

_TELLS = '#!/bin/sh\necho "FLOW_RESULT {\\"status\\":\\"completed\\",\\"message\\":\\"$(date +%s%N)\\"}"\n'
_NAPS = "#!/bin/sh\nsleep 0.3\n"
_SLEEPS = "#!/bin/sh\nexec sleep 600\n"


def shared_hosts(subject: Subject) -> Iterator[Figure]:
    """Begun and ended on another host, beside runs that nobody can start, and the work of two hosts beside one's."""
    with serving() as server, contextlib.ExitStack() as stack:
        folders = [stack.enter_context(scratch()) for _ in range(2)]
        address = server.database(subject)
        hosts = [_host(subject, folder, address, name) for folder, name in zip(folders, ("a", "b"), strict=True)]
        first, _ = (stack.enter_context(host) for host in hosts)
        first.call("host.drain", host="a")  # all of it runs on the other one
        few_ms = _starts(first, "few")
        yield Figure("accept to begun on another host, p50", median(few_ms), "ms")
        yield Figure("accept to begun on another host, p99", _late(few_ms), "ms")
        yield Figure("cancel to the end on another host, p50", median(_cancels(first)), "ms")
        _queue_unserved(first)
        many_ms = _starts(first, "many")
        name = f"accept to begun on another host beside {UNSERVED:,} runs that nobody can start"
        yield Figure(f"{name}, p50", median(many_ms), "ms", {"beside none": median(few_ms)})
        alone_s = _naps(first, "alone")
        first.call("host.undrain", host="a")
        yield Figure(
            "steps of 0.3 s a second on two hosts", NAPS / _naps(first, "both"), "/s", {"on one": NAPS / alone_s}
        )


def _host(subject: Subject, folder: Path, address: str, name: str) -> contextlib.AbstractContextManager[Daemon]:
    add_flow(folder, "tell", "tell.go", script=_TELLS)
    add_flow(folder, "nap", "nap.go", script=_NAPS)
    add_flow(folder, "sleep", "sleep.go", script=_SLEEPS)
    add_flow(folder, "gpu", "gpu.go", steps=FANNED, more='runs_on = ["gpu"]\n')
    settings = {"FLOWD_MAX_PARALLEL": str(PLACES), "FLOWD_MAX_QUEUED": "1000000", "FLOWD_ON_STOP": "cancel"}
    return running(subject, folder, FLOWD_STORE=address, FLOWD_HOST=name, **settings)


def _starts(daemon: Daemon, tag: str) -> list[float]:
    """From before each event is sent until its step has begun."""
    took_ms = []
    for number in range(STARTS):
        event = {"id": f"{tag}-{number}", "type": "tell.go", "payload": {}}
        began_ns = time.time_ns()
        daemon.call("flow.dispatch", event=event, wait=True)
        (run,) = daemon.call("flow.getEvent", eventId=event["id"])["runs"]
        took_ms.append((int(run["result"]["message"]) - began_ns) / 1e6)
    return took_ms


def _late(took_ms: list[float]) -> float:
    return sorted(took_ms)[len(took_ms) * 99 // 100]


def _cancels(daemon: Daemon) -> list[float]:
    """From before each cancel is sent until the run has ended, which is told once its process has."""
    took_ms = []
    for number in range(CANCELS):
        (run_id,) = daemon.call("flow.dispatch", event={"id": f"c-{number}", "type": "sleep.go"})["runIds"]
        while daemon.call("flow.getRun", runId=run_id)["run"]["processStatus"] != "running":
            time.sleep(_WAIT_S)
        began_s = time.perf_counter()
        daemon.call("flow.cancelRun", runId=run_id)
        took_ms.append((time.perf_counter() - began_s) * 1000)
    return took_ms


def _queue_unserved(daemon: Daemon) -> None:
    events = [dispatch(f"gpu-{number}", "gpu.go") for number in range(UNSERVED // FANNED)]
    send(Load(daemon.socket, events, callers=4))


def _naps(daemon: Daemon, tag: str) -> float:
    """Seconds until all of them have ended."""
    began_s = time.perf_counter()
    send(Load(daemon.socket, [dispatch(f"{tag}-nap-{n}", "nap.go") for n in range(NAPS)], callers=4))
    for number in range(NAPS):
        daemon.call("flow.waitEvent", eventId=f"{tag}-nap-{number}", timeoutMs=60_000)
    return time.perf_counter() - began_s
