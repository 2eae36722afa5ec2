"""Bad input: each a clear refusal, and every other run and the daemon unharmed."""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from daemon_rig import Workspace, say, until, workspace

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def served() -> Iterator[Workspace]:
    """One daemon for all: each test shows by its last line that it is unharmed."""
    with workspace() as place:
        place.flow("good", say("completed"))
        place.start(FLOWD_MAX_OUTPUT_BYTES=str(2 * MIB))
        yield place


@pytest.fixture(autouse=True)
def still_well(served: Workspace, request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    answer = served.call("flow.dispatch", event={"id": request.node.name, "type": "good.go"}, wait=True)
    assert answer["runs"][0]["effectiveStatus"] == "completed", served.log()


def talk(place: Workspace, *frames: bytes, answers: int = 1) -> list[Any]:
    """Send raw bytes, read whole lines."""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(60)
        raw.connect(str(place.socket))
        for frame in frames:
            raw.sendall(frame)
        with raw.makefile("rb") as lines:
            return [json.loads(lines.readline()) for _ in range(answers)]


def dispatch(event: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"method":"flow.dispatch","params":{"event":%b}}\n' % event


@pytest.mark.parametrize(
    ("frame", "code", "slug"),
    [
        (b"nonsense\n", -32700, "parse_error"),
        (b'{"jsonrpc":"2.0","id":1,"method":"flow.listFlows"\n', -32700, "parse_error"),
        (b'{"a":"\xff\xfe"}\n', -32700, "parse_error"),
        (b"[" * 50_000 + b"\n", -32700, "parse_error"),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":NaN}\n', -32700, "parse_error"),
        (b"3\n", -32600, "invalid_request"),
        (b"[]\n", -32600, "invalid_request"),
        (b'{"id":1,"method":"flow.listFlows"}\n', -32600, "invalid_request"),
        (b'{"jsonrpc":"2.0","id":1,"method":7}\n', -32600, "invalid_request"),
        (b'{"jsonrpc":"2.0","id":1,"method":"flow.listFlows","params":"x"}\n', -32600, "invalid_request"),
        (b'{"jsonrpc":"2.0","id":1,"method":"flow.nothing"}\n', -32601, "method_not_found"),
        (b'{"jsonrpc":"2.0","id":1,"method":"flow.getRun"}\n', -32602, "invalid_params"),
        (b'{"jsonrpc":"2.0","id":1,"method":"flow.getRun","params":{"runId":3}}\n', -32602, "invalid_params"),
        (b'{"jsonrpc":"2.0","id":1,"method":"flow.getRun","params":{"runId":"r","x":1}}\n', -32602, "invalid_params"),
        (b'{"jsonrpc":"2.0","id":1,"method":"flow.listRuns","params":{"status":"odd"}}\n', -32602, "invalid_params"),
        (b'{"jsonrpc":"2.0","id":1,"method":"flow.listRuns","params":{"cursor":"odd"}}\n', -32602, "invalid_params"),
        (b'{"jsonrpc":"2.0","id":1,"method":"flow.getRun","params":{"runId":"r"}}\n', -32021, "run_not_found"),
        (b'{"jsonrpc":"2.0","id":1,"method":"flow.replay","params":{"eventId":"e"}}\n', -32020, "event_not_found"),
        (dispatch(b"[]"), -32010, "invalid_event"),
        (dispatch(b'"text"'), -32010, "invalid_event"),
        (dispatch(b'{"id":"","type":"t"}'), -32010, "invalid_event"),
        (dispatch(b'{"id":"e","type":""}'), -32010, "invalid_event"),
        (dispatch(b'{"id":7,"type":"t"}'), -32010, "invalid_event"),
        (dispatch(b'{"id":"e"}'), -32010, "invalid_event"),
        (dispatch(b'{"id":"%b","type":"t"}' % (b"x" * 10_240)), -32010, "invalid_event"),
        (dispatch(b'{"id":"a\\u0000b","type":"t"}'), -32010, "invalid_event"),
        (dispatch(b'{"id":"e","type":"t","source":{}}'), -32010, "invalid_event"),
        (dispatch(b'{"id":"e","type":"t","occurredAt":5}'), -32010, "invalid_event"),
    ],
)  # fmt: skip
def test_bad_frames_get_their_code_and_slug(served: Workspace, frame: bytes, code: int, slug: str) -> None:
    (answer,) = talk(served, frame)
    assert (answer["error"]["code"], answer["error"]["data"]["slug"]) == (code, slug)
    assert answer["error"]["message"].endswith(".")
    assert "Traceback" not in json.dumps(answer)


@pytest.mark.parametrize("payload", ["{}", "[1]", '"text"', "7", "1.5", "true", "null", '{"\\u00e9":"\\ud83d\\ude00"}'])
def test_payloads_of_every_json_type_are_kept_as_they_are(served: Workspace, payload: str) -> None:
    event_id = f"payload-{payload}"
    (answer,) = talk(
        served, dispatch(b'{"id":%b,"type":"t","payload":%b}' % (json.dumps(event_id).encode(), payload.encode()))
    )
    assert answer["result"]["status"] == "accepted"
    assert served.call("flow.getEvent", eventId=event_id)["event"]["payload"] == json.loads(payload)
    assert served.call("flow.listEvents", limit=500)["events"]


def test_a_received_at_that_is_no_string_is_replaced(served: Workspace) -> None:
    for n, bad in enumerate(("null", "5", '""', "{}")):
        (answer,) = talk(served, dispatch(b'{"id":"received-%d","type":"t","receivedAt":%b}' % (n, bad.encode())))
        assert answer["result"]["status"] == "accepted"
        assert answer["result"]["event"]["receivedAt"].endswith("Z")


def test_a_payload_up_to_the_limit_is_taken_and_16_mib_are_refused_by_name(served: Workspace) -> None:
    fits = b'{"id":"fits","type":"t","payload":"%b"}' % (b"x" * (4 * MIB - 2))
    over = b'{"id":"over","type":"t","payload":"%b"}' % (b"x" * (4 * MIB - 1))
    huge = b'{"id":"huge","type":"t","payload":"%b"}' % (b"x" * (16 * MIB))
    answers = talk(
        served, dispatch(fits), dispatch(over), dispatch(huge), dispatch(b'{"id":"after","type":"t"}'), answers=4
    )  # in any order: a refusal is quicker than a commit
    assert {answer["result"]["eventId"] for answer in answers if "result" in answer} == {"fits", "after"}
    refused = {answer["error"]["data"]["slug"]: answer["error"]["message"] for answer in answers if "error" in answer}
    assert "max_payload_bytes is 4194304" in refused["payload_too_large"]
    assert "max_frame_bytes is 5242880" in refused["frame_too_large"]


@pytest.mark.parametrize("depth", [300, 9000])
def test_deep_nesting_is_refused(served: Workspace, depth: int) -> None:
    payload = b"[" * depth + b"]" * depth
    (answer,) = talk(served, dispatch(b'{"id":"deep-%d","type":"t","payload":%b}' % (depth, payload)))
    # How deep the JSON reader itself goes depends on Python's version.
    assert answer["error"]["data"]["slug"] in {"parse_error", "invalid_event"}
    assert "nested" in answer["error"]["message"]


def test_what_is_not_nested_too_deeply_is_taken(served: Workspace) -> None:
    payload = b"[" * 250 + b"]" * 250
    (answer,) = talk(served, dispatch(b'{"id":"not too deep","type":"t","payload":%b}' % payload))
    assert answer["result"]["status"] == "accepted"


def test_a_bad_element_of_a_batch_harms_only_itself(served: Workspace) -> None:
    batch = [
        {"jsonrpc": "2.0", "id": 1, "method": "flow.listFlows"},
        7,
        {"jsonrpc": "2.0", "method": "flow.listFlows"},
        {"jsonrpc": "2.0", "id": 2, "method": "flow.getRun", "params": ["none"]},
    ]
    (answers,) = talk(served, json.dumps(batch).encode() + b"\n")
    assert [(a["id"], a.get("error", {}).get("code")) for a in answers] == [(1, None), (None, -32600), (2, -32021)]


def test_notifications_are_not_answered(served: Workspace) -> None:
    silent = b'{"jsonrpc":"2.0","method":"flow.listFlows"}\n{"jsonrpc":"2.0","method":"nothing"}\n'
    (answer,) = talk(served, silent, b'{"jsonrpc":"2.0","id":null,"method":"flow.listFlows"}\n')
    assert answer["id"] is None
    assert "result" in answer


def test_lsp_framing_is_answered_in_kind(served: Workspace) -> None:
    body = b'{"jsonrpc":"2.0","id":"a","method":"flow.listFlows"}'
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(10)
        raw.connect(str(served.socket))
        raw.sendall(
            b"Content-Length: %d\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n%b"
            % (len(body), body)
        )
        with raw.makefile("rb") as stream:
            name, _, length = stream.readline().partition(b":")
            assert name == b"Content-Length"
            assert stream.readline() == b"\r\n"
            assert json.loads(stream.read(int(length)))["id"] == "a"


def test_clients_that_vanish_leave_nothing_behind(served: Workspace) -> None:
    assert served.process is not None
    daemon = psutil.Process(served.process.pid)
    served.call("daemon.status")
    before = daemon.num_fds()
    for _ in range(50):
        raw = socket.socket(socket.AF_UNIX)
        raw.connect(str(served.socket))
        raw.sendall(b'{"jsonrpc":"2.0","id":1,"method":"flow.waitRun","params":{"runId":"run_none"}}\n{"half')
        raw.close()
    until(lambda: daemon.num_fds() <= before + 2, what="closed connections")


BROKEN_STEPS = {
    "missing-script": ('script = "none.sh"', "spawn", "none.sh"),
    "no-run-bit": ('script = "plain.sh"', "spawn", "chmod +x"),
    "no-interpreter": ('script = "odd.sh"', "spawn", "/no/such/interpreter"),
    "missing-cwd": ('script = "good.sh"\ncwd = "nowhere"', "spawn", "nowhere"),
}


@pytest.mark.parametrize("name", BROKEN_STEPS)
def test_a_step_that_cannot_start_says_what_is_missing(served: Workspace, name: str) -> None:
    members, reason, part = BROKEN_STEPS[name]
    folder = served.path / "flows" / name
    folder.mkdir()
    for file, text, mode in (
        ("plain.sh", "#!/bin/sh\n", 0o644),
        ("odd.sh", "#!/no/such/interpreter\n", 0o755),
        ("good.sh", f"#!/bin/sh\n{say('completed')}\n", 0o755),
    ):
        (folder / file).write_text(text, encoding="utf-8")
        (folder / file).chmod(mode)
    (folder / "flow.toml").write_text(
        f'name = "{name}"\nversion = 1\n[[steps]]\nname = "main"\nrunner = "exec"\n{members}\n'
        f'[steps.trigger]\ntype = "{name}.go"\n',
        encoding="utf-8",
    )
    served.call("daemon.reload")
    (run,) = served.call("flow.dispatch", event={"id": name, "type": f"{name}.go"}, wait=True)["runs"]
    assert (run["status"], run["reason"]) == ("failed", reason)
    assert part in run["error"]


STEPS = {
    "never-reads-stdin": (say("completed"), "completed", None),
    "closes-stdout": (f"{say('completed')}; exec >&- 2>&-; sleep 0.1", "completed", None),
    "no-result": ("echo hello", "failed", "no_result"),
    "bad-result": ("echo 'FLOW_RESULT {oops'", "failed", "bad_result"),
    "exits-badly": (f"{say('needs_intervention')}; exit 3", "failed", "exit"),
    "kills-itself": ("kill -9 $$", "failed", "signal"),
    "binary-output": (f"head -c 100000 /dev/urandom; echo; {say('completed')}", "completed", None),
    "prints-forever": ("yes", "failed", "output_limit"),
}


@pytest.mark.parametrize("name", STEPS)
def test_steps_that_misbehave_have_a_true_outcome(served: Workspace, name: str) -> None:
    script, status, reason = STEPS[name]
    served.flow(name, script)
    served.call("daemon.reload")
    payload = "x" * (3 * MIB) if name == "never-reads-stdin" else {}
    event = {"id": name, "type": f"{name}.go", "payload": payload}
    run_id = served.call("flow.dispatch", event=event, wait=True)["runIds"][0]
    run = served.call("flow.getRun", runId=run_id)["run"]
    assert (run["status"], run.get("reason")) == (status, reason), run
    if name == "exits-badly":
        assert run["effectiveStatus"] == "needs_intervention"
        assert run["needsAttention"] is True


def test_a_step_that_prints_a_gigabyte_is_ended_and_what_is_kept_is_bounded(served: Workspace) -> None:
    served.flow("gigabyte", "head -c 1073741824 /dev/zero; sleep 5")
    served.call("daemon.reload")
    (run,) = served.call("flow.dispatch", event={"id": "gigabyte", "type": "gigabyte.go"}, wait=True)["runs"]
    assert (run["status"], run["reason"]) == ("failed", "output_limit")
    part = served.call("flow.readOutput", runId=run["id"], offset=2 * MIB - 1)
    assert part["size"] == 2 * MIB
    assert part["eof"] is True
    files = list((served.path / ".codex/flowd/output").iterdir())
    assert sum(file.stat().st_size for file in files if isinstance(file, Path)) <= 8 * MIB


def test_half_written_packages_are_listed_as_broken_with_the_remedy(served: Workspace) -> None:
    for name, text in (("half", 'name = "half"\nversion = '), ("binary", "\udcff\udcfe"), ("list", "steps = 3")):
        folder = served.path / "flows" / name
        folder.mkdir()
        (folder / "flow.toml").write_text(text, encoding="utf-8", errors="surrogateescape")
    answer = served.call("daemon.reload")
    broken = {package["name"]: package for package in answer["broken"]}
    assert {"half", "binary", "list"} <= set(broken)
    assert broken["half"]["line"] == 2
    assert all(package["remedy"] and package["error"] for package in broken.values())


def test_an_unexpected_exception_never_shows_its_text(served: Workspace) -> None:
    # A cursor beyond what SQLite's integers hold is refused before it gets there.
    (answer,) = talk(
        served, b'{"jsonrpc":"2.0","id":1,"method":"flow.listRuns","params":{"cursor":"r99999999999999999999"}}\n'
    )
    assert answer["error"]["data"]["slug"] == "invalid_params"


def test_an_answer_that_would_be_too_large_is_refused_and_its_neighbours_are_not(served: Workspace) -> None:
    for n in range(4):
        talk(served, dispatch(b'{"id":"large-%d","type":"large","payload":"%b"}' % (n, b"x" * (3 * MIB))))
    page = {"jsonrpc": "2.0", "method": "flow.listEvents", "params": {"type": "large"}}
    batch = [{**page, "id": n} for n in range(8)] + [{"jsonrpc": "2.0", "id": "small", "method": "flow.listFlows"}]
    (answers,) = talk(served, json.dumps(batch).encode() + b"\n")
    refused = [answer["error"]["data"]["slug"] for answer in answers if "error" in answer]
    assert refused
    assert set(refused) == {"response_too_large"}
    assert "result" in answers[-1]


def test_a_client_that_asks_and_never_reads_costs_little_memory(served: Workspace) -> None:
    assert served.process is not None
    daemon = psutil.Process(served.process.pid)
    talk(served, dispatch(b'{"id":"bulk","type":"bulk","payload":"%b"}' % (b"x" * (3 * MIB))))
    before = daemon.memory_info().rss
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(served.socket))
        raw.settimeout(1)
        asked = 0
        with contextlib.suppress(TimeoutError):
            while asked < 2000:
                raw.sendall(b'{"jsonrpc":"2.0","id":1,"method":"flow.getEvent","params":{"eventId":"bulk"}}\n' * 10)
                asked += 10
        # Another's response comes after those that were asked for before it: by now they were made, if they are at all.
        talk(served, b'{"jsonrpc":"2.0","id":1,"method":"flow.getEvent","params":{"eventId":"bulk"}}\n')
        assert daemon.memory_info().rss - before < 400 * MIB
