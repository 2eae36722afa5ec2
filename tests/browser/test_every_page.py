"""Every page as everybody meets it: in the dark and by daylight, on a desk and on a phone."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from browser_rig import DESK, PHONE, Visits, axe_findings, wider_than_its_window
from daemon_rig import say, until
from playwright.sync_api import Page, expect
from shop_rig import Shop, shop

LOOKS = {"light desk": ("light", DESK), "dark phone": ("dark", PHONE)}
"""Colours and widths know nothing of each other, so these two are all four."""


@pytest.fixture(scope="module")
def busy() -> Iterator[Shop]:
    """A shop with something of every kind: what failed, asks, runs, waits, is paused, and a package that is broken."""
    with shop() as it:
        it.mend()
        it.place.flow("backup", f"echo copying; sleep 600; {say('completed')}")
        it.place.flow("report", say("completed"))
        broken = it.place.path / "flows" / "broken"
        broken.mkdir()
        (broken / "flow.toml").write_text('name = "broken"\nversion = 1\nsteps = 3\n', encoding="utf-8")
        it.read_again()
        it.place.call("flow.pause", flow="report")
        with it.place.client() as client:
            client.dispatch_event({"id": "backup", "type": "backup.go"})
            client.dispatch_event({"id": "report", "type": "report.go"})
            client.replay_event("release:v1.1.0")
            until(lambda: len(client.attention().items) == 1, what="the question")
        yield it


def paths(busy: Shop) -> dict[str, str]:
    """Where to look, by what is shown there."""
    runs = busy.web.get("/runs").json["runs"]
    picked = {
        "failed": next(run for run in runs if run["effectiveStatus"] == "failed"),
        "asking": next(run for run in runs if run.get("needsAttention")),
        "running": next(run for run in runs if run["effectiveStatus"] == "running"),
        "waiting": next(run for run in runs if run["effectiveStatus"] == "queued"),
    }
    return {
        "now": "/ui/",
        "runs": "/ui/runs",
        "no runs": "/ui/runs?flow=nobody",
        "flows": "/ui/flows",
        "flow": "/ui/flows/release",
        "broken flow": "/ui/flows/broken",
        "event": f"/ui/events/{quote('release:v1.2.0', safe='')}",
        "explained event": f"/ui/events/{quote('release:v1.2.0', safe='')}?explain=1",
        "replayed event": f"/ui/events/{quote('release:v1.1.0', safe='')}",
        **{f"{status} run": f"/ui/runs/{run['id']}" for status, run in picked.items()},
        "searched run": f"/ui/runs/{picked['failed']['id']}?find=gti&wrap=0",
        "dispatch": f"/ui/dispatch?like={quote('release:v1.2.0', safe='')}",
        "login": "/ui/login",
        "nothing": "/ui/nothing",
    }


SHOWN = [
    *("now", "runs", "no runs", "flows", "flow", "broken flow", "event", "explained event", "replayed event"),
    *("failed run", "asking run", "running run", "waiting run", "searched run", "dispatch", "login", "nothing"),
]


@pytest.mark.parametrize("shown", SHOWN)
def test_a_page_has_nothing_against_it_in_any_look(busy: Shop, visit: Visits, shown: str) -> None:
    somebody = visit(busy.web.url)
    page = somebody.open(paths(busy)[shown])
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.title().endswith("flowd")
    assert_nothing_found(page)
    if shown == "nothing":
        somebody.expect_faults("404")


@pytest.mark.parametrize("key", ["?", "Approve"])
def test_a_dialog_has_nothing_against_it(busy: Shop, visit: Visits, key: str) -> None:
    page = visit(busy.web.url).open("/ui/")
    if key == "?":
        page.keyboard.press(key)
    else:
        page.get_by_role("button", name=key).click()
    page.get_by_role("dialog").wait_for()
    assert_nothing_found(page)


def test_the_question_without_a_script_has_nothing_against_it(busy: Shop, visit: Visits) -> None:
    page = visit(busy.web.url).open("/ui/")
    page.evaluate("delete document.querySelector('form[data-ask]').dataset.ask")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("button", name="Yes")).to_be_visible()
    assert_nothing_found(page)


def assert_nothing_found(page: Page) -> None:
    """By axe, in any look, nor by who would have to scroll sideways."""
    found: list[str] = []
    for look, (scheme, (width, height)) in LOOKS.items():
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": height})
        found += [f"{look}: {finding}" for finding in axe_findings(page)]
        found += [f"{look}: {wider} pixels too wide"] if (wider := wider_than_its_window(page)) else []
    assert not found, "\n".join(found)
