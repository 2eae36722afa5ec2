"""Pages of other origins, opened in the browser that is signed in here: they start nothing and learn nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_rig import Visitor, Visits, sign_in
from daemon_rig import say, until, workspace
from http_rig import HttpPlace, elsewhere

ATTACK = """<!doctype html><title>evil</title><body>
<iframe name=frame src="BASE/ui/"></iframe><iframe name=sink></iframe>
<form id=cancel method=post target=sink action="BASE/ui/runs/RUN/cancel"><input name=sure value=1></form>
<form id=api method=post target=sink action="BASE/runs/RUN/cancel"></form>
<form id=login method=post target=sink action="BASE/ui/login"><input name=token value=mine></form>
<script type=module>
const tried = {};
const attempt = async (name, work) => {
  try { tried[name] = String(await work()); } catch (error) { tried[name] = error.name; }
};
const theirs = {credentials: "include"};
await attempt("page", async () => (await fetch("BASE/ui/", theirs)).text());
await attempt("part", async () => (await fetch("BASE/ui/", {...theirs, headers: {"X-Flowd-Part": "1"}})).text());
await attempt("runs", async () => (await fetch("BASE/runs", theirs)).text());
const blind = {...theirs, method: "POST", mode: "no-cors", body: new URLSearchParams({sure: "1"})};
await attempt("blind", async () => (await fetch("BASE/ui/runs/RUN/cancel", blind)).type);
await attempt("beacon", () => navigator.sendBeacon("BASE/ui/runs/RUN/cancel", blind.body));
for (const path of ["stream", "ui/changes"]) await attempt(path, () => new Promise(done => {
  const source = new EventSource(`BASE/${path}`, {withCredentials: true});
  source.onopen = () => done("open"); source.onerror = () => done("refused");
}));
for (const id of ["cancel", "api", "login"]) {
  document.getElementById(id).submit();
  await new Promise(done => { document.getElementsByName("sink")[0].onload = done; setTimeout(done, 3000); });
}
window.tried = tried;
</script>"""


@pytest.fixture(scope="module")
def web() -> Iterator[HttpPlace]:
    with workspace() as place:
        place.flow("slow", f"sleep 60; {say('completed')}")
        yield HttpPlace(place).start(FLOWD_HTTP_OPEN="0")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_page_of_another_origin_can_do_nothing_with_the_session(
    web: HttpPlace, visit: Visits, tmp_path: Path, name: str
) -> None:
    """Of 127.0.0.1, which is the same site, so that the cookie comes along; and of another site."""
    with web.place.client() as client:
        run_id = client.dispatch_event({"id": f"mine-{name}", "type": "slow.go"}).runs[0].id
    somebody = visit(web.url)
    sign_in(somebody, web)
    with elsewhere(tmp_path) as port:
        (tmp_path / "evil.html").write_text(ATTACK.replace("BASE", web.url).replace("RUN", run_id))
        tried = attack(somebody, f"http://{name}:{port}/evil.html")
    somebody.faults.clear()  # the attack is full of them
    assert tried["page"] == tried["part"] == tried["runs"] == "TypeError"  # nothing that it could read
    assert tried["stream"] == tried["ui/changes"] == "refused"
    assert tried["framed"] is False
    with web.place.client() as client:
        assert client.get_run(run_id).status == "running"
        client.cancel_run(run_id)
    somebody.open("/ui/")  # and the one who is signed in still is
    assert somebody.page.get_by_role("heading", level=1).is_visible()


def attack(somebody: Visitor, url: str) -> dict[str, object]:
    page = somebody.context.new_page()
    page.goto(url)
    tried = dict(until(lambda: page.evaluate("window.tried"), what="the attack's end"))
    frame = page.frame("frame")
    tried["framed"] = frame is not None and frame.locator("main").count() > 0
    page.close()
    return tried
