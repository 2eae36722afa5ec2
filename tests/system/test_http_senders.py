"""Webhooks as their senders make them, signed by their own libraries, or by the examples of their documentation.

Stripe's and Svix' are imported by the tests that sign with them: they take 0.7 s, and every process of the tests reads
this.
"""

import base64
import gzip
import hashlib
import hmac
import importlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from daemon_rig import workspace
from http_rig import HttpPlace, Reply, write_secret
from standardwebhooks.webhooks import Webhook as StandardWebhook

SECRET = "It's a Secret to Everybody"
STANDARD_SECRET = "whsec_" + base64.b64encode(b"standard secret 24 bytes").decode()

CONFIG = """
[hooks.github]
kind = "github"
secret_file = "secret"

[hooks.gitlab]
kind = "token"
header = "X-Gitlab-Token"
secret_file = "secret"
id = "gitlab:{body:sha256}"
type = "gitlab.{/object_kind}"
source = "gitlab"

[hooks.gitea]
kind = "hmac"
header = "X-Gitea-Signature"
secret_file = "secret"
id = "gitea:{body:sha256}"
type = "gitea.{header:X-Gitea-Event}"

[hooks.stripe]
kind = "stripe"
secret_file = "secret"

[hooks.standard]
kind = "standard-webhooks"
secret_file = "standard-secret"
payload = "/data"

[hooks.sns]
kind = "token"
header = "Authorization"
prefix = "Basic "
encoding = "base64"
secret_file = "basic"
id = "/MessageId"
type = "sns.{/Type}"
source = "/TopicArn"
occurred_at = "/Timestamp"

[hooks.optional]
kind = "hmac"
header = "X-Sign"
secret_file = "secret"
id = "optional:{/id}"
type = "release"
source = "/from"
occurred_at = "/at"
[hooks.optional.payload]
tag = "/tag"
disc = "/discussion_url"
text = "see {/link}"
notes = { pointer = "/notes", default = "-" }
"""


@pytest.fixture(scope="module")
def web() -> Iterator[HttpPlace]:
    with workspace() as place:
        write_secret(place.path / "secret", SECRET)
        write_secret(place.path / "standard-secret", STANDARD_SECRET)
        write_secret(place.path / "basic", "sns:pass word")
        it = HttpPlace(place)
        it.configure(CONFIG)
        yield it.start(FLOWD_HTTP_SECRET="shim")


def stored(web: HttpPlace, event_id: str) -> dict[str, Any]:
    return dict(web.get(f"/events/{quote(event_id, safe='')}").json["event"])


def signed(body: bytes) -> str:
    return hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()


def accepted(answer: Reply) -> str:
    assert (answer.status, answer.json["status"]) == (202, "accepted"), answer
    return str(answer.json["eventId"])


# --- GitHub, Gitea, GitLab -------------------------------------------------------------------------------------------


def test_githubs_own_example_signature_is_checked_over_the_bytes(web: HttpPlace) -> None:
    # https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    answer = web.post("/hooks/github", b"Hello, World!", x_hub_signature_256=signature, x_github_event="push")
    assert (answer.status, answer.slug) == (400, "bad_request")  # proven, and then no JSON
    assert web.post("/hooks/github", b"Hello, World.", x_hub_signature_256=signature).status == 401


@pytest.mark.parametrize("is_upper", [False, True])
@pytest.mark.parametrize("is_form", [False, True])
def test_github_sends_json_or_a_form(web: HttpPlace, is_form: bool, is_upper: bool) -> None:
    event = {"action": "opened", "number": 1, "text": "ü & = +", "way": f"{is_form}{is_upper}"}
    body = urlencode({"payload": json.dumps(event)}).encode() if is_form else json.dumps(event).encode()
    digest = signed(body).upper() if is_upper else signed(body)
    kind = "application/x-www-form-urlencoded" if is_form else "application/json"
    answer = web.post(
        "/hooks/github", body, x_hub_signature_256=f"sha256={digest}", x_github_event="issues", content_type=kind
    )
    found = stored(web, accepted(answer))
    assert (found["type"], found["payload"]) == ("github.issues", event)


FORM = "application/x-www-form-urlencoded"
CAUGHT = quote(json.dumps({"object_kind": "deploy", "id": "forged", "type": "forged"}))


@pytest.mark.parametrize("name", ["github", "optional"])
def test_signed_json_is_no_form_whatever_its_content_type(web: HttpPlace, name: str) -> None:
    """Somebody's text in it could pass for the form's field: no signature tells of a Content-Type."""
    event = {"id": f"genuine-{name}", "title": f"&payload={CAUGHT}&"}
    body = json.dumps(event).encode()
    proof = {"x-hub-signature-256": f"sha256={signed(body)}", "x-github-event": "issues", "x-sign": signed(body)}
    made = web.send("POST", f"/hooks/{name}", body, {**proof, "content-type": "application/json"})
    again = web.send("POST", f"/hooks/{name}", body, {**proof, "content-type": FORM})
    assert again.json == {**made.json, "status": "duplicate"}


def test_a_webhook_id_ends_where_its_sender_has_ended_it(web: HttpPlace) -> None:
    """The dots of ``id.timestamp.body`` say what is which, and a text in the body may have some, too."""
    now = str(int(time.time()))
    body = json.dumps({"type": "t", "data": f".{now}.payload={CAUGHT}&"})
    head, rest = body.split(f".{now}.")
    signature = StandardWebhook(STANDARD_SECRET).sign("msg_1", datetime.fromtimestamp(int(now), UTC), body)
    headers = {"webhook-timestamp": now, "webhook-signature": signature, "content-type": FORM}
    forged = web.send("POST", "/hooks/standard", rest.encode(), {**headers, "webhook-id": f"msg_1.{now}.{head}"})
    assert (forged.status, forged.slug) == (401, "invalid_signature")


def test_gitea_signs_without_a_prefix(web: HttpPlace) -> None:
    body = b'{"ref":"refs/heads/main"}'
    answer = web.post("/hooks/gitea", body, x_gitea_signature=signed(body), x_gitea_event="push")
    assert stored(web, accepted(answer))["type"] == "gitea.push"
    assert web.post("/hooks/gitea", body + b" ", x_gitea_signature=signed(body)).status == 401


def test_gitlab_sends_its_token(web: HttpPlace) -> None:
    body = {"object_kind": "push", "ref": "refs/heads/main"}
    answer = web.post("/hooks/gitlab", body, x_gitlab_token=SECRET)
    assert stored(web, accepted(answer))["type"] == "gitlab.push"
    assert web.post("/hooks/gitlab", body, x_gitlab_token=SECRET).json["status"] == "duplicate"
    assert web.post("/hooks/gitlab", body, x_gitlab_token="guess").slug == "invalid_signature"
    assert "X-Gitlab-Token" in web.post("/hooks/gitlab", body).json["error"]


# --- Stripe, Standard Webhooks, Svix ---------------------------------------------------------------------------------


def stripe(web: HttpPlace, body: str, *, at_s: float | None = None, old: str = "") -> Reply:
    timestamp = int(time.time() if at_s is None else at_s)
    library = importlib.import_module("stripe")
    signature = library.WebhookSignature._compute_signature(f"{timestamp}.{body}", SECRET)
    header = f"t={timestamp},{old}v1={signature},v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"
    return web.post("/hooks/stripe", body.encode(), stripe_signature=header)


def test_stripes_librarys_signature_is_taken(web: HttpPlace) -> None:
    body = json.dumps({"id": "evt_1", "object": "event", "type": "invoice.paid", "data": {"object": {"id": "in_1"}}})
    assert accepted(stripe(web, body)) == "evt_1"
    assert stored(web, "evt_1")["type"] == "stripe.invoice.paid"
    assert stripe(web, body, old=f"v1={'0' * 64},").json["status"] == "duplicate"  # while its secret is rolled
    assert stripe(web, body, at_s=time.time() - 400).slug == "stale_signature"
    for header in ("t=1", "v1=00", "t=x,v1=00", f"t={int(time.time())},v1={'0' * 64}", "=,=,", "ü"):
        refused = web.post("/hooks/stripe", body.encode(), stripe_signature=header.encode().decode("latin-1"))
        assert (refused.status, refused.slug) == (401, "invalid_signature"), header


@pytest.mark.parametrize(("library", "prefix"), [("standardwebhooks", "webhook"), ("svix", "svix")])
def test_standard_webhooks_and_svix_are_taken_by_their_librarys_signatures(
    web: HttpPlace, library: str, prefix: str
) -> None:
    signer = importlib.import_module(f"{library}.webhooks").Webhook(STANDARD_SECRET)
    body = json.dumps({"type": "user.created", "data": {"id": 7}})
    now = datetime.now(UTC)
    message_id = f"msg_{prefix}"
    headers = {
        f"{prefix}-id": message_id,
        f"{prefix}-timestamp": str(int(now.timestamp())),
        f"{prefix}-signature": signer.sign(message_id, now, body),
        "content-type": "application/json",
    }
    assert accepted(web.send("POST", "/hooks/standard", body.encode(), headers)) == message_id
    assert stored(web, message_id)["payload"] == {"id": 7}
    forged = web.send("POST", "/hooks/standard", body.encode(), {**headers, f"{prefix}-id": "msg_other"})
    assert forged.slug == "invalid_signature"  # the id is signed with the rest


# --- Amazon SNS ------------------------------------------------------------------------------------------------------


def test_sns_sends_text_and_its_password_once_it_is_asked(web: HttpPlace) -> None:
    body = json.dumps(
        {
            "Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": "arn:aws:sns:us-west-2:123456789012:MyTopic", "Message": "Hello",
            "Timestamp": "2012-05-02T00:54:06.655Z",
        }
    ).encode()  # fmt: skip
    kind = "text/plain; charset=UTF-8"
    asked = web.post("/hooks/sns", body, content_type=kind)
    assert (asked.status, asked.headers["www-authenticate"]) == (401, 'Basic realm="flowd"')
    basic = "Basic " + base64.b64encode(b"sns:pass word").decode()
    event_id = accepted(web.post("/hooks/sns", body, content_type=kind, authorization=basic))
    found = stored(web, event_id)
    assert (found["id"], found["type"], found["occurredAt"]) == (
        "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "sns.Notification", "2012-05-02T00:54:06.655Z",
    )  # fmt: skip


# --- what they may leave out, and how they write ---------------------------------------------------------------------


def optional(web: HttpPlace, event: dict[str, Any], *, before: bytes = b"", **headers: str) -> Reply:
    body = before + json.dumps(event).encode()
    return web.post("/hooks/optional", body, x_sign=signed(body), **headers)


def test_what_is_absent_or_null_is_left_out_and_only_id_and_type_must_be_there(web: HttpPlace) -> None:
    assert stored(web, accepted(optional(web, {"id": 1})))["payload"] == {"notes": "-"}
    nulls = {"id": 2, "from": None, "at": None, "tag": None, "notes": None, "discussion_url": None, "link": None}
    found = stored(web, accepted(optional(web, nulls)))
    assert found["payload"] == {"tag": None, "disc": None, "notes": "-"}
    assert "source" not in found
    assert "occurredAt" not in found
    whole = {"id": 3, "from": "f", "at": "2026-01-01", "tag": 5, "notes": "n", "discussion_url": "u", "link": "l"}
    found = stored(web, accepted(optional(web, whole)))
    assert found["payload"] == {"tag": 5, "disc": "u", "notes": "n", "text": "see l"}
    assert (found["source"], found["occurredAt"]) == ("f", "2026-01-01")
    for event in ({}, {"id": None}, {"id": ""}, {"id": {}}):
        assert optional(web, event).slug == "unmapped_hook"


def test_a_byte_order_mark_is_skipped_and_compression_is_named(web: HttpPlace) -> None:
    accepted(optional(web, {"id": "bom"}, before=b"\xef\xbb\xbf"))
    body = gzip.compress(b'{"id":"gz","type":"t"}')
    for path in ("/hooks/optional", "/events"):
        refused = web.post(path, body, content_encoding="gzip", x_sign=signed(body))
        assert (refused.status, refused.slug, refused.headers["accept-encoding"]) == (
            415, "unsupported_media_type", "identity",
        )  # fmt: skip
        assert "gzip" in refused.json["error"]
    assert optional(web, {"id": "x"}, content_type="application/xml").status == 415
    assert (
        "/hooks/NAME"
        in web.post("/events", b"id=1", x_flow_signature_256=shim(b"id=1"), content_type="text/plain").json["error"]
    )


def shim(body: bytes) -> str:
    return "sha256=" + hmac.new(b"shim", body, hashlib.sha256).hexdigest()


# --- CloudEvents -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def open_web() -> Iterator[HttpPlace]:
    with workspace() as place:
        place.flow("ce", "true", trigger="t")
        yield HttpPlace(place).start()


def cloud(web: HttpPlace, event_id: str, source: str, **more: Any) -> Reply:
    event = {"specversion": "1.0", "id": event_id, "type": "t", "source": source, **more}
    return web.send("POST", "/events", json.dumps(event).encode(), {"content-type": "application/cloudevents+json"})


def test_cloud_events_of_different_sources_are_different_events(open_web: HttpPlace) -> None:
    ids = [accepted(cloud(open_web, "1", source)) for source in ("/a", "/b", "https://c.example/x?y#z", "s" * 1100)]
    assert ids[:3] == ["/a 1", "/b 1", "https://c.example/x?y#z 1"]
    assert ids[3].startswith("sha256:")
    again = cloud(open_web, "1", "/b")
    assert (again.json["status"], again.json["eventId"], again.json["matched"]) == ("duplicate", "/b 1", 0)
    binary = {"ce-specversion": "1.0", "ce-id": "1", "ce-type": "t", "ce-source": "/a"}
    assert open_web.send("POST", "/flow-events", None, binary).json["status"] == "duplicate"


def test_a_cloud_event_that_was_stored_under_its_id_alone_is_found_again(open_web: HttpPlace) -> None:
    old = {"specversion": "1.0", "id": "before", "type": "t", "source": "/a", "payload": {}}
    accepted(open_web.post("/events", old))
    again = cloud(open_web, "before", "/a")
    assert (again.json["status"], again.json["eventId"], again.json.get("conflict")) == ("duplicate", "before", None)
    assert accepted(cloud(open_web, "before", "/b")) == "/b before"


@pytest.mark.parametrize("at", ["2026-05-18t10:00:00z", "2026-05-18T10:00:00.123456789Z", "2026-05-18T10:00:00+02:00"])
def test_a_cloud_events_time_may_be_written_as_rfc_3339_says(open_web: HttpPlace, at: str) -> None:
    found = stored(open_web, accepted(cloud(open_web, at, "/time", time=at)))
    assert found["occurredAt"] == at.upper()


def test_a_setting_keeps_cloud_events_ids_as_they_are() -> None:
    with workspace() as place:
        web = HttpPlace(place)
        web.configure('[http]\ncloud_events_id = "id"\n')
        web.start()
        assert accepted(cloud(web, "1", "/a")) == "1"
        assert cloud(web, "1", "/b").json["conflict"] is True
