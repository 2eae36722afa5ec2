"""All figures of a daemon, measured where they come up."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from flowd.api.http.tally import HttpFigures
from flowd.api.metrics import families
from flowd.api.metrics.exposition import slices
from flowd.api.metrics.family import Measured, each, one
from flowd.api.shapes.daemon import FigureView, StatusView
from flowd.api.subscriptions import Subscriptions
from flowd.api.unix_socket import UnixServer
from flowd.daemon import loop_lag
from flowd.domain.hosts import Unserved
from flowd.domain.queue_view import Depth
from flowd.domain.tallies import Histogram
from flowd.keeper.capabilities import now_s
from flowd.wiring import Parts

_WAITS_FOR = ("place", "needs", "person", "time", "pause", "key", "package")


class Metrics:
    """Measures what `flowd.api.metrics.families` declares. Nobody who asks for it holds up the loop."""

    def __init__(
        self,
        parts: Parts,
        server: UnixServer,
        subscriptions: Subscriptions,
        *,
        http: Callable[[], HttpFigures],
    ) -> None:
        self._parts = parts
        self._server = server
        self._subscriptions = subscriptions
        self._http = http
        self._lag_s = Histogram(loop_lag.BOUNDS_S)

    async def watch_loop(self) -> None:
        """Measure how late the loop is until this is cancelled."""
        await loop_lag.measure(self._lag_s)

    async def measure(self, status: StatusView) -> list[Measured]:
        """All figures as they are now, in the order of their declarations; some are in the status already."""
        depths = await self._parts.store.depths()
        unserved = await self._parts.engine.reads.unserved_runs()
        hosts = await self._parts.engine.hosts.list()
        tallies, flows = self._parts.engine.tallies, [flow.name for flow in self._parts.catalog.snapshot.flows]
        for settling in (tallies.matches.settle(flows), tallies.failures.settle(flows), tallies.ends.settle()):
            for _ in settling:
                await asyncio.sleep(0)
        return [
            *self._of_daemon(status),
            each(families.HOST_UP, {host.name: int(host.state.is_up) for host in hosts}),
            *self._of_leases(),
            *self._of_work(status),
            *self._of_queue(status, depths, unserved),
            *self._of_database(status),
            *self._of_packages(status),
            *await self._of_notices(),
            *self._of_connections(),
        ]

    def _of_daemon(self, status: StatusView) -> Iterator[Measured]:
        keeper = status.keeper or {}
        yield each(families.INFO, {status.version: 1})
        yield one(families.UPTIME, (status.uptime_ms or 0) / 1000)
        yield one(families.READY, int(status.state == "ready"))
        yield one(families.RESIDENT, status.rss_bytes or 0)
        yield one(families.CPU, time.process_time())
        yield one(families.LOOP_LAG, self._lag_s)
        yield one(families.KEEPER_UP, int("pid" in keeper))
        yield one(families.KEEPER_RESTARTS, keeper.get("restarts", 0))
        yield one(families.KEEPER_RESIDENT, keeper.get("rssBytes"))
        yield one(families.TROUBLES, len(status.troubles or ()))

    def _of_work(self, status: StatusView) -> Iterator[Measured]:
        tallies = self._parts.engine.tallies
        yield one(families.EVENTS, status.events)
        yield each(families.ACCEPTS, tallies.accepts)
        yield one(families.ACCEPT_TIME, tallies.accept_s)
        yield Measured(families.MATCHES, tallies.matches.told())
        yield one(families.REPLAYS, tallies.replays)
        yield each(families.RUNS, status.runs)
        yield Measured(families.ENDS, tallies.ends.told())
        yield Measured(families.FAILURES, tallies.failures.told())
        yield one(families.START_DELAY, tallies.wait_s)
        yield each(families.ATTEMPT_TIME, tallies.attempt_s)
        yield each(families.OUTPUT, tallies.output_bytes)

    def _of_leases(self) -> Iterator[Measured]:
        tallies = self._parts.engine.tallies
        age_s = None if tallies.renewed_s is None else max(0.0, now_s() - tallies.renewed_s)
        yield one(families.LEASE_AGE, age_s)
        yield one(families.LEASES_LOST, tallies.leases_lost)

    def _of_queue(
        self, status: StatusView, depths: list[Depth], unserved: Mapping[Unserved, int]
    ) -> Iterator[Measured]:
        now_ms, by_kind = time.time_ns() // 1_000_000, {depth.waits_for: depth for depth in depths}
        ages_s = {kind: max(0, now_ms - depth.since_ms) / 1000 for kind, depth in by_kind.items()}
        limits = status.limits or {}
        yield each(families.QUEUE, {kind: by_kind[kind].runs if kind in by_kind else 0 for kind in _WAITS_FOR})
        yield each(families.QUEUE_AGE, {kind: ages_s.get(kind, 0.0) for kind in _WAITS_FOR})
        yield each(families.UNSERVED, {why.value: runs for why, runs in unserved.items()})
        yield one(families.CLAIM_TIME, self._parts.engine.tallies.claim_s)
        yield one(families.WAITING, status.waiting)
        yield one(families.ASKING, 0 if status.attention is None else status.attention.count)
        yield one(families.WAITING_FOR_STORAGE, status.waiting_for_storage)
        yield one(families.PAUSES, len(status.pauses))
        yield one(families.MAX_PARALLEL, limits.get("maxParallel"))
        yield one(families.MAX_QUEUED, limits.get("maxQueued"))
        yield one(families.MAX_WAITING, limits.get("maxWaiting"))

    def _of_database(self, status: StatusView) -> Iterator[Measured]:
        tallies, files = self._parts.store.tallies, status.database or {}
        parts = {"main": "bytes", "wal": "walBytes", "free": "freeBytes"}
        yield one(families.COMMIT_TIME, tallies.commit_s)
        yield one(families.WRITES, tallies.operations)
        yield one(families.RECONNECTS, self._parts.store.reconnects)
        yield each(families.DATABASE, {part: files[member] for part, member in parts.items() if member in files})

    def _of_packages(self, status: StatusView) -> Iterator[Measured]:
        catalog = self._parts.catalog
        yield each(families.PACKAGES, status.catalog or {})
        yield one(families.WATCHED, int(catalog.is_watched))
        yield one(families.LOOK_TIME, catalog.tallies.look_s)
        yield one(families.CATALOG_CHANGES, catalog.tallies.changes)

    async def _of_notices(self) -> list[Measured]:
        notices = self._parts.engine.notices
        counts, names = await notices.counts(), list(notices.notifiers)
        return [
            each(families.NOTICES_SENT, {name: notices.health(name).sent for name in names}),
            each(families.NOTICES_FAILED, {name: notices.health(name).failed for name in names}),
            each(families.NOTICES_WAITING, {name: counts[name].waiting if name in counts else 0 for name in names}),
        ]

    def _of_connections(self) -> Iterator[Measured]:
        http = self._http()
        yield one(families.SOCKET_CONNECTIONS, self._server.connections)
        yield one(families.SUBSCRIPTIONS, self._subscriptions.open_count)
        yield one(families.HTTP_CONNECTIONS, http.connections)
        yield one(families.HTTP_STREAMS, http.streams)
        requests = [((route, str(code)), count) for (route, code), count in sorted(http.tally.requests.items())]
        yield Measured(families.HTTP_REQUESTS, requests)
        yield each(families.HTTP_TIME, http.tally.seconds)


async def metrics_view(measured: Sequence[Measured]) -> dict[str, list[FigureView]]:
    """The same numbers for JSON, by name. Others have their turns meanwhile."""
    view: dict[str, list[FigureView]] = {}
    for _, samples, _ in slices(measured):
        for sample in samples:
            view.setdefault(sample.name, []).append(FigureView(sample.value, dict(sample.labels) or None))
        await asyncio.sleep(0)
    return view
