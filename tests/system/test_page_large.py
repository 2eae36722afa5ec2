"""Pages of what is large: what a page asks for and shows is bounded, and it says where the rest is."""

import html
import json
import re
from collections.abc import Iterator

import pytest
from daemon_rig import say, workspace
from http_rig import HttpPlace
from page_rig import widen

STEPS, ROUNDS = 1000, 6
SHOWN = 600
PAYLOAD = {"lines": ["a line that nobody reads to its end"] * 30_000}


@pytest.fixture(scope="module")
def web() -> Iterator[HttpPlace]:
    with workspace() as place:
        place.flow("wide", say("completed"))
        place.flow("often", say("completed"))
        web = HttpPlace(place).start()
        with place.client() as client:
            for flow in ("often", "wide"):
                payload = PAYLOAD if flow == "wide" else {}
                client.dispatch_event({"id": flow, "type": f"{flow}.go", "payload": payload}, wait=True)
                place.stop()
                widen(place, *((STEPS, ROUNDS) if flow == "wide" else (2, 20)))
                web.start()
        yield web


def page(web: HttpPlace, path: str) -> str:
    reply = web.get(path, accept="text/html")
    assert reply.status == 200
    return reply.body.decode()


def test_an_event_with_thousands_of_runs_shows_its_newest_and_leads_to_all(web: HttpPlace) -> None:
    shown = page(web, "/ui/events/wide")
    assert f"It has {STEPS * ROUNDS + 1} runs; the newest {SHOWN} are shown here." in shown
    assert 'href="/ui/runs?eventId=wide"' in shown
    assert f">{STEPS + 1} completed<" in shown  # of all steps, also of those that are not shown
    assert shown.count("<tr>") <= 101
    assert f"{SHOWN - 100} more are not drawn." in shown
    assert shown.count('<li class="run"') == 200
    assert f"round {ROUNDS}," in shown


def test_of_many_rounds_the_last_few_are_shown_and_the_others_asked_for(web: HttpPlace) -> None:
    shown = page(web, "/ui/events/often")
    assert shown.count("<caption>") == 4
    more = re.search(r'href="([^"]*)">Earlier rounds \((\d+)\)<', shown)
    assert more is not None
    assert more[2] == "16"
    further = page(web, html.unescape(more[1]).partition("#")[0])
    assert further.count("<caption>") == 16
    assert "Earlier rounds (4)" in further


def test_a_large_payload_is_shown_in_part_and_whole_where_that_is_asked_for(web: HttpPlace) -> None:
    shown = page(web, "/ui/events/wide")
    assert len(shown) < 500_000
    assert "The whole event" in shown
    whole = page(web, "/ui/events/wide?whole=1")
    text = html.unescape(re.search(r'<pre class="json"[^>]*>(.*?)</pre>', whole, re.DOTALL)[1])  # type: ignore[index]
    assert json.loads(text)["payload"] == PAYLOAD


def test_a_large_event_is_sent_again_as_it_was(web: HttpPlace) -> None:
    shown = page(web, "/ui/dispatch?like=wide")
    text = html.unescape(re.search(r"<textarea[^>]*>(.*?)</textarea>", shown, re.DOTALL)[1])  # type: ignore[index]
    assert json.loads(text) == {"type": "wide.go", "payload": PAYLOAD}
