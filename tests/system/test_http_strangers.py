"""What somebody on this machine or beyond a proxy can do without a secret, or with a request that was caught."""

import hashlib
import hmac
import http.client
import json
import os
import socket
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from daemon_rig import Workspace, until, workspace
from http_rig import HttpPlace, Reply, free_port, read_all, refused_start, v2

from flowd_client import create_flow_client
from flowd_client._core.http_token import is_own_port
from flowd_client.errors import FlowClientError, UnauthorizedError

MIB = 1024 * 1024
EVENT = {"id": "e", "type": "t"}


def token_of(place: Workspace) -> str:
    return (place.path / ".codex/flowd/http-token").read_text(encoding="ascii").strip()


# --- without a secret ------------------------------------------------------------------------------------------------


def test_without_a_secret_only_who_can_read_the_state_folder_gets_in(place: Workspace) -> None:
    web = HttpPlace(place).start(FLOWD_HTTP_OPEN="")
    file = place.path / ".codex/flowd/http-token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for method, path, body in (("POST", "/events", EVENT), ("GET", "/runs", None), ("POST", "/runs/x/cancel", {})):
        refused = web.send(method, path, body)
        assert (refused.status, refused.slug) == (401, "unauthorized")
        assert all(word in refused.json["error"] for word in ("http-token", "--http-open", "Bearer"))
    assert web.get("/healthz").status == 200
    token = token_of(place)
    assert web.post("/events", EVENT, authorization=f"Bearer {token}").status == 202
    assert web.get("/runs", x_api_key=token).status == 200
    assert all(word in place.log() for word in ("http-token", "--http-open", "bearerToken"))
    assert token not in place.log()
    assert token not in json.dumps(place.call("daemon.status", settings=True))
    place.stop()
    web.start(FLOWD_HTTP_OPEN="")
    assert token_of(place) == token  # or every configured client would have to learn a new one


def test_our_client_finds_the_token_from_everywhere(place: Workspace) -> None:
    web = HttpPlace(place).start(FLOWD_HTTP_OPEN="")
    with create_flow_client(mode="http", base_url=f"http://localhost:{web.port}") as client:
        assert client.dispatch_event(EVENT).event_id == "e"
    with (
        create_flow_client(mode="http", base_url=web.url, bearer_token="other") as client,
        pytest.raises(UnauthorizedError, match="http-token"),
    ):
        client.status()


@pytest.mark.parametrize("way", ["variable", "setting", "flag"])
def test_whoever_wants_it_open_says_so(place: Workspace, way: str) -> None:
    web = HttpPlace(place)
    web.configure(f"[http]\nopen = {'true' if way == 'setting' else 'false'}\n")
    if way == "flag":
        port = free_port()
        command = ["-m", "flowd", "serve", "-w", str(place.path), "--http", f"127.0.0.1:{port}", "--http-open"]
        with subprocess.Popen([sys.executable, *command], stderr=subprocess.DEVNULL) as process:
            place.process = process  # type: ignore[assignment]
            web.port = port
            until(lambda: _answers(web), what="an answer")
            assert web.post("/events", EVENT).status == 202
            process.terminate()
        return
    web.start(FLOWD_HTTP_OPEN="1" if way == "variable" else "")
    assert web.post("/events", EVENT).status == 202
    assert not (place.path / ".codex/flowd/http-token").exists()


def _answers(web: HttpPlace) -> bool:
    try:
        return web.get("/healthz").status == 200
    except OSError:
        return False


def test_a_link_in_the_tokens_place_is_refused_and_an_open_file_is_replaced(place: Workspace) -> None:
    folder = place.path / ".codex/flowd"
    folder.mkdir(parents=True, mode=0o700)
    victim = place.path / "victim"
    victim.write_text("precious", encoding="utf-8")
    (folder / "http-token").symlink_to(victim)
    assert "http-token is a link" in refused_start(place, "--http", "127.0.0.1:0")
    assert victim.read_text(encoding="utf-8") == "precious"
    (folder / "http-token").unlink()
    web = HttpPlace(place).start(FLOWD_HTTP_OPEN="")
    first = token_of(place)
    place.stop()
    (folder / "http-token").chmod(0o644)
    web.start(FLOWD_HTTP_OPEN="")
    assert token_of(place) != first  # who knows who has read it


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_the_token_is_not_sent_to_a_strangers_port() -> None:
    code = "import socket,time; s=socket.create_server(('127.0.0.1',0)); print(s.getsockname()[1],flush=True); "
    code += "time.sleep(60)"
    with subprocess.Popen(["python3", "-c", code], stdout=subprocess.PIPE, user=65534, cwd="/") as stranger:
        assert stranger.stdout is not None
        try:
            assert not is_own_port(int(stranger.stdout.readline()))
        finally:
            stranger.kill()
    with socket.create_server(("127.0.0.1", 0)) as ours:
        assert is_own_port(ours.getsockname()[1])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
@pytest.mark.parametrize("then", ["", "s.close()"], ids=["listens on", "listens no more"])
def test_a_stranger_who_takes_a_daemons_port_is_not_sent_the_token(
    place: Workspace, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    """At once, while the client still knows that the port was its own user's."""
    monkeypatch.chdir(place.path)
    web = HttpPlace(place).start(FLOWD_HTTP_OPEN="")
    code = (
        "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); print('taken', flush=True)\n"
        f"c = s.accept()[0]; {then}\nprint(c.recv(65536), flush=True)\n"
    )
    with create_flow_client(mode="http", base_url=web.url, retries=0) as flows:
        assert len(flows.list_runs()) == 0
        place.kill()
        words = ["python3", "-c", code, str(web.port)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, user=65534, cwd="/") as stranger:
            assert stranger.stdout is not None
            try:
                assert stranger.stdout.readline() == "taken\n"
                with pytest.raises(FlowClientError):
                    flows.dispatch_event({"id": "e", "type": "t"})
                got = stranger.stdout.readline()
            finally:
                stranger.kill()
    assert "POST /events" in got
    assert "authorization" not in got


# --- with a request that was caught ----------------------------------------------------------------------------------


def v1(body: bytes) -> dict[str, str]:
    return {"x-flow-signature-256": "sha256=" + hmac.new(b"s", body, hashlib.sha256).hexdigest()}


@pytest.fixture(scope="module")
def signed() -> Iterator[HttpPlace]:
    with workspace() as place:
        web = HttpPlace(place)
        web.configure('[http]\nsignatures = "both"\nbase_path = "/flowd"\n')
        web.start(FLOWD_HTTP_SECRET="s")
        body = json.dumps(EVENT).encode()
        assert web.send("POST", "/events", body, v1(body)).status == 202
        yield web


FORWARDED = [
    {"x-forwarded-for": "10.0.0.1"},
    {"forwarded": "for=10.0.0.1"},
    {"via": "1.1 nginx"},
    {"x-real-ip": "1.2.3.4"},
]
ACTS = ["/events/e/replay", "/events/e/cancel", "/runs/run_x/cancel", "/runs/run_x/retry"]


@pytest.mark.parametrize("path", ACTS)
def test_v1_acts_from_this_machine_and_through_no_proxy(signed: HttpPlace, path: str) -> None:
    for body in (b"", b"{}"):
        assert signed.send("POST", path, body, v1(body)).status in (200, 202, 404)
        for header in FORWARDED:
            refused = signed.send("POST", path, body, {**v1(body), **header})
            assert (refused.status, refused.slug) == (401, "invalid_signature"), (path, header)
            assert "allow_replayed_v1" in refused.json["error"]
    good = v2("POST", path, b"{}", secret="s", nonce=hashlib.sha256(path.encode()).hexdigest())
    assert signed.send("POST", path, b"{}", {**good, **FORWARDED[0]}).status in (200, 202, 404)


@pytest.mark.parametrize("path", ["/pause", "/resume", "/parallel", "/runs/run_x/resolve", "/runs/run_x/answer"])
def test_the_v1_signature_of_nothing_holds_up_nothing(signed: HttpPlace, path: str) -> None:
    for body in (b"", b"{}", b'{"max": 1}'):
        refused = signed.send("POST", path, body, {**v1(body), **FORWARDED[0]})
        assert (refused.status, refused.slug) == (401, "invalid_signature"), path
    assert not signed.get("/queue").json["pauses"]


def test_v1_dispatches_through_a_proxy_as_ever(signed: HttpPlace) -> None:
    body = json.dumps({"id": "proxied", "type": "t"}).encode()
    for path in ("/events", "/flow-events", "/explain"):
        assert signed.send("POST", path, body, {**v1(body), **FORWARDED[0]}).status in (200, 202)


BINARY = {"ce-specversion": "1.0", "ce-id": "other", "ce-type": "other", "ce-source": "/other"}


def test_the_v1_signature_of_one_event_is_not_that_of_another_in_headers(signed: HttpPlace) -> None:
    body = json.dumps({"id": "caught", "type": "t"}).encode()
    for path in ("/events", "/flow-events"):
        refused = signed.send("POST", path, body, {**v1(body), **BINARY, **FORWARDED[0]})
        assert (refused.status, refused.slug) == (401, "invalid_signature")
        assert "CloudEvent" in refused.json["error"]
    good = v2("POST", "/events", body, secret="s", nonce="n" * 32)
    assert signed.send("POST", "/events", body, {**good, **BINARY, **FORWARDED[0]}).json["eventId"] == "/other other"
    here = {**BINARY, "ce-id": "here"}
    assert signed.send("POST", "/events", body, {**v1(body), **here}).json["eventId"] == "/other here"


def test_a_signed_cloud_event_is_one_event_whatever_its_content_type(signed: HttpPlace) -> None:
    kinds = ("application/cloudevents+json", "application/json")
    for number, (first, second) in enumerate((kinds, kinds[::-1])):
        event = {"specversion": "1.0", "id": f"kind-{number}", "type": "t", "source": "/a"}
        body = json.dumps(event).encode()
        made, again = (
            signed.send("POST", "/events", body, {**v1(body), "content-type": kind}).json for kind in (first, second)
        )
        assert (made["status"], again["status"], again["eventId"]) == ("accepted", "duplicate", made["eventId"])


def test_a_setting_lets_v1_act_from_everywhere_and_the_log_says_so(place: Workspace) -> None:
    web = HttpPlace(place)
    web.configure("[http]\nallow_replayed_v1 = true\n")
    web.start(FLOWD_HTTP_SECRET="s")
    assert web.send("POST", "/events/none/replay", b"", {**v1(b""), **FORWARDED[0]}).status == 404
    assert "allow_replayed_v1" in place.log()


def test_a_head_is_no_way_around_a_signature() -> None:
    with workspace() as place:
        web = HttpPlace(place)
        web.configure("[http]\npublic_read = false\n")
        web.start(FLOWD_HTTP_SECRET="s")
        for method in ("GET", "HEAD"):
            assert web.send(method, "/runs").status == web.send(method, "/runs", headers=v1(b"")).status == 401


# --- behind a path prefix --------------------------------------------------------------------------------------------


def test_a_path_that_a_proxy_has_cut_is_signed_as_the_sender_knows_it(signed: HttpPlace) -> None:
    body = json.dumps(EVENT).encode()

    def post(path: str, target: str, nonce: str) -> Reply:
        return signed.send("POST", path, body, v2("POST", target, body, secret="s", nonce=nonce * 16))

    assert post("/events?a=1", "/flowd/events?a=1", "a").status == 202  # nginx cut it
    assert post("/flowd/events?a=1", "/flowd/events?a=1", "b").status == 202  # nginx left it
    assert post("/events?a=1", "/events?a=1", "c").status == 202  # no nginx
    refused = post("/events?a=1", "/other/events?a=1", "d")
    assert (refused.status, refused.json["checked"]) == (401, "POST /events?a=1")
    assert "base_path" in refused.json["error"]


def test_an_id_whose_slashes_a_proxy_has_decoded_is_found(signed: HttpPlace) -> None:
    event_id = "patch:upstream.release:openai/codex:v1/"
    body = json.dumps({"id": event_id, "type": "t"}).encode()
    assert signed.send("POST", "/events/", body, v1(body)).json["eventId"] == event_id
    assert signed.get(f"/events/{event_id}").json["event"]["id"] == event_id
    replayed = signed.send("POST", f"/events/{event_id}/replay", b"{}", v1(b"{}"))
    assert (replayed.status, replayed.json["eventId"]) == (202, event_id)
    assert signed.get("/events//").status == signed.get("/runs/a/b").status == 404


# --- refused early ---------------------------------------------------------------------------------------------------


def upload(web: HttpPlace, path: str, size: int, headers: dict[str, str]) -> tuple[int, Any]:
    """A request whose body goes out whatever comes back, as most clients do it."""
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    try:
        connection.request("POST", path, b"x" * size, {"content-type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, json.loads(response.read())["slug"]
    finally:
        connection.close()


@pytest.mark.parametrize("close", [{}, {"connection": "close"}])
@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("/events", {}, (401, "invalid_signature")),
        ("/events", {"x-flow-signature-256": "sha256=00"}, (413, "body_too_large")),
        ("/none", {}, (404, "not_found")),
        ("/events", {"host": "evil.example"}, (403, "host_not_allowed")),
        ("/runs", {}, (405, "method_not_allowed")),
        ("/hooks/none", {}, (404, "not_found")),
        ("/events", {"content-encoding": "br"}, (415, "unsupported_media_type")),
        ("/events", {"cookie": "x" * 40_000}, (431, "headers_too_large")),
    ],
)
def test_a_refusal_is_read_by_who_sends_on(
    signed: HttpPlace, path: str, headers: dict[str, str], expected: tuple[int, str], close: dict[str, str]
) -> None:
    for _ in range(3):
        assert upload(signed, path, 6 * MIB, {**headers, **close}) == expected


def test_a_stranger_is_refused_before_its_body_is_read(signed: HttpPlace) -> None:
    with signed.raw() as connection:
        connection.sendall(b"POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 401")
    with signed.raw() as connection:
        connection.sendall(b"POST /events HTTP/1.0\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 401")


def test_bodies_that_wait_for_their_end_share_one_budget_and_small_ones_pass(place: Workspace) -> None:
    web = HttpPlace(place).start(FLOWD_HTTP_SECRET="s", FLOWD_MAX_PAYLOAD_BYTES=str(4 * MIB))
    assert place.process is not None
    daemon = psutil.Process(place.process.pid)
    before = daemon.memory_info().rss
    held = [socket.create_connection(("127.0.0.1", web.port), timeout=20) for _ in range(100)]
    try:
        head = (
            b"POST /events HTTP/1.1\r\nHost: localhost\r\nX-Flow-Signature-256: sha256=00\r\nContent-Length: %d\r\n\r\n"
        )
        for connection in held:
            connection.setblocking(False)  # noqa: FBT003
            try:
                connection.sendall(head % (4 * MIB) + b"x" * (3 * MIB))
            except BlockingIOError:
                pass
        body = json.dumps(EVENT).encode()
        assert web.send("POST", "/events", body, v1(body)).status == 202
        large = json.dumps({**EVENT, "id": "large", "payload": "x" * MIB}).encode()
        assert web.send("POST", "/events", large, v1(large)).status == 202
        assert daemon.memory_info().rss - before < 100 * MIB
    finally:
        for connection in held:
            connection.close()


def test_refusals_are_in_the_log_and_do_not_fill_it(place: Workspace) -> None:
    web = HttpPlace(place).start(FLOWD_HTTP_TOKEN="right", FLOWD_LOG_FORMAT="json")
    for _ in range(50):
        assert web.get("/runs", authorization="Bearer wrong").status == 401
    lines = [line for line in place.log().splitlines() if '"request refused"' in line]
    assert 1 <= len(lines) <= 10
    assert all('"peer":"127.0.0.1"' in line.replace(": ", ":") for line in lines)
    assert "wrong" not in "".join(lines)


def test_refused_webhooks_fill_the_log_no_more_and_hide_no_other_hooks(place: Workspace) -> None:
    hook = '[hooks.{}]\nkind = "github"\nsecret_env = "HOOK_SECRET"\n'
    web = HttpPlace(place)
    web.configure(hook.format("one") + hook.format("two"))
    web.start(FLOWD_LOG_FORMAT="json", HOOK_SECRET="right")
    wrong = {"x-hub-signature-256": f"sha256={'0' * 64}"}
    for number in range(50):
        assert web.send("POST", f"/hooks/unknown-{number}", {}, wrong).status == 404
        assert web.send("POST", "/hooks/one", {}, wrong).status == 401
    assert web.send("POST", "/hooks/two", {}, wrong).status == 401
    lines = [json.loads(line) for line in place.log().splitlines() if '"hook refused"' in line]
    told = Counter(line["hook"].partition("-")[0] for line in lines)
    assert told["two"] == 1
    assert 1 <= told["one"] <= 25
    assert 1 <= told["unknown"] <= 25


# --- small things ----------------------------------------------------------------------------------------------------


def test_a_head_is_a_get_without_its_body(signed: HttpPlace) -> None:
    for path in ("/runs", "/events/e", "/healthz", "/metrics", "/openapi.json", "/runs?limit=1"):
        got, head = signed.get(path), signed.send("HEAD", path)
        assert (head.status, head.body) == (got.status, b"")
        assert head.headers["content-type"] == got.headers["content-type"]
    stream = signed.send("HEAD", "/stream")
    assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert signed.send("HEAD", "/none").status == 404


def test_a_websocket_is_told_where_to_go(signed: HttpPlace) -> None:
    for path in ("/", "/events", "/any"):
        answer = signed.get(path, upgrade="websocket", connection="Upgrade", sec_websocket_version="13",
                            sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip
        assert (answer.status, answer.slug) == (501, "no_websocket")
        assert "/stream" in answer.json["error"]


def test_a_streams_first_id_comes_with_data_and_no_proxy_holds_it_back(signed: HttpPlace) -> None:
    with signed.raw() as connection:
        connection.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        got = b""
        while b"data:" not in got or not got.endswith(b"\n\n\r\n"):
            got += connection.recv(65536)
    head, _, rest = got.partition(b"\r\n\r\n")
    assert b"x-accel-buffering: no" in head.lower()
    assert b"no-transform" in head.lower()
    block = rest.partition(b"\r\n")[2].partition(b"\n\n")[0].splitlines()
    fields = dict(line.split(b": ", 1) for line in block)
    assert json.loads(fields[b"data"]) == {"kind": "connected", "cursor": fields[b"id"].decode()}
