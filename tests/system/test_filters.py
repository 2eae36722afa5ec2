"""Runs and events are found by labels, names, reasons, times and text, whoever asks and however."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from daemon_rig import Workspace, flowd, say, workspace
from http_rig import HttpPlace

from flowd_client import CallError, create_async_flow_client, create_flow_client

LABELS = '[steps.labels]\nrepo = "/payload/repo"\npr = "/payload/pr"\n'


@pytest.fixture(scope="module")
def filled() -> Iterator[HttpPlace]:
    """Two runs of a flow with labels, of which one fails, and one of a flow without."""
    with workspace() as place:
        fails = 'if grep -q other; then echo "disk quota" >&2; exit 3; fi'
        place.flow("ship", f"{fails}; {say('changed', message='shipped')}", step=LABELS)
        place.flow("plain", say("completed"))
        http = HttpPlace(place).start()
        send(place, "good", "ship.go", {"repo": "a/b=c", "pr": 7})
        send(place, "bad", "ship.go", {"repo": "other"})
        send(place, "third", "plain.go", {"repo": "other"})
        yield http


def send(place: Workspace, event_id: str, kind: str, payload: Any) -> None:
    place.call("flow.dispatch", event={"id": event_id, "type": kind, "payload": payload}, wait=True)


ASKED: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["third", "bad", "good"]),
    ({"flow": "ship"}, ["bad", "good"]),
    ({"flow": "ship", "step": "main"}, ["bad", "good"]),
    ({"step": "none"}, []),
    ({"status": "failed"}, ["bad"]),
    ({"reason": "exit"}, ["bad"]),
    ({"reason": "timeout"}, []),
    ({"label": ["repo=other"]}, ["bad"]),
    ({"label": ["repo=a/b=c", "pr=7"]}, ["good"]),
    ({"label": ["repo=other", "pr=7"]}, []),
    ({"since": "1h"}, ["third", "bad", "good"]),
    ({"until": "1h"}, []),
    ({"since": "2001-01-01T00:00:00Z", "until": "2001-01-02T00:00:00+02:00"}, []),
    ({"text": "SHIPPED"}, ["good"]),
    ({"text": "quota"}, ["bad"]),
    ({"text": "plain.g"}, ["third"]),
    ({"text": "%"}, []),
]


@pytest.mark.parametrize(("asked", "found"), ASKED)
def test_runs_are_found_everywhere_alike(filled: HttpPlace, asked: dict[str, Any], found: list[str]) -> None:
    by_socket = filled.place.call("flow.listRuns", **asked)
    assert [run["eventId"] for run in by_socket["runs"]] == found
    assert filled.get(f"/runs?{urlencode(asked, doseq=True)}").json == by_socket
    given = {name: value for name, value in asked.items() if name != "label"}
    labels = dict(one.split("=", 1) for one in asked.get("label", ()))
    assert clients_say(filled, labels=labels, **given) == [found] * 3


def clients_say(place: HttpPlace, **given: Any) -> list[list[str | None]]:
    """What the blocking client finds over the socket and over HTTP, and the one for asyncio over HTTP."""
    with place.place.client() as client:
        first = client.list_runs(**given)
    with create_flow_client(mode="http", base_url=place.url) as client:
        second = client.list_runs(**given)

    async def ask() -> Any:
        async with create_async_flow_client(mode="http", base_url=place.url) as other:
            return await other.list_runs(**given)

    return [[run.event_id for run in page] for page in (first, second, asyncio.run(ask()))]


EVENTS: list[tuple[dict[str, Any], list[str]]] = [
    ({"flow": "ship"}, ["bad", "good"]),
    ({"status": "failed"}, ["bad"]),
    ({"reason": "exit", "type": "plain.go"}, []),
    ({"label": ["repo=other"]}, ["bad"]),
    ({"text": "THIR"}, ["third"]),
    ({"text": "go", "step": "main", "since": "1h"}, ["third", "bad", "good"]),
]


@pytest.mark.parametrize(("asked", "found"), EVENTS)
def test_events_are_found_everywhere_alike(filled: HttpPlace, asked: dict[str, Any], found: list[str]) -> None:
    by_socket = filled.place.call("flow.listEvents", **asked)
    assert [event["id"] for event in by_socket["events"]] == found
    assert filled.get(f"/events?{urlencode(asked, doseq=True)}").json == by_socket
    given = {name: value for name, value in asked.items() if name != "label"}
    labels = dict(one.split("=", 1) for one in asked.get("label", ()))
    with create_flow_client(mode="http", base_url=filled.url) as client:
        assert [event.id for event in client.list_events(labels=labels, **given)] == found


def test_the_command_line_finds_the_same(filled: HttpPlace) -> None:
    every = [
        "--step",
        "main",
        "--reason",
        "exit",
        "--since",
        "2h",
        "--label",
        "repo=other",
        "--text",
        "QUOTA",
        "--status",
        "failed",
    ]
    runs = json.loads(flowd(filled.place, "runs", "--json", *every).stdout)["runs"]
    assert [run["eventId"] for run in runs] == ["bad"]
    events = json.loads(flowd(filled.place, "events", "--json", "--flow", "ship", "--label", "pr=7").stdout)["events"]
    assert [event["id"] for event in events] == ["good"]
    assert flowd(filled.place, "runs", "--until", "2001-01-31").stderr == "No runs.\n"


def test_labels_are_shown_with_their_runs(filled: HttpPlace) -> None:
    (run,) = filled.place.call("flow.listRuns", eventId="good")["runs"]
    assert run["labels"] == {"repo": "a/b=c", "pr": "7"}
    assert "labels" not in filled.place.call("flow.listRuns", eventId="third")["runs"][0]
    with filled.place.client() as client:
        assert client.get_run(run["id"]).labels == {"repo": "a/b=c", "pr": "7"}
    assert "repo=a/b=c, pr=7" in flowd(filled.place, "run", run["id"]).stdout
    steps = {flow["name"]: flow["steps"][0] for flow in filled.place.call("flow.listFlows")["flows"]}
    assert steps["ship"]["labels"] == {"repo": "/payload/repo", "pr": "/payload/pr"}
    assert "labels" not in steps["plain"]
    assert "labels repo, pr" in flowd(filled.place, "flows", "ship").stdout


def test_a_datetime_is_an_instant_of_the_client(filled: HttpPlace) -> None:
    now = datetime.now(UTC)
    with filled.place.client() as client:
        assert len(client.list_runs(since=now - timedelta(hours=1), until=datetime.now() + timedelta(hours=1))) == 3
        assert len(client.list_runs(since=now + timedelta(hours=1))) == 0


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"reason": "bored"}, "it is one of no_result, bad_result"),
        ({"label": ["repo"]}, "write name=value"),
        ({"label": "repo=a"}, "label"),
        ({"label": ["a=b"] * 17}, "label"),
        ({"since": "yesterday"}, "is no instant"),
        ({"until": "2026-01-31T12:00:00"}, "is no instant"),
        ({"text": ""}, "text"),
        ({"text": "x" * 201}, "text"),
    ],
)
def test_a_filter_that_is_none_is_refused(filled: HttpPlace, asked: dict[str, Any], why: str) -> None:
    for method in ("flow.listRuns", "flow.listEvents"):
        with pytest.raises(CallError) as caught:
            filled.place.call(method, **asked)
        assert caught.value.slug == "invalid_params"
        assert why in str(caught.value)


def test_the_command_line_says_what_a_filter_should_be(filled: HttpPlace) -> None:
    for words, why in (
        (("--since", "yesterday"), "write 2h, 7d"),
        (("--label", "repo"), "write NAME=VALUE"),
        (("-f", "--since", "2h"), "--since is for lists"),
    ):
        told = flowd(filled.place, "runs", *words)
        assert (told.returncode, why in told.stderr) == (2, True), told.stderr
    more = flowd(
        filled.place, "runs", "--label", "repo=other", "--label", "repo=other", "--limit", "1", "--flow", "ship"
    )
    assert more.returncode == 0
    told = flowd(filled.place, "runs", "--flow", "ship", "--since", "2h", "--limit", "1")
    assert "More: flowd runs" in told.stderr
    assert "--flow ship --since 2h --limit 1 --cursor r" in told.stderr


def test_the_queue_and_attention_take_names_and_labels() -> None:
    with workspace() as place:
        place.flow("ship", say("blocked", message="Ship it?"), step=LABELS)
        http = HttpPlace(place).start()
        send(place, "asks", "ship.go", {"repo": "one"})
        place.call("flow.pause", flow="ship")
        for event_id, repo in (("held", "one"), ("other", "two")):
            place.call("flow.dispatch", event={"id": event_id, "type": "ship.go", "payload": {"repo": repo}})
        asked = {"flow": "ship", "step": "main", "label": ["repo=one"]}
        words = ["--json", "--flow", "ship", "--step", "main", "--label", "repo=one"]
        for verb, rows, found in (("queue", "runs", ["held"]), ("attention", "questions", ["asks"])):
            by_socket = place.call(f"flow.{verb}", **asked)
            assert [entry["run"]["eventId"] for entry in by_socket[rows]] == found
            assert http.get(f"/{verb}?{urlencode(asked, doseq=True)}").json == by_socket
            assert json.loads(flowd(place, verb, *words).stdout) == by_socket
            assert place.call(f"flow.{verb}", label=["repo=three"])[rows] == []
        with place.client() as client:
            assert [entry.run.event_id for entry in client.queue(step="main", labels={"repo": "two"})] == ["other"]
            assert [question.run.event_id for question in client.attention(labels={"repo": "one"})] == ["asks"]
        followed = [sys.executable, "-m", "flowd", "runs", "-f", "--json", "--step", "main", "--label", "repo=two"]
        with subprocess.Popen([*followed, "-w", str(place.path)], stdout=subprocess.PIPE, text=True) as follower:
            assert follower.stdout is not None
            told = [json.loads(follower.stdout.readline())]
            place.call("flow.resume", flow="ship")
            while told[-1]["status"] != "completed":
                told.append(json.loads(follower.stdout.readline()))
            follower.terminate()
        assert {update["run"]["eventId"] for update in told} == {"other"}
        assert told[0]["status"] == "queued"
