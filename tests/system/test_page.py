"""The web page from outside: who gets in, what lets nobody in, and what it does."""

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from daemon_rig import Workspace, flowd_says, say, until, workspace
from http_rig import HttpPlace, Reply
from other_users import ALICE, MALLORY, PYTHON, PYTHONPATH, give, needs_root, run_as

FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def web() -> Iterator[HttpPlace]:
    with workspace() as place:
        place.flow("hello", say("completed"))
        place.flow("gate", say("needs_intervention", message="<b>Publish</b>?"))
        yield HttpPlace(place).start(FLOWD_HTTP_OPEN="")


def token(web: HttpPlace) -> str:
    return (web.place.path / ".codex/flowd/http-token").read_text(encoding="ascii").strip()


def follow_link(web: HttpPlace, url: str) -> Reply:
    return web.get(re.sub(r"^http://[^/]*", "", url))


def cookie_of(reply: Reply) -> str:
    assert reply.status == 303, reply
    return reply.headers["set-cookie"].partition(";")[0]


def log_in(web: HttpPlace) -> str:
    return cookie_of(follow_link(web, web.place.call("daemon.openPage")["url"]))


def submit(web: HttpPlace, path: str, fields: dict[str, str], **headers: str) -> Reply:
    return web.send("POST", path, urlencode(fields).encode(), {**FORM, **headers})


def own(web: HttpPlace, cookie: str = "") -> dict[str, str]:
    return {"origin": web.url, "cookie": cookie}


def test_the_root_leads_browsers_to_the_page_and_tells_programs_where_to_look(web: HttpPlace) -> None:
    led = web.get("/", accept="text/html,*/*")
    assert (led.status, led.headers["location"]) == (303, "/ui/")
    told = web.get("/")
    assert (told.status, told.slug) == (404, "not_found")
    assert all(place in told.json["hint"] for place in ("/ui/", "/openapi.json"))


def test_a_stranger_is_asked_for_a_token_and_led_back(web: HttpPlace) -> None:
    asked = web.get("/ui/runs?flow=hello")
    assert asked.status == 401
    assert b'name="next" value="/ui/runs?flow=hello"' in asked.body
    refused = submit(web, "/ui/login", {"token": "wrong"}, **own(web))
    assert refused.status == 401
    assert "set-cookie" not in refused.headers
    led = submit(web, "/ui/login", {"token": token(web), "next": "/ui/runs?flow=hello"}, **own(web))
    assert led.headers["location"] == "/ui/runs?flow=hello"
    assert b"Runs" in web.get("/ui/runs", cookie=cookie_of(led)).body


def test_a_login_leads_to_no_other_site(web: HttpPlace) -> None:
    led = submit(web, "/ui/login", {"token": token(web), "next": "//evil.example/ui/"}, **own(web))
    assert led.headers["location"] == "/ui/"


def test_a_login_leads_to_the_page_and_not_above_it(web: HttpPlace) -> None:
    led = submit(web, "/ui/login", {"token": token(web), "next": "/ui/%2e%2e/other"}, **own(web))
    assert led.headers["location"] == "/ui/"


def test_a_form_of_a_stranger_is_small(web: HttpPlace) -> None:
    refused = submit(web, "/ui/login", {"token": "x" * 20_000}, **own(web))
    assert refused.status == 413
    cookie = log_in(web)
    event = json.dumps({"id": "large", "type": "none", "payload": {"text": "<" * 20_000}})
    assert submit(web, "/ui/dispatch", {"event": event}, **own(web, cookie)).status == 303


def test_a_link_is_not_used_by_who_only_asks_for_its_headers(web: HttpPlace) -> None:
    url = web.place.call("daemon.openPage")["url"]
    asked = web.send("HEAD", re.sub(r"^http://[^/]*", "", url), b"", {})
    assert asked.status == 200
    assert "set-cookie" not in asked.headers
    assert follow_link(web, url).status == 303


def test_a_link_lets_in_once(web: HttpPlace) -> None:
    url = flowd_says(web.place, "ui", "--print").strip()
    assert url.startswith(f"{web.url}/ui/login?key=")
    led = follow_link(web, url)
    attributes = led.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
    assert web.get("/ui/", cookie=cookie_of(led)).status == 200
    again = follow_link(web, url)
    assert again.status == 401
    assert "set-cookie" not in again.headers
    # Whoever it has let in, and goes back to it, is not sent away.
    assert web.get(re.sub(r"^http://[^/]*", "", url), cookie=cookie_of(led)).headers["location"] == "/ui/"


def test_the_cookie_is_sent_encrypted_only_behind_https(web: HttpPlace) -> None:
    reply = submit(web, "/ui/login", {"token": token(web)}, **{**own(web), "x-forwarded-proto": "https"})
    assert reply.headers["set-cookie"].endswith("; Secure")


def test_a_session_counts_for_what_pages_read_and_for_nothing_else(web: HttpPlace) -> None:
    cookie = log_in(web)
    run_id = web.place.call("flow.dispatch", event={"id": "read", "type": "hello.go"}, wait=True)["runIds"][0]
    assert web.get(f"/runs/{run_id}/output", cookie=cookie).status == 200
    assert head_of_stream(web, "/stream", cookie) == 200
    assert head_of_stream(web, "/ui/changes", cookie) == 200
    for path in ("/runs", "/status", f"/runs/{run_id}", "/metrics"):
        assert web.get(path, cookie=cookie).slug == "unauthorized", path
    assert web.post("/events", {"id": "x", "type": "hello.go"}, cookie=cookie).slug == "unauthorized"
    assert head_of_stream(web, "/ui/changes", "") == 401


def head_of_stream(web: HttpPlace, path: str, cookie: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    try:
        connection.request("GET", path, headers={"cookie": cookie})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("sender", [{}, {"sec-fetch-site": "none"}, {"sec-fetch-site": "cross-site"}])
def test_only_the_page_itself_may_do_something(web: HttpPlace, sender: dict[str, str]) -> None:
    run_id = asking(web, f"own-{sender.get('sec-fetch-site')}")
    cookie = log_in(web)
    path = f"/ui/runs/{run_id}/approve"
    refused = submit(web, path, {"sure": "1"}, cookie=cookie, **sender)
    assert refused.status == 403
    assert web.place.call("flow.getRun", runId=run_id)["run"]["needsAttention"]


def asking(web: HttpPlace, event_id: str) -> str:
    reply = web.place.call("flow.dispatch", event={"id": event_id, "type": "gate.go"}, wait=True)
    return str(reply["runIds"][0])


def test_who_approves_is_asked_first_and_is_recorded(web: HttpPlace) -> None:
    run_id = asking(web, "approved")
    path = f"/ui/runs/{run_id}/approve"
    sender = own(web, cookie_of(submit(web, "/ui/login", {"token": token(web)}, **own(web))))
    page = web.get("/ui/", cookie=sender["cookie"]).body.decode()
    assert path in page
    assert "&lt;b&gt;Publish&lt;/b&gt;?" in page
    assert "<b>Publish</b>" not in page
    sure = submit(web, path, {"back": "/ui/?x=1", "text": '"><script>'}, **sender)
    assert sure.status == 200
    assert b"<script>" not in sure.body.partition(b"<main")[2]
    assert web.place.call("flow.getRun", runId=run_id)["run"]["needsAttention"]
    done = submit(web, path, {"back": "/ui/?x=1", "text": "go", "sure": "1"}, **sender)
    assert (done.status, done.headers["location"]) == (303, "/ui/?x=1")
    said = web.place.call("flow.getRun", runId=run_id)["run"]["resolution"]
    assert (said["status"], said["note"], said["by"]) == ("completed", "go", {"via": "token", "name": "http-token"})
    twice = submit(web, f"/ui/runs/{run_id}/reject", {"sure": "1"}, **sender)
    assert twice.status == 409
    assert b"data-problem" in twice.body


def test_who_came_by_a_link_is_recorded_as_the_user(web: HttpPlace) -> None:
    run_id = asking(web, "answered")
    done = submit(web, f"/ui/runs/{run_id}/answer", {"text": '{"n":1}', "sure": "1"}, **own(web, log_in(web)))
    assert done.status == 303
    answer = until(lambda: web.place.call("flow.getRun", runId=run_id)["run"].get("answer"))
    assert answer["input"] == {"n": 1}
    assert answer["by"]["via"] == "socket"


def test_every_page_says_what_may_be_loaded_and_is_not_kept(web: HttpPlace) -> None:
    cookie = log_in(web)
    for path in ("/ui/", "/ui/runs", "/ui/login", "/ui/runs?status=nonsense"):
        reply = web.get(path, cookie=cookie)
        assert reply.status < 500, reply
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cache-control"] == "no-store"
        assert not re.search(rb"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", reply.body), path


def test_what_pages_are_made_with_is_kept_and_packed(web: HttpPlace) -> None:
    page = web.get("/ui/login").body.decode()
    names = re.findall(r'"(/ui/static/[^"]+)"', page)
    assert len(names) == 3
    for name in names:
        reply = web.get(name, accept_encoding="gzip")
        assert "immutable" in reply.headers["cache-control"]
        assert reply.headers["content-encoding"] == "gzip"
    assert web.get("/ui/static/..%2Fsite.py").status == 404


def test_a_link_on_another_site_shows_nothing_but_leads_there(web: HttpPlace) -> None:
    cookie = log_in(web)
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    reply = web.send("GET", "/ui/runs?flow=a%22b", None, {**followed, "cookie": cookie})
    assert reply.status == 200
    assert b'content="0; url=/ui/runs?flow=a%22b"' in reply.body
    assert b"Keys" not in reply.body
    for other in ({"sec-fetch-dest": "iframe"}, {"sec-fetch-mode": "cors"}, {"origin": "http://evil.example"}):
        assert web.send("GET", "/ui/runs", None, {**followed, **other}).status == 403, other
    assert web.send("GET", "/runs", None, followed).status == 403
    assert web.send("POST", "/ui/logout", b"", {**FORM, **followed}).status == 403


def test_a_filter_that_is_none_is_told_beside_what_was_typed(web: HttpPlace) -> None:
    reply = web.get("/ui/runs?since=yesterday&flow=hello", cookie=log_in(web))
    assert reply.status == 400
    assert b'value="hello"' in reply.body
    assert b'role="alert"' in reply.body
    assert b"yesterday" in reply.body


def test_an_open_page_hears_of_a_change_and_gets_it(web: HttpPlace) -> None:
    cookie = log_in(web)
    with changes(web, cookie) as stream:
        first = next_mark(stream)
        web.place.call("flow.dispatch", event={"id": "heard", "type": "hello.go"}, wait=True)
        mark = next_mark(stream)
    assert mark > first
    page = web.get("/ui/runs", cookie=cookie, x_flowd_part=str(mark)).body
    assert b"heard" in page
    assert b"<head" not in page


def test_a_page_that_comes_between_two_marks_hears_of_what_happened_since_the_first(web: HttpPlace) -> None:
    cookie = log_in(web)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(changes(web, cookie))
        next_mark(first)
        web.place.call("flow.dispatch", event={"id": "marked", "type": "none"})
        next_mark(first)
        web.place.call("flow.dispatch", event={"id": "unmarked", "type": "none"})
        second = stack.enter_context(changes(web, cookie))  # most probably before the next mark
        known = int(re.findall(r'data-known="\w+:(\d+)"', web.get("/ui/", cookie=cookie).body.decode())[0])
        while next_mark(second) < known:
            pass


def test_one_readers_pages_leave_places_to_others() -> None:
    with workspace() as place:
        web = HttpPlace(place)
        web.configure("[http]\nmax_streams = 4\n")
        web.start(FLOWD_HTTP_OPEN="")
        cookie = log_in(web)
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(changes(web, cookie))
            refused = web.get("/ui/changes", cookie=cookie)
            assert (refused.status, refused.slug) == (503, "too_many_streams")
            other = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
            stack.callback(other.close)
            other.request("GET", "/stream", headers={"authorization": f"Bearer {token(web)}"})
            assert other.getresponse().status == 200


@contextlib.contextmanager
def changes(web: HttpPlace, cookie: str) -> Iterator[Any]:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    connection.request("GET", "/ui/changes", headers={"cookie": cookie})
    yield connection.getresponse()
    connection.close()


def next_mark(stream: Any) -> int:
    for _ in range(20):  # lines; silence is filled with others
        line = stream.readline()
        assert line, "the stream has ended"
        if line == b"event: mark\n":
            return int(stream.readline().removeprefix(b"data: "))
    raise AssertionError("no mark has come")


def test_a_path_that_is_no_page_is_told_browsers_as_a_page(web: HttpPlace) -> None:
    lost = web.get("/ui/nothing", accept="text/html", cookie=log_in(web))
    assert lost.status == 404
    assert b"<nav" in lost.body
    stranger = web.get("/ui/nothing", accept="text/html")
    assert stranger.status == 404
    assert b"<nav" not in stranger.body
    assert web.get("/ui/nothing").slug == "not_found"
    assert web.get("/nothing", accept="text/html").slug == "not_found"


def test_a_session_outlives_the_daemon_and_ends_with_the_token() -> None:
    with workspace() as place, contextlib.ExitStack() as stack:
        web = HttpPlace(place).start(FLOWD_HTTP_OPEN="")
        cookie = log_in(web)
        place.stop()
        web.start(FLOWD_HTTP_OPEN="")
        assert web.get("/ui/", cookie=cookie).status == 200
        stream = stack.enter_context(changes(web, cookie))
        next_mark(stream)
        (place.path / ".codex/flowd/http-token").write_text("another-token-of-some-length\n", encoding="ascii")
        until(lambda: web.get("/ui/", cookie=cookie).status == 401)
        stream.read()  # it has ended, so that the page asks and is told


def test_a_token_does_on_the_page_what_its_scopes_allow() -> None:
    with workspace() as place:
        web = HttpPlace(place)
        place.flow("gate", say("needs_intervention", message="Publish?"))
        web.configure('[http.tokens.looker]\nscopes = ["read"]\nfile = "looker"\n')
        (place.path / "looker").write_text("looks-only", encoding="ascii")
        web.start(FLOWD_HTTP_OPEN="")
        run_id = asking(web, "one")
        cookie = cookie_of(submit(web, "/ui/login", {"token": "looks-only"}, **own(web)))
        page = web.get("/ui/", cookie=cookie).body
        assert b"Publish?" in page
        assert b"Approve" not in page
        refused = submit(web, f"/ui/runs/{run_id}/approve", {"sure": "1"}, **own(web, cookie))
        assert refused.status == 403
        assert place.call("flow.getRun", runId=run_id)["run"]["needsAttention"]


def test_where_everybody_may_do_everything_nobody_logs_in() -> None:
    with workspace() as place:
        web = HttpPlace(place).start()
        assert web.get("/ui/").status == 200
        assert submit(web, "/ui/runs/run_none/cancel", {"sure": "1"}).status == 403
        assert submit(web, "/ui/runs/run_none/cancel", {"sure": "1"}, **own(web)).status == 404


def test_where_everybody_may_read_who_wants_to_do_more_signs_in() -> None:
    with workspace() as place:
        place.flow("gate", say("needs_intervention", message="Publish?"))
        web = HttpPlace(place).start(FLOWD_HTTP_OPEN="", FLOWD_HTTP_SECRET="signs-only")
        run_id = asking(web, "one")
        page = web.get("/ui/?x=1").body
        assert b"Publish?" in page
        assert b"Approve" not in page
        assert b'href="/ui/login?next=%2Fui%2F%3Fx%3D1"' in page
        assert submit(web, f"/ui/runs/{run_id}/approve", {"sure": "1"}, **own(web)).status == 403
        done = submit(web, f"/ui/runs/{run_id}/approve", {"sure": "1"}, **own(web, log_in(web)))
        assert done.status == 303


def test_behind_a_base_path_everything_is_below_it() -> None:
    with workspace() as place:
        web = HttpPlace(place)
        web.configure('[http]\nlisten = "127.0.0.1:0"\nbase_path = "/auto"\n')
        web.start(FLOWD_HTTP_OPEN="")
        url = place.call("daemon.openPage")["url"]
        assert url.startswith(f"{web.url}/auto/ui/login?key=")
        led = follow_link(web, url)
        assert led.headers["location"] == "/auto/ui/"
        assert "; Path=/auto; " in led.headers["set-cookie"]
        for path in ("/auto/ui/", "/ui/"):  # whether or not the proxy takes the base path away
            page = web.get(path, cookie=cookie_of(led)).body.decode()
            links = re.findall(r'(?:href|src|action)="([^"#]+)', page)
            assert all(link.startswith("/auto/ui/") for link in links), links


def test_where_http_is_off_the_page_is_there_until_the_daemon_stops() -> None:
    with workspace() as place:
        place.start()
        said = flowd_says(place, "ui", "--print")
        page = place.call("daemon.openPage")
        assert page["untilStop"]
        match = re.match(r"http://127\.0\.0\.1:(\d+)/ui/login\?key=", page["url"])
        assert match is not None
        assert match[0].partition("/ui/")[0] in said
        web = HttpPlace(place)
        web.port = int(match[1])
        assert web.get("/runs").slug == "unauthorized"
        cookie = cookie_of(follow_link(web, page["url"]))
        assert web.get("/ui/", cookie=cookie).status == 200
        assert "http" not in place.call("daemon.status")
        assert place.call("daemon.status")["page"] == web.url
        assert f"{web.url}/ui/, until the daemon stops" in flowd_says(place, "status")
        assert place.stop() == 0
        with pytest.raises(ConnectionRefusedError):
            web.get("/ui/")


def test_the_last_hour_is_told_alike_by_a_daemon_and_by_the_next_one() -> None:
    with workspace() as place:
        place.flow("flaky", f"test -e ok || exit 3; {say('completed')}")
        place.flow("gate", say("needs_intervention", message="Publish?"))
        place.start()
        run_ids = {
            flow: place.call("flow.dispatch", event={"id": flow, "type": f"{flow}.go"}, wait=True)["runIds"][0]
            for flow in ("flaky", "gate")
        }
        assert last_hour(place) == ("2", "1")
        (place.path / "flows" / "flaky" / "ok").touch()
        place.call("flow.retryRun", runId=run_ids["flaky"])
        assert not place.call("flow.waitRun", runId=run_ids["flaky"], timeoutMs=50_000)["timedOut"]
        assert last_hour(place) == ("2", "0")
        place.call("flow.resolveRun", runId=run_ids["gate"], status="failed")
        assert last_hour(place) == ("2", "1")
        place.stop()
        place.start()
        assert last_hour(place) == ("2", "1")


def last_hour(place: Workspace) -> tuple[str, ...]:
    """How many runs have ended, and how many of them badly, as the page that nobody had open before tells it."""
    page = place.call("daemon.openPage")
    web = HttpPlace(place)
    web.port = int(page["url"].partition("127.0.0.1:")[2].partition("/")[0])
    shown = web.get("/ui/", cookie=cookie_of(follow_link(web, page["url"]))).body.decode()
    return tuple(re.findall(r"<b>(\d+)</b> (?:ended in|of them)", shown))


@needs_root
def test_another_user_of_the_machine_who_follows_a_link_is_not_let_in() -> None:
    with served_as_alice("127.0.0.1:0") as place:
        link = until(partial(link_of, place), what="a link")
        assert status_as(MALLORY, link) == 403
        for header in (
            "X-Forwarded-For: 10.0.0.1",
            "X-Forwarded-Proto: https",
            "Forwarded: for=10.0.0.1",
            "Via: 1.1 x",
        ):
            assert status_as(MALLORY, link, "-H", header) == 403, header
        assert status_as(ALICE, link) == 303


@needs_root
def test_no_other_address_of_this_machine_lets_another_user_in() -> None:
    address = address_of_this_machine()
    if address is None:
        pytest.skip("this machine has no address but loopback")
    with served_as_alice("0.0.0.0:0", FLOWD_HTTP_SECRET="0123456789abcdef" * 2) as place:
        link = re.sub(r"//[^:/]*:", f"//{address}:", until(partial(link_of, place), what="a link"))
        assert status_as(MALLORY, link) == 403
        assert status_as(ALICE, link) == 303


@contextlib.contextmanager
def served_as_alice(address: str, **environ: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="flowd-") as folder:
        place = give(Path(folder), ALICE)
        words = [PYTHON, "-m", "flowd", "serve", "-w", str(place), "--http", address]
        environ = {"PATH": os.defpath, "PYTHONPATH": PYTHONPATH, **environ}
        serving = subprocess.Popen(words, user=ALICE, group=ALICE, extra_groups=[], cwd="/", env=environ)
        try:
            yield place
        finally:
            serving.terminate()
            serving.wait(60)


def address_of_this_machine() -> str | None:
    """The address that it would send from; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender, contextlib.suppress(OSError):
        sender.connect(("192.0.2.1", 9))
        return str(sender.getsockname()[0])
    return None


def link_of(place: Path) -> str:
    return run_as(ALICE, "ui", "--print", "-w", place).stdout.strip()


def status_as(uid: int, url: str, *options: str) -> int:
    words = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *options, url]
    done = subprocess.run(
        words, user=uid, group=uid, extra_groups=[], cwd="/", capture_output=True, text=True, timeout=30
    )
    return int(done.stdout)


@pytest.mark.parametrize(("script", "is_opened"), [('printf %s "$1" >"$OPENED"', True), ("exit 3", False)])
def test_ui_opens_the_browser_or_prints_the_link(web: HttpPlace, tmp_path: Path, script: str, is_opened: bool) -> None:
    opener = tmp_path / "xdg-open"
    opener.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    opener.chmod(0o755)
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "DISPLAY": ":9", "OPENED": f"{tmp_path}/url"}
    words = [sys.executable, "-m", "flowd", "ui", "-w", str(web.place.path)]
    said = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environ, check=True).stdout.strip()
    if is_opened:
        assert said == f"opened {web.url}/ui/ in the browser"
        assert follow_link(web, (tmp_path / "url").read_text(encoding="utf-8")).status == 303
    else:
        assert follow_link(web, said).status == 303
