"""A real Chromium opens a page of another origin, and the page tries all it can to start a run here."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_rig import say, workspace
from http_rig import HttpPlace, elsewhere

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="NOT TESTED: that a web page cannot start a run, because there is no Chromium here"
)

PAGE = """<!doctype html><title>evil</title>
<body>trying
<form id=form method=post enctype="text/plain" target=frame action="BASE/events">
  <input name='{"id":"form","type":"hello.go","x":"' value='"}'></form><iframe name=frame></iframe>
<script>
const event = id => JSON.stringify({id, type: "hello.go"});
const tried = {};
async function attempt(name, work) {
  try { const got = await work(); tried[name] = `${got.type ?? ""} ${got.status ?? got}`; }
  catch (error) { tried[name] = "error " + error.name; }
}
(async () => {
  await attempt("fetch-json", () => fetch("BASE/events", {method: "POST", body: event("fetch-json"),
    headers: {"content-type": "application/json"}}));
  await attempt("fetch-no-cors", () => fetch("BASE/events", {method: "POST", mode: "no-cors", body: event("no-cors")}));
  await attempt("fetch-blob", () => fetch("BASE/events", {method: "POST", mode: "no-cors",
    body: new Blob([event("blob")], {type: "text/plain"})}));
  await attempt("beacon", async () => navigator.sendBeacon("BASE/events", event("beacon")));
  await attempt("read", async () => (await fetch("BASE/runs")).text());
  await attempt("read-no-cors", () => fetch("BASE/runs", {mode: "no-cors"}));
  await attempt("stream", () => new Promise(done => {
    const source = new EventSource("BASE/stream");
    source.onopen = () => done("open"); source.onerror = () => done("refused");
  }));
  await attempt("cancel", () => fetch("BASE/runs/RUN/cancel", {method: "POST", mode: "no-cors"}));
  document.getElementById("form").submit();
  await new Promise(done => { document.querySelector("iframe").onload = done; setTimeout(done, 5000); });
  document.body.textContent = "DONE " + JSON.stringify(tried);
})();
</script>"""


@pytest.fixture(scope="module")
def web() -> Iterator[HttpPlace]:
    with workspace() as place:
        place.flow("hello", say("completed"))
        yield HttpPlace(place).start()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder that another origin serves, and its address."""
    with elsewhere(tmp_path) as port:
        yield tmp_path, f"http://127.0.0.1:{port}"


def browse(url: str, profile: Path, *flags: str) -> str:
    """The page's DOM once its scripts are through."""
    done = subprocess.run(
        [str(CHROMIUM), *FLAGS, *flags, f"--user-data-dir={profile}", "--timeout=60000", "--virtual-time-budget=20000",
         "--dump-dom", url],
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    return done.stdout


def attack(web: HttpPlace, other: tuple[Path, str], base: str, *flags: str) -> dict[str, str]:
    folder, origin = other
    run_id = web.post("/events?wait=true", {"id": "mine", "type": "hello.go"}).json["runIds"][0]
    (folder / "evil.html").write_text(PAGE.replace("BASE", base).replace("RUN", run_id), encoding="utf-8")
    dom = browse(f"{origin}/evil.html", folder / "profile", *flags)
    assert "DONE {" in dom, dom[-2000:]
    return dict(json.loads(dom[dom.index("DONE {") + 5 : dom.index("}", dom.index("DONE {")) + 1]))


def metric(web: HttpPlace, name: str) -> bool:
    return name in web.get("/metrics").body.decode()


def test_a_page_of_another_origin_starts_nothing_and_reads_nothing(web: HttpPlace, other: tuple[Path, str]) -> None:
    tried = attack(web, other, web.url)
    assert tried["fetch-json"] == "error TypeError"  # the preflight has no answer that would allow it
    assert tried["read"] == "error TypeError"
    assert tried["stream"].strip() == "refused"
    assert [event["id"] for event in web.get("/events").json["events"]] == ["mine"]
    assert metric(web, 'route="none",status="403"')  # it did reach us, and was refused


def test_a_name_rebound_to_this_machine_gets_no_further(web: HttpPlace, other: tuple[Path, str]) -> None:
    base = f"http://rebound.example:{web.port}"
    tried = attack(web, other, base, "--host-resolver-rules=MAP rebound.example 127.0.0.1")
    assert tried["read"] == "error TypeError"
    assert [event["id"] for event in web.get("/events").json["events"]] == ["mine"]
    # And from the rebound origin itself, where a browser sees no foreign origin at all.
    dom = browse(f"{base}/runs", other[0] / "profile2", "--host-resolver-rules=MAP rebound.example 127.0.0.1")
    assert "host_not_allowed" in dom


def test_the_same_browser_can_look_at_its_own_address(web: HttpPlace, tmp_path: Path) -> None:
    assert '"ok":true' in browse(f"{web.url}/healthz", tmp_path / "profile")  # so the refusals above mean something
