"""Who gets in: signatures old and new, tokens with scopes, and nothing from web pages."""

import hashlib
import hmac
import json
import subprocess
import time
from pathlib import Path

import pytest
from daemon_rig import Workspace, say
from http_rig import HttpPlace, Reply, curl, refused_start, v2, write_secret

SECRET = "s3"
EVENT = {"id": "s1", "type": "slow.ev", "payload": {}}
BODY = json.dumps(EVENT, separators=(",", ":")).encode()
V1 = "sha256=0691652d72d5a87d4134560bd3b46cda6c32a8b151de430aead831d9557c6d76"
"""Of BODY under SECRET, as the reference system computed it."""


def test_v1_is_the_reference_systems_to_the_byte(place: Workspace) -> None:
    web = HttpPlace(place).start(CODEX_FLOW_BACKEND_SECRET=SECRET)
    post = lambda **headers: web.post("/events", BODY, **headers)  # noqa: E731
    refused = post()
    assert (refused.status, refused.json["error"]) == (401, "invalid signature")
    assert post(x_flow_signature_256=V1).status == 202
    assert post(x_patch_flow_signature_256=V1).status == 202
    for wrong in (V1.upper(), V1.replace("sha256=", ""), V1[:-1], V1[:-1] + "0", "", "sha256=", "ü"):
        assert post(x_flow_signature_256=wrong.encode("latin-1").decode("latin-1")).status == 401, wrong
    assert post(x_flow_signature_256="sha256=" + "0" * 64, x_patch_flow_signature_256=V1).status == 401
    assert web.post("/events", BODY + b" ", x_flow_signature_256=V1).status == 401
    assert web.get("/events/s1").status == 200  # the reference client does not sign what it reads
    assert web.get("/runs", authorization="Bearer whatever", x_api_key="whatever").status == 200


def test_openssl_signs_as_the_documentation_says(place: Workspace) -> None:
    secret = place.path / "secret"
    write_secret(secret, "from a file")
    web = HttpPlace(place).start(FLOWD_HTTP_SECRET_FILE=str(secret))
    script = f"""
      body='{{"id":"openssl","type":"t"}}'
      signature=$(printf %s "$body" | openssl dgst -sha256 -hmac "$(cat {secret})" -r | cut -d' ' -f1)
      curl -sS -H 'content-type: application/json' -H "x-flow-signature-256: sha256=$signature" \
        -d "$body" {web.url}/events
    """
    done = subprocess.run(["sh", "-e", "-c", script], capture_output=True, text=True, timeout=30)
    assert json.loads(done.stdout)["status"] == "accepted", done.stderr


def test_v2_signs_the_path_the_time_and_a_nonce_that_counts_once_even_after_a_restart(place: Workspace) -> None:
    web = HttpPlace(place)
    write_secret(place.path / "secrets", "old", "new")
    web.configure('[http]\nsecret_file = "secrets"\nsignatures = "v2"\n')
    web.start()

    def post(path: str = "/events", body: bytes = BODY, **signed: str) -> str:
        answer = web.send("POST", path, body, signed)
        assert answer.status in (202, 401), answer
        return "accepted" if answer.status == 202 else answer.slug

    assert post(**{"x-flow-signature-256": "sha256=" + hmac.new(b"new", BODY, "sha256").hexdigest()}) != "accepted"
    good = v2("POST", "/events", BODY)
    assert post(**good) == "accepted"
    assert post(**good) == "nonce_reused"
    assert post(**v2("POST", "/events", BODY, nonce="b" * 16, secret="old")) == "accepted"  # both count
    assert post(**v2("POST", "/events", BODY, nonce="c" * 16, secret="none")) == "invalid_signature"
    assert post(**v2("POST", "/events", BODY, nonce="d" * 16, at_s=time.time() - 400)) == "stale_signature"
    assert post(**v2("POST", "/events", BODY, nonce="e" * 16, at_s=time.time() + 400)) == "stale_signature"
    assert post("/flow-events", **v2("POST", "/events", BODY, nonce="f" * 16)) == "invalid_signature"
    assert post("/events?wait=true", **v2("POST", "/events", BODY, nonce="g" * 16)) == "invalid_signature"
    assert post(body=BODY + b" ", **v2("POST", "/events", BODY, nonce="h" * 16)) == "invalid_signature"
    assert post(**v2("POST", "/events", BODY, nonce="short")) == "invalid_signature"
    assert post("/events?wait=true", **v2("POST", "/events?wait=true", BODY, nonce="i" * 16)) == "accepted"
    place.kill()
    web.start()
    assert post(**good) == "nonce_reused"


def test_tokens_may_do_what_their_scopes_say(place: Workspace) -> None:
    write_secret(place.path / "reader", "r-token")
    web = HttpPlace(place)
    web.configure(
        '[http.tokens.reader]\nfile = "reader"\nscopes = ["read"]\n'
        f'[http.tokens.sender]\nsha256 = "{hashlib.sha256(b"s-token").hexdigest()}"\nscopes = ["dispatch"]\n'
        '[http.tokens.boss]\nenv = "BOSS_TOKEN"\nscopes = ["read", "dispatch", "control"]\n'
    )
    place.flow("show", 'echo "${BOSS_TOKEN-hidden}"; echo \'FLOW_RESULT {"status":"completed"}\'')
    web.start(BOSS_TOKEN="b-token")
    matrix = {
        "r-token": {"GET /runs": 200, "POST /events": 403, "POST /runs/x/cancel": 403, "POST /explain": 200},
        "s-token": {"GET /runs": 403, "POST /events": 202, "POST /runs/x/cancel": 403, "POST /explain": 403},
        "b-token": {"GET /runs": 200, "POST /events": 202, "POST /runs/x/cancel": 404, "POST /explain": 200},
        "nobody": {"GET /runs": 401, "POST /events": 401, "POST /runs/x/cancel": 401, "POST /explain": 401},
    }
    for token, expected in matrix.items():
        for operation, status in expected.items():
            method, path = operation.split()
            body = None if method == "GET" else {} if path.startswith("/runs/") else EVENT
            assert web.send(method, path, body, {"authorization": f"Bearer {token}"}).status == status, (token, path)
            assert web.send(method, path, body, {"x-api-key": token}).status == status, (token, path)
    refused = web.get("/runs")
    assert (refused.status, refused.slug, refused.headers["www-authenticate"]) == (401, "unauthorized", "Bearer")
    assert web.get("/metrics").status == web.get("/stream").status == web.get("/status").status == 401
    assert web.get("/healthz").status == web.get("/openapi.json").status == 200
    run = web.post("/events?wait=true", {"id": "env", "type": "show.go"}, authorization="Bearer b-token").json["runs"][
        0
    ]
    output = web.get(f"/runs/{run['id']}/output", authorization="Bearer b-token").body
    assert output.startswith(b"hidden\n")  # a step never sees it
    told = json.dumps(place.call("daemon.status", settings=True)["settings"])
    assert "http.tokens.boss.env" in told
    assert not any(token in told for token in ("r-token", "s-token", "b-token"))


def test_only_who_may_approve_may_start_steps_by_name_past_what_a_person_rejected(place: Workspace) -> None:
    folder = place.flow("gate", say("blocked", message="Publish?"))
    (folder / "publish.sh").write_text(f"#!/bin/sh\n{say('changed')}\n", encoding="utf-8")
    (folder / "publish.sh").chmod(0o755)
    with (folder / "flow.toml").open("a", encoding="utf-8") as manifest:
        manifest.write('[[steps]]\nname = "publish"\nrunner = "exec"\nscript = "publish.sh"\nneeds = ["main"]\n')
    for name in ("sender", "boss"):
        write_secret(place.path / name, f"{name}-token")
    web = HttpPlace(place)
    web.configure(
        '[http.tokens.sender]\nfile = "sender"\nscopes = ["dispatch"]\n'
        '[http.tokens.boss]\nfile = "boss"\nscopes = ["read", "dispatch", "control"]\n'
    )
    web.start()

    def post(token: str, path: str, **body: object) -> Reply:
        return web.post(path, body, authorization=f"Bearer {token}-token")

    asked = post("sender", "/events?wait=true", id="e", type="gate.go").json["runs"]
    question = next(run["id"] for run in asked if run["stepName"] == "main")
    assert post("boss", f"/runs/{question}/resolve", status="failed", note="not today").status == 200
    for named in ({"steps": ["publish"]}, {"from": ["gate/publish"]}, {"steps": [], "missing": True}):
        refused = post("sender", "/events/e/replay", **named)
        assert (refused.status, refused.slug) == (403, "missing_scope"), named
        assert "'sender' has no scope 'control'" in refused.json["error"]
    assert len(web.get("/events/e", authorization="Bearer boss-token").json["runs"]) == 2
    again = post("sender", "/events/e/replay", wait=True)
    assert again.status == 202  # a whole round begins with the question
    for run in again.json["runs"]:
        if run["needsAttention"]:
            post("boss", f"/runs/{run['id']}/resolve", status="failed")
    done = post("boss", "/events/e/replay", steps=["publish"], wait=True)
    assert [run["resultStatus"] for run in done.json["runs"]] == ["changed"]


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "10.1.2.3:0", "example.org:80"])
def test_without_a_secret_it_refuses_to_listen_beyond_loopback(place: Workspace, address: str) -> None:
    said = refused_start(place, "--http", address)
    assert "FLOWD_HTTP_SECRET_FILE" in said
    assert len(said.splitlines()) == 1


def test_with_a_secret_it_listens_anywhere_and_reading_needs_a_signature(place: Workspace) -> None:
    web = HttpPlace(place)
    web.configure('[http]\nlisten = "0.0.0.0:0"\nsignatures = "both"\n')
    web.start(FLOWD_HTTP="", FLOWD_HTTP_SECRET="new")
    assert web.get("/runs").status == 401
    assert web.get("/healthz").status == 200
    assert web.send("GET", "/runs?limit=1", None, v2("GET", "/runs?limit=1", b"")).status == 200
    empty = "sha256=" + hmac.new(b"new", b"", "sha256").hexdigest()
    assert web.get("/runs", x_flow_signature_256=empty).status == 401  # or one signature of nothing reads all


BAD_SETTINGS = {
    "[http]\nlisten = 3\nport = 1": "port",
    '[http]\nlisten = "127.0.0.1:99999"': "HOST:PORT",
    '[http]\nlisten = "127.0.0.1:0"\nsecret_file = "none"': "none",
    '[http]\nlisten = "127.0.0.1:0"\nsecret_env = "NO_SUCH"': "NO_SUCH",
    '[http]\nlisten = "127.0.0.1:0"\nsignatures = "v3"': "v2",
    '[http]\nlisten = "127.0.0.1:0"\n[http.tokens.a]\nsha256 = "ab"\nscopes = ["read"]': "64 hex",
    '[http]\nlisten = "127.0.0.1:0"\n[http.tokens.a]\nenv = "HOME"\nscopes = ["root"]': "control",
    '[http]\nlisten = "127.0.0.1:0"\n[hooks.a]\nkind = "gitlab"': "github",
    '[http]\nlisten = "127.0.0.1:0"\n[hooks.a]\nkind = "github"': "secret_file",
    '[http]\nlisten = "127.0.0.1:0"\n[hooks.a]\nkind = "hmac"\nsecret_env = "HOME"\nid = "x"\ntype = "t"': "header",
    "[http]\nlisten = 'unix:/no/such/folder/s'": "folder",
    "[http]\nlisten = 'systemd:web'": "FileDescriptorName=web",
}


@pytest.mark.parametrize("text", BAD_SETTINGS)
def test_settings_that_cannot_be_are_refused_with_the_place(place: Workspace, text: str) -> None:
    HttpPlace(place).configure(text)
    said = refused_start(place)
    assert BAD_SETTINGS[text] in said
    assert len(said.splitlines()) == 1, said


def test_a_taken_port_is_named(place: Workspace) -> None:
    web = HttpPlace(place).start()
    other = place.path / "other"
    other.mkdir()
    said = refused_start(Workspace(other), "--http", f"127.0.0.1:{web.port}")
    assert f"127.0.0.1:{web.port}" in said
    assert "--http" in said


def test_credentials_of_systemd_are_secrets(place: Workspace) -> None:
    folder = place.path / "credentials"
    folder.mkdir()
    write_secret(folder / "flowd-http-secret", SECRET)
    web = HttpPlace(place).start(CREDENTIALS_DIRECTORY=str(folder))
    assert web.post("/events", BODY).status == 401
    assert web.post("/events", BODY, x_flow_signature_256=V1).status == 202


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 403),
        ({"host": "localhost.evil.example:7345"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"host": "user@localhost"}, 403),
        ({"host": ""}, 400),
        ({"host": "LOCALHOST"}, 200),
        ({"host": "localhost:1"}, 200),
        ({"host": "[::1]:7345"}, 200),
        ({"host": "192.168.1.5"}, 200),
        ({"host": "flowd.internal:80"}, 200),
        ({"host": "localhost", "origin": "http://evil.example"}, 403),
        ({"host": "localhost", "origin": "null"}, 403),
        ({"host": "localhost:1", "origin": "http://localhost:2"}, 403),
        ({"host": "localhost:1", "origin": "http://localhost:1"}, 200),
        ({"host": "localhost", "sec-fetch-site": "cross-site"}, 403),
        ({"host": "localhost", "sec-fetch-site": "same-site"}, 403),
        ({"host": "localhost", "sec-fetch-site": "none"}, 200),
        ({"host": "localhost", "sec-fetch-site": "same-origin"}, 200),
    ],
)
def test_pages_and_rebound_names_are_refused(shared: HttpPlace, headers: dict[str, str], status: int) -> None:
    answer = shared.send("GET", "/runs", headers=headers)
    assert answer.status == status
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_what_acts_is_json_and_says_so(shared: HttpPlace) -> None:
    body = b'{"id":"ct","type":"t"}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp", ""):
        for path in ("/events", "/explain", "/events/x/replay", "/runs/x/cancel", "/runs/x/retry"):
            refused = shared.post(path, body, content_type=kind)
            assert (refused.status, refused.slug) == (415, "unsupported_media_type"), (kind, path)
    assert shared.post("/events", body, content_type="Application/JSON; charset=utf-8").status == 202
    preflight = shared.send("OPTIONS", "/events", headers={"access-control-request-method": "POST"})
    assert preflight.status == 405
    assert not [name for name in preflight.headers if name.startswith("access-control")]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> object:
    place = Workspace(Path(tmp_path_factory.mktemp("shared")))
    web = HttpPlace(place)
    web.configure('[http]\nlisten = "127.0.0.1:0"\nallowed_hosts = ["flowd.internal"]\n')
    web.start(FLOWD_HTTP="")
    yield web
    place.clean_up()


def test_curl_cannot_be_told_apart_from_a_friend(shared: HttpPlace) -> None:
    assert json.loads(curl(f"http://localhost:{shared.port}/healthz")) == {"ok": True}
