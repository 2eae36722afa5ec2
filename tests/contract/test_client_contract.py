"""One suite for the client library: socket, HTTP and local mode, blocking and asyncio, held to the same behaviour."""

import asyncio
import threading
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from client_rig import KINDS, Kind, opened, options_of
from daemon_rig import Workspace, say, until, workspace

from flowd.domain.ids import run_id
from flowd_client import (
    ConflictError,
    DispatchView,
    EventView,
    FlowClientError,
    InvalidCallError,
    NotFoundError,
    RunView,
    TimedOutError,
    create_async_flow_client,
)
from flowd_client.views.update import UpdateView

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_numbers = count(1)


def new_id(name: str) -> str:
    """Ids with the characters that feeds put into theirs."""
    return f"patch:{name}/é ?&%2F#{next(_numbers)}"


def fill(place: Workspace) -> None:
    """The packages that every client sees."""
    place.flow("hello", f"echo out; echo err >&2; {say('changed', message='done', artifacts={'n': 1})}")
    place.flow("stuck", say("blocked", message="ask somebody"))
    place.flow("broken", f"echo why >&2; {say('completed')}; exit 3")
    place.flow("slow", "echo begun; sleep 60")
    far = """echo "trace=$TRACEPARENT"; echo 'FLOW_PROGRESS {"percent": 40, "message": "half"}'; sleep 60"""
    place.flow("far", far)
    place.flow("drip", f"for n in 1 2 3; do echo $n; sleep 0.05; done; {say('completed')}")


@pytest.fixture(scope="module")
def served() -> Iterator[Workspace]:
    """A workspace with a daemon that also serves HTTP."""
    with workspace() as place:
        fill(place)
        place.start(FLOWD_HTTP="127.0.0.1:0")
        yield place


@pytest.fixture(scope="module")
def unserved() -> Iterator[Workspace]:
    """The same without a daemon."""
    with workspace() as place:
        fill(place)
        yield place


@pytest.fixture(params=KINDS, ids=str, scope="module")
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    kind: Kind = request.param
    place: Workspace = request.getfixturevalue("unserved" if kind.mode == "local" else "served")
    with opened(kind, options_of(kind, place)) as made:
        yield made


def dispatch(client: Any, name: str, *, wait: bool = True, **more: Any) -> DispatchView:
    answer = client.dispatch_event({"id": new_id(name), "type": f"{name}.go", **more}, wait=wait)
    assert isinstance(answer, DispatchView)
    return answer


def test_a_dispatch_that_waits_answers_with_how_its_runs_ended(client: Any) -> None:
    answer = dispatch(client, "hello", payload={"n": [1, None, "é"]})
    assert (answer.status, answer.matched, answer.timed_out) == ("accepted", 1, False)
    assert answer.run_ids == (run_id(answer.event_id, "hello", "main"),)
    (run,) = answer.runs
    assert isinstance(run, RunView)
    assert (run.process_status, run.status, run.needs_attention) == ("completed", "changed", False)
    assert run.result_payload == {"status": "changed", "message": "done", "artifacts": {"n": 1}}
    assert answer.event is not None
    assert answer.event.payload == {"n": [1, None, "é"]}


def test_a_run_is_read_with_its_attempts_and_output(client: Any) -> None:
    run = client.get_run(dispatch(client, "hello").run_ids[0], definition=True)
    assert run.definition is not None
    assert run.definition["packageHash"] == run.package_hash
    assert client.get_run(run.id).definition is None
    assert [(entry.kind, entry.text.splitlines()[0]) for entry in run.output] == [("stdout", "out"), ("stderr", "err")]
    assert run.latest_output.text == "err\n"
    assert (run.attempt_count, run.attempts[0].exit_code, run.attempts[0].id) == (1, 0, run.id)
    assert run.created_at is not None
    assert run.completed_at is not None
    assert run.started_at <= run.completed_at
    assert run.raw["id"] == run.id


def test_a_run_says_how_far_it_is_and_its_step_has_the_trace_of_its_event(client: Any) -> None:
    event = {"id": new_id("far"), "type": "far.go"}
    (id_,) = client.dispatch_event(event, traceparent=TRACE).run_ids
    assert until(lambda: client.get_run(id_).progress) == {"percent": 40, "message": "half"}
    assert f"trace={TRACE}\n" in client.get_run(id_).output[0].text
    assert client.get_event(event["id"]).traceparent == TRACE
    client.cancel_run(id_)
    assert client.wait_run(id_).progress == {}


def test_what_is_no_traceparent_is_refused(client: Any) -> None:
    with pytest.raises(InvalidCallError, match="traceparent"):
        client.dispatch_event({"id": new_id("far"), "type": "far.go"}, traceparent="00-abc")


def test_a_blocked_run_needs_attention_and_a_failed_one_does_not(client: Any) -> None:
    (stuck,) = dispatch(client, "stuck").runs
    assert (stuck.process_status, stuck.effective_status, stuck.needs_attention) == ("completed", "blocked", True)
    (broken,) = dispatch(client, "broken").runs
    assert (broken.status, broken.needs_attention, broken.reason, broken.exit_code) == ("failed", False, "exit", 3)
    # A success that a failed process printed never looks like one.
    assert broken.result_payload is None
    assert broken.reported_result == {"status": "completed"}
    assert "why" in broken.error


def test_the_same_id_again_is_a_duplicate_with_the_original_runs(client: Any) -> None:
    event = {"id": new_id("hello"), "type": "hello.go"}
    first = client.dispatch_event(event, wait=True)
    again = client.dispatch_event(event)
    other = client.dispatch_event({**event, "payload": 2})
    assert (again.status, again.is_duplicate, again.matched, again.run_ids) == ("duplicate", True, 0, first.run_ids)
    assert (again.conflict, other.conflict, other.run_ids) == (False, True, first.run_ids)


def test_an_event_that_nothing_matches_is_stored_all_the_same(client: Any) -> None:
    answer = dispatch(client, "nothing", source="test", occurredAt="2026-01-01T00:00:00Z")
    assert (answer.status, answer.matched, answer.runs) == ("accepted", 0, ())
    event = client.get_event(answer.event_id)
    assert isinstance(event, EventView)
    assert (event.type, event.source, event.occurred_at) == ("nothing.go", "test", "2026-01-01T00:00:00Z")


def test_a_replay_makes_new_runs_that_tell_where_they_come_from(client: Any) -> None:
    first = dispatch(client, "hello")
    replay = client.replay_event(first.event_id, wait=True)
    (run,) = replay.runs
    assert run.id not in first.run_ids
    assert run.id.endswith("_replay")
    assert (run.is_replay, run.replay_of, run.status) == (True, first.run_ids[0], "changed")
    event = client.get_event(first.event_id)
    assert set(event.run_ids) == {run.id, *first.run_ids}
    assert {item.id for item in event.runs} == {run.id, *first.run_ids}
    only = client.replay_event(first.event_id, steps=["hello/main"], wait=True)
    assert only.matched == 1
    rest = client.replay_event(first.event_id, from_steps=["main"], wait=True)
    assert [(run.step_name, run.round) for run in rest.runs] == [("main", 4)]
    with pytest.raises(InvalidCallError, match="does not match 'other'"):
        client.replay_event(first.event_id, from_steps=["other"])


def test_lists_are_newest_first_and_filter(client: Any) -> None:
    _, first, second = (dispatch(client, flow) for flow in ("hello", "hello", "stuck"))
    events = client.list_events(limit=2)
    assert [event.id for event in events] == [second.event_id, first.event_id]
    assert events.next_cursor is not None
    assert client.list_events(limit=1, cursor=events.next_cursor)[0].id not in {first.event_id, second.event_id}
    assert [event.id for event in client.list_events(type="stuck.go", limit=1)] == [second.event_id]
    assert [run.id for run in client.list_runs(event_id=first.event_id)] == list(first.run_ids)
    assert [run.id for run in client.list_runs(status="blocked", limit=1)] == list(second.run_ids)
    assert [run.id for run in client.list_runs(flow="hello", limit=1)] == list(first.run_ids)
    assert client.list_runs(event_id=first.event_id)[0].output == ()


def test_a_dispatch_does_not_wait_unless_asked_and_its_run_can_be_canceled(client: Any) -> None:
    answer = dispatch(client, "slow", wait=False)
    assert not answer.runs[0].is_final
    assert not client.wait_run(answer.run_ids[0], timeout_ms=10).is_final
    run = client.cancel_run(answer.run_ids[0])
    assert (run.process_status, run.status, run.reason) == ("canceled", "canceled", "canceled")
    assert client.cancel_run(run.id).status == "canceled"


def test_waiting_ends_at_its_limit_and_says_so(client: Any) -> None:
    answer = client.dispatch_event({"id": new_id("slow"), "type": "slow.go"}, wait=True, timeout_ms=50)
    assert answer.timed_out
    assert not answer.runs[0].is_final
    assert [run.status for run in client.cancel_event(answer.event_id)] == ["canceled"]


def test_a_retry_is_another_attempt_of_the_same_run(client: Any) -> None:
    (run,) = dispatch(client, "broken").runs
    assert client.retry_run(run.id).id == run.id
    ended = client.wait_run(run.id)
    assert (ended.attempt_count, [attempt.id for attempt in ended.attempts]) == (2, [run.id, f"{run.id}:2"])


def test_output_is_followed_to_its_end_while_it_is_written(client: Any) -> None:
    answer = dispatch(client, "drip", wait=False)
    said = "".join(text for kind, text in client.follow_output(answer.run_ids[0]) if kind == "stdout")
    assert said.startswith("1\n2\n3\nFLOW_RESULT ")
    part = client.read_output(answer.run_ids[0], offset=2)
    assert (part.text[:4], part.offset, part.is_end) == ("2\n3\n", 2, True)
    data = client.read_output(answer.run_ids[0], encoding="base64").data
    assert data.startswith(b"1\n2\n")


def test_flows_are_listed_and_matches_explained(client: Any) -> None:
    assert {"hello", "slow"} <= {flow.name for flow in client.list_flows().flows}
    explained = client.explain({"id": "x", "type": "hello.go"})
    assert explained.matched == 1
    assert client.status()["version"]


@pytest.mark.parametrize(
    ("verb", "args", "kind", "slug", "text"),
    [
        ("get_run", ("no such",), NotFoundError, "run_not_found", "Unknown run: no such"),
        ("get_event", ("no/such",), NotFoundError, "event_not_found", "Unknown event: no/such"),
        ("replay_event", ("no such",), NotFoundError, "event_not_found", "Unknown event"),
        ("cancel_run", ("no such",), NotFoundError, "run_not_found", "Unknown run"),
        ("dispatch_event", ({"type": "t"},), InvalidCallError, "invalid_event", "requires string id and type"),
        ("dispatch_event", ({"id": "", "type": "t"},), InvalidCallError, "invalid_event", "id is empty"),
        ("list_runs", (), InvalidCallError, "invalid_params", "cursor"),
    ],
)
def test_refusals_have_the_same_class_slug_and_text(
    client: Any, verb: str, args: tuple[Any, ...], kind: type[FlowClientError], slug: str, text: str
) -> None:
    options = {"cursor": "none of ours"} if verb == "list_runs" else {}
    with pytest.raises(kind, match=text) as raised:
        getattr(client, verb)(*args, **options)
    assert raised.value.slug == slug


def test_what_is_no_json_is_refused_before_it_is_sent(client: Any) -> None:
    for value in (object(), float("nan"), {1, 2}, b"bytes"):
        for verb in (client.dispatch_event, client.explain):
            with pytest.raises(InvalidCallError, match="no JSON value") as raised:
                verb({"id": new_id("x"), "type": "t", "payload": value})
            assert (raised.value.slug, raised.value.code) == ("invalid_params", -32602)


def test_a_run_that_ended_is_not_canceled_and_one_that_ended_well_not_retried(client: Any) -> None:
    run = dispatch(client, "hello").run_ids[0]
    with pytest.raises(ConflictError) as raised:
        client.cancel_run(run)
    assert raised.value.slug == "run_finished"
    with pytest.raises(ConflictError) as raised:
        client.retry_run(run)
    assert raised.value.slug == "not_retryable"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.is_async], ids=str)
def test_a_wait_in_one_thread_does_not_delay_a_cancel_in_another(request: pytest.FixtureRequest, kind: Kind) -> None:
    place: Workspace = request.getfixturevalue("unserved" if kind.mode == "local" else "served")
    with opened(kind, options_of(kind, place)) as client:
        run = dispatch(client, "slow", wait=False).run_ids[0]
        ended: list[RunView] = []
        waiter = threading.Thread(target=lambda: ended.append(client.wait_run(run)))
        waiter.start()
        assert client.cancel_run(run).status == "canceled"
        waiter.join(60)
        assert [view.status for view in ended] == ["canceled"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.is_async], ids=str)
def test_many_calls_at_once_and_a_cancelled_one_leaves_the_others(request: pytest.FixtureRequest, kind: Kind) -> None:
    place: Workspace = request.getfixturevalue("unserved" if kind.mode == "local" else "served")

    async def run() -> None:
        async with create_async_flow_client(kind.mode, **options_of(kind, place)) as client:  # type: ignore[call-overload]
            slow = await client.dispatch_event({"id": new_id("slow"), "type": "slow.go"})
            waiting = asyncio.create_task(client.wait_run(slow.run_ids[0]))
            events = [{"id": new_id("hello"), "type": "hello.go"} for _ in range(8)]
            answers = await asyncio.gather(*(client.dispatch_event(event, wait=True) for event in events))
            assert [answer.runs[0].status for answer in answers] == ["changed"] * 8
            assert not waiting.done()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert (await client.cancel_run(slow.run_ids[0])).status == "canceled"

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_call_has_a_limit_and_the_client_works_after_it(request: pytest.FixtureRequest, kind: Kind) -> None:
    place: Workspace = request.getfixturevalue("unserved" if kind.mode == "local" else "served")
    with opened(kind, options_of(kind, place)) as client:
        run = dispatch(client, "slow", wait=False).run_ids[0]
        transport = (client._client if kind.is_async else client)._transport
        with pytest.raises(TimedOutError, match=r"within 0\.2 s") as raised:
            waiting = transport.call("flow.waitRun", {"runId": run}, timeout_s=0.2)
            if kind.is_async:
                client._runner.run(_awaited(waiting))
        assert raised.value.slug == "timed_out"
        assert client.cancel_run(run).status == "canceled"


async def _awaited(made: Any) -> Any:
    return await made


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_subscription_tells_an_event_and_its_run_to_the_end_and_goes_on_from_its_cursor(
    request: pytest.FixtureRequest, kind: Kind
) -> None:
    place: Workspace = request.getfixturevalue("unserved" if kind.mode == "local" else "served")
    if kind.is_async:
        asyncio.run(_hear_async(kind, place))
        return
    with opened(kind, options_of(kind, place)) as client:
        event = {"id": new_id("drip"), "type": "drip.go"}
        with client.subscribe(["event", "run", "output"], event_id=event["id"]) as updates:
            begin = updates.cursor
            client.dispatch_event(event)
            heard = [next(updates)]
            while not _is_over(heard):
                heard.append(next(updates))
        _check(heard)
        with client.subscribe(["event", "run"], event_id=event["id"], after=begin) as updates:
            assert next(updates).cursor == heard[0].cursor


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_subscription_can_begin_with_the_oldest_update(request: pytest.FixtureRequest, kind: Kind) -> None:
    place: Workspace = request.getfixturevalue("unserved" if kind.mode == "local" else "served")

    async def hear() -> tuple[str | None, list[str]]:
        async with create_async_flow_client(kind.mode, **options_of(kind, place)) as client:  # type: ignore[call-overload]
            await client.dispatch_event({"id": event_id, "type": "hello.go"}, wait=True)
            async with client.subscribe(["event", "run"], event_id=event_id, after="oldest") as updates:
                return updates.cursor, [(await anext(updates)).kind, (await anext(updates)).kind]

    event_id = new_id("hello")
    if kind.is_async:
        begin, heard = asyncio.run(hear())
    else:
        with opened(kind, options_of(kind, place)) as client:
            client.dispatch_event({"id": event_id, "type": "hello.go"}, wait=True)
            with client.subscribe(["event", "run"], event_id=event_id, after="oldest") as updates:
                begin, heard = updates.cursor, [next(updates).kind, next(updates).kind]
    assert heard == ["event", "run"]
    assert begin != "oldest", "what is passed as `after` another time is a cursor"


async def _hear_async(kind: Kind, place: Workspace) -> None:
    async with create_async_flow_client(kind.mode, **options_of(kind, place)) as client:  # type: ignore[call-overload]
        event = {"id": new_id("drip"), "type": "drip.go"}
        async with client.subscribe(["event", "run", "output"], event_id=event["id"]) as updates:
            begin = updates.cursor
            idle = asyncio.ensure_future(anext(updates))
            await asyncio.sleep(0)
            idle.cancel()  # a wait that is given up loses nothing
            with pytest.raises(asyncio.CancelledError):
                await idle
            await client.dispatch_event(event)
            heard = [await anext(updates)]
            while not _is_over(heard):
                heard.append(await anext(updates))
        _check(heard)
        async with client.subscribe(["event", "run"], event_id=event["id"], after=begin) as updates:
            assert (await anext(updates)).cursor == heard[0].cursor


def _is_over(heard: list[UpdateView]) -> bool:
    last = heard[-1]
    return last.kind == "run" and last.status == "completed"


def _check(heard: list[UpdateView]) -> None:
    assert heard[0].kind == "event"
    assert [update.status for update in heard if update.kind == "run"] == ["queued", "running", "completed"]
    said = "".join(str(update.raw["text"]) for update in heard if update.kind == "output")
    assert said.startswith("1\n2\n3\n")


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_subscription_with_a_bad_cursor_is_refused(request: pytest.FixtureRequest, kind: Kind) -> None:
    place: Workspace = request.getfixturevalue("unserved" if kind.mode == "local" else "served")

    async def subscribe() -> None:
        async with (
            create_async_flow_client(kind.mode, **options_of(kind, place)) as client,  # type: ignore[call-overload]
            client.subscribe(after="none of ours"),
        ):
            pass

    with pytest.raises(InvalidCallError, match="cursor"):
        if kind.is_async:
            asyncio.run(subscribe())
        else:
            with opened(kind, options_of(kind, place)) as client:
                client.subscribe(after="none of ours")
