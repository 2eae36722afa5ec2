"""Requests of all servers are told as one."""

from flowd.api.http.tally import HttpFigures, RequestTally, total


def test_what_two_servers_have_counted_is_added_and_neither_is_changed() -> None:
    one, other = RequestTally(), RequestTally()
    one.note("GET /runs", 200, 0.5)
    for status in (200, 404):
        other.note("GET /runs", status, 0.25)
    other.note("GET /ui/", 200, 1.0)
    both = total([HttpFigures(1, 2, one), HttpFigures(3, 4, other), HttpFigures()])
    assert (both.connections, both.streams) == (4, 6)
    assert both.tally.requests == {("GET /runs", 200): 2, ("GET /runs", 404): 1, ("GET /ui/", 200): 1}
    assert both.tally.seconds == {"GET /runs": 1.0, "GET /ui/": 1.0}
    assert (one.requests, one.seconds) == ({("GET /runs", 200): 1}, {"GET /runs": 0.5})
