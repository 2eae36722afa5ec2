"""Durable answers to events that match nothing: the cost of accepting alone."""

from collections.abc import Iterator
from statistics import median

from bench import rivals
from bench.daemon import Daemon, add_flow, cpu_s, running, scratch
from bench.figures import Figure
from bench.load import Load, Sent, dispatch, send
from bench.subjects import Subject

MANY_PACKAGES = 2000
BLOCKS = 7


def _send(daemon: Daemon, tag: str, count: int, callers: int) -> Sent:
    return send(Load(daemon.socket, [dispatch(f"{tag}-{n}", "none") for n in range(count)], callers=callers))


def accept(subject: Subject) -> Iterator[Figure]:
    """One caller beside write and fdatasync in the same folder; then 64 callers."""
    with scratch() as workspace, running(subject, workspace) as daemon:
        _send(daemon, "warm", 200, 1)
        floor_ms = [rivals.fdatasync_ms(workspace, 200)]
        single = _send(daemon, "one", 1000, 1)
        floor_ms.append(rivals.fdatasync_ms(workspace, 200))
        before_s, count = cpu_s(daemon.pid), 10_000
        many = _send(daemon, "many", count, 64)
        cpu_ms = (cpu_s(daemon.pid) - before_s) / count * 1000
    floor = {"write + fdatasync": sum(floor_ms) / len(floor_ms)}
    yield Figure("durable accept, 1 caller, p50", single.percentile_ms(0.5), "ms", floor)
    yield Figure("accepts/s, 64 callers", many.rate, "/s")
    yield Figure("accept, 64 callers, p99", many.percentile_ms(0.99), "ms")
    yield Figure("daemon's CPU an accept, 64 callers", cpu_ms, "ms")


def packages(subject: Subject) -> Iterator[Figure]:
    """Accept beside 2,000 packages and beside one: two daemons that are asked in turn."""
    with scratch() as small, scratch() as large:
        add_flow(small, "one", "one.go")
        for n in range(MANY_PACKAGES):
            add_flow(large, f"f{n:04}", f"type.{n}")
        with running(subject, small) as few, running(subject, large) as many:
            p50_ms: dict[int, list[float]] = {few.pid: [], many.pid: []}
            cpu_ms = {few.pid: 0.0, many.pid: 0.0}
            for block in range(BLOCKS):
                # Who is asked first changes from block to block: what the machine does meanwhile hits both alike.
                for daemon in (few, many) if block % 2 else (many, few):
                    before_s = cpu_s(daemon.pid)
                    sent = _send(daemon, f"block{block}", 200, 1)
                    if block:  # the first one warms them up
                        p50_ms[daemon.pid].append(sent.percentile_ms(0.5))
                        cpu_ms[daemon.pid] += (cpu_s(daemon.pid) - before_s) / (BLOCKS - 1) / 200 * 1000
    rival = {"1 package": median(p50_ms[few.pid])}
    yield Figure("accept with 2,000 packages, p50", median(p50_ms[many.pid]), "ms", rival)
    yield Figure("daemon's CPU an accept, 2,000 packages", cpu_ms[many.pid], "ms", {"1 package": cpu_ms[few.pid]})
