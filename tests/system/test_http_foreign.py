"""Other people's events: CloudEvents by their SDK, webhooks of GitHub, Standard Webhooks, and a plain HMAC header."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from daemon_rig import until, workspace
from http_rig import HttpPlace, Reply, write_secret
from standardwebhooks.webhooks import Webhook

STANDARD_SECRET = "whsec_" + base64.b64encode(b"standard secret 24 bytes").decode()

CONFIG = """
[hooks.github]
kind = "github"
secret_file = "github-secret"
id = "patch:upstream.release:{/repository/full_name}:{/release/tag_name}"
type = "upstream.release"
source = "patch"
occurred_at = "{/release/published_at}"
payload = { repo = "/repository/full_name", tag = "/release/tag_name", assets = "/release/assets", kind = "release" }
[hooks.github.when]
"header:X-GitHub-Event" = "release"
"/action" = ["published", "released"]

[hooks.plain-github]
kind = "github"
secret_file = "github-secret"

[hooks.standard]
kind = "standard-webhooks"
secret_file = "standard-secret"
occurred_at = "/timestamp"
payload = "/data"

[hooks.plain]
kind = "hmac"
header = "X-Sign"
algorithm = "sha512"
encoding = "base64"
prefix = "v0="
secret_file = "github-secret"
id = "plain:{/id}"
type = "plain.{/kind}"
"""

RELEASE = {
    "action": "published",
    "release": {"tag_name": "rust-v1.2.3", "published_at": "2026-05-18T10:00:00Z", "assets": [{"n": 1}]},
    "repository": {"full_name": "openai/codex"},
}


@pytest.fixture(scope="module")
def web() -> Iterator[HttpPlace]:
    with workspace() as place:
        write_secret(place.path / "github-secret", "hunter2", "and the one before")
        write_secret(place.path / "standard-secret", STANDARD_SECRET)
        it = HttpPlace(place)
        it.configure(CONFIG)
        # The shim's own secret has nothing to do with theirs.
        yield it.start(FLOWD_HTTP_SECRET="shim")


@pytest.fixture(scope="module")
def open_web() -> Iterator[HttpPlace]:
    with workspace() as place:
        yield HttpPlace(place).start()


def stored(web: HttpPlace, event_id: str) -> dict[str, Any]:
    from urllib.parse import quote  # noqa: PLC0415

    return dict(web.get(f"/events/{quote(event_id, safe='')}").json["event"])


def github(web: HttpPlace, body: Any, *, secret: str = "hunter2", name: str = "github", **headers: str) -> Reply:
    data = json.dumps(body).encode()
    signature = "sha256=" + hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()
    sent = {"x_hub_signature_256": signature, "x_github_event": "release", "x_github_delivery": "guid-1", **headers}
    return web.post(f"/hooks/{name}", data, **sent)


# --- CloudEvents -----------------------------------------------------------------------------------------------------

TIME = datetime(2026, 5, 18, 10, 0, tzinfo=UTC)


def cloud_event(event_id: str, data: Any, **more: Any) -> CloudEvent:
    attributes = {"id": event_id, "type": "com.example.made", "source": "/made/ü here", "time": TIME, **more}
    return CloudEvent({"specversion": "1.0", **attributes}, data)


@pytest.mark.parametrize("make", [to_structured_event, to_binary_event])
@pytest.mark.parametrize("data", [{"n": [1, "ü"]}, [1, 2], 5, None])
def test_the_sdks_events_are_taken_with_all_their_attributes(open_web: HttpPlace, make: Any, data: Any) -> None:
    event_id = f"ce-{make.__name__}-{data}"
    message = make(cloud_event(event_id, data, subject="s", tenant="acme", datacontenttype="application/json"))
    answer = open_web.send("POST", "/events", message.body, dict(message.headers))
    assert (answer.status, answer.json["status"]) == (202, "accepted")
    event = stored(open_web, f"/made/ü here {event_id}")
    assert (event["type"], event["source"]) == ("com.example.made", "/made/ü here")
    assert event["payload"] == ({} if data is None else data)
    assert datetime.fromisoformat(event["occurredAt"]) == TIME
    assert (event["raw"]["subject"], event["raw"]["tenant"], event["raw"]["specversion"]) == ("s", "acme", "1.0")
    assert open_web.send("POST", "/events", message.body, dict(message.headers)).json["status"] == "duplicate"


@pytest.mark.parametrize("make", [to_structured_event, to_binary_event])
def test_the_extension_notbefore_says_when_runs_may_start(open_web: HttpPlace, make: Any) -> None:
    event_id = f"ce-later-{make.__name__}"
    later = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    for said, status in (("tomorrow", 400), (later, 202)):
        message = make(cloud_event(event_id, {}, notbefore=said))
        assert open_web.send("POST", "/events", message.body, dict(message.headers)).status == status
    assert stored(open_web, f"/made/ü here {event_id}")["raw"]["notBefore"] == later


def test_data_that_is_no_json_is_text_or_base64(open_web: HttpPlace) -> None:
    base = {"ce-specversion": "1.0", "ce-type": "t", "ce-source": "/s"}
    for event_id, kind, body, payload in (
        ("ce-text", "text/plain", b"hello", "hello"),
        ("ce-bytes", "application/octet-stream", b"\xff\x00", {"data_base64": "/wA="}),
        ("ce-nothing", "", b"", {}),
    ):
        headers = {**base, "ce-id": event_id, "content-type": kind}
        assert open_web.send("POST", "/events", body, headers).status == 202, event_id
        assert stored(open_web, f"/s {event_id}")["payload"] == payload


def test_what_breaks_the_specification_is_refused_with_the_attribute(open_web: HttpPlace) -> None:
    good = {"specversion": "1.0", "id": "bad-ce", "type": "t", "source": "/s"}
    structured = {"content-type": "application/cloudevents+json"}
    for change, status in (
        ({"id": None}, 400), ({"source": None}, 400), ({"type": ""}, 400), ({"specversion": "0.3"}, 400),
        ({"specversion": None}, 400), ({"time": "yesterday"}, 400), ({"time": 5}, 400), ({"id": 5}, 400),
        ({"data_base64": "?"}, 400), ({"bad_name!": "x"}, 400),
    ):  # fmt: skip
        answer = open_web.send("POST", "/events", json.dumps({**good, **change}).encode(), structured)
        assert answer.status == status, (change, answer)
    for body in (b"[]", b"5", b"{", b""):
        assert open_web.send("POST", "/events", body, structured).status == 400
    batch = open_web.send("POST", "/events", b"[]", {"content-type": "application/cloudevents-batch+json"})
    assert (batch.status, batch.slug) == (415, "unsupported_media_type")
    avro = open_web.send("POST", "/events", b"x", {"content-type": "application/cloudevents+avro"})
    assert avro.status == 415
    assert open_web.get("/events/bad-ce").status == 404


# --- GitHub ----------------------------------------------------------------------------------------------------------


def test_a_github_release_becomes_an_upstream_release_with_an_idempotent_id(web: HttpPlace) -> None:
    event_id = "patch:upstream.release:openai/codex:rust-v1.2.3"
    first, again = github(web, RELEASE), github(web, RELEASE, x_github_delivery="guid-2")
    assert (first.status, first.json["status"], first.json["eventId"]) == (202, "accepted", event_id)
    assert again.json["status"] == "duplicate"
    event = stored(web, event_id)
    assert (event["type"], event["source"], event["occurredAt"]) == (
        "upstream.release", "patch", "2026-05-18T10:00:00Z",
    )  # fmt: skip
    assert event["payload"] == {"repo": "openai/codex", "tag": "rust-v1.2.3", "assets": [{"n": 1}], "kind": "release"}
    assert github(web, {**RELEASE, "action": "released"}, secret="and the one before").status == 202


def test_a_webhook_that_is_not_wanted_is_ignored_and_says_why(web: HttpPlace) -> None:
    for body, headers, reason in (
        ({**RELEASE, "action": "edited"}, {}, "/action is 'edited'"),
        ({"zen": "Anything"}, {"x_github_event": "ping"}, "header:X-GitHub-Event is 'ping'"),
        ({"release": {}}, {}, "/action is not there"),
    ):
        answer = github(web, body, **headers)
        assert (answer.status, answer.json["status"]) == (202, "ignored")
        assert reason in answer.json["reason"]
        until(lambda reason=reason: reason in web.place.log(), what="the reason in the log")


def test_a_webhook_that_lies_is_refused_and_says_why_in_the_log_too(web: HttpPlace) -> None:
    wrong = github(web, RELEASE, secret="guess")
    assert (wrong.status, wrong.slug) == (401, "invalid_signature")
    unsigned = web.post("/hooks/github", RELEASE)
    assert (unsigned.status, "X-Hub-Signature-256" in unsigned.json["error"]) == (401, True)
    until(lambda: web.place.log().count('"hook refused"') >= 2, what="the refusals in the log")
    unmapped = github(web, {**RELEASE, "repository": {}})
    assert (unmapped.status, unmapped.slug) == (422, "unmapped_hook")
    assert "/repository/full_name" in unmapped.json["error"]
    empty = github(web, {**RELEASE, "release": {"tag_name": "", "published_at": "2026-05-18T10:00:00Z"}})
    assert (empty.status, empty.slug) == (422, "unmapped_hook")  # or all such webhooks would be one event
    assert "/release/tag_name (it is empty)" in empty.json["error"]
    assert github(web, RELEASE, name="none").status == 404
    assert github(web, RELEASE, content_type="application/xml").status == 415
    assert "hunter2" not in web.place.log()


def test_without_a_mapping_a_github_webhook_is_named_after_what_is_signed(web: HttpPlace) -> None:
    event_id = f"github:{hashlib.sha256(json.dumps(RELEASE).encode()).hexdigest()}"
    answers = [
        github(web, RELEASE, name="plain-github", x_github_delivery=f"guid-{event}", x_github_event=event)
        for event in ("release", "push", "ping")  # one delivery that somebody sends again under other headers
    ]
    assert [answer.json["eventId"] for answer in answers] == [event_id] * 3
    assert [answer.json["status"] for answer in answers] == ["accepted", "duplicate", "duplicate"]
    event = stored(web, event_id)
    assert (event["type"], event["source"], event["payload"]) == ("github.release", "github", RELEASE)


# --- Standard Webhooks and plain HMAC --------------------------------------------------------------------------------


def test_the_standard_webhooks_librarys_signature_is_taken(web: HttpPlace) -> None:
    body = json.dumps({"type": "user.created", "timestamp": "2026-05-18T10:00:00Z", "data": {"id": 7}})

    def send(at: datetime, text: str = body, signed: str = body, message_id: str = "msg_1") -> Reply:
        signature = Webhook(STANDARD_SECRET).sign(message_id, at, signed)
        headers = {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": f"v1,AAAA {signature} v1a,zzz",
            "content-type": "application/json",
        }
        return web.send("POST", "/hooks/standard", text.encode(), headers)

    now = datetime.now(UTC)
    assert send(now).json["status"] == "accepted"
    assert send(now).json["status"] == "duplicate"
    event = stored(web, "msg_1")
    assert (event["type"], event["payload"]) == ("user.created", {"id": 7})
    assert send(now, text=body + " ").slug == "invalid_signature"
    assert send(now - timedelta(minutes=6)).slug == "stale_signature"
    assert send(now + timedelta(minutes=6)).slug == "stale_signature"
    assert web.post("/hooks/standard", {}).slug == "invalid_signature"


def test_a_plain_hmac_header_is_taken_as_configured(web: HttpPlace) -> None:
    body = b'{"id": 5, "kind": "x"}'
    digest = base64.b64encode(hmac.new(b"hunter2", body, hashlib.sha512).digest()).decode()
    assert web.post("/hooks/plain", body, x_sign=f"v0={digest}").json["eventId"] == "plain:5"
    assert stored(web, "plain:5")["type"] == "plain.x"
    assert web.post("/hooks/plain", body, x_sign=digest).status == 401
