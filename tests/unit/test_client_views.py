"""Views: what the wire says, also in the reference server's older words, and nothing is taken on trust."""

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, structs

from flowd.api.shapes import catalog, events, output, runs, trees, updates
from flowd_client.views import reading
from flowd_client.views.catalog import (
    BrokenView,
    CatalogView,
    ExplainView,
    FlowView,
    SchemaErrorView,
    ShadowedView,
    StepView,
    VerdictView,
    read_catalog,
    read_explain,
)
from flowd_client.views.event import (
    CausedByView,
    DispatchView,
    EventStateView,
    EventView,
    read_dispatch,
    read_event,
    read_events,
)
from flowd_client.views.output import OutputView, read_output, read_output_bytes
from flowd_client.views.run import AttemptView, RunView, read_run, read_runs
from flowd_client.views.tree import TreeEventView, WaitedEventView, read_tree, read_waited_event
from flowd_client.views.update import UpdateView, read_update

RUN = {
    "id": "run_1",
    "eventId": "e1",
    "flowName": "release",
    "flowVersion": 1.5,
    "stepName": "publish",
    "runner": "exec",
    "backend": "flowd",
    "status": "completed",
    "processStatus": "completed",
    "effectiveStatus": "blocked",
    "needsAttention": True,
    "resultStatus": "blocked",
    "result": {"status": "blocked", "why": "no key"},
    "resultJson": '{"status":"blocked","why":"no key"}',
    "attemptCount": 2,
    "attempts": [
        {"id": "run_1", "attemptNumber": 1, "status": "failed", "reason": "exit", "exitCode": 3, "workerId": "k"},
        {"id": "run_1:2", "attemptNumber": 2, "status": "completed", "workerId": "k", "command": ["/bin/sh", "x"]},
    ],
    "output": [
        {"kind": "stdout", "text": "a\n", "createdAt": "2026-01-02T03:04:05.678Z"},
        {"kind": "stderr", "text": "b\n", "createdAt": "2026-01-02T03:04:05.678Z"},
    ],
    "packageHash": "sha256:00",
    "createdAt": "2026-01-02T03:04:05.678Z",
    "updatedAt": "2026-01-02T03:04:06.678Z",
    "durationMs": 12,
    "replayOf": "run_0",
    "aMemberOfTheFuture": True,
}


def test_a_run_has_every_member_under_its_python_name() -> None:
    view = read_run({"run": RUN})
    assert (view.id, view.event_id, view.flow_name, view.step_name) == ("run_1", "e1", "release", "publish")
    assert view.flow_version == 1.5
    assert (view.process_status, view.result_status, view.effective_status, view.status) == (
        "completed",
        "blocked",
        "blocked",
        "blocked",
    )
    assert view.needs_attention
    assert view.is_final
    assert view.is_replay
    assert view.result_payload == {"status": "blocked", "why": "no key"}
    assert [attempt.id for attempt in view.attempts] == ["run_1", "run_1:2"]
    assert view.attempts[0].exit_code == 3
    assert view.attempts[1].command == ("/bin/sh", "x")
    assert view.latest_output is not None
    assert view.latest_output.text == "b\n"
    assert view.created_at == datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    assert view.raw["aMemberOfTheFuture"] is True


def test_a_view_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        read_run(RUN).id = "other"  # type: ignore[misc]


def reference_run(**members: object) -> dict[str, object]:
    return {"id": "run_1", "eventId": "e", "flowName": "f", "stepName": "s", "status": "completed", **members}


def test_the_reference_servers_wrapped_report_is_unwrapped() -> None:
    report = json.dumps({"flow": "f", "step": "s", "result": {"status": "needs_intervention"}})
    view = read_run(reference_run(resultJson=report))
    assert view.result_payload == {"status": "needs_intervention"}
    assert view.effective_status == "needs_intervention"
    assert view.needs_attention


def test_the_reference_servers_failed_process_is_failed() -> None:
    view = read_run(reference_run(status="failed", stdout="out", stderr="", error="boom"))
    assert (view.result_status, view.effective_status, view.needs_attention) == ("failed", "failed", False)
    assert [(entry.kind, entry.text) for entry in view.output] == [("stdout", "out")]


def test_flowds_failed_process_has_no_result_status() -> None:
    view = read_run({**reference_run(status="failed"), "processStatus": "failed"})
    assert (view.result_status, view.effective_status) == (None, "failed")


@pytest.mark.parametrize(
    ("members", "payload"),
    [
        ({"result": {"status": "changed"}, "resultJson": '{"status":"blocked"}'}, {"status": "changed"}),
        ({"resultJson": {"status": "changed"}}, {"status": "changed"}),
        ({"resultJson": "not json"}, "not json"),
        ({"result": None, "resultJson": '{"status":"changed"}'}, None),
        ({"result": {"status": "changed", "flow": 1, "step": 2, "result": 3}}, "itself"),
        ({}, None),
    ],
)
def test_the_payload_is_found(members: dict[str, object], payload: object) -> None:
    expected = members["result"] if payload == "itself" else payload
    assert read_run(reference_run(**members)).result_payload == expected


@pytest.mark.parametrize(
    ("members", "count"),
    [({"attemptCount": 3}, 3), ({"attempts": 4}, 4), ({"attempts": [{}, {}]}, 2), ({}, 0), ({"attemptCount": "3"}, 0)],
)
def test_attempts_are_counted(members: dict[str, object], count: int) -> None:
    assert read_run(reference_run(**members)).attempt_count == count


def test_older_names_are_read() -> None:
    view = read_run({"runId": "r", "finishedAt": "2026-01-02T03:04:05Z", "completedAt": "2020-01-01T00:00:00Z"})
    assert view.id == "r"
    assert view.completed_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert view.effective_status == "unknown"


def test_an_event_collects_its_runs() -> None:
    view = read_event({"event": {"id": "e", "type": "t", "payload": [1], "runIds": ["r0"]}, "runs": [RUN]})
    assert (view.id, view.type, view.payload) == ("e", "t", [1])
    assert view.run_ids == ("r0", "run_1")
    assert view.runs[0].needs_attention


def test_a_page_is_a_sequence_with_a_cursor() -> None:
    page = read_runs({"runs": [RUN, {**RUN, "id": "run_2"}], "nextCursor": "c"})
    assert [run.id for run in page] == ["run_1", "run_2"]
    assert page[1].id == "run_2"
    assert len(page) == 2
    assert page.next_cursor == "c"
    assert len(read_events({"events": []})) == 0


def test_a_dispatch_takes_its_run_ids_from_the_runs_if_it_must() -> None:
    view = read_dispatch({"status": "duplicate", "eventId": "e", "matched": 0, "conflict": True, "runs": [RUN]})
    assert view.is_duplicate
    assert view.conflict
    assert view.run_ids == ("run_1",)


def test_the_catalog_and_a_verdict_are_read() -> None:
    broken = {
        "name": "b",
        "root": "/f/b",
        "file": "/f/b/flow.toml",
        "line": 3,
        "error": "no",
        "remedy": "Do.",
        "stale": True,
    }
    catalog = read_catalog({"flows": [{"name": "f", "version": 1, "steps": [{"name": "s"}]}], "broken": [broken]})
    assert catalog.flows[0].steps[0].name == "s"
    assert catalog.broken[0].sentence() == "/f/b/flow.toml:3: no. Do."
    assert catalog.broken[0].is_stale
    error = {"path": "$.a", "keyword": "required", "message": "m"}
    verdict = {"flow": "f", "step": "s", "matches": False, "reason": "schema", "errors": [error]}
    explained = read_explain({"eventId": "e", "type": "t", "matched": 0, "steps": [verdict], "broken": [broken]})
    assert explained.steps[0].errors[0].path == "$.a"


def test_output_as_text_and_as_bytes() -> None:
    assert read_output({"text": "ü", "offset": 0, "nextOffset": 2, "size": 2, "eof": True}).data == "ü".encode()
    part = read_output_bytes({"text": "//4=", "offset": 4, "nextOffset": 6, "size": 9, "eof": False})
    assert (part.data, part.text, part.next_offset, part.is_end) == (b"\xff\xfe", "��", 6, False)


def test_views_are_hashed_as_they_are_compared() -> None:
    run = {**RUN, "reportedResult": {"a": [1]}}
    step = {"flow": "f", "step": "s", "errors": [{"path": "$"}]}
    whole: list[tuple[Callable[[Any], Any], dict[str, Any]]] = [
        (read_run, run),
        (read_runs, {"runs": [run]}),
        (read_event, {"id": "e", "payload": {"a": [1]}, "runs": [run]}),
        (read_dispatch, {"eventId": "e", "event": {"id": "e", "payload": [{}]}, "runs": [run]}),
        (read_update, {"kind": "run", "run": run}),
        (read_output, {"text": "x"}),
        (read_catalog, {"flows": [{"name": "f", "steps": [{"name": "s"}]}], "broken": [{"name": "b"}]}),
        (read_explain, {"steps": [step], "broken": [{"name": "b"}]}),
    ]
    for read, record in whole:
        view, same = read(record), read(json.loads(json.dumps(record)))
        assert (view, hash(view)) == (same, hash(same))
    assert len({read_run(run), read_run(run), read_run({**run, "id": "another"})}) == 2


OLDER = {"eventId", "runId", "attemptId", "finishedAt"}
"""Names of the reference server's records, and of flowd's dispatches, that stand for others."""


@pytest.mark.parametrize(
    ("view", "shape", "only_in_view", "only_on_wire"),
    [
        (AttemptView, runs.AttemptView, set(), set()),
        (RunView, runs.RunView, {"resultPayload"}, {"status", "result", "resultJson"}),
        (EventView, events.EventView, set(), set()),
        (DispatchView, events.DispatchView, set(), {"idempotent"}),
        (CausedByView, events.CausedByView, set(), set()),
        (EventStateView, events.EventStateView, set(), set()),
        (TreeEventView, events.TreeEventView, set(), set()),
        (WaitedEventView, trees.WaitedEventView, set(), set()),
        (OutputView, output.OutputView, {"data"}, set()),
        (FlowView, catalog.FlowView, set(), set()),
        (StepView, catalog.StepView, set(), set()),
        (BrokenView, catalog.BrokenView, set(), set()),
        (ShadowedView, catalog.ShadowedView, set(), set()),
        (CatalogView, catalog.CatalogView, set(), set()),
        (VerdictView, catalog.VerdictView, set(), set()),
        (SchemaErrorView, catalog.SchemaErrorView, set(), set()),
        (ExplainView, catalog.ExplainView, set(), set()),
        (UpdateView, updates.UpdateView, set(), {"subscription", "flow", "broken", "nextOffset", "error"}),
    ],
)
def test_a_view_has_a_field_for_every_member_that_the_daemon_sends(
    view: type, shape: type[Struct], only_in_view: set[str], only_on_wire: set[str]
) -> None:
    read_from = {key for field in dataclasses.fields(view) if field.name != "raw" for key in reading.keys_of(field)}
    on_wire = {field.encode_name for field in structs.fields(shape)} - {"raw"}
    assert read_from - on_wire - OLDER == only_in_view
    assert on_wire - read_from == only_on_wire


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from([*RUN, "run", "event", "runs", "runIds", "flows", "broken", "steps", "errors", "offset", "eof"])


@given(JSON | st.dictionaries(NAMES, JSON, max_size=12))
def test_no_answer_is_too_strange_to_be_read(answer: object) -> None:
    readers = (read_run, read_runs, read_event, read_events, read_dispatch, read_catalog, read_explain, read_output)
    for read in (*readers, read_tree, read_waited_event):
        assert read(answer) is not None
