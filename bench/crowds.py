"""Clients that make very many events and runs at once, as large as they may be. Standard library alone."""

import json
import socket
import sys
from collections.abc import Callable
from typing import Any

EVENTS, RUNS = 9_900, 5_000
"""In a ``next``: a tree has 10,000 at most, of which no more make a run at once."""

FLOWS, STEPS = 50, 100
"""That one event matches: as many steps as that."""

_TIMES = 3


def _call(path: str, method: str, **params: Any) -> Any:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
        with connection.makefile("rb") as answers:
            answer = json.loads(answers.readline())
    if "error" in answer:
        raise SystemExit(f"{method} was refused: {answer['error']}")
    return answer["result"]


def _caused(path: str, event_type: str) -> None:
    for number in range(_TIMES):
        event = {"id": f"{event_type}-{number}", "type": event_type}
        (run,) = _call(path, "flow.dispatch", event=event, wait=True)["runs"]
        if run["status"] != "completed" or run.get("error"):
            raise SystemExit(f"nothing was caused: {run}")
        _call(path, "flow.cancelEvent", eventId=event["id"], tree=True)


def long_next(path: str) -> None:
    """A result that causes as many events and runs as it may, and a cancel of all of them."""
    _caused(path, "crowd.go")


def long_next_with_keys(path: str) -> None:
    """The same, and each run takes a key."""
    _caused(path, "keyed.go")


def wide_events(path: str) -> None:
    """An event that thousands of steps match, sent twice, replayed, and canceled."""
    for number in range(_TIMES):
        event = {"id": f"wide-{number}", "type": "wide"}
        for _ in range(2):
            _call(path, "flow.dispatch", event=event)
        _call(path, "flow.replay", eventId=event["id"])
        _call(path, "flow.cancelEvent", eventId=event["id"])


KINDS: dict[str, Callable[[str], None]] = {
    kind.__name__.replace("_", " "): kind for kind in (long_next, long_next_with_keys, wide_events)
}


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    print("begun", flush=True)
    KINDS[asked["kind"]](asked["socket"])
