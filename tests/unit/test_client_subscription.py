"""A subscription's own memory: what it goes on from after a lost connection."""

from typing import Any

from flowd_client.subscription import Subscription


def subscription() -> Subscription:
    return Subscription(topics=["run", "output"], run_id=None, event_id=None, after="j1")


def output(cursor: str, stream: str, next_offset: int, *, eof: bool) -> dict[str, Any]:
    whose = {"runId": "r", "attempt": 1, "stream": stream}
    return {"cursor": cursor, "kind": "output", **whose, "nextOffset": next_offset, "eof": eof}


def test_the_ends_of_streams_are_told_once_when_the_connection_is_lost_before_the_runs_end() -> None:
    one = subscription()
    assert one.take(output("j2", "stdout", 4, eof=True))
    assert one.take(output("j2", "stderr", 0, eof=True))
    assert one.params["places"] == [{"runId": "r", "attempt": 1, "stdout": 4, "stderr": 0}]
    assert not one.take(output("j2", "stdout", 4, eof=True))  # the next daemon tells them again
    assert not one.take(output("j2", "stderr", 0, eof=True))
    assert one.take({"cursor": "j3", "kind": "run"})
    assert "places" not in one.params


def test_a_stream_whose_end_was_not_heard_goes_on_where_it_was() -> None:
    one = subscription()
    assert one.take(output("j2", "stdout", 4, eof=True))
    assert not one.take(output("j2", "stdout", 4, eof=True))
    assert one.take(output("j2", "stderr", 2, eof=True))
    assert one.params["places"] == [{"runId": "r", "attempt": 1, "stdout": 4, "stderr": 2}]
