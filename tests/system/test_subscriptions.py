"""flow.subscribe against the real daemon: complete and once over kill -9, slow readers, filters, limits, ends."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from daemon_rig import Workspace, say, until

from flowd_client import create_async_flow_client
from flowd_client.errors import CallError, ConnectionLostError, CursorExpiredError, NotFoundError
from flowd_client.views.update import UpdateView


class Listener:
    """A raw connection, with either framing."""

    def __init__(self, place: Workspace, *, is_lsp: bool = False) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(60)
        self.sock.connect(str(place.socket))
        self.file = self.sock.makefile("rb")
        self.is_lsp = is_lsp
        self.last_id = 0

    def send(self, method: str, **params: Any) -> int:
        self.last_id += 1
        self.send_raw({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params})
        return self.last_id

    def send_raw(self, message: object) -> None:
        body = json.dumps(message).encode()
        self.sock.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body) if self.is_lsp else body + b"\n")

    def read(self) -> Any:
        if not self.is_lsp:
            return json.loads(self.file.readline())
        length = int(self.file.readline().split(b":")[1])
        assert self.file.readline() == b"\r\n"
        return json.loads(self.file.read(length))

    def call(self, method: str, **params: Any) -> Any:
        self.send(method, **params)
        answer = self.read()
        assert answer["id"] == self.last_id
        return answer.get("result") or answer["error"]

    def updates(self, count: int) -> list[dict[str, Any]]:
        found = [self.read() for _ in range(count)]
        assert all(message["method"] == "flow.update" for message in found)
        return [message["params"] for message in found]

    def close(self) -> None:
        self.file.close()
        self.sock.close()


@contextlib.contextmanager
def listening(place: Workspace, *, is_lsp: bool = False) -> Iterator[Listener]:
    listener = Listener(place, is_lsp=is_lsp)
    try:
        yield listener
    finally:
        listener.close()


def dispatch(place: Workspace, *ids: str, kind: str = "work.go") -> list[str]:
    with place.client() as client:
        return [client.dispatch_event({"id": event_id, "type": kind, "payload": {}}).run_ids[0] for event_id in ids]


def story(updates: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(update["kind"], update.get("status") or update["event"]["id"]) for update in updates]


@pytest.mark.parametrize("is_lsp", [False, True])
def test_an_event_and_its_run_are_told_in_order_with_the_connections_framing(place: Workspace, is_lsp: bool) -> None:
    place.flow("work", say("changed"))
    place.start()
    with listening(place, is_lsp=is_lsp) as listener:
        answer = listener.call("flow.subscribe")
        (run_id,) = dispatch(place, "e1")
        updates = listener.updates(4)
        assert story(updates) == [("event", "e1"), ("run", "queued"), ("run", "running"), ("run", "completed")]
        assert {update["subscription"] for update in updates} == {answer["subscription"]}
        cursors = [answer["cursor"], *(update["cursor"] for update in updates)]
        assert len(set(cursors)) == 5
        assert updates[0]["event"]["runIds"] == [run_id]
        assert "payload" not in updates[0]["event"]
        assert updates[3]["run"]["id"] == run_id
        assert (updates[3]["run"]["effectiveStatus"], updates[3]["attempt"]) == ("changed", 1)
        assert "output" not in updates[3]["run"]


def test_the_answer_comes_before_the_first_update_even_of_a_batch(place: Workspace) -> None:
    place.flow("work", say("changed"))
    place.start()
    with listening(place) as first:
        start = first.call("flow.subscribe")["cursor"]
    dispatch(place, *(f"e{n}" for n in range(5)))
    with listening(place) as listener:
        params = {"topics": ["event"], "after": start}
        listener.send_raw(
            [
                {"jsonrpc": "2.0", "id": 1, "method": "flow.subscribe", "params": params},
                {"jsonrpc": "2.0", "id": 2, "method": "flow.listEvents"},
                {"jsonrpc": "2.0", "id": 3, "method": "flow.subscribe", "params": params},
            ]
        )
        batch = listener.read()
        names = {batch[0]["result"]["subscription"], batch[2]["result"]["subscription"]}
        updates = listener.updates(10)
        assert {update["subscription"] for update in updates} == names
        for name in names:
            assert [u["event"]["id"] for u in updates if u["subscription"] == name] == [f"e{n}" for n in range(5)]


def test_over_kill_9_under_load_a_reader_that_resumes_hears_everything_once(place: Workspace) -> None:
    place.flow("work", f"sleep 0.1; {say('changed')}")
    place.start(FLOWD_MAX_PARALLEL="4")
    heard: list[UpdateView] = []
    ids = [f"e{n}" for n in range(60)]

    def listen() -> None:
        with place.client() as client, client.subscribe(["event", "run"], reconnect_s=20) as updates:
            ready.set()
            done: set[str] = set()
            while len(done) < len(ids):
                update = next(updates)
                heard.append(update)
                if update.kind == "run" and update.status == "completed":
                    assert update.run_id is not None
                    done.add(update.run_id)

    ready = threading.Event()
    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert ready.wait(60)
    for begin in (0, 20, 40):
        dispatch(place, *ids[begin : begin + 20])
        until(lambda begin=begin: len(heard) > 3 * begin + 10, what="some updates")
        place.kill()
        place.start(FLOWD_MAX_PARALLEL="4")
    thread.join(40)
    assert not thread.is_alive(), place.log()[-2000:]
    cursors = [int(update.cursor[1:]) for update in heard]
    assert cursors == sorted(set(cursors))
    assert [update.event.id for update in heard if update.event] == ids
    told = [(update.run_id, update.status) for update in heard if update.kind == "run"]
    runs = {run_id for run_id, _ in told}
    assert len(runs) == 60
    for run_id in runs:
        of_run = [status for told_id, status in told if told_id == run_id]
        assert (of_run[0], of_run[-1], of_run.count("completed")) == ("queued", "completed", 1)
    with place.database() as db:
        rows = {row[0] for row in db.execute("SELECT cursor FROM journal WHERE kind <> 'flow'")}
    assert set(cursors) == {cursor for cursor in rows if cursor <= cursors[-1]}


def test_a_reader_that_does_not_read_costs_no_memory_and_gets_everything_later(place: Workspace) -> None:
    place.start()
    assert place.process is not None
    daemon = psutil.Process(place.process.pid)
    subscriptions, count, batch = 8, 3_000, 500
    with listening(place) as listener, listening(place) as sender:
        names = [listener.call("flow.subscribe", topics=["event"])["subscription"] for _ in range(subscriptions)]
        before = daemon.memory_info().rss
        for begin in range(0, count, batch):
            # Of 4,000 characters, so that 96 MB of updates are due.
            events = [{"id": f"n{n}", "type": "none", "source": "s" * 4000} for n in range(begin, begin + batch)]
            sender.send_raw(
                [{"jsonrpc": "2.0", "id": 1, "method": "flow.dispatch", "params": {"event": event}} for event in events]
            )
            assert len(sender.read()) == batch
        grown = daemon.memory_info().rss - before
        heard: dict[str, list[str]] = {name: [] for name in names}
        for update in listener.updates(subscriptions * count):
            heard[update["subscription"]].append(update["event"]["id"])
    assert grown < 40 * 1024 * 1024, f"{grown / 2**20:.0f} MiB"
    # Those of one batch are accepted at the same time, in any order.
    assert all(sorted(ids) == sorted(f"n{n}" for n in range(count)) for ids in heard.values())
    assert len({tuple(ids) for ids in heard.values()}) == 1


def test_a_reader_far_behind_is_told_so_once(place: Workspace) -> None:
    place.start()
    assert place.stop() == 0
    with place.database() as db:
        db.executemany(
            "INSERT INTO journal (at_ms, kind, flow_name, status) VALUES (?, 'flow', 'f', 'ok')",
            [(n,) for n in range(30_000)],
        )
    place.start()
    with listening(place) as listener:
        listener.call("flow.subscribe", after="j0")
        first, *rest = listener.updates(30_001)
    assert (first["kind"], first["behind"]) == ("lagging", 30_000)
    assert {update["kind"] for update in rest} == {"flow"}


def test_filters_by_run_by_event_and_by_topic(place: Workspace) -> None:
    place.flow("work", say("changed"))
    place.flow("other", say("completed"))
    place.start()
    with listening(place) as by_event, listening(place) as by_topic, listening(place) as by_run:
        by_event.call("flow.subscribe", eventId="e2")  # it is yet to come
        by_topic.call("flow.subscribe", topics=["event"])
        start = by_run.call("flow.subscribe", topics=["flow"])["cursor"]
        runs = dispatch(place, "e1", "e2", "e3")
        assert story(by_event.updates(4))[0] == ("event", "e2")
        assert [update["event"]["id"] for update in by_topic.updates(3)] == ["e1", "e2", "e3"]
        by_run.call("flow.subscribe", runId=runs[2], after=start)
        assert story(by_run.updates(3)) == [("run", "queued"), ("run", "running"), ("run", "completed")]
        place.flow("other", say("failed"))
        (update,) = by_run.updates(1)
        assert (update["kind"], update["flowName"], update["status"]) == ("flow", "other", "ok")
        (place.path / "flows/other/flow.toml").write_text("name = ", encoding="utf-8")
        (update,) = by_run.updates(1)
        assert (update["flowName"], update["status"], update["broken"][0]["stale"]) == ("other", "stale", True)


def test_a_flow_that_changed_while_no_daemon_ran_is_told(place: Workspace) -> None:
    place.flow("work", say("changed"))
    place.flow("gone", say("changed"))
    place.start()
    with listening(place) as listener:
        until(lambda: journaled_flows(place) == 2, what="both packages in the journal")
        after = listener.call("flow.subscribe")["cursor"]
    place.kill()
    for file in (place.path / "flows/gone").iterdir():
        file.unlink()
    (place.path / "flows/gone").rmdir()
    place.start()
    with listening(place) as listener:
        listener.call("flow.subscribe", after=after)
        (update,) = listener.updates(1)
        assert (update["flowName"], update["status"]) == ("gone", "removed")


def journaled_flows(place: Workspace) -> int:
    with place.database() as db:
        return int(db.execute("SELECT count(*) FROM journal WHERE kind = 'flow'").fetchone()[0])


def test_after_unsubscribing_nothing_comes_and_the_rest_goes_on(place: Workspace) -> None:
    place.start()
    with listening(place) as listener:
        gone = listener.call("flow.subscribe")["subscription"]
        stays = listener.call("flow.subscribe")["subscription"]
        assert listener.call("flow.unsubscribe", subscription=gone) == {"subscription": gone}
        assert listener.call("flow.unsubscribe", subscription=gone)["data"]["slug"] == "subscription_not_found"
        place.call("flow.dispatch", event={"id": "e1", "type": "none"})
        place.call("flow.dispatch", event={"id": "e2", "type": "none"})
        assert [update["subscription"] for update in listener.updates(2)] == [stays, stays]


def test_too_many_subscriptions_are_refused_and_ended_ones_free_their_places(place: Workspace) -> None:
    place.start()
    with listening(place) as listener:
        names = [listener.call("flow.subscribe")["subscription"] for _ in range(32)]
        assert listener.call("flow.subscribe")["data"]["slug"] == "too_many_subscriptions"
        listener.call("flow.unsubscribe", subscription=names[0])
        assert "subscription" in listener.call("flow.subscribe")
    with listening(place) as listener:
        assert "subscription" in listener.call("flow.subscribe")


def test_an_expired_or_foreign_cursor_is_refused_with_the_oldest_and_the_remedy(place: Workspace) -> None:
    place.start()
    for n in range(5):
        place.call("flow.dispatch", event={"id": f"e{n}", "type": "none"})
    assert place.stop() == 0
    with place.database() as db:
        db.execute("DELETE FROM journal WHERE cursor <= 3")
    place.start()
    with place.client() as client:
        with pytest.raises(CursorExpiredError, match="subscribe without a cursor") as caught:
            client.subscribe(after="j2")
        assert caught.value.data["oldest"] == "j3"
        with client.subscribe(["event"], after="j3") as updates:
            assert [next(updates).cursor for _ in range(2)] == ["j4", "j5"]
        with pytest.raises(CursorExpiredError, match="replaced"):
            client.subscribe(after="j999")
        with pytest.raises(CallError, match="none that an update had"):
            client.subscribe(after="7")
        with pytest.raises(NotFoundError):
            client.subscribe(run_id="run_nope")


def test_a_client_that_closed_its_writing_side_still_hears(place: Workspace) -> None:
    place.start()
    with listening(place) as listener:
        listener.send("flow.subscribe", topics=["event"])
        listener.sock.shutdown(socket.SHUT_WR)
        assert "result" in listener.read()
        place.call("flow.dispatch", event={"id": "e1", "type": "none"})
        assert listener.updates(1)[0]["event"]["id"] == "e1"


def test_the_async_client_resumes_and_gives_up_in_time(place: Workspace) -> None:
    place.start()

    async def listen() -> list[str]:
        async with create_async_flow_client(workspace=place.path) as client:
            async with client.subscribe(["event"], reconnect_s=1) as updates:
                await client.dispatch_event({"id": "e1", "type": "none"})
                heard = [(await anext(updates)).event]
                await asyncio.to_thread(place.kill)
                await asyncio.to_thread(place.start)
                await client.dispatch_event({"id": "e2", "type": "none"})
                heard.append((await anext(updates)).event)
                await asyncio.to_thread(place.kill)
                with pytest.raises(ConnectionLostError):
                    await anext(updates)
            return [item.id for item in heard if item]

    assert asyncio.run(listen()) == ["e1", "e2"]


def test_closing_from_another_thread_ends_the_iterator(place: Workspace) -> None:
    place.start()
    with place.client() as client:
        updates = client.subscribe()
        thread = threading.Thread(target=lambda: heard.extend(updates), daemon=True)
        heard: list[UpdateView] = []
        thread.start()
        place.call("flow.dispatch", event={"id": "e1", "type": "none"})
        until(lambda: heard, what="the first update")
        updates.close()
        thread.join(60)
        assert not thread.is_alive()
        assert len(heard) == 1


def test_a_reader_that_was_too_slow_for_the_journal_is_told_so_at_the_end(place: Workspace) -> None:
    place.start()
    with listening(place) as listener, listening(place) as sender:
        listener.call("flow.subscribe", topics=["event"])
        # More than sockets and buffers hold, so that it stands still in the middle.
        events = [{"id": f"n{n}", "type": "none", "source": "s" * 4000} for n in range(1000)]
        sender.send_raw(
            [{"jsonrpc": "2.0", "id": 1, "method": "flow.dispatch", "params": {"event": event}} for event in events]
        )
        assert len(sender.read()) == 1000
        with place.database() as db:
            db.execute("DELETE FROM journal WHERE cursor < 1000")
        heard: list[dict[str, Any]] = []
        while not heard or heard[-1]["kind"] != "ended":
            heard += listener.updates(1)
    assert 0 < len(heard) < 1000
    assert heard[-1]["error"]["data"]["slug"] == "cursor_expired"
    assert heard[-1]["cursor"] == heard[-2]["cursor"]
