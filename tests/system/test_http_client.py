"""HTTP mode against the real shim, against a server of the reference system's shapes, and against bad servers."""

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from client_rig import Kind, http_url, opened
from daemon_rig import Workspace, say
from http_rig import free_port

from flowd_client import (
    BadAnswerError,
    CallError,
    ConnectionLostError,
    DaemonNotRunningError,
    FlowClientError,
    NotFoundError,
    RefusedError,
    TimedOutError,
    UnauthorizedError,
    create_async_flow_client,
)

BOTH = pytest.mark.parametrize("is_async", [False, True], ids=["blocking", "async"])
EVENT = {"id": "e", "type": "hello.go"}
PATIENCE_S = 1.0
"""Of clients whose server does not come back."""


def client(is_async: bool, **options: Any) -> Any:
    return opened(Kind("http", is_async), options)


# --- flowd's own shim, closed to strangers ---------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("signature", ["v1", "v2"])
def test_a_signed_client_may_and_a_stranger_may_not(place: Workspace, is_async: bool, signature: str) -> None:
    place.flow("hello", say("changed"))
    settings = (
        f'[http]\nlisten = "127.0.0.1:0"\nsignatures = "{signature}"\npublic_read = {str(signature == "v1").lower()}\n'
    )
    (place.path / ".codex").mkdir(exist_ok=True)
    (place.path / ".codex/flowd.toml").write_text(settings)
    place.start(FLOWD_HTTP_SECRET="a secret of some length")
    url = http_url(place)
    with client(is_async, base_url=url, hmac_secret="a secret of some length", signature=signature) as signed:
        answer = signed.dispatch_event({**EVENT, "payload": "é"}, wait=True)
        assert answer.runs[0].status == "changed"
        assert signed.replay_event("e", wait=True).runs[0].is_replay
        assert len(signed.list_runs(event_id="e", limit=5)) == 2
    with client(is_async, base_url=url, hmac_secret="another", signature=signature) as stranger:
        with pytest.raises(UnauthorizedError, match="failed with 401") as raised:
            stranger.replay_event("e")
        assert (raised.value.slug, raised.value.data["httpStatus"]) == ("invalid_signature", 401)


@BOTH
def test_tokens_and_added_headers_are_sent(place: Workspace, is_async: bool) -> None:
    place.start(FLOWD_HTTP="127.0.0.1:0", FLOWD_HTTP_TOKEN="a token of some length, too")
    url = http_url(place)
    for options in (
        {"bearer_token": "a token of some length, too"},
        {"api_key": "a token of some length, too"},
        {"headers": {"X-Api-Key": "a token of some length, too"}},
        {"headers": lambda: {"authorization": "Bearer a token of some length, too"}},
    ):
        with client(is_async, base_url=url, **options) as known:
            assert known.dispatch_event(EVENT).event_id == "e"
    with client(is_async, base_url=url) as stranger, pytest.raises(UnauthorizedError):
        stranger.dispatch_event(EVENT)
    with (
        client(is_async, base_url=url, headers={"x": "a\r\nb"}) as bad,
        pytest.raises(FlowClientError, match="line break"),
    ):
        bad.list_runs()


def test_an_async_function_gives_headers(place: Workspace) -> None:
    place.start(FLOWD_HTTP="127.0.0.1:0", FLOWD_HTTP_TOKEN="a token of some length, too")

    async def headers() -> dict[str, str]:
        await asyncio.sleep(0)
        return {"x-api-key": "a token of some length, too"}

    async def run() -> None:
        async with create_async_flow_client("http", base_url=http_url(place), headers=headers) as flows:
            assert (await flows.dispatch_event(EVENT)).status == "accepted"

    asyncio.run(run())


@BOTH
def test_over_a_unix_socket(place: Workspace, is_async: bool) -> None:
    place.start(FLOWD_HTTP=f"unix:{place.path}/http.sock")
    with client(is_async, base_url=f"unix://{place.path}/http.sock") as flows:
        assert flows.dispatch_event(EVENT).status == "accepted"


@BOTH
def test_a_daemon_that_is_restarted_is_found_again(place: Workspace, is_async: bool) -> None:
    address = f"127.0.0.1:{free_port()}"
    place.start(FLOWD_HTTP=address)
    with client(is_async, base_url=f"http://{address}") as flows:
        flows.dispatch_event(EVENT)
        place.kill()
        with pytest.raises(DaemonNotRunningError):
            flows.list_events()
        place.start(FLOWD_HTTP=address)
        assert flows.dispatch_event(EVENT).is_duplicate


@BOTH
def test_what_http_has_not_is_said(place: Workspace, is_async: bool) -> None:
    with client(is_async) as flows, pytest.raises(FlowClientError, match="not available over HTTP") as raised:
        flows.drain()
    assert raised.value.slug == "not_available"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for ``localhost`` with its key, in one file."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("openssl is not here to make a certificate")
    file = tmp_path / "localhost.pem"
    argv = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    argv += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(file), "-out", str(tmp_path / "public.pem")]
    subprocess.run(argv, check=True, capture_output=True)
    with file.open("ab") as both:
        both.write((tmp_path / "public.pem").read_bytes())
    return file


@BOTH
def test_over_tls(is_async: bool, certificate: Path) -> None:
    big = {"runs": [], "ballast": "x" * 3_000_000}
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    with Other(lambda _: (200, big), tls=server_side) as server:
        url = server.url.replace("127.0.0.1", "localhost").replace("http:", "https:")
        with client(is_async, base_url=url, ssl_context=trusting) as flows:
            assert len(flows.list_runs().raw["ballast"]) == 3_000_000
            assert flows.explain({"id": "e", "type": "t", "payload": "y" * 3_000_000}).raw == big
        with client(is_async, base_url=url) as wary, pytest.raises(DaemonNotRunningError, match="certificate"):
            wary.list_runs()


# --- other servers ---------------------------------------------------------------------------------------------------


class Seen(NamedTuple):
    """A request as a server got it."""

    verb: str
    target: str
    headers: dict[str, str]
    body: bytes


class Other:
    """A real HTTP server whose answers a function gives: ``(status, value)``, or None to hang up."""

    def __init__(self, answer: Callable[[Seen], tuple[int, Any] | None], tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Seen] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                seen = Seen(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                outer.seen.append(seen)
                said = answer(seen)
                if said is None:
                    self.close_connection = True
                    return
                data = said[1] if isinstance(said[1], bytes) else json.dumps(said[1], indent=2).encode()
                self.send_response(said[0])
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET  # noqa: N815 - the library's name

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> "Other":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def reference(seen: Seen) -> tuple[int, Any]:
    """The reference backend: no slugs, no waiting, wrapped results, plain texts for what it does not know."""
    report = {"flow": "hello", "step": "main", "result": {"status": "blocked", "message": "ask"}}
    run = {
        "id": "run_1", "eventId": "e", "flowName": "hello", "stepName": "main", "backend": "workspace-local",
        "status": "completed", "resultJson": json.dumps(report), "stdout": "one\ntwo\n", "stderr": "",
        "createdAt": "2026-05-10T10:00:00.000Z",
    }  # fmt: skip
    path = seen.target.partition("?")[0].removeprefix("/base")
    match seen.verb, path:
        case ("POST", "/events") | ("POST", "/events/e/replay"):
            return 202, {"status": "accepted", "eventId": "e", "runIds": ["run_1"], "matched": 1}
        case "GET", "/runs/run_1":
            return 200, {"run": run}
        case "GET", "/runs":
            return 200, {"runs": [run]}
        case "GET", "/runs/nope":
            return 404, {"error": "run not found"}
        case "POST", "/events/boom/replay":
            return 500, b"<html>stack trace</html>"
        case _:
            return 404, {"error": "not found"}


@BOTH
def test_the_reference_systems_server_is_understood(is_async: bool) -> None:
    with Other(reference) as server, client(is_async, base_url=f"{server.url}/base/", hmac_secret="s") as flows:
        answer = flows.dispatch_event({"id": "e", "type": "t"}, wait=True)
        # It does not wait and sends no runs, and hides what a step says behind "completed".
        assert [(run.status, run.needs_attention) for run in answer.runs] == [("blocked", True)]
        assert server.seen[0].target == "/base/events?wait=true"
        assert server.seen[0].body == b'{"id":"e","type":"t"}'
        assert server.seen[0].headers["x-flow-signature-256"].startswith("sha256=")
        assert "x-flow-signature-256" not in server.seen[1].headers
        assert flows.replay_event("e", wait=True).runs[0].result_payload == {"status": "blocked", "message": "ask"}
        assert flows.wait_run("run_1").effective_status == "blocked"
        assert flows.read_output("run_1", offset=4).text == "two\n"
        assert [text for _, text in flows.follow_output("run_1", attempt=1)] == ["one\ntwo\n"]
        with pytest.raises(NotFoundError, match="failed with 404") as raised:
            flows.get_run("nope")
        assert raised.value.slug == "run_not_found"
        with pytest.raises(CallError, match="POST /events/boom/replay failed with 500") as failed:
            flows.replay_event("boom")
        assert "stack" not in str(failed.value)


@BOTH
def test_ids_are_one_path_segment_whatever_is_in_them(is_async: bool) -> None:
    with Other(lambda _: (404, {"error": "event not found"})) as server, client(is_async, base_url=server.url) as flows:
        for event_id in ("a/b:c?d#e&f", "é %2F", "..", "a b"):
            with pytest.raises(NotFoundError):
                flows.get_event(event_id)
    assert [seen.target for seen in server.seen] == [
        "/events/a%2Fb%3Ac%3Fd%23e%26f", "/events/%C3%A9%20%252F", "/events/..", "/events/a%20b",
    ]  # fmt: skip


@BOTH
def test_only_what_may_be_repeated_is_sent_again(is_async: bool) -> None:
    answers: Iterator[tuple[int, Any] | None] = iter([])

    def answer(_: Seen) -> tuple[int, Any] | None:
        return next(answers)

    accepted = (202, {"status": "accepted", "eventId": "e", "runIds": [], "matched": 0})
    busy = (503, {"error": "busy", "slug": "storage_busy"})
    with Other(answer) as server, client(is_async, base_url=server.url) as flows:
        answers = iter([None, busy, accepted])
        assert flows.dispatch_event(EVENT).status == "accepted"
        assert len({seen.body for seen in server.seen}) == 1
        for failing, kind in ((None, ConnectionLostError), (busy, RefusedError)):
            answers = iter([failing, accepted])
            count = len(server.seen)
            with pytest.raises(kind):
                flows.replay_event("e")
            assert len(server.seen) == count + 1
        answers = iter([busy] * 9)
        count = len(server.seen)
        with pytest.raises(RefusedError, match="failed with 503: busy"):
            flows.list_runs()
        assert len(server.seen) == count + 3


@BOTH
@pytest.mark.parametrize("is_answering", [True, False])
def test_a_server_that_goes_after_its_first_request_leaves_a_lost_call(is_async: bool, is_answering: bool) -> None:
    taken = json.dumps({"status": "accepted", "eventId": "e", "runIds": ["run_1"], "matched": 1}).encode()
    answer = f"HTTP/1.1 202 Accepted\r\nconnection: close\r\ncontent-length: {len(taken)}\r\n\r\n".encode() + taken

    def take_one() -> None:
        connection, _ = listener.accept()
        listener.close()
        with connection:
            connection.recv(65536)
            connection.sendall(answer if is_answering else b"")

    with socket.create_server(("127.0.0.1", free_port())) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = threading.Thread(target=take_one, daemon=True)
        server.start()
        with opened(Kind("http", is_async), {"base_url": url}, timeout_s=PATIENCE_S) as flows:
            with pytest.raises(ConnectionLostError) as raised:
                # A server that does not wait for the runs is asked for them afterwards.
                flows.dispatch_event(EVENT, wait=True) if is_answering else flows.wait_run("run_1")
            assert isinstance(raised.value.__cause__, DaemonNotRunningError)
            with pytest.raises(DaemonNotRunningError):
                flows.wait_run("run_1")
        server.join(60)


@BOTH
def test_each_sending_has_its_own_nonce(is_async: bool) -> None:
    answers = iter([None, None, (200, {"runs": []})])
    with (
        Other(lambda _: next(answers)) as server,  # type: ignore[arg-type, return-value]
        client(is_async, base_url=server.url, hmac_secret="s", signature="v2") as flows,
    ):
        flows.list_runs()
    assert len({seen.headers["x-flow-nonce"] for seen in server.seen}) == 3


@BOTH
@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", (BadAnswerError, ConnectionLostError)),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno", BadAnswerError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{}", ConnectionLostError),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", (BadAnswerError, ConnectionLostError)),
        (b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"ru', ConnectionLostError),
        ("HTTP/1.1 ²²² Fine\r\n\r\n".encode("latin-1"), BadAnswerError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n", BadAnswerError),
        (b"HTTP/1.1 302 Found\r\nlocation: http://elsewhere/\r\ncontent-length: 0\r\n\r\n", CallError),
        (b"", ConnectionLostError),
    ],
)
def test_a_bad_answer_is_told_as_such(is_async: bool, said: bytes, kind: Any) -> None:
    with Raw(said) as url, client(is_async, base_url=url, retries=0) as flows, pytest.raises(kind):
        flows.list_runs()


@BOTH
def test_a_body_in_chunks_and_one_up_to_the_end_are_read(is_async: bool) -> None:
    head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
    for said in (
        head + b'transfer-encoding: chunked\r\n\r\n5;x=y\r\n{"run\r\n7\r\ns": []}\r\n0\r\nt: 1\r\n\r\n',
        head + b'\r\n{"runs": []}',
    ):
        with Raw(said) as url, client(is_async, base_url=url) as flows:
            assert len(flows.list_runs()) == 0


@BOTH
def test_a_server_that_says_nothing_or_drips_is_given_up_in_time(is_async: bool) -> None:
    with Raw(None) as url, opened(Kind("http", is_async), {"base_url": url}) as flows:
        transport = (flows._client if is_async else flows)._transport
        with pytest.raises(TimedOutError):
            made = transport.call("flow.listRuns", {}, timeout_s=0.2)
            if is_async:
                flows._runner.run(_awaited(made))


async def _awaited(made: Any) -> Any:
    return await made


class Raw:
    """Answers each connection with the same bytes and hangs up; None says nothing and stays."""

    def __init__(self, said: bytes | None) -> None:
        self._said = said
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for one in self._open:
            one.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if self._said is None:
                self._open.append(connection)
                continue
            with connection:
                connection.recv(65536)
                connection.sendall(self._said)
