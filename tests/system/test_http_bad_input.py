"""Everything bad that can be sent over HTTP: each has its answer, and the daemon goes on."""

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator

import psutil
import pytest
from daemon_rig import Workspace, say, until, workspace
from http_rig import HttpPlace, eventually, read_all

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def web() -> Iterator[HttpPlace]:
    with workspace() as place:
        place.flow("hello", say("completed"))
        place.flow("slow", f"sleep 60; {say('completed')}")
        it = HttpPlace(place)
        it.configure(
            f"max_payload_bytes = {MIB}\n[http]\nbody_s = 1\nheader_s = 1\nkeep_alive_s = 1\nstall_s = 1\n"
            "max_connections = 300\nmax_streams = 3\n"
        )
        yield it.start()


@pytest.fixture(autouse=True)
def still_there(web: HttpPlace) -> Iterator[None]:
    """After each test the same daemon answers, and its log has no fault of ours."""
    yield
    assert web.get("/healthz").json == {"ok": True}
    assert "unexpected error" not in web.place.log()
    assert "Traceback" not in web.place.log()


BAD_EVENTS = {
    b"": 400, b"{": 400, b"nope": 400, b"\xff\xfe": 400, b"null": 400, b"[]": 400, b"5": 400, b'"x"': 400,
    b"{}": 400, b'{"id":"a"}': 400, b'{"type":"t"}': 400, b'{"id":"","type":"t"}': 400, b'{"id":5,"type":"t"}': 400,
    b'{"id":"a\\u0000","type":"t"}': 400, b'{"id":"a","type":"t","source":5}': 400, b'{"id":"a","type":"t"} {}': 400,
    b'{"id":"a","type":"t","payload":NaN}': 400, b"[" * 100_000: 400, b'{"event":5}': 400,
    b'{"event":{"id":"a"}}': 400, b'{"id":"' + b"x" * 10_240 + b'","type":"t"}': 400,
    b'{"id":"a\\u001f","type":"t"}': 400,
}  # fmt: skip


@pytest.mark.parametrize("body", BAD_EVENTS, ids=lambda body: body[:24].decode("latin-1"))
def test_a_body_that_is_no_event_is_400_with_a_slug(web: HttpPlace, body: bytes) -> None:
    answer = web.post("/events", body)
    assert answer.status == BAD_EVENTS[body], answer
    assert answer.slug in ("bad_request", "invalid_event", "unsupported_media_type")
    assert answer.headers["content-type"] == "application/json"


BAD_PATHS = {
    "/runs/%": 400, "/runs/%zz": 400, "/runs/%ff": 400, "/events/%E2%28%A1": 400, "/runs?status=nope": 400,
    "/runs?cursor=nope": 400, "/runs?cursor=r99999999999999999999": 400,
    "/events?cursor=x": 400, "/runs?limit=%zz": 400,
    "/runs/" + "x" * 10_240: 400, "/events/" + "x" * 10_240: 400, "/runs?eventId=" + "x" * 10_240: 200,
    "/runs/x/output?offset=-1": 400, "/runs/x/output?offset=a": 400, "/runs/x/output?waitMs=999999": 400,
    "/runs/x/wait?timeoutMs=-1": 400, "/stream?after=x": 400, "/stream?topics=nope": 400, "/stream?places=%7B": 400,
    "/runs/a%2Fb": 404, "/runs/..%2f..%2fetc%2fpasswd": 404, "//runs": 404, "/runs//output": 404, "/RUNS": 404,
    "/" + "x" * 100_000: 431, "/runs?x=" + "y" * 100_000: 431,
}  # fmt: skip


@pytest.mark.parametrize("path", BAD_PATHS, ids=lambda path: path[:40])
def test_a_bad_path_or_query_has_its_proper_status(web: HttpPlace, path: str) -> None:
    answer = web.get(path)
    assert answer.status == BAD_PATHS[path], answer
    assert answer.status == 200 or answer.slug


def test_an_event_whose_payload_is_misspelt_is_taken_with_a_word_about_it(web: HttpPlace) -> None:
    answer = web.post("/events", {"id": "mp", "type": "hello.go", "paylod": {"tag": "v1"}})
    told = "The event has paylod and no payload, and its payload is {}: steps match and read the payload."
    assert (answer.status, answer.json["warning"]) == (202, told)
    fine = web.post("/events", {"id": "mp2", "type": "hello.go", "repo": "x", "play": 1})
    assert "warning" not in fine.json


MISSPELT = {
    "/events/e1/replay": ({"stepss": ["run"]}, "stepss", "steps"),
    "/events/e1/cancel": ({"teree": True}, "teree", "tree"),
    "/pause": ({"flwo": "hello"}, "flwo", "flow"),
    "/runs/r1/retry": ({"causdBy": "r2"}, "causdBy", "causedBy"),
    "/runs/r1/cancel": ({"only": True}, "only", None),
}


@pytest.mark.parametrize("path", MISSPELT)
def test_a_member_of_a_body_that_a_route_does_not_know_is_refused(web: HttpPlace, path: str) -> None:
    body, unknown, meant = MISSPELT[path]
    web.post("/events", {"id": "e1", "type": "hello.go"})
    runs = len(web.get("/runs").json["runs"])
    answer = web.post(path, body)
    guess = f" Did you mean '{meant}'?" if meant else ""
    told = f"Object contains unknown field '{unknown}'.{guess}"
    assert (answer.status, answer.slug, answer.json["error"]) == (400, "invalid_params", told)
    assert len(web.get("/runs").json["runs"]) == runs


def test_methods_that_a_path_does_not_take_are_405_with_the_ones_it_does(web: HttpPlace) -> None:
    for method, path, allow in (
        ("DELETE", "/runs", "GET, HEAD"),
        ("PUT", "/events", "GET, HEAD, POST"),
        ("GET", "/runs/x/cancel", "POST"),
        ("HEAD", "/runs/x/cancel", "POST"),
        ("TRACE", "/healthz", "GET, HEAD"),
    ):
        answer = web.send(method, path)
        assert (answer.status, answer.headers["allow"]) == (405, allow)


def test_one_byte_over_the_limit_is_413_and_one_less_is_not(web: HttpPlace) -> None:
    limit = MIB + 64 * 1024
    frame = b'{"id":"big","type":"t","payload":"%b"}'
    fits = frame % (b"x" * (MIB - 2))
    assert web.post("/events", fits).status == 202
    payload = web.post("/events", frame % (b"x" * MIB))
    assert (payload.status, payload.slug) == (413, "payload_too_large")
    over = web.post("/events", b"x" * (limit + 1))
    assert (over.status, over.slug, over.json["maxBodyBytes"]) == (413, "body_too_large", limit)
    assert web.post("/events", b" " * limit).status == 400  # read whole, and then it is no JSON


def test_a_body_of_unknown_length_is_counted(web: HttpPlace) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    try:
        chunks = (b"x" * 65536 for _ in range(40))
        try:
            connection.request("POST", "/events", chunks, {"content-type": "application/json"}, encode_chunked=True)
        except ConnectionError:
            pass
        assert connection.getresponse().status == 413
    finally:
        connection.close()
    for length in (b"-1", b"1e3", b"99999999999999999999999", b"abc"):
        answer = web.talk(b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: %b\r\n\r\n{}" % length)
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413", b"HTTP/1.1 403")), answer


GARBAGE = [
    b"\x00" * 1000, b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"{}\n" * 10,
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /runs HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET /runs HTTP/1.1\r\n\r\n", b"GET /runs HTTP/1.0\r\n\r\n",
    b"GET /runs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    b"POST /events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET http://evil.example/runs HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", b"Content-Length: 5\r\n\r\n12345",
]  # fmt: skip


@pytest.mark.parametrize("data", GARBAGE, ids=lambda data: repr(data[:30]))
def test_what_is_no_http_is_answered_in_json_and_hung_up_on(web: HttpPlace, data: bytes) -> None:
    answer = web.talk(data)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 40", b"HTTP/1.1 43")), answer
    assert b"application/json" in head
    if body:
        assert json.loads(body)["slug"]


def test_headers_without_end_are_refused(web: HttpPlace) -> None:
    with web.raw() as connection:
        try:
            connection.sendall(b"GET / HTTP/1.1\r\n")
            for n in range(100):
                connection.sendall(b"x-%d: %b\r\n" % (n, b"y" * 4096))
        except ConnectionError:
            pass
        answer = read_all(connection)
    assert not answer or b"431" in answer.split(b"\r\n")[0]
    assert web.get("/runs", x_big="y" * 40_000).status == 431


def test_a_body_that_trickles_is_408_within_its_bound(web: HttpPlace) -> None:
    # Were the bound one of each piece, the hundred bytes would arrive, and be no JSON.
    with web.raw() as connection:
        connection.sendall(
            b"POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
        )
        connection.settimeout(0.3)
        answer = b""
        while not answer:
            try:
                connection.sendall(b"{")
                answer = connection.recv(65536)
            except TimeoutError:
                continue
        # The head may come before the body.
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while data := connection.recv(65536):
                answer += data
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"slug":"request_timeout"' in answer


@pytest.mark.parametrize(
    "data", [b"", b"GET /runs HTTP/1.1\r\n", b"G", b"\r\n", b"GET /runs HTTP/1.1\r\nHost: localhost\r\n\r\n"]
)
def test_a_connection_that_says_nothing_more_is_closed_within_its_bound(web: HttpPlace, data: bytes) -> None:
    web.talk(data)


def test_a_reader_that_stops_reading_is_hung_up_on(web: HttpPlace) -> None:
    web.place.flow("loud", f"head -c 20000000 /dev/zero | tr '\\0' x; echo; {say('completed')}")
    web.place.call("daemon.reload")
    run_id = web.post("/events?wait=true", {"id": "loud", "type": "loud.go"}).json["runIds"][0]
    assert web.place.process is not None
    daemon = psutil.Process(web.place.process.pid)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", web.port))
        connection.sendall(f"GET /runs/{run_id}/output HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        mine = connection.getsockname()
        is_open = lambda: any(c.raddr == mine for c in daemon.net_connections("tcp"))  # noqa: E731
        until(is_open, what="the connection")
        until(lambda: not is_open(), what="the end of a stalled reader")


PATIENT = "[http]\nmax_connections = 40\nheader_s = 60\nkeep_alive_s = 60\nbody_s = 60\n"
"""Nothing goes by itself within the bound of a test."""

PROBE = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.mark.parametrize("said", [b"", PROBE[:30], PROBE], ids=["nothing", "a part", "a request before"])
def test_connections_with_no_request_under_way_keep_nobody_out(place: Workspace, said: bytes) -> None:
    web = HttpPlace(place)
    web.configure(PATIENT)
    web.start()
    assert place.process is not None
    daemon = psutil.Process(place.process.pid)
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", web.port), timeout=10))
            with contextlib.suppress(ConnectionError):
                connection.sendall(said)
                if said == PROBE:
                    connection.recv(4096)  # a request that is under way keeps others out, and may
        for _ in range(2):  # who had something under way a moment ago is left in peace for that moment
            eventually(lambda: web.get("/healthz").status == 200)
        assert len(daemon.net_connections("tcp")) <= 1 + 40 + 40 // 8
    until(lambda: len(daemon.net_connections("tcp")) == 1, what="closed connections")


def test_connections_with_requests_under_way_are_bounded(place: Workspace) -> None:
    web = HttpPlace(place)
    web.configure(PATIENT)
    web.start()
    head = b"POST /events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", web.port), timeout=10))
            connection.sendall(head)
        eventually(lambda: web.get("/healthz").status == 503)
    eventually(lambda: web.get("/healthz").status == 200)


def test_clients_that_vanish_while_waiting_or_streaming_leave_nothing_behind(web: HttpPlace) -> None:
    run_id = web.post("/events", {"id": "vanish", "type": "slow.go"}).json["runIds"][0]
    assert web.place.process is not None
    daemon = psutil.Process(web.place.process.pid)
    for path in (f"/runs/{run_id}/wait", "/stream", f"/runs/{run_id}/output?follow=1"):
        for _ in range(20):
            with web.raw() as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                if path == "/stream":
                    connection.recv(10)
    streams = lambda: b"flowd_http_streams 0.0\n" in web.get("/metrics").body  # noqa: E731
    until(streams, what="no stream left")
    until(lambda: len(daemon.net_connections("tcp")) < 10, what="no connection left")
    web.post(f"/runs/{run_id}/cancel")


def test_a_caller_who_vanishes_while_it_waits_does_not_take_its_run_along(web: HttpPlace) -> None:
    web.place.flow("nap", f"sleep 0.5; {say('completed')}")
    web.place.call("daemon.reload")
    body = b'{"id":"gone","type":"nap.go"}'
    with web.raw() as connection:
        connection.sendall(
            b"POST /events?wait=true HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        until(lambda: web.get("/events/gone").status == 200, what="the event")
    (run,) = web.get("/runs?eventId=gone").json["runs"]
    assert web.get(f"/runs/{run['id']}/wait").json["run"]["status"] == "completed"


def test_streams_are_bounded(web: HttpPlace) -> None:
    held = []
    try:
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
            held.append(connection)
            connection.request("GET", "/stream")
            assert connection.getresponse().status == 200
        refused = web.get("/stream")
        assert (refused.status, refused.slug) == (503, "too_many_streams")
    finally:
        for connection in held:
            connection.close()


def test_pipelined_requests_are_answered_in_order(web: HttpPlace) -> None:
    one = b"GET /runs/r%d HTTP/1.1\r\nHost: localhost\r\n%b\r\n"
    answer = web.talk(b"".join(one % (n, b"Connection: close\r\n" if n == 4 else b"") for n in range(5)))
    assert [answer.index(b'"runId":"r%d"' % n) for n in range(5)] == sorted(
        answer.index(b'"runId":"r%d"' % n) for n in range(5)
    )
    assert answer.count(b"HTTP/1.1 404") == 5
