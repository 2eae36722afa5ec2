"""Metrics for Prometheus, in its text format 0.0.4."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from flowd.api.shapes.daemon import StatusView

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts HTTP requests; all other figures are asked of the daemon when somebody looks."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: dict[str, float] = {}

    def note(self, route: str, status: int, seconds: float) -> None:
        """A request has had its response. ``route`` is a template, never a path: there are few of them."""
        self._requests[route, status] += 1
        self._seconds[route] = self._seconds.get(route, 0.0) + seconds

    def text(self, status: StatusView, *, connections: int, streams: int) -> str:
        """The whole page.

        Args:
            status: What ``daemon.status`` tells.
        """
        return "\n".join(self._lines(status, connections, streams)) + "\n"

    def _lines(self, status: StatusView, connections: int, streams: int) -> Iterator[str]:
        yield from _family("flowd_info", "gauge", "What runs.", [({"version": status.version}, 1)])
        yield from _family("flowd_uptime_seconds", "gauge", "Since the start.", [({}, (status.uptime_ms or 0) / 1000)])
        yield from _family("flowd_ready", "gauge", "0 while draining.", [({}, int(status.state == "ready"))])
        yield from _family("flowd_resident_bytes", "gauge", "Memory of the daemon.", [({}, status.rss_bytes or 0)])
        keeper = status.keeper or {}
        yield from _family("flowd_keeper_up", "gauge", "Whether the keeper is there.", [({}, int("pid" in keeper))])
        about = "Keepers that took a dead one's place."
        yield from _family("flowd_keeper_restarts_total", "counter", about, [({}, keeper.get("restarts", 0))])
        if "rssBytes" in keeper:
            yield from _family("flowd_keeper_resident_bytes", "gauge", "Its memory.", [({}, keeper["rssBytes"])])
        yield from _family("flowd_events", "gauge", "Stored events.", [({}, status.events)])
        runs = [({"status": name}, count) for name, count in sorted(status.runs.items())]
        yield from _family("flowd_runs", "gauge", "Stored runs by process status; queued is the queue.", runs)
        about = "Runs whose start or end cannot be written down: a full disk, a locked database."
        yield from _family("flowd_runs_waiting_for_storage", "gauge", about, [({}, status.waiting_for_storage)])
        about = "Queued runs that wait for something else than a place."
        yield from _family("flowd_runs_waiting", "gauge", about, [({}, status.waiting)])
        asking = 0 if status.attention is None else status.attention.count
        yield from _family("flowd_runs_asking", "gauge", "Runs that ask for a person.", [({}, asking)])
        limits = status.limits or {}
        yield from _family("flowd_max_parallel", "gauge", "Runs at once.", [({}, limits["maxParallel"])])
        yield from _family("flowd_max_queued", "gauge", "Runs that may be ready.", [({}, limits["maxQueued"])])
        yield from _family("flowd_max_waiting", "gauge", "Runs that may wait.", [({}, limits["maxWaiting"])])
        packages = [({"state": name}, count) for name, count in sorted((status.catalog or {}).items())]
        yield from _family("flowd_packages", "gauge", "Flow packages.", packages)
        yield from _family("flowd_http_connections", "gauge", "Open now.", [({}, connections)])
        yield from _family("flowd_http_streams", "gauge", "Readers that follow something.", [({}, streams)])
        requests = [({"route": route, "status": str(code)}, n) for (route, code), n in sorted(self._requests.items())]
        yield from _family("flowd_http_requests_total", "counter", "Answered requests.", requests)
        seconds = [({"route": route}, total) for route, total in sorted(self._seconds.items())]
        yield from _family("flowd_http_request_seconds_total", "counter", "Time spent on them.", seconds)


def _family(name: str, kind: str, about: str, samples: Sequence[tuple[Mapping[str, str], float]]) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"
    for labels, number in samples:
        inside = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())
        shown = str(number) if isinstance(number, int) else f"{number:.6f}"
        yield f"{name}{{{inside}}} {shown}" if inside else f"{name} {shown}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
