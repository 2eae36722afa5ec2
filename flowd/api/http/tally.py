"""Counts requests over HTTP."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


class RequestTally:
    """Counts answered requests by route: a template, never a path, so that there are few.

    Attributes:
        requests: How many, by route and status.
        seconds: Time that was spent on them, by route.
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.seconds: dict[str, float] = {}

    def note(self, route: str, status: int, seconds: float) -> None:
        """A request has had its response."""
        self.requests[route, status] += 1
        self.seconds[route] = self.seconds.get(route, 0.0) + seconds


@dataclass(frozen=True, slots=True)
class HttpFigures:
    """How HTTP is used: connections that are open, readers that follow something, and requests so far."""

    connections: int = 0
    streams: int = 0
    tally: RequestTally = field(default_factory=RequestTally)


def total(servers: Iterable[HttpFigures]) -> HttpFigures:
    """Those of all servers together."""
    connections, streams, tally = 0, 0, RequestTally()
    for one in servers:
        connections += one.connections
        streams += one.streams
        tally.requests.update(one.tally.requests)
        for route, seconds in one.tally.seconds.items():
            tally.seconds[route] = tally.seconds.get(route, 0.0) + seconds
    return HttpFigures(connections, streams, tally)
